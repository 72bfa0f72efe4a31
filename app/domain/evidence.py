"""Evidence: what a diagnosis found, each finding with its numbers, and what could not be read.

A finding that could not be made is a finding too (`Certainty.UNKNOWN`): unknown is a value, not a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.domain.errors import PASSING
from app.domain.json import JsonValue


class Certainty(StrEnum):
    """How far a finding can be relied on."""

    KNOWN = "known"
    UNKNOWN = "unknown"


MEASURED = "metrics."
"""What the codes of the findings begin with that a source of measurements gave."""


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

    @property
    def away(self) -> bool:
        """A server did not answer, which says nothing of it."""
        return self.certainty is Certainty.UNKNOWN and self.data.get("code") in PASSING


@dataclass(frozen=True, slots=True)
class Trouble:
    """How much there is of something that a step may be for, under a name that the next look gives it too: the verification of the step
    looks again. At `gone` and below it is over; None for what is only told so that it can be compared. `part_of` is the name of the whole
    that was looked through: a part that is not told then is not there. `of_load`: it follows what is asked of the pods, so that it may stay while
    a step helps. `finer` is the name of the same counted in time, which tells that it became rarer. `pods`: so many were looked through, 0
    where that says nothing. `needs` is the name of what has to be there as well for its absence to be news. `least`: there may have been more than could be
    read."""

    what: str
    value: float
    gone: float | None = None
    part_of: str = ""
    of_load: bool = False
    finer: str = ""
    pods: int = 0
    needs: str = ""
    least: bool = False

    @property
    def there(self) -> bool:
        """It is trouble now."""
        return self.gone is not None and self.value > self.gone

    def to_json(self) -> dict[str, JsonValue]:
        """For records."""
        rest: dict[str, JsonValue] = {
            "finer": self.finer,
            "pods": self.pods,
            "needs": self.needs,
            "least": self.least,
        }
        return {
            "what": self.what,
            "value": self.value,
            "gone": self.gone,
            "part_of": self.part_of,
            "of_load": self.of_load,
            **{name: value for name, value in rest.items() if value},
        }


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """What became of the trouble that a step was for: `gone` is None when that cannot be told. `partly`: some of it is gone or much less, and
    not all of it is gone, or not all could be measured. `unread`: none of it could be looked at, so that nobody knows. `text` has the numbers."""

    gone: bool | None
    text: str
    partly: bool = False
    unread: bool = False


AS_BEFORE = 0.7
"""Above this part of what it was before the step trouble is as before: it varies by itself."""


_SILENT = 0.05
"""Up to this part of what it was before, what shows that anything is asked of the pods is not there any more."""


class _Became(StrEnum):
    """What became of one trouble."""

    GONE = "gone"
    LESS = "less"
    AS_BEFORE = "as before"
    NOT_KNOWN = "not known"


def look_again(before: Sequence[Trouble], after: Sequence[Trouble], symptom: str = "") -> LookedAgain:
    """Is the trouble gone that was there before the step? One that is as before outweighs others; one of load does not outweigh the `symptom`
    that users feel: where that is gone or much less the step helped in part, and to take it back would make things worse. Where that cannot
    be told any more, load alone tells neither that it helped nor that it did not."""
    then, now = {one.what: one for one in before}, {one.what: one for one in after}
    felt = then.get(symptom)
    feel = _became(felt, now)[0] if felt is not None and felt.there else None
    relieved, blind = feel in (_Became.GONE, _Became.LESS), feel is _Became.NOT_KNOWN
    told: dict[_Became, list[str]] = {word: [] for word in _Became}
    lasting = eased = unread = False
    for trouble in (one for one in before if one.there):
        became, is_now = _became(trouble, now)
        unread = unread or became is _Became.NOT_KNOWN
        if not relieved and (why := _no_word(trouble, became, then, now)):
            became, is_now = _Became.NOT_KNOWN, f"{is_now}, {why}"
        if became is _Became.AS_BEFORE and (rarer := _rarer(trouble, then, now)):
            became, is_now = _Became.LESS, f"{is_now} ({rarer})"
        told[became].append(f"{trouble.what}: {trouble.value:.3g} before the step, {is_now}")
        lasting = lasting or (became is _Became.AS_BEFORE and not trouble.of_load)
        eased = eased or (became in (_Became.LESS, _Became.GONE) and not trouble.of_load)
    same, less, gone, unknown = (
        told[w] for w in (_Became.AS_BEFORE, _Became.LESS, _Became.GONE, _Became.NOT_KNOWN)
    )
    if same and (lasting or not (relieved or blind)):
        return LookedAgain(False, "; ".join(same))
    if gone and not (less or same or unknown):
        return LookedAgain(True, "; ".join(gone))
    if (less or gone) and (eased or not blind):
        return LookedAgain(None, "; ".join([*less, *gone, *same, *unknown]), partly=True)
    told_last = [*unknown, *same, *less, *gone]
    said = "; ".join(told_last) or "nothing was measured of what the step was for"
    return LookedAgain(None, said, unread=unread and not (same or less or gone))


def _became(trouble: Trouble, now: Mapping[str, Trouble]) -> tuple[_Became, str]:
    """What became of it by its number alone, and the number."""
    found = now.get(trouble.what)
    value = found.value if found is not None else 0.0 if trouble.part_of in now else None
    if value is None:
        return _Became.NOT_KNOWN, "not measured"
    said = f"{value:.3g} now"
    if value <= (trouble.gone or 0.0):
        return _Became.GONE, said
    return _Became.AS_BEFORE if value > AS_BEFORE * trouble.value else _Became.LESS, said


def _no_word(
    trouble: Trouble, became: _Became, then: Mapping[str, Trouble], now: Mapping[str, Trouble]
) -> str:
    """Why its number tells nothing, where no user's symptom does; empty where it does tell."""
    found = now.get(trouble.what) or now.get(trouble.part_of)
    same = became is _Became.AS_BEFORE
    if became is _Became.NOT_KNOWN or found is None:
        return ""
    if trouble.least if same else found.least:
        return "and a log was cut, so that there may have been more"
    if same and found.pods > trouble.pods > 0:
        return f"and {found.pods} pods write more than {trouble.pods}"
    other, others = then.get(trouble.needs), now.get(trouble.needs)
    if (
        not same
        and other is not None
        and other.value > 0
        and (others is None or others.value <= _SILENT * other.value)
    ):
        return "and as good as nothing else is written either, so that nothing may be asked of the pods"
    return ""


