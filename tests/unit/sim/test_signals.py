"""Load, errors and latency; alerts and their notifications; the simulated Prometheus and dependencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.domain.alert import Alert, AlertStatus, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.cluster import LogQuery
from app.domain.errors import ProbeUnavailable
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import SimCluster, VirtualClock, load_scenario
from app.sim.alertmanager import NEVER, Timing
from app.sim.alerts import fingerprint
from tests.unit.sim.worlds import IMAGE, SPACE, World, memory, workload

BUSY = """
behaviours:
  - when: {image: "web:*"}
    capacity: 10
    latency: 200ms
    error_ratio: 0.1
    cpu: {base: 50m, per_rps: 50m}
    memory: {start: 100Mi, per_rps: 1Mi}
    error_lines:
      - {line: "ERROR first {request}", share: 3}
      - {line: "ERROR second {request}"}
traffic: [{app: web, rps: 12}]
alerts:
  - alert: HighErrorRate
    signal: error_ratio
    app: web
    window: 1m
    above: 0.2
    for: 30s
    labels: {deployment: web, severity: critical}
    annotations: {summary: "{value} of the requests to {app} fail"}
"""


def _busy(replicas: int = 2) -> World:
    world = World(BUSY)
    world.create(workload(replicas=replicas, container=memory("1Gi")))
    world.wait(120)
    return world


async def _now(world: World, query: str) -> float:
    ((_, value),) = await world.cluster.metrics.instant(query)
    return value


ERRORS = 'sum(rate(http_requests_total{namespace="shop",pod=~"web-.*",status=~"5.."}[5m]))'
LATENCY = 'histogram_quantile(0.95, http_request_duration_seconds_bucket{app="web"})'
USED = 'container_memory_working_set_bytes{namespace="shop",pod=~"web-[a-z0-9]{1,10}-[a-z0-9]{5}"}'
THROTTLED = 'rate(container_cpu_cfs_throttled_periods_total{pod=~"web-.+"}[5m])'


async def test_load_is_shared_by_the_pods_that_are_ready() -> None:
    world = _busy()
    assert {u.cpu["main"] for u in await world.cluster.pod_usage(SPACE, "app=web")} == {350}
    await world.patch("/spec/replicas", 4)
    world.wait(20)
    assert {u.cpu["main"] for u in await world.cluster.pod_usage(SPACE, "app=web")} == {200}
    assert {u.total_memory for u in await world.cluster.pod_usage(SPACE, "app=web")} == {103 * 2**20}


async def test_the_own_error_ratio_does_not_depend_on_load() -> None:
    world = _busy(replicas=4)
    world.wait(300)
    assert await _now(world, ERRORS) == pytest.approx(0.1)


async def test_beyond_its_capacity_a_pod_refuses_the_rest() -> None:
    world = _busy()
    world.cluster.traffic.set_rps("web", 40)
    world.wait(400)
    assert await _now(world, ERRORS) == pytest.approx(0.5 + 0.5 * 0.1)


async def test_latency_grows_with_the_load_and_heals_with_more_pods() -> None:
    world = _busy()
    world.wait(300)
    assert await _now(world, LATENCY) == pytest.approx(0.2 / 0.4, rel=0.01)
    world.cluster.traffic.set_rps("web", 19)
    world.wait(400)
    assert await _now(world, LATENCY) == pytest.approx(4.0, rel=0.01)
    await world.patch("/spec/replicas", 4)
    world.wait(400)
    assert await _now(world, LATENCY) < 0.5


async def test_without_a_ready_pod_every_request_fails() -> None:
    world = _busy()
    await world.patch("/spec/replicas", 0)
    world.wait(400)
    assert world.cluster.alertmanager.alerts()
    samples = world.cluster.traffic.samples("web", 60)
    assert all(s.errors == s.requests and s.latency is None for s in samples)


async def test_error_lines_come_in_their_shares_and_in_the_ratio_of_errors() -> None:
    world = _busy()
    world.wait(480)
    kinds: Counter[str] = Counter()
    for pod in await world.pods():
        text = await world.cluster.logs(LogQuery(SPACE, pod["metadata"]["name"], "main"))
        kinds.update(line.split()[1] for line in text.splitlines())
    assert kinds.total() == pytest.approx(600 * 12 * 0.1, rel=0.02)
    assert kinds["first"] == pytest.approx(3 * kinds["second"], rel=0.02)


async def test_a_limit_on_cpu_throttles() -> None:
    world = World(BUSY)
    limited = {"resources": {"limits": {"cpu": "200m"}}}
    world.create(workload(replicas=2, container=limited))
    world.wait(60)
    assert {u.cpu["main"] for u in await world.cluster.pod_usage(SPACE, "app=web")} == {200}
    assert await _now(world, THROTTLED) == pytest.approx(1 - 200 / 350)


async def test_queries_choose_pods_by_pattern_or_app() -> None:
    world = _busy()
    world.create(workload(name="web-api", image="other:1"))
    world.wait(60)
    pods = {labels["pod"] for labels, _ in await world.cluster.metrics.instant(USED)}
    assert pods == {p["metadata"]["name"] for p in await world.pods()}
    assert await world.cluster.metrics.instant(USED.replace("web-", "none-")) == []
    assert await world.cluster.metrics.instant(ERRORS.replace("web-.*", "web-api-.*")) == [], (
        "it gets no requests"
    )


@pytest.mark.parametrize("query", ["up", "http_requests_total", 'http_requests_total{pod=~"("}'])
async def test_a_query_outside_the_closed_set_is_unavailable(query: str) -> None:
    with pytest.raises(ProbeUnavailable):
        await _busy().cluster.metrics.instant(query)


async def test_an_unreachable_prometheus_is_unavailable() -> None:
    world = _busy()
    world.cluster.metrics.available = False
    with pytest.raises(ProbeUnavailable):
        await world.cluster.metrics.instant(LATENCY)


async def test_a_listed_query_is_answered_by_its_text() -> None:
    listed = (
        'metrics: [{query: "my:ratio  > 0", signal: error_ratio, app: web, window: 1m, labels: {job: web}}]\n'
    )
    world = World(BUSY + listed)
    world.create(workload())
    world.wait(120)
    ((labels, value),) = await world.cluster.metrics.instant("my:ratio > 0")
    assert labels == {"app": "web", "job": "web"}
    assert value == pytest.approx(0.1)


async def test_a_window_gives_the_recorded_samples() -> None:
    world = World(
        'behaviours: [{when: {image: "web:*"}, memory: {start: 100Mi, growth: 1Mi}}]\ntraffic: []\nmetrics:\n'
        "  - {query: rps, signal: request_rate, app: web}\n"
    )
    world.create(workload(replicas=1))
    world.wait(600)
    end = world.clock.now()
    ((labels, samples),) = await world.cluster.metrics.window(USED, end - timedelta(minutes=5), end, 30)
    assert labels["pod"] == (await world.pods())[0]["metadata"]["name"]
    assert len(samples) == 11
    growth = samples[-1].value - samples[0].value
    assert growth == pytest.approx(2**20 * (samples[-1].at - samples[0].at).total_seconds())
    gaps = {(b.at - a.at).total_seconds() for a, b in pairwise(samples)}
    assert gaps == {30.0}


async def test_an_alert_waits_fires_and_resolves() -> None:
    world = _busy()
    assert world.cluster.alertmanager.alerts() == []
    world.cluster.traffic.set_rps("web", 60)
    world.wait(25)
    assert world.cluster.alertmanager.alerts() == []
    world.wait(60)
    (alert,) = world.cluster.alertmanager.alerts()
    assert alert.labels == {
        "alertname": "HighErrorRate",
        "namespace": SPACE,
        "deployment": "web",
        "severity": "critical",
    }
    assert alert.annotations["summary"].endswith("of the requests to web fail")
    assert (await _reported(world, alert.labels)).state is Reported.FIRING
    world.cluster.traffic.set_rps("web", 10)
    world.wait(90)
    assert world.cluster.alertmanager.alerts() == []
    assert (await _reported(world, alert.labels)).state is Reported.GONE


async def _reported(world: World, labels: Mapping[str, str]) -> AlertReport:
    alert = Alert(Source.ALERTMANAGER, "", AlertStatus.FIRING, datetime(2026, 3, 4, tzinfo=UTC), labels)
    (report,) = await world.cluster.alertmanager.states([alert])
    return report


def _firing() -> World:
    world = _busy()
    world.cluster.traffic.set_rps("web", 60)
    return world


def _statuses(bodies: list[Obj]) -> list[tuple[str, str]]:
    return [(b["status"], b["notification_reason"]) for b in bodies]


def _notified(world: World, seconds: int) -> list[Obj]:
    bodies = []
    for _ in range(seconds):
        world.wait(1)
        bodies += world.cluster.alertmanager.poll()
    return bodies


async def test_a_firing_alert_is_notified_once_and_then_resolved() -> None:
    world = _firing()
    (body,) = _notified(world, 200)
    assert (body["status"], body["version"], body["truncatedAlerts"]) == ("firing", "4", 0)
    assert body["groupKey"] == '{}:{alertname="HighErrorRate", deployment="web", namespace="shop"}'
    assert body["groupLabels"] == {"alertname": "HighErrorRate", "deployment": "web", "namespace": "shop"}
    (alert,) = body["alerts"]
    assert (alert["status"], alert["endsAt"]) == ("firing", NEVER)
    assert alert["fingerprint"] == fingerprint(alert["labels"])
    assert body["commonLabels"] == alert["labels"]
    world.cluster.traffic.set_rps("web", 10)
    (resolved,) = _notified(world, 200)
    assert (resolved["status"], resolved["notification_reason"]) == ("resolved", "all alerts resolved")
    assert resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["startsAt"] == alert["startsAt"] < resolved["alerts"][0]["endsAt"]
    assert _notified(world, 200) == []


async def test_a_second_episode_has_another_start() -> None:
    world = _firing()
    bodies = _notified(world, 200)
    world.cluster.traffic.set_rps("web", 10)
    bodies += _notified(world, 200)
    world.cluster.traffic.set_rps("web", 60)
    bodies += _notified(world, 200)
    assert _statuses(bodies) == [
        ("firing", "first notification"),
        ("resolved", "all alerts resolved"),
        ("firing", "first notification"),
    ]
    first, _, second = (b["alerts"][0] for b in bodies)
    assert first["fingerprint"] == second["fingerprint"]
    assert first["startsAt"] < second["startsAt"]


async def test_a_group_waits_and_repeats_as_configured() -> None:
    world = _firing()
    world.cluster.alertmanager.timing = Timing(group_wait=20, group_interval=60, repeat_interval=300)
    assert _statuses(_notified(world, 800)) == [
        ("firing", "first notification"),
        ("firing", "repeat interval elapsed"),
        ("firing", "repeat interval elapsed"),
    ]


async def test_a_silenced_alert_sends_nothing_not_even_that_it_resolved() -> None:
    world = _firing()
    (body,) = _notified(world, 120)
    world.cluster.alertmanager.silence({"alertname": "HighErrorRate"})
    assert (await _reported(world, body["alerts"][0]["labels"])).state is Reported.SILENCED
    world.cluster.traffic.set_rps("web", 10)
    assert _notified(world, 300) == []


async def test_alerts_per_pod_name_their_pod_and_come_in_one_group() -> None:
    world = World(
        'behaviours: [{when: {image: "web:bad"}, crash: {after: 1s}}]\n'
        "alerts:\n"
        "  - alert: PodRestarting\n    signal: restarts\n    app: web\n    window: 5m\n    above: 1\n    for: 10s\n"
        '    per_pod: true\n    labels: {deployment: web}\n    annotations: {summary: "{pod}"}\n'
    )
    world.create(workload(image="web:bad"))
    (body,) = _notified(world, 120)
    pods = [p["metadata"]["name"] for p in await world.pods()]
    assert [a["labels"]["pod"] for a in body["alerts"]] == pods
    assert {a["labels"]["container"] for a in body["alerts"]} == {"main"}
    assert body["alerts"][0]["annotations"] == {"summary": pods[0]}
    assert body["commonAnnotations"] == {}
    await world.patch(IMAGE, "web:good")
    bodies = _notified(world, 120)
    assert _statuses(bodies) == [("firing", "some alerts resolved"), ("resolved", "all alerts resolved")]
    ended = [a["labels"]["pod"] for b in bodies for a in b["alerts"] if a["status"] == "resolved"]
    assert sorted(ended) == pods


async def test_a_dependency_is_healthy_while_its_pods_are_ready() -> None:
    world = World(
        "dependencies:\n"
        "  - name: postgres\n    kind: postgres\n    app: pg\n"
        '    slow_queries: [{query: "SELECT 1", calls: 2, mean_ms: 3}, {query: "SELECT 2", calls: 1, mean_ms: 9}]\n'
        "  - {name: redis, kind: redis, app: none}\n"
    )
    world.create(workload("StatefulSet", name="pg", replicas=1))
    world.wait(10)
    postgres, redis, other = await world.cluster.dependencies.check(["postgres", "redis", "mongo"])
    assert (postgres.healthy, postgres.kind, postgres.text) == (True, "postgres", "SELECT 1 answered in 2 ms")
    assert (redis.healthy, redis.text) == (None, "PING failed: connection refused")
    assert other.healthy is None
    rows = await world.cluster.dependencies.slow_queries("postgres", 1)
    assert [(r.query, r.mean_ms) for r in rows] == [("SELECT 2", 9)]
    await world.patch("/spec/replicas", 0, Kind.STATEFUL_SET, "pg")
    world.wait(10)
    (postgres,) = await world.cluster.dependencies.check(["postgres"])
    assert postgres.healthy is None
    for name in ("postgres", "redis", "mongo"):
        with pytest.raises(ProbeUnavailable):
            await world.cluster.dependencies.slow_queries(name, 10)


@pytest.mark.parametrize("second", [0, 1, 7, 14])
async def test_the_time_before_a_story_is_recorded_whichever_second_it_is_told_at(second: int) -> None:
    clock = VirtualClock(datetime(2026, 3, 4, 10, 0, second, tzinfo=UTC))
    cluster = SimCluster(clock, load_scenario("high-error-rate"))
    released = clock.now() - timedelta(minutes=14)
    query = 'sum(rate(http_requests_total{namespace="rag7",pod=~"langgraph-.*"}[5m]))'
    ((_, samples),) = await cluster.metrics.window(query, released - timedelta(minutes=15), released, 15)
    assert [sample.at for sample in samples][:1] == [released - timedelta(minutes=15)]
    assert (len(samples), min(round(sample.value) for sample in samples)) == (61, 9)


async def test_an_alert_that_somebody_else_sends_is_listed_and_not_sent_again() -> None:
    world = _firing()
    _notified(world, 200)
    labels = {"alertname": "DiskFillsUp", "namespace": "storage"}
    assert (await _reported(world, labels)).state is Reported.GONE
    world.cluster.alertmanager.fires_elsewhere(labels)
    assert (await _reported(world, labels)).state is Reported.FIRING
    assert _notified(world, 200) == []
