"""Promise 10 as a machine: people pause, resume, freeze, silence, lower and remove rules, approve and undo in any order, and no
write of any kind happens under a hold that its orderer did not know of. No action is taken while its alert is silenced, nor under
a rule that only observes or is gone, nor without the approval that the rule wants."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.errors import BadInput, Refused
from app.policy.model import Day, Policy, Temporary, Window
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy

SEEDS = range(40 if os.environ.get("CRASH_ALL") else 4)
STEPS = 40
SCOPES = (
    "all",
    "namespace:rag7",
    "target:rag7/Deployment/langgraph-api",
    "rule:slow answers",
    "remediation:high-latency",
)


def _frozen() -> Window:
    days = [day.value for day in Day]
    written = {"name": "release", "days": days, "from": "00:00", "to": "24:00", "timezone": "UTC"}
    return Window.model_validate_json(json.dumps(written))


@dataclass(frozen=True)
class Conditions:
    """What an action has to meet: its alert is not silenced, and its rule's mode, observe when there is none."""

    silenced: bool
    mode: Mode


@dataclass
class Machine:
    """What people did, and since when each hold stands; `despite` has when each run's undo was ordered in spite of what, and
    `approved` the steps that somebody agreed to."""

    rig: Rig
    dice: random.Random
    rules: Policy
    holds: dict[str, float] = field(default_factory=dict)
    history: list[tuple[float, dict[str, float], Conditions]] = field(default_factory=list)
    despite: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    removed: bool = False
    mode: Mode = Mode.AUTO
    approved: set[str] = field(default_factory=set)

    def note(self) -> None:
        """Remember what holds from now on."""
        self.history.append((self.rig.clock.now().timestamp(), dict(self.holds), self.conditions()))

    def at(self, moment: float) -> tuple[dict[str, float], Conditions]:
        """What held and what an action had to meet at that moment."""
        return next((holds, met) for since, holds, met in reversed(self.history) if since <= moment)

    def set_policy(self) -> None:
        """The policy as the holds say."""
        changed = {
            "mode": Mode.OBSERVE if "ceiling" in self.holds else Mode.AUTO,
            "freeze": (_frozen(),) if "freeze" in self.holds else (),
            "rules": ()
            if self.removed
            else tuple(rule.model_copy(update={"mode": self.mode}) for rule in self.rules.rules),
        }
        self.rig.policy = self.rules.model_copy(update=changed)

    async def pause(self) -> None:
        scope = self.dice.choice(SCOPES)
        try:
            await self.rig.operations.pause(scope, "hands off", "kim", None)
        except BadInput:
            assert (self.removed, scope.partition(":")[0]) == (True, "rule"), (
                "the rule is gone, and no run of it is left"
            )
            return
        self.holds[scope] = self.rig.clock.now().timestamp()

    async def resume(self) -> None:
        for scope in [s for s in self.holds if s in SCOPES]:
            await self.rig.operations.resume(scope, "kim")
            del self.holds[scope]

    async def toggle(self) -> None:
        name = self.dice.choice(["ceiling", "freeze", "service"])
        if name in self.holds:
            del self.holds[name]
        else:
            self.holds[name] = self.rig.clock.now().timestamp()
        self.set_policy()
        if name == "service":  # the service's own ceiling comes with a restart
            await self.rig.die()
            self.rig.ceiling = Mode.OBSERVE if name in self.holds else Mode.AUTO
            await self.rig.born()

    async def toggle_rule(self) -> None:
        self.removed = not self.removed
        self.set_policy()

    async def lower_or_raise(self) -> None:
        self.mode = self.dice.choice([Mode.OBSERVE, Mode.APPROVE, Mode.AUTO, Mode.AUTO])
        self.set_policy()

    async def silence(self) -> None:
        alertmanager = self.rig.cluster.alertmanager
        if self.silenced():
            alertmanager._silences.clear()
        else:
            alertmanager.silence({"namespace": "rag7"})

    def silenced(self) -> bool:
        return bool(self.rig.cluster.alertmanager._silences)

    async def approve(self) -> None:
        for run in await all_runs(self.rig):
            with suppress(Refused):
                await self.rig.operations.approve(run.id, "kim", run.plan_hash)
                self.approved.add(f"{run.id}/{run.step_index}")

    async def load(self) -> None:
        self.rig.cluster.traffic.set_rps("langgraph-api", self.dice.choice([1.0, 20.0, 60.0]))

    async def undo(self) -> None:
        for run in await all_runs(self.rig):
            despite = self.dice.random() < 0.3
            try:
                await self.rig.operations.undo(run.id, "ana", despite=despite)
            except Refused:
                continue
            self.despite.pop(run.id, None)
            if despite:
                self.despite[run.id] = (self.rig.clock.now().timestamp(), frozenset(self.holds))

    async def wait(self) -> None:
        await self.rig.run(self.dice.choice([30.0, 300.0, 900.0]))

    def conditions(self) -> Conditions:
        """What an action has to meet from now on."""
        return Conditions(self.silenced(), Mode.OBSERVE if self.removed else self.mode)

    def check_action(self, marker: str, at: float) -> None:
        """An action against its alert and its rule at its moment."""
        _, met = self.at(at)
        assert not met.silenced, f"{marker} was written while its alert was silenced"
        assert met.mode is not Mode.OBSERVE, f"{marker} was written under a rule that only observes, or none"
        step = marker.rpartition(".")[0]
        assert met.mode is Mode.AUTO or step in self.approved, f"{marker} was written without an approval"

    def check(self) -> None:
        """Every write so far against what held at its moment."""
        for write in self.rig.cluster.mutations:
            if write.dry_run or write.verb == "create":
                continue
            if not write.marker.endswith("/undo"):
                self.check_action(write.marker, write.at.timestamp())
            at = write.at.timestamp()
            held, _ = self.at(at)
            run_id = write.marker.partition("/")[0]
            nobody = (0.0, frozenset[str]())
            ordered, known = self.despite.get(run_id, nobody) if write.marker.endswith("/undo") else nobody
            unknown = {
                name: since
                for name, since in held.items()
                if name not in known or (name in SCOPES and since > ordered)
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
        machine.lower_or_raise,
        machine.silence,
        machine.approve,
        machine.approve,
    ]
    await rig.run(120)
    for _ in range(STEPS):
        await dice.choice(doings)()
        machine.note()
        await rig.run(15)
        machine.check()
    await rig.close()
