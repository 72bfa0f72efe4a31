"""Promise 2 under death: the process ends at a boundary, is born again, and the world ends as if it had lived.

A boundary lies before and after each commit, each write to the cluster, each post, and each record of a durable step.
Two neighbouring boundaries with nothing written between them leave the same behind, so the default run cuts at one of
each such pair: around each write, around some acts for one case of each remediation, and here and there
while a run only watches. CRASH_ALL=1 cuts at all boundaries of all cases.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from remediations import CATALOGUE
from tests.crash.cases import PERSONS_WORK, Case, cases
from tests.crash.conftest import ALL
from tests.crash.lives import Ending, live, undisturbed

CASES = cases()
SHARDS = 2
SPARSE = 96  # of the boundaries after the last action, every so many are cut by default


def chosen(case: Case, names: list[str]) -> list[int]:
    """The boundaries to cut at, from 1."""
    if ALL:
        return list(range(1, len(names) + 1))
    changed = [n for n, name in enumerate(names, 1) if _leaves_something_new(name)]
    acts = [n for n, name in enumerate(names, 1) if name.startswith(("cluster", "advance:"))]
    first = next(c for c in CASES if c.remediation == case.remediation) is case
    step = 96 if case.long else 24 if first else 48
    writes = [n for n, name in enumerate(names, 1) if name.startswith("cluster")]
    turns = acts[CASES.index(case) % 3 :: 3] if first and not case.long else []
    near = {n for act in (*writes, *turns) for n in range(act - 1, act + 3)}
    return [
        n
        for place, n in enumerate(changed)
        if n in near or (n < max(acts) and place % step == 0) or place % SPARSE == 0
    ]


def _leaves_something_new(name: str) -> bool:
    return name.endswith(("after commit", " after", ": recorded"))


def _short(case: Case) -> str:
    return str(case).replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=_short)
async def test_every_step_of_the_catalogue_is_reached(case: Case, tmp_path: Path) -> None:
    """Else the cuts below would cut nothing: the case ends as told, on its step, with one write a planned action."""
    ending, names = await undisturbed(case, tmp_path)
    assert ending.incidents == (case.ends.value,)
    assert any(name.startswith("cluster") for name in names)
    if "all steps" not in case.name:
        assert [step for step, _ in ending.runs] == [case.step]


def test_each_step_has_a_case_or_is_a_persons_work() -> None:
    """A new handler joins by being in the catalogue; what never acts has to be listed as such."""
    covered = {(case.remediation, case.step) for case in CASES} | PERSONS_WORK
    assert {(name, step) for name, r in CATALOGUE.items() for step in r.steps} <= covered


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("case", CASES, ids=_short)
async def test_a_death_at_any_boundary_changes_nothing_in_the_end(
    case: Case, shard: int, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """Same end, each mutation once, each message once, within the budget, the audit trail unbroken, nothing left live."""
    ending, names = await undisturbed(case, tmp_path)
    cuts = chosen(case, names)
    left_out((len(names) - len(cuts)) // SHARDS)
    for n in cuts[shard::SHARDS]:
        await _same_end(case, tmp_path / f"{n}.sqlite", ending, n)


@pytest.mark.parametrize("case", CASES, ids=_short)
async def test_two_deaths_change_nothing_in_the_end(
    case: Case, tmp_path: Path, left_out: Callable[[int], None]
) -> None:
    """The second one comes soon after the rebirth, while the first one is being made good."""
    ending, names = await undisturbed(case, tmp_path)
    writes = [n for n, name in enumerate(names, 1) if name.startswith("cluster") and name.endswith("after")]
    pairs = [(n, m) for n in writes for m in (2, 5, 9, 14)] if ALL else [(writes[0], 3)]
    left_out(4 * len(writes) - len(pairs) if not ALL else 0)
    for n, m in pairs:
        await _same_end(case, tmp_path / f"{n}-{m}.sqlite", ending, n, m)


async def _same_end(case: Case, path: Path, ending: Ending, *deaths: int) -> None:
    try:
        found, rig = await live(case, path, *deaths)
    except AssertionError as error:
        raise AssertionError(f"{case}: after death at {deaths}: {error}") from error
    await rig.close()

    assert found == ending, f"{case}: after death at {deaths}"
