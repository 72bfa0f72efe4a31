"""The scorecard in words: the same lines for `remediator scorecard` and for the weekly message. Pure.

Given as the JSON of `app.flow.notifying.scorecard`, which the API gives and which waits in the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.units import counted, duration
from app.notify.message import Context, Message, Section
from app.notify.text import When, bold, code, line

_OFFENDERS = 5  # named in the message; the command names all it is given

Card = Mapping[str, Any]
_NEW = {"contained": 0, "taken_over": 0}


def rows(card: Card) -> list[tuple[str, str]]:
    """Name and value of each line, with what it was in the span before in brackets."""
    before = card.get("before")
    # A message of an earlier version may still wait in the outbox.
    card, before = {**_NEW, **card}, before and {**_NEW, **before}
    return [
        ("alerts", _number(card, before, "alerts")),
        ("incidents", _number(card, before, "incidents")),
        ("acted", _number(card, before, "acted", "run")),
        ("verified fixed", _number(card, before, "fixed")),
        ("contained", _number(card, before, "contained")),
        ("not fixed", _number(card, before, "not_fixed")),
        ("taken over", _number(card, before, "taken_over")),
        ("undone", _number(card, before, "undone")),
        ("setbacks", _number(card, before, "setbacks")),
        ("time to mitigate", _took(card, before)),
    ]


def offenders(card: Card, most: int) -> list[tuple[str, int]]:
    """Targets with more than one incident, the worst first, at most `most`."""
    found: Sequence[Mapping[str, Any]] = card["offenders"]
    return [(str(row["target"]), int(row["incidents"])) for row in found[:most]]


def _number(card: Card, before: Card | None, key: str, noun: str = "") -> str:
    number = int(card[key])
    text = counted(number, noun) if noun else f"{number:,}"
    return f"{text} (before: {int(before[key]):,})" if before else text


def _took(card: Card, before: Card | None) -> str:
    text = _times(card)
    return f"{text} (before: {_times(before)})" if before else text


def _times(card: Card) -> str:
    took = card["mitigate_seconds"]
    if took["median"] is None:
        return "no fix"
    return f"median {_seconds(took['median'])}, 90 % within {_seconds(took['p90'])}"


def _seconds(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))


def weekly(card: Card) -> Message:
    """The week's message. Raises KeyError for what is no card."""
    fixed, acted, setbacks = int(card["fixed"]), int(card["acted"]), int(card["setbacks"])
    word = (
        f"{fixed:,} of {counted(acted, 'run')} verified fixed, {setbacks:,} harmful"
        if acted
        else "did nothing"
    )
    head = line(bold("THE WEEK"), f" · {word}")
    lines = [line(f"{name.capitalize()}: {value}") for name, value in rows(card)]
    worst = [
        line(f"- {target}: {counted(number, 'incident')}") for target, number in offenders(card, _OFFENDERS)
    ]
    repeat = [line("Repeat offenders:"), *worst] if worst else [line("No target had more than one incident")]
    small = [
        line(
            When(datetime.fromisoformat(card["since"])), " to ", When(datetime.fromisoformat(card["until"]))
        ),
        line("Harmful: undone or stopped by a person after it had changed something, or stuck"),
        line("Now: ", code("remediator scorecard --days 7")),
    ]
    parts = (Section(tuple(lines)), Section(tuple(repeat)), Context(tuple(small)))
    return Message(str(card.get("week", "")), head, parts)
