"""Any order of deliveries, time, people, faults and deaths: the promises hold after every step.

Hypothesis tells the story; a failing one is shrunk to the shortest that still fails. STATEFUL_EXAMPLES tells more of them
than the default run does.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from app.store import audit, trail
from tests.crash.lives import allowed_before_written, never_over_budget, one_run_a_target
from tests.scenario.rig import Died, Reaper, Rig
from tests.scenario.scenes import alert, body, policy

T = TypeVar("T")
TARGETS = (("HighErrorRate", "langgraph"), ("HighLatency", "langgraph-api"))
PASSING = (
    FaultKind.THROTTLED,
    FaultKind.UNREACHABLE,
    FaultKind.LOST_AFTER,
    FaultKind.LOST_BEFORE,
    FaultKind.CONFLICT,
)


class Service(RuleBasedStateMachine):
    """One service, two targets, and everything that happens around them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.known: list[dict[str, Any]] = []

    def run(self, work: Awaitable[T]) -> T:
        """Drive the loop; a death on the way is followed by a rebirth."""
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """Birth."""
        self.rig = Rig(
            Path(self.folder.name) / "rig.sqlite", scenarios=("high-error-rate", "high-latency"), stride=15
        )
        self.rig.policy = policy()
        self.run(self.rig.born())

    async def _survive(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except Died:
            await self.rig.die()
            await self.rig.born()

    def _send(self, one: dict[str, Any]) -> None:
        self.run(self._survive(self.rig.send(body(one))))

    @rule(which=st.sampled_from(TARGETS), age=st.integers(1, 1200))
    def fires(self, which: tuple[str, str], age: int) -> None:
        """A new episode."""
        one = alert(self.rig, started=float(age), alertname=which[0], deployment=which[1])
        self.known.append(one)
        self._send(one)

    @rule(data=st.data(), copies=st.integers(1, 3))
    def repeats(self, data: st.DataObject, copies: int) -> None:
        """A known word again, however late, from one or several senders."""
        if self.known:
            one = data.draw(st.sampled_from(self.known))
            for _ in range(copies):
                self._send(one)

    @rule(data=st.data())
    def resolves(self, data: st.DataObject) -> None:
        """An episode ends, maybe for the second time."""
        if self.known:
            one = data.draw(st.sampled_from(self.known))
            ended = {**one, "status": "resolved", "endsAt": self.rig.clock.now().isoformat()}
            self.known.append(ended)
            self._send(ended)

    @rule(seconds=st.sampled_from([1, 7, 30, 120, 900]))
    def time_passes(self, seconds: int) -> None:
        """With the simulated Alertmanager's own deliveries."""
        self.run(self._survive(self.rig.run(seconds)))

    @rule(scope=st.sampled_from(["all", "namespace:rag7", "target:rag7/Deployment/langgraph"]))
    def pauses(self, scope: str) -> None:
        """A person stops it."""
        self.run(self._survive(self.rig.operations.pause(scope, "because", "kim", None)))

    @rule()
    def resumes(self) -> None:
        """A person lifts all pauses."""

        async def lift() -> None:
            for pause in await self.rig.operations.pauses():
                try:
                    await self.rig.operations.resume(pause.scope, "kim")
                except Refused:  # lifted by a time limit meanwhile
                    continue

        self.run(self._survive(lift()))

    @rule(which=st.sampled_from(TARGETS), replicas=st.integers(1, 9))
    def somebody_edits(self, which: tuple[str, str], replicas: int) -> None:
        """By hand, past the service."""
        self.rig.cluster.edit(
            Kind.DEPLOYMENT,
            "rag7",
            which[1],
            [{"op": "replace", "path": "/spec/replicas", "value": replicas}],
        )

    @rule(which=st.sampled_from(TARGETS))
    def somebody_recreates(self, which: tuple[str, str]) -> None:
        """The same name, another object."""
        self.rig.cluster.recreate(Kind.DEPLOYMENT, "rag7", which[1])

    @rule(
        effect=st.sampled_from(PASSING),
        verb=st.sampled_from(["get", "list", "patch"]),
        times=st.integers(1, 4),
    )
    def the_cluster_fails(self, effect: FaultKind, verb: Any, times: int) -> None:
        """The next requests of this kind."""
        self.rig.cluster.faults.add(Fault(effect, verb=verb, times=times))

    @rule(within=st.integers(1, 25))
    def the_process_dies_soon(self, within: int) -> None:
        """At one of the next boundaries."""
        self.rig.reaper = Reaper(within)

    @rule()
    def the_process_dies_now(self) -> None:
        """Between two turns of its loops."""
        self.run(self.rig.die())
        self.run(self.rig.born())

    @invariant()
    def within_every_budget(self) -> None:
        """In every window of every limit."""
        if hasattr(self, "rig"):
            self.run(never_over_budget(self.rig))

    @invariant()
    def every_write_was_allowed_before(self) -> None:
        """Decision, second look, intent, write; once each."""
        if hasattr(self, "rig"):
            self.run(allowed_before_written(self.rig))

    @invariant()
    def one_live_run_a_target(self) -> None:
        """Whatever raced."""
        if hasattr(self, "rig"):
            self.run(one_run_a_target(self.rig))

    @invariant()
    def the_trail_is_whole(self) -> None:
        """After every death too."""
        if hasattr(self, "rig"):
            report = self.run(self.rig.store.read(trail.verify))
            assert report.ok, report.problem

    @invariant()
    def no_second_look_allowed_a_resolved_alert(self) -> None:
        """At the second look the store held at least one alert of the incident as firing."""
        if not hasattr(self, "rig"):
            return
        trail = self.run(self.rig.store.read(lambda conn: audit.page(conn, 0, 100_000)))
        firing: dict[str, set[str]] = {}
        for record in trail:
            episode = str(record.data.get("episode", ""))
            if record.kind is EventKind.ALERT_FIRED:
                firing.setdefault(record.incident_id, set()).add(episode)
            elif record.kind is EventKind.ALERT_RESOLVED:
                firing.setdefault(record.incident_id, set()).discard(episode)
            elif record.kind is EventKind.RECHECKED and record.data["verdict"] == "allow":
                assert firing.get(record.incident_id), (
                    f"{record.data['action']} was allowed for a resolved alert"
                )

    def teardown(self) -> None:
        """The end of the story."""
        if hasattr(self, "rig"):
            self.run(self.rig.close())
        self.loop.close()
        self.folder.cleanup()


TestService = Service.TestCase
TestService.settings = settings(
    max_examples=int(os.environ.get("STATEFUL_EXAMPLES", "15")),
    stateful_step_count=20,
    deadline=None,
    derandomize="STATEFUL_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
