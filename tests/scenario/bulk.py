"""A cluster with ten thousand deployments, of which a few are really alive, and the alerts of a storm over them.

The living ones run the broken release of the shipped scenario, so that there is something to roll back. The others exist
as soon as somebody asks for them: nobody should, in a storm.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.notify.client import Posted, Retry
from app.notify.message import Message
from app.policy.model import Policy, Scope
from app.sim import SimCluster
from app.sim.scenario import Scenario, Step
from app.sim.traffic import Stream
from tests.births import scenario_of
from tests.scenario.notebook import Notebook
from tests.scenario.rig import Reaper, Rig
from tests.scenario.scenes import alert, body, policy

BULK = 10_000
ALIVE = 5
_SPACES = 100


def name_of(number: int) -> str:
    """The deployment with this number."""
    return f"svc-{number:05d}"


def space_of(number: int) -> str:
    """Its namespace: the living ones are in one, the others in a hundred."""
    return "rag7" if number < ALIVE else f"team-{number % _SPACES:02d}"


@cache
def world() -> Scenario:
    """The scenario of the broken release, with `ALIVE` deployments that all got it."""
    shipped = scenario_of("high-error-rate")
    (pattern,) = [
        o for o in shipped.objects if o["metadata"]["name"] == "langgraph" and o["kind"] == "Deployment"
    ]
    (release,) = [s for s in shipped.story if s.patch is not None]
    others = [o for o in shipped.objects if o["metadata"]["name"] != "langgraph"]
    objects = [_renamed(pattern, name_of(n)) for n in range(ALIVE)]
    assert release.patch is not None
    story = [
        Step(at=release.at, patch=release.patch.model_copy(update={"name": name_of(n)})) for n in range(ALIVE)
    ]
    return shipped.model_copy(
        update={
            "name": "bulk",
            "objects": (*others, *objects),
            "story": tuple(story),
            "alerts": (),
            "traffic": tuple(Stream(app=name_of(n), rps=1) for n in range(ALIVE)),
        }
    )


def _renamed(manifest: Obj, name: str) -> Obj:
    """The deployment under another name, its labels and selector too."""
    spec = manifest["spec"]
    template = {**spec["template"], "metadata": {"labels": {"app": name}}}
    metadata = {**manifest["metadata"], "name": name, "labels": {"app": name}}
    changed = {**spec, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {**manifest, "metadata": metadata, "spec": changed}


class Bulk(SimCluster):
    """The simulated cluster, in which a deployment of the bulk is made when it is first asked for."""

    def __init__(self, clock: Any, scenario: Scenario) -> None:
        super().__init__(clock, scenario)
        self.asked: list[str] = []
        (self._pattern,) = [o for o in scenario.objects if o["metadata"]["name"] == name_of(0)]

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """As the port says."""
        if kind is Kind.NAMESPACE:
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"uid-{name}"}}
        if kind is Kind.DEPLOYMENT:
            self.asked.append(name)
            if name.startswith("svc-") and self.peek(kind, namespace, name) is None:
                made = _renamed(self._pattern, name)
                self.create({**made, "metadata": {**made["metadata"], "namespace": namespace}})
        return await super().get(kind, namespace, name)


class Calls(Notebook):
    """A message door that counts calls, and says 429 to all but every `nth` one."""

    def __init__(self, nth: int = 1) -> None:
        super().__init__()
        self.nth = nth
        self.calls = 0
        self.refused = 0
        self.edits = 0

    def _ask(self) -> None:
        self.calls += 1
        if self.calls % self.nth:
            self.refused += 1
            raise Retry("Slack asked us to wait", code="ratelimited", retry_after=7.0)

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        self._ask()
        return await super().post(channel, message, thread_ts, client_tag)

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        self._ask()
        self.edits += 1
        return await super().update(posted, message, client_tag)

    @property
    def roots(self) -> list[str]:
        """The messages of the channel itself, as they stand now."""
        return list(self.parents.values())


class Guard(Reaper):
    """Looks at every commit and every request to the cluster whether a limit is broken, with eyes of its own."""

    def __init__(self, path: Path, policy: Policy) -> None:
        super().__init__()
        self._path, self._policy = path, policy
        self._conn: sqlite3.Connection | None = None
        self.looks = 0
        self.most_in_flight = 0

    def __call__(self, name: str) -> None:
        super().__call__(name)
        if name == "store before commit":
            return
        self._conn = self._conn or sqlite3.connect(self._path)
        self.looks += 1
        (live,) = self._conn.execute("SELECT count(*) FROM runs WHERE ended_at IS NULL").fetchone()
        self.most_in_flight = max(live, self.most_in_flight)
        assert live <= self._policy.defaults.blast_radius.targets_in_flight, f"{live} targets in flight"
        most = {b.per.value: min(one.count for one in b.limit.each) for b in self._policy.budgets}
        rows = self._conn.execute("SELECT scope, count(*) FROM ledger WHERE spent GROUP BY scope")
        for scope, spent in rows:
            limit = most.get(scope.partition(":")[0])
            assert limit is None or spent <= limit, f"{scope}: {spent} of {limit} at {name}"

    def close(self) -> None:
        """Let go of the file."""
        if self._conn is not None:
            self._conn.close()


class Storm:
    """A rig, and the alerts of a storm over its bulk."""

    def __init__(self, rig: Rig, guard: Guard, size: int) -> None:
        self.rig, self.guard, self.size = rig, guard, size
        self.fired: dict[int, dict[str, Any]] = {}

    async def fire(self, *chosen: int, copies: int = 1) -> None:
        """One body with the alerts of these targets, by each member of the pair."""
        for number in chosen:
            self.fired[number] = alert(
                self.rig, started=5, namespace=space_of(number), deployment=name_of(number)
            )
        for _ in range(copies):
            await self.rig.send(body(*(self.fired[number] for number in chosen)))

    async def rise(self, seconds: float, *, copies: int = 1) -> None:
        """The first ones that live fire second by second, then all others within so many seconds."""
        for number in range(ALIVE - 1):
            await self.fire(number, copies=copies)
            await self.rig.run(1, alerts=False)
        groups = [range(at, min(at + 100, self.size)) for at in range(ALIVE, self.size, 100)]
        for group in groups:
            await self.fire(*group, copies=copies)
            await self.rig.run(seconds / len(groups), alerts=False)

    async def fall(self, *chosen: int) -> None:
        """The alerts of these targets resolve; of all that fire when none is named."""
        ended = self.rig.clock.now().isoformat()
        gone = [self.fired.pop(number) for number in (chosen or list(self.fired))]
        for at in range(0, len(gone), 100):
            await self.rig.send(
                body(*({**a, "status": "resolved", "endsAt": ended} for a in gone[at : at + 100]))
            )


@asynccontextmanager
async def storming(path: Path, size: int = BULK, client: Notebook | None = None) -> AsyncIterator[Storm]:
    """A running service over a bulk; only resolved messages tell that an alert is gone."""
    file = path / "rig.sqlite"
    rules = policy({"scope": Scope(namespaces=("rag7", "team-*"))})
    guard = Guard(file, rules)
    rig = Rig(file, world=world(), cluster_type=Bulk, use_api=False, reaper=guard)
    rig.policy = rules
    if client is not None:
        rig.notebook = client
    storm = Storm(await rig.born(), guard, size)
    try:
        yield storm
    finally:
        guard.close()
        await rig.close()
