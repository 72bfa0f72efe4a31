"""Reports: what the source of an alert says about it now, and what several of them mean together.

Given by the port `AlertSources`, read by decisions and by the verification, so that both mean the same by "fires". Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.alert import Source


class Reported(StrEnum):
    """A source's word, the one that counts most first."""

    FIRING = "firing"
    SILENCED = "silenced"  # fires, and a person or another alert keeps it from being told
    UNKNOWN = "unknown"  # the source could not be asked
    TOLD = "told"  # there is nobody to ask: its own messages are all there is
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class AlertReport:
    """One alert's state. `text` is one clause: since when it fires, who silenced it, why it is not known. `held_by` is another:
    who has acknowledged it; empty for nobody."""

    state: Reported
    text: str = ""
    held_by: str = ""


TOLD = AlertReport(Reported.TOLD, "its source cannot be asked, only its messages tell")


def combined(reports: Iterable[AlertReport]) -> AlertReport:
    """What holds for an incident with all these alerts: one that fires openly is enough, and it is gone when all are. It is
    acknowledged when all are that fire.
    Without any report there is nobody to ask."""
    order = list(Reported)
    return min(reports, key=lambda r: (order.index(r.state), bool(r.held_by)), default=TOLD)


def silence(reports: Iterable[AlertReport]) -> str:
    """What keeps all these alerts from being told, in words; empty where one of them is, or all are gone."""
    word = combined(reports)
    return word.text if word.state is Reported.SILENCED else ""


@dataclass(frozen=True, slots=True)
class Takers:
    """Who has acknowledged alerts where a person can: `of_all` of those that fire, `of_any` of them, in words, empty for nobody. `asked`: their source itself said so,
    and not only its messages."""

    of_all: str
    of_any: str
    asked: bool


UNTAKEN = Takers("", "", asked=True)


def takers(sources: Iterable[Source], reports: Sequence[AlertReport]) -> Takers:
    """By the report of each alert and where it came from. What Alertmanager sends beside others cannot be acknowledged, and says nothing here."""
    told = [r for s, r in zip(sources, reports, strict=False) if s is Source.PAGERDUTY or r.held_by]
    firing = [r.held_by for r in told if r.state is Reported.FIRING]
    of_any = next(filter(None, firing), "")
    asked = all(r.state not in (Reported.TOLD, Reported.UNKNOWN) for r in told)
    return Takers(of_any if all(firing) else "", of_any, asked)
