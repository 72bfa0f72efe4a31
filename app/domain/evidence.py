"""Evidence: what a diagnosis found, each finding with its numbers, and what could not be read.

A finding that could not be made is a finding too (`Certainty.UNKNOWN`): unknown is a value, not a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.json import JsonValue


class Certainty(StrEnum):
    """How far a finding can be relied on."""

    KNOWN = "known"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence.

    `code` is stable (`errors.grouped`, `dependency.postgres`, `rollout.recent`), `text` one sentence with units,
    `data` the numbers behind it, `details` the lines to show in a thread (log groups, pod rows), secrets removed.
    """

    code: str
    text: str
    certainty: Certainty = Certainty.KNOWN
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """How much there is of something that a step may be for, under a name that the next look gives it too: the verification of the step
    looks again. At `gone` and below it is over; None for what is only told so that it can be compared. `part_of` is the name of the whole
    that was looked through: a part that is not told then is not there. `of_load`: it follows what is asked of the pods, so that it may stay while
    a step helps."""

    what: str
    value: float
    gone: float | None = None
    part_of: str = ""
    of_load: bool = False

    @property
    def there(self) -> bool:
        """It is trouble now."""
        return self.gone is not None and self.value > self.gone

    def to_json(self) -> dict[str, JsonValue]:
        """For records."""
        said: dict[str, JsonValue] = {"what": self.what, "value": self.value, "gone": self.gone}
        return {**said, "part_of": self.part_of, "of_load": self.of_load}


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """What became of the trouble that a step was for: `gone` is None when that cannot be told. `partly`: some of it is gone or much less, and
    not all of it is gone, or not all could be measured. `text` has the numbers."""

    gone: bool | None
    text: str
    partly: bool = False


AS_BEFORE = 0.7
"""Above this part of what it was before the step trouble is as before: it varies by itself."""


def look_again(before: Sequence[Trouble], after: Sequence[Trouble], symptom: str = "") -> LookedAgain:
    """Is the trouble gone that was there before the step? One that is as before outweighs others; one of load does not outweigh the `symptom`
    that users feel: where that is gone or much less the step helped in part, and to take it back would make things worse."""
    now = {trouble.what: trouble.value for trouble in after}
    told: dict[str, list[str]] = {"gone": [], "less": [], "as before": [], "not measured": []}
    relieved = lasting = False
    for trouble in (one for one in before if one.there):
        value = now.get(trouble.what, 0.0 if trouble.part_of in now else None)
        is_now = "not measured" if value is None else f"{value:.3g} now"
        became = _became(trouble, value)
        told[became].append(f"{trouble.what}: {trouble.value:.3g} before the step, {is_now}")
        relieved = relieved or (trouble.what == symptom and became in ("gone", "less"))
        lasting = lasting or (became == "as before" and not trouble.of_load)
    if told["as before"] and (lasting or not relieved):
        return LookedAgain(False, "; ".join(told["as before"]))
    better, rest = told["less"] + told["gone"], told["as before"] + told["not measured"]
    if told["gone"] and not (told["less"] or rest):
        return LookedAgain(True, "; ".join(told["gone"]))
    if better:
        return LookedAgain(None, "; ".join(better + rest), partly=True)
    return LookedAgain(None, "; ".join(rest) or "nothing was measured of what the step was for")


def _became(trouble: Trouble, value: float | None) -> str:
    if value is None:
        return "not measured"
    if value <= (trouble.gone or 0.0):
        return "gone"
    return "as before" if value > AS_BEFORE * trouble.value else "less"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The evidence of one look at the target. `summary` is the one sentence for 3 a.m.; `rest` says why nothing is to be done
    now, because the target is healthy (again) or still starting, and is empty otherwise. `troubles` are what its steps would be for,
    as far as they can be counted."""

    summary: str
    findings: tuple[Finding, ...]
    rest: str = ""
    troubles: tuple[Trouble, ...] = ()

    def finding(self, code: str) -> Finding | None:
        """The first finding with this code."""
        return next((f for f in self.findings if f.code == code), None)
