"""Escalation: whom the policy asks when an incident needs a person, in which order, and how long each may take to answer.

Owns the written form and the pure rules: which steps an incident has, and which are left when the policy changed since they
began. Used by the policy's document and consistency checks, and by the flow that walks the steps. Never knows who was reached.

The runbook's times ("Escalation Path") are the defaults: 15 min, 30 min, 1 h to answer, by the step's place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.policy.block import Block
from app.policy.faults import PolicyFault, unknown_name
from app.policy.source import Path, Source
from app.policy.values import Duration

ASKED = r"^(slack:[UW][A-Z0-9]{2,30}|slack-group:S[A-Z0-9]{2,30}|pagerduty-(schedule|policy):[A-Z0-9]{2,30})$"
"""A Slack user or user group, who is mentioned; or a schedule or escalation policy of PagerDuty, whose people on call are named."""
SCHEDULE, POLICY = "pagerduty-schedule:", "pagerduty-policy:"
ANSWER_WITHIN = (timedelta(minutes=15), timedelta(minutes=30), timedelta(hours=1))
"""How long each step has to answer unless it says so, by its place; later ones as long as the last."""
_MAX_STEPS = 10
_CONSTANT = 500


class EscalationStep(Block):
    """One step. `who` is mentioned or named in the thread; `page` calls through PagerDuty's Events API as well. When nobody
    answers within `answer_within`, the next step is asked."""

    name: str = Field(min_length=1, max_length=80)
    who: tuple[Annotated[str, Field(pattern=ASKED)], ...] = Field(default=(), max_length=20)
    page: bool = False
    answer_within: Duration | None = None


Steps = Annotated[tuple[EscalationStep, ...], Field(max_length=_MAX_STEPS)]


class EscalationPath(Block):
    """Other steps for some incidents: those of these severities and rules. An empty list means any."""

    severity: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    rules: tuple[Annotated[str, Field(min_length=1, max_length=120)], ...] = ()
    steps: Steps

    def covers(self, severity: str, rule: str) -> bool:
        """Whether it is for an incident of this severity, in any case of letters, that this rule decided."""
        severities = {one.lower() for one in self.severity}
        of_it = not severities or severity.strip().lower() in severities
        return of_it and (not self.rules or rule in self.rules)


class StatusField(StrEnum):
    """What a status page may be told. Nothing of an alert is among it but its severity, in one of PagerDuty's words."""

    ID = "id"
    STATUS = "status"
    MESSAGE = "message"
    SEVERITY = "severity"
    SINCE = "since"
    UPDATED = "updated"


class StatusMessages(Block):
    """The sentence of each status, as the public reads it."""

    investigating: str = Field(default="We are looking into a problem.", min_length=1, max_length=_CONSTANT)
    identified: str = Field(default="Our team is working on a problem.", min_length=1, max_length=_CONSTANT)
    resolved: str = Field(default="The problem is over.", min_length=1, max_length=_CONSTANT)


class StatusPage(Block):
    """What is posted to the status page's webhook: a JSON object of `fields` (its key: which field) and `constants`."""

    fields: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")], StatusField] = Field(
        default={str(name): name for name in StatusField}, min_length=1, max_length=20
    )
    constants: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")],
        Annotated[str, Field(max_length=_CONSTANT)],
    ] = Field(default={}, max_length=20)
    messages: StatusMessages = StatusMessages()


class EscalationPolicy(Block):
    """Whom to ask. The first of `paths` that covers an incident has its steps, else it has `steps`. `status_updates` tells the subscribers
    of PagerDuty's own incident as well."""

    steps: Steps
    paths: tuple[EscalationPath, ...] = Field(default=(), max_length=50)
    status_page: StatusPage | None = None
    status_updates: bool = False

    @property
    def named(self) -> frozenset[str]:
        """Everybody whom any step asks."""
        lists = [self.steps, *(path.steps for path in self.paths)]
        return frozenset(name for steps in lists for step in steps for name in step.who)

    def steps_for(self, severity: str, rule: str) -> tuple[EscalationStep, ...]:
        """The steps of an incident, each with the time it has to answer."""
        found = next((path.steps for path in self.paths if path.covers(severity, rule)), self.steps)
        return tuple(
            step if step.answer_within is not None else step.model_copy(update={"answer_within": within})
            for step, within in zip(found, _defaults(), strict=False)
        )


