"""A fault at each request to the cluster, of each kind: what is only late is made good, what is refused is not forced.

Over all cases of the catalogue. By default every twelfth request up to the one after the first write fails in one way, and
requests and ways take turns over the cases; CRASH_ALL=1 makes every request fail in every way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.sim.faults import Fault, FaultKind, Faults, Request
from remediations import CATALOGUE
from tests.crash.cases import Case, cases
from tests.crash.conftest import ALL
from tests.crash.lives import LIMIT, Ending, calm, ending_of, invariants, live
from tests.scenario.rig import Rig

CASES = cases()
PASSING = frozenset(
    {FaultKind.THROTTLED, FaultKind.UNREACHABLE, FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.SLOW}
)
"""Faults that say nothing against the action: it is carried out all the same, only later."""


@dataclass(slots=True)
class Nth(Faults):
    """Fails the n-th request from 1 and remembers all of them."""

    n: int = 0
    effect: FaultKind = FaultKind.SLOW
    seen: list[Request] = field(default_factory=list)

    def take(self, request: Request) -> Fault | None:
        """The fault, when it is this request's turn."""
        self.seen.append(request)
        return (
            Fault(self.effect, seconds=20.0 * (self.effect is FaultKind.SLOW))
            if len(self.seen) == self.n
            else None
        )


async def _run(case: Case, path: Path, faults: Nth) -> tuple[Ending, Rig]:
    rig = case.rig(path)
    rig.cluster.faults = faults
    await rig.born()
    await rig.until(lambda: calm(rig, case), LIMIT)
    await invariants(rig)
    ending = await ending_of(rig)
    await rig.close()
    return ending, rig


def _turns(case: Case, seen: list[Request]) -> list[tuple[int, FaultKind]]:
    kinds = list(FaultKind)
    if ALL:
        return [(n, kind) for n in range(1, len(seen) + 1) for kind in kinds]
    wrote = next(n for n, request in enumerate(seen, 1) if request.writes)
    first = CASES.index(case)
    return [
        (n, kinds[(n + first) % len(kinds)]) for n in range(1 + first % 2, wrote + 3, 24 if case.long else 12)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", "-"))
async def test_a_fault_at_any_request_does_no_harm(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """A passing fault changes nothing in the end; a refusal ends with the action in place once or not at all."""
    nothing = Nth()
    undisturbed, _ = await _run(case, tmp_path / "calm.sqlite", nothing)
    turns = _turns(case, nothing.seen)
    left_out(len(nothing.seen) * len(FaultKind) - len(turns))
    for n, effect in turns:
        told = f"{case}: {effect} at request {n}, {nothing.seen[n - 1]}"
        try:
            ending, rig = await _run(case, tmp_path / f"{n}-{effect}.sqlite", Nth(n=n, effect=effect))
        except AssertionError as error:
            raise AssertionError(f"{told}: {error}") from error
        if effect in PASSING:
            # A second look that could not be had ends its run; the incident then gets another one.
            ended_early = _handed_over(ending, nothing.seen[n - 1]) or _given_back(case, ending)
            assert _as_undisturbed(ending, undisturbed) or ended_early, told
        else:
            assert len(_changes(ending)) <= len(_changes(undisturbed)), told
        assert rig.notebook.posts, told


def _as_undisturbed(ending: Ending, undisturbed: Ending) -> bool:
    return ending.incidents == undisturbed.incidents and _changes(ending) == _changes(undisturbed)


def _handed_over(ending: Ending, request: Request) -> bool:
    """What a diagnosis could not read refuses its steps, and a person is asked: safe, if not wanted (see
    test_a_hiccup_while_diagnosing_wakes_nobody). An order is closed, and whoever gave it is told."""
    closed = ending.incidents in (("escalated",), ("resolved",))
    return not request.writes and closed and not _changes(ending)


def _given_back(case: Case, ending: Ending) -> bool:
    """An order that could not be looked at in full ends at once with the reason, nothing done: whoever gave it is there, reads why,
    and gives it again."""
    ordered = CATALOGUE[case.remediation].procedure is not None
    return ordered and ending.incidents == ("resolved",) and not _changes(ending) and ending.spent == 0


def _changes(ending: Ending) -> list[str]:
    return [w for w in ending.writes if not w.startswith("create Event")]


async def test_a_transient_error_while_looking_at_the_next_step_is_no_reason_to_wake_a_person(
    tmp_path: Path,
) -> None:
    """Between the judgement of one step and the rehearsal of the next, whichever read is throttled."""
    case = next(c for c in CASES if "all steps" in c.name)
    nothing = Nth()
    undisturbed, _ = await _run(case, tmp_path / "calm.sqlite", nothing)
    rehearsals = [n for n, request in enumerate(nothing.seen, 1) if request.dry_run]
    assert len(rehearsals) >= 2
    for n in range(rehearsals[1] - 12, rehearsals[1], 1 if ALL else 3):
        ending, _ = await _run(case, tmp_path / f"{n}.sqlite", Nth(n=n, effect=FaultKind.THROTTLED))
        assert _as_undisturbed(ending, undisturbed), f"throttled at request {n}, {nothing.seen[n - 1]}"


async def test_the_answer_to_every_write_may_be_lost(tmp_path: Path) -> None:
    """All writes of a run at once: each is read back, none is sent twice."""
    for number, case in enumerate(CASES):
        if case.remediation != "high-latency" and not ALL:
            continue
        undisturbed, rig = await live(case, tmp_path / f"{number}.sqlite")
        await rig.close()
        rig = case.rig(tmp_path / f"{number}-lost.sqlite")
        for verb in ("patch", "delete", "evict"):
            rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb=verb, dry_run=False, times=100))
        await rig.born()
        await rig.until(lambda: calm(rig, case), LIMIT)  # noqa: B023 - awaited here
        await invariants(rig)
        assert _changes(await ending_of(rig)) == _changes(undisturbed)
        await rig.close()
