"""A run's result is counted once, wherever the service dies on the way, and a person's word as well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.flow.deciding.history import as_trust_level
from app.policy.model import Start, TrustTerms
from app.sim import load_scenario
from app.store import audit, runs, trust_levels
from tests.crash.cases import Case
from tests.crash.conftest import ALL
from tests.crash.lives import live
from tests.scenario.rig import Rig

AROUND = 40 if ALL else 16
"""Boundaries before the end at which the service dies: the result's commit, its workflow's step, the messages."""


async def approve(rig: Rig) -> None:
    """A person says yes, once."""
    for run in await rig.store.read(lambda conn: runs.page(conn, None, 10)):
        if run.state is RunState.WAITING and not run.answer:
            await rig.operations.approve(run.id, "kim")


async def reject(rig: Rig) -> None:
    """A person says no; dying in between they say it again."""
    for run in await rig.store.read(lambda conn: runs.page(conn, None, 10)):
        if run.state is RunState.WAITING:
            try:
                await rig.operations.reject(run.id, "kim")
            except Refused as error:
                assert error.code in ("already_answered", "not_waiting")  # noqa: PT017 - said before the death


CASE = Case(
    "high-error-rate",
    "roll-back",
    lambda: load_scenario("high-error-rate"),
    of_rule={"mode": Mode.EARNED, "trust": TrustTerms(start=Start.APPROVE)},
    hand=approve,
)


async def counted(rig: Rig) -> tuple[object, list[str]]:
    """The only trust level, without its times, and what the trail says became of it."""
    (found,) = await rig.store.read(trust_levels.listed)
    trail = await rig.store.read(lambda conn: audit.page(conn, 0, 10_000))
    changes = [str(e.data["change"]) for e in trail if e.kind is EventKind.TRUST_CHANGED]
    at = as_trust_level(found)
    return (at.level, at.successes, at.trials, at.why), changes


async def counts_once(case: Case, folder: Path, changes: list[str]) -> None:
    """Live calmly, then die at each of the last boundaries: the result is written a few before the end."""
    _, rig = await live(case, folder / "calm.sqlite")
    calm, names = await counted(rig), rig.reaper.names
    await rig.close()
    assert calm[1] == changes
    for at in range(max(1, len(names) - AROUND), len(names) + 1):
        _, rig = await live(case, folder / f"{at}.sqlite", at)
        assert await counted(rig) == calm, names[at - 1]
        await rig.close()


async def test_a_fixed_run_counts_once_wherever_the_service_dies(tmp_path: Path) -> None:
    await counts_once(CASE, tmp_path, ["opened", "counted"])


async def test_a_rejection_counts_once_wherever_the_service_dies(tmp_path: Path) -> None:
    await counts_once(replace(CASE, hand=reject), tmp_path, ["opened", "demoted"])