def _defaults() -> Iterator[timedelta]:
    yield from ANSWER_WITHIN
    while True:
        yield ANSWER_WITHIN[-1]


def steps_of(policy: EscalationPolicy | None, severity: str, rule: str) -> tuple[EscalationStep, ...]:
    """The steps of an incident; without a policy one page, as long as nobody answers, and no further step."""
    if policy is None:
        return (EscalationStep(name="on-call", page=True),)
    return policy.steps_for(severity, rule)


def left(
    begun: Sequence[EscalationStep], now: Sequence[EscalationStep], asked: Collection[str]
) -> tuple[EscalationStep, ...]:
    """The steps still to be asked, under the stricter of the policy when it began and the policy in force: no step is dropped,
    none gets more time, and whom a step asks is what the policy in force says. Who was asked stays asked."""
    here = {step.name for step in now}
    open_now = [_sooner(step, begun) for step in now if step.name not in asked]
    return (*open_now, *(step for step in begun if step.name not in asked and step.name not in here))


def _sooner(step: EscalationStep, begun: Sequence[EscalationStep]) -> EscalationStep:
    within = answer_within(step.name, begun, (step,))
    return step.model_copy(update={"answer_within": within})


def answer_within(
    name: str, begun: Sequence[EscalationStep], now: Sequence[EscalationStep]
) -> timedelta | None:
    """How long a step has to answer: the shortest that either policy says; None when neither sets an end."""
    said = [s.answer_within for s in (*begun, *now) if s.name == name and s.answer_within is not None]
    return min(said, default=None)


def escalation_faults(
    source: Source, policy: EscalationPolicy, rules: Collection[str]
) -> Iterator[PolicyFault]:
    """What cannot work: a step that asks nobody, two of one name, a second page that wakes nobody, a rule that is not there."""
    yield from _step_faults(source, ("escalation", "steps"), policy.steps)
    for at, path in enumerate(policy.paths):
        where: Path = ("escalation", "paths", at)
        yield from _step_faults(source, (*where, "steps"), path.steps)
        if not (path.severity or path.rules):
            message = "a path without severity and rules covers everything: write its steps above"
            yield source.fault(where, message)
        for number, severity in enumerate(path.severity):
            if severity != _spaced(severity) or not severity.isprintable():
                message = f"no alert has this severity: write {_spaced(severity)!r}, without spaces around it"
                yield source.fault((*where, "severity", number), message)
        for number, name in enumerate(path.rules):
            if name not in rules:
                allowed = tuple(sorted(rules))
                yield source.fault((*where, "rules", number), unknown_name("rule", name, allowed), allowed)
        for earlier in policy.paths[:at]:
            if _within(path.severity, earlier.severity) and _within(path.rules, earlier.rules):
                yield source.fault(where, "never reached: an earlier path covers all of it")
                break
    if (page := policy.status_page) is not None:
        for name in sorted(page.fields.keys() & page.constants.keys()):
            clash: Path = ("escalation", "status_page", "constants", name)
            yield source.fault(clash, f'"{name}" is a field already')


def _within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    return not outer or (bool(inner) and set(inner) <= set(outer))


def _spaced(text: str) -> str:
    """With one space where there is any number."""
    return " ".join(text.split())


def _step_faults(source: Source, where: Path, steps: Sequence[EscalationStep]) -> Iterator[PolicyFault]:
    if not steps:
        yield source.fault(where, "no step: nobody would be asked")
    for at, step in enumerate(steps):
        if not step.who and not step.page:
            yield source.fault((*where, at), "this step asks nobody: give who, or page: true")
        if _spaced(step.name) in [_spaced(s.name) for s in steps[:at]]:
            message = f'the name "{step.name}" is taken in these steps (spaces do not count)'
            yield source.fault((*where, at, "name"), message)
        if step.page and any(s.page for s in steps[:at]):
            message = "an earlier step pages: a second page joins the open one and wakes nobody"
            yield source.fault((*where, at, "page"), message)
        if step.answer_within is not None and step.answer_within < timedelta(minutes=1):
            yield source.fault((*where, at, "answer_within"), "nobody can answer in less than 1m")
