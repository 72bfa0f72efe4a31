"""Escalation in words: the facts of a step that was asked, of who answered, and of nobody who did; their thread entries.

Made by `app.flow.calling.escalation`, told by `app.flow.notifying.deliver`, the incident's page and `explain`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.units import counted
from app.notify.message import Button, Context, Message, Part, Section
from app.notify.text import Line, Piece, When, Who, bold, code, line

ACKNOWLEDGE = "remediator.acknowledge"
"""The action id of the button; its value is the id of the incident or storm."""


@dataclass(frozen=True, slots=True)
class StepAsked:
    """A step of the escalation was asked. `who` are Slack users and groups as the policy has them, `on_call` says who is on call in
    PagerDuty or why that is not known, `until` is when the next step is due. `paged`: an event for PagerDuty was put with it; `page_open`: it
    pages, and the page is open already. `again` says why the steps begin anew. `merged` is the incident
    that it was asked about before, when that became a part of this one."""

    step: str
    number: int
    who: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    paged: bool = False
    until: datetime | None = None
    reason: str = ""
    again: str = ""
    at: datetime | None = None
    page_open: bool = False
    merged: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A person has it. `through` is Slack, API or PagerDuty; `asked` counts the steps that had been asked; `reason` is in
    their own words, where they gave one."""

    by: str
    through: str
    asked: int = 0
    at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """All steps were asked, and nobody answered the last one in its time."""

    steps: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class LetGo:
    """Who had it does not any more, and why; nobody said so."""

    by: str
    why: str


@dataclass(frozen=True, slots=True)
class NotPaged:
    """A page that was told of did not go out, and why; `again`: it is tried on."""

    error: str
    again: bool = False


EscalationFact = StepAsked | Acknowledged | Unanswered | LetGo | NotPaged


def entry(subject: str, fact: EscalationFact) -> Message:
    """The thread entry of one of these facts about an incident or storm."""
    match fact:
        case StepAsked():
            return _asked(subject, fact)
        case Acknowledged():
            why = (Section((line(f"Reason: {fact.reason}"),)),) if fact.reason else ()
            return Message(subject, line(bold("Acknowledged"), *_by(fact), ": nobody else is asked"), why)
        case NotPaged():
            more = " (it is tried again)" if fact.again else ""
            return Message(subject, line(bold("The page was not sent"), f": {fact.error}{more}"))
        case LetGo():
            return Message(
                subject, line(bold("Not acknowledged any more"), f": {fact.why}; ", Who(fact.by), " had it")
            )
        case Unanswered():
            text = f": {counted(len(fact.steps), 'step')} asked since "
            head = line(bold("Nobody answered"), text, When(fact.since))
            return Message(subject, head, (Section((how(subject),)),))


def _asked(subject: str, fact: StepAsked) -> Message:
    pieces: list[Piece | str] = [bold(f"Asked {fact.step}")]
    for name in fact.who:
        pieces += [" ", Who(name)]
    paged = ", paged through PagerDuty" if fact.paged else ""
    paged = ", its page is open in PagerDuty already" if fact.page_open else paged
    again = f" (anew: {fact.again})" if fact.again else ""
    again = f" (about {fact.merged}, which was merged into this incident)" if fact.merged else again
    body = [line(f"Why: {fact.reason}")] if fact.reason else []
    body += [line(text) for text in fact.on_call]
    if fact.until is not None:
        body.append(line("To be answered until ", When(fact.until)))
    parts: tuple[Part, ...] = (Section(tuple(body)), Context((how(subject),)))
    head = line(*pieces, f"{paged}{again}")
    return Message(subject, head, tuple(p for p in parts if p.lines), (button(subject),))


def how(subject: str) -> Line:
    """How to answer where nobody can click."""
    return line("Take it: ", code(f"remediator acknowledge {subject}"))


def button(subject: str) -> Button:
    """To say that one has it."""
    command = f"remediator acknowledge {subject}"
    return Button(ACKNOWLEDGE, "Acknowledge", subject, "primary", command=command)


def now(fact: EscalationFact | None) -> list[Line]:
    """Where the escalation stands, for the head of the thread."""
    match fact:
        case StepAsked():
            until = line(", to be answered until ", When(fact.until)) if fact.until is not None else ()
            who: list[Piece | str] = [p for name in fact.who for p in (" ", Who(name))]
            asked = line(" at ", When(fact.at)) if fact.at is not None else ()
            return [line(bold("Asked"), f": {fact.step}", *who, *asked, *until)]
        case Acknowledged():
            at = line(" at ", When(fact.at)) if fact.at is not None else ()
            return [line(bold("Acknowledged"), *_by(fact), *at)]
        case Unanswered():
            return [line(bold("Nobody answered"), f": asked {', '.join(fact.steps)}")]
        case LetGo() | NotPaged() | None:
            return []


def _by(fact: Acknowledged) -> tuple[Piece | str, ...]:
    return (" by ", Who(fact.by), f" through {fact.through}")
