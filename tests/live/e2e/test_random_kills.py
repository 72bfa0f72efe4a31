"""kill -9 at random moments over many incidents on the real API server, its audit log as the witness.

KILLS and INCIDENTS say how many (`make kills` takes 200 of each on SQLite, and 50 kills of two replicas on Postgres); by
default a few, so that the daily run stays short. Whatever the moments: no alert is lost, no write happens twice, and no run is
left behind.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.domain.json import Obj
from tests.live.e2e.scene import Tools
from tests.live.e2e.service import Place, Service, body_of, policy
from tests.live.e2e.shop import GOOD, Shop, mark_of
from tests.live.e2e.stage import Stage
from tests.live.stack import wait_until

pytestmark = pytest.mark.live

SERVE = ("tests.live.e2e.command", "serve")
KILLS = int(os.environ.get("KILLS", "8"))
INCIDENTS = int(os.environ.get("INCIDENTS", "8"))
LIMIT = 120.0 + 7.0 * INCIDENTS  # seconds
_DONE = frozenset({"fixed", "contained", "escalated", "stuck"})


class Many:
    """Many Deployments of one namespace, each with one alert."""

    def __init__(self, tools: Tools, number: int) -> None:
        self.shop = Shop(tools.plane)
        self.names = [f"web-{n:03d}" for n in range(number)]
        for name in self.names:
            self._create(name)
        # A busy controller writes to what was just made for seconds: an alert is of what runs, or it has seen somebody change it.
        wait_until(self._runs, 120.0, what="the pods of the Deployments")
        made = datetime.now(UTC).replace(microsecond=0)
        wait_until(lambda: datetime.now(UTC) >= made + timedelta(seconds=1), 5.0, what="the next second")
        self.began = datetime.now(UTC)

    def _runs(self) -> bool:
        """Whether each has its pod."""
        items = self.shop.get(self.shop.path("").rstrip("/"))["items"]
        return all((d.get("status") or {}).get("readyReplicas") for d in items)

    def _create(self, name: str) -> None:
        labels = {"app": name}
        resources = {"limits": {"memory": "512Mi"}, "requests": {"memory": "256Mi", "cpu": "10m"}}
        container = {"name": "main", "image": GOOD, "resources": resources}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        self.shop.plane.create(self.shop.path("").rstrip("/"), manifest)

    def body(self, name: str, *, resolved: bool) -> Obj:
        """Its alert, or the end of it."""
        labels = {"alertname": "HighLatency", "namespace": self.shop.namespace, "deployment": name}
        return body_of({**labels, "severity": "critical"}, self.began, resolved=resolved)

    def scaled(self) -> set[str]:
        """Whose change is in place."""
        items = self.shop.get(self.shop.path("").rstrip("/"))["items"]
        return {d["metadata"]["name"] for d in items if d["spec"]["replicas"] == 2}


def _policy() -> str:
    document = json.loads(policy())
    document["blast_radius"]["targets_in_flight"] = 10_000
    for rule in document["rules"]:
        if rule["remediation"] == "high-latency":
            rule["params"] = {"scale_to": 2}
    return json.dumps(document)


def _place(tools: Tools, database_url: str) -> Place:
    return tools.new_place(database_url=database_url, policy_text=_policy())


def _posted(services: Sequence[Service], body: Obj) -> bool:
    """Accepted by whoever lives; Alertmanager repeats what was not."""
    for service in services:
        try:
            if service.post(body).status_code == 202:
                return True
        except httpx.TransportError:
            continue
    return False


def _incidents(services: Sequence[Service]) -> list[Obj]:
    for service in services:
        try:
            found: list[Obj] = []
            cursor = ""
            while True:
                page = service.get("incidents", limit="200", **({"cursor": cursor} if cursor else {}))
                found += page["items"]
                cursor = page.get("next") or ""
                if not cursor:
                    return found
        except httpx.HTTPError:
            continue
    return []


def _states(services: Sequence[Service]) -> Counter[str]:
    return Counter(i["state"] for i in _incidents(services))


def _left(services: Sequence[Service]) -> str:
    """What has not ended, and why as far as it says."""
    open_ones = [i for i in _incidents(services) if i["state"] not in _DONE]
    return "\n".join(
        f"{i.get('target')}: {i['state']}: {i.get('decision') or i.get('headline')}" for i in open_ones
    )


def _live(services: list[Service], crowd: Many, kills: int, dice: random.Random) -> None:
    """Fire, resolve and kill until everything has ended."""
    fire, resolve, killed = list(crowd.names), set(crowd.names), 0
    end, next_kill = time.monotonic() + LIMIT, time.monotonic() + 3.0
    while time.monotonic() < end:
        for service in services:
            if service.dead:
                service.fork(SERVE)
        for name in fire[:4]:
            if _posted(services, crowd.body(name, resolved=False)):
                fire.remove(name)
        for name in sorted(crowd.scaled() & resolve)[:20]:
            if _posted(services, crowd.body(name, resolved=True)):
                resolve.discard(name)
        if killed < kills and time.monotonic() >= next_kill:
            victim = dice.choice(services)
            if not victim.dead:
                victim.kill_and_leave()
                killed += 1
            next_kill = time.monotonic() + dice.uniform(0.2, 2.5)
        if not fire and not resolve and killed >= kills:
            states = _states(services)
            if states and sum(states[s] for s in _DONE) == len(crowd.names):
                return
        time.sleep(0.05)  # real processes: nothing else tells that time has passed
    raise AssertionError(f"not over: {len(fire)} to fire, {len(resolve)} to resolve:\n{_left(services)}")


def _check(services: Sequence[Service], crowd: Many) -> Counter[str]:
    every = [m for m in crowd.shop.written if m.target == "deployments"]
    marks = Counter(mark_of(m) for m in every)
    doubled = [(m.name, m.received, m.code, m.request_object) for m in every if marks[mark_of(m)] != 1]
    assert not doubled, f"written more than once: {doubled}"
    # Who was away for so long that an alert was heard of as firing until the verification ended has undone its change.
    written = Counter(m.name for m in every if not str(mark_of(m)).endswith("/undo"))
    again = [(m.name, m.received, m.request_object) for m in every if written[m.name] != 1]
    assert not again, f"acted upon more than once: {again}"
    assert set(written) == set(crowd.names), f"never written: {set(crowd.names) - set(written)}"
    states = _states(services)
    assert states["stuck"] == 0, states
    return states


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_nothing_is_lost_doubled_or_left_behind_by_random_kills(stage: Stage, backend: str) -> None:
    tools = stage.tools
    url = tools.postgres().fresh_database() if backend == "postgres" else ""
    place = _place(tools, url)
    crowd = Many(tools, INCIDENTS)
    services = [Service(place, f"replica-{n}") for n in range(2 if backend == "postgres" else 1)]
    seed = int(os.environ.get("SEED", "7"))
    try:
        for service in services:
            service.fork(SERVE)
        _live(services, crowd, KILLS, random.Random(seed))
        states = _check(services, crowd)
        asked = services[0].ask("audit", "verify")
        while asked.running:
            time.sleep(0.05)
        assert "ok: " in asked.log_tail(), asked.log_tail()
    finally:
        for service in services:
            service.close()
    print(f"{backend}: {KILLS} kills, {INCIDENTS} incidents, seed {seed}: {dict(states)}")