def _rarer(trouble: Trouble, then: Mapping[str, Trouble], now: Mapping[str, Trouble]) -> str:
    """The same counted in time, where that became less; else empty."""
    before, found = then.get(trouble.finer), now.get(trouble.finer)
    if before is None or found is None or found.value > AS_BEFORE * before.value:
        return ""
    return f"{before.what}: {before.value:.3g} before the step, {found.value:.3g} now"


_SOME = 0.1
"""Part of all lines that, had it counted, could have decided otherwise."""


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

    def moment(self, code: str, field: str) -> datetime | None:
        """A moment that a finding tells in its data."""
        finding = self.finding(code)
        text = finding.data.get(field) if finding is not None else None
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    def set_aside(self, *, few: bool = True) -> str:
        """Why a person has to say that the error lines which were set aside (finding `errors.grouped`) are not the cause; empty where none were.
        Without `few` those do not count of which there are so few that they would have decided nothing."""
        found = self.finding("errors.grouped")
        aside = found.data.get("set_aside") if found is not None else 0
        if found is None or not isinstance(aside, int) or not aside:
            return ""
        warned = found.data["warned"]
        rows = warned if isinstance(warned, list) else ()
        others = sum(int(str(row["count"])) for row in rows if isinstance(row, dict))
        every = aside + int(str(found.data["errors"])) + others
        return str(found.data["aside"]) if few or aside >= _SOME * every else ""
