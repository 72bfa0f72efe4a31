"""Promise 10 as a machine: people pause, resume, freeze, lower and remove rules, and undo in any order, and no write of any
kind happens under a hold that its orderer did not know of."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.policy.model import Day, Policy, Temporary, Window
from tests.crash.cases import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy

SEEDS = range(40 if os.environ.get("CRASH_ALL") else 4)
STEPS = 40


def _frozen() -> Window:
    days = [day.value for day in Day]
    written = {"name": "release", "days": days, "from": "00:00", "to": "24:00", "timezone": "UTC"}
    return Window.model_validate_json(json.dumps(written))


@dataclass
class Machine:
    """What people did, and since when each hold stands; `despite` has when each run's undo was ordered in spite of it."""

    rig: Rig
    dice: random.Random
    rules: Policy
    holds: dict[str, float] = field(default_factory=dict)
    history: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    despite: dict[str, float] = field(default_factory=dict)
    removed: bool = False

    def note(self) -> None:
        """Remember what holds from now on."""
        self.history.append((self.rig.clock.now().timestamp(), dict(self.holds)))

    def set_policy(self) -> None:
        """The policy as the holds say."""
        changed = {
            "mode": Mode.OBSERVE if "ceiling" in self.holds else Mode.AUTO,
            "freeze": (_frozen(),) if "freeze" in self.holds else (),
            "rules": () if self.removed else self.rules.rules,
        }
        self.rig.policy = self.rules.model_copy(update=changed)

    async def pause(self) -> None:
        scope = self.dice.choice(["all", "namespace:rag7"])
        await self.rig.operations.pause(scope, "hands off", "kim", None)
        self.holds[scope] = self.rig.clock.now().timestamp()

    async def resume(self) -> None:
        for scope in [s for s in self.holds if s in ("all", "namespace:rag7")]:
            await self.rig.operations.resume(scope, "kim")
            del self.holds[scope]

    async def toggle(self) -> None:
        name = self.dice.choice(["ceiling", "freeze"])
        if name in self.holds:
            del self.holds[name]
        else:
            self.holds[name] = self.rig.clock.now().timestamp()
        self.set_policy()

    async def toggle_rule(self) -> None:
        self.removed = not self.removed
        self.set_policy()

    async def load(self) -> None:
        self.rig.cluster.traffic.set_rps("langgraph-api", self.dice.choice([1.0, 20.0, 60.0]))

    async def undo(self) -> None:
        for run in await all_runs(self.rig):
            despite = self.dice.random() < 0.3
            try:
                await self.rig.operations.undo(run.id, "ana", despite=despite)
            except Refused:
                continue
            if despite:
                self.despite[run.id] = self.rig.clock.now().timestamp()

    async def wait(self) -> None:
        await self.rig.run(self.dice.choice([30.0, 300.0, 900.0]))

    def check(self) -> None:
        """Every write so far against what held at its moment."""
        for write in self.rig.cluster.mutations:
            if write.dry_run or write.verb == "create":
                continue
            at = write.at.timestamp()
            held = next((holds for since, holds in reversed(self.history) if since <= at), {})
            run_id = write.marker.partition("/")[0]
            ordered = self.despite.get(run_id) if write.marker.endswith("/undo") else None
            unknown = {
                name: since
                for name, since in held.items()
                if ordered is None or (name in ("all", "namespace:rag7") and since > ordered)
            }
            assert not unknown, f"{write.marker} was written under {unknown}"


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events(
    seed: int, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    temporary = Temporary(revert_after=timedelta(minutes=10)) if seed % 2 else None
    rules = policy(temporary=temporary, cooldown=timedelta(minutes=1))
    world = flood() if seed % 3 == 0 else None
    rig = await born(tmp_path, *(() if world else ("high-latency",)), rules=rules, world=world)
    machine = Machine(rig, dice, rules)
    machine.note()
    doings: list[Callable[[], Awaitable[None]]] = [
        machine.pause,
        machine.resume,
        machine.toggle,
        machine.toggle,
        machine.undo,
        machine.load,
        machine.wait,
        machine.wait,
        machine.toggle_rule,
    ]
    await rig.run(120)
    for _ in range(STEPS):
        await dice.choice(doings)()
        machine.note()
        await rig.run(15)
        machine.check()
    await rig.close()
