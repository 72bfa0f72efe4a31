"""The shipped scenarios: each fires its alert, heals by the right action and by no other; and the format is strict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.cluster import LogQuery
from app.domain.errors import BadInput
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import SimCluster, VirtualClock, load_scenario, parse_scenario, shipped
from tests.births import cluster_of, scenario_of

REVISION = "deployment.kubernetes.io/revision"
CONTAINER = "/spec/template/spec/containers/0"


class Stage:
    """One shipped scenario and its deployment."""

    def __init__(self, scenario: str, deployment: str) -> None:
        self.clock = VirtualClock()
        self.cluster = cluster_of(self.clock, scenario_of(scenario))
        self.deployment = deployment

    async def patch(self, path: str, value: Any) -> None:
        operations = [{"op": "add", "path": path, "value": value}]
        await self.cluster.patch(Kind.DEPLOYMENT, "rag7", self.deployment, operations)

    async def roll_back(self) -> None:
        """To the template of the revision before the newest."""
        found = await self.cluster.list_objects(Kind.REPLICA_SET, "rag7", f"app={self.deployment}")
        found.sort(key=lambda r: int(r["metadata"]["annotations"][REVISION]))
        template = found[-2]["spec"]["template"]
        del template["metadata"]["labels"]["pod-template-hash"]
        await self.patch("/spec/template", template)

    async def restart(self) -> None:
        """What kubectl rollout restart does."""
        await self.patch(
            "/spec/template/metadata/annotations",
            {"kubectl.kubernetes.io/restartedAt": self.clock.now().isoformat()},
        )

    async def scale(self, replicas: int) -> None:
        await self.patch("/spec/replicas", replicas)

    async def limit(self, memory: str) -> None:
        await self.patch(f"{CONTAINER}/resources/limits/memory", memory)

    def healed(self, minutes: int = 12) -> bool:
        """After the time that a verification takes: has the alert been quiet for all of the last three minutes?"""
        quiet = True
        for second in range(minutes * 60):
            self.clock.advance(1)
            if second >= (minutes - 3) * 60:
                quiet = quiet and not self.cluster.alertmanager.alerts()
        return quiet


Act = Callable[[Stage], Awaitable[None]]


async def _nothing(_stage: Stage) -> None:
    return


CASES: list[tuple[str, str, str, Act, bool]] = [
    ("high-error-rate", "langgraph", "roll back", Stage.roll_back, True),
    ("high-error-rate", "langgraph", "restart", Stage.restart, False),
    ("high-error-rate", "langgraph", "scale to 8", lambda s: s.scale(8), False),
    ("high-error-rate", "langgraph", "more memory", lambda s: s.limit("2Gi"), False),
    ("high-error-rate", "langgraph", "nothing", _nothing, False),
    ("high-latency", "langgraph-api", "scale to 8", lambda s: s.scale(8), True),
    ("high-latency", "langgraph-api", "scale to 5", lambda s: s.scale(5), False),
    ("high-latency", "langgraph-api", "restart", Stage.restart, False),
    ("high-latency", "langgraph-api", "more memory", lambda s: s.limit("2Gi"), False),
    ("high-latency", "langgraph-api", "nothing", _nothing, False),
    ("pod-restarting", "langgraph-worker", "roll back", Stage.roll_back, True),
    ("pod-restarting", "langgraph-worker", "restart", Stage.restart, False),
    ("pod-restarting", "langgraph-worker", "scale to 8", lambda s: s.scale(8), False),
    ("pod-restarting", "langgraph-worker", "more memory", lambda s: s.limit("2Gi"), False),
    ("pod-restarting", "langgraph-worker", "nothing", _nothing, False),
    ("out-of-memory", "langgraph-embedder", "half more memory", lambda s: s.limit("768Mi"), True),
    ("out-of-memory", "langgraph-embedder", "a little more memory", lambda s: s.limit("600Mi"), False),
    ("out-of-memory", "langgraph-embedder", "roll back", Stage.roll_back, False),
    ("out-of-memory", "langgraph-embedder", "restart", Stage.restart, False),
    ("out-of-memory", "langgraph-embedder", "scale to 6", lambda s: s.scale(6), False),
    ("out-of-memory", "langgraph-embedder", "nothing", _nothing, False),
]


@pytest.mark.parametrize(
    ("scenario", "deployment", "act", "heals"),
    [(scenario, deployment, act, heals) for scenario, deployment, _, act, heals in CASES],
    ids=[f"{scenario}: {name}" for scenario, _, name, _, _ in CASES],
)
async def test_a_scenario_heals_by_the_right_action_only(
    scenario: str, deployment: str, act: Act, heals: bool
) -> None:
    stage = Stage(scenario, deployment)
    alerts = stage.cluster.alertmanager.alerts()
    assert alerts, "it fires from the start"
    assert {(a.labels["namespace"], a.labels["deployment"]) for a in alerts} == {("rag7", deployment)}
    await act(stage)
    assert stage.healed() is heals


async def test_error_lines_of_the_bad_release_come_with_it_alone() -> None:
    stage = Stage("high-error-rate", "langgraph")

    async def lines() -> list[str]:
        found = []
        for pod in await stage.cluster.list_objects(Kind.POD, "rag7", "app=langgraph"):
            query = LogQuery("rag7", pod["metadata"]["name"], "langgraph", since_seconds=300)
            found += [line for line in (await stage.cluster.logs(query)).splitlines() if " ERROR " in line]
        return found

    before = await lines()
    own = [line for line in before if "TypeError: connect() got an unexpected keyword argument" in line]
    assert 800 < len(before) < 1000
    assert len(own) / len(before) == pytest.approx(0.96, abs=0.01)
    await stage.roll_back()
    stage.clock.advance(600)
    assert not any("TypeError" in line for line in await lines())
    for dependency in await stage.cluster.dependencies.check(["postgres", "redis"]):
        assert dependency.healthy


async def test_the_bad_release_is_fourteen_minutes_old_and_the_rest_six_days() -> None:
    stage = Stage("high-error-rate", "langgraph")
    sets = await stage.cluster.list_objects(Kind.REPLICA_SET, "rag7", "app=langgraph")
    born = {s["metadata"]["annotations"][REVISION]: s["metadata"]["creationTimestamp"] for s in sets}
    assert born == {"1": "2026-02-26T03:00:01Z", "2": "2026-03-04T02:46:00Z"}
    deployment = await stage.cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert deployment["metadata"]["annotations"]["kubernetes.io/change-cause"] == "release v1.5.0"


async def test_the_restart_before_the_memory_trouble_left_a_revision_with_the_same_image() -> None:
    stage = Stage("out-of-memory", "langgraph-embedder")
    sets = await stage.cluster.list_objects(Kind.REPLICA_SET, "rag7", "app=langgraph-embedder")
    images = [s["spec"]["template"]["spec"]["containers"][0]["image"] for s in sets]
    assert len(images) == 2
    assert len(set(images)) == 1


async def test_the_old_pods_of_the_crashing_release_still_serve() -> None:
    stage = Stage("pod-restarting", "langgraph-worker")
    deployment = await stage.cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph-worker")
    assert deployment["status"]["readyReplicas"] == 3
    assert deployment["status"]["updatedReplicas"] == 1
    (alert,) = stage.cluster.alertmanager.alerts()
    text = await stage.cluster.logs(LogQuery("rag7", alert.labels["pod"], "worker", previous=True))
    assert "KeyError: 'RAG_QUEUE_NAME'" in text


def test_all_stories_can_be_told_in_one_world() -> None:
    cluster = SimCluster(VirtualClock(), load_scenario(*shipped()))
    names = {a.labels["alertname"] for a in cluster.alertmanager.alerts()}
    assert names == {
        "HighErrorRate",
        "HighLatency",
        "PodRestarting",
        "OutOfMemory",
        "PostgresTooManyConnections",
        "APIRateLimiting",
    }
    groups = {b["groupLabels"].get("deployment", "") for b in cluster.alertmanager.poll()}
    assert groups == {
        "",
        "langgraph",
        "langgraph-agent",
        "langgraph-api",
        "langgraph-worker",
        "langgraph-embedder",
    }


def test_the_shipped_scenarios_are_the_runbooks_incidents() -> None:
    assert shipped() == [
        "api-rate-limits",
        "certificate-renewal",
        "clean-checkpoints",
        "configuration-backup",
        "database-backup",
        "database-connections",
        "database-restore",
        "database-vacuum",
        "high-error-rate",
        "high-latency",
        "logs-and-volumes",
        "out-of-memory",
        "pod-restarting",
    ]


HEAD = "version: 1\nname: x\nsummary: y\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: x\n", "s.yaml: summary"),
        (HEAD + "colour: red\n", "s.yaml: colour"),
        (HEAD + "version: 2\n", "s.yaml"),
        (HEAD.replace("1", "2"), "s.yaml: version"),
        (HEAD + "age: soon\n", "s.yaml: age"),
        (HEAD + "behaviours: [{memory: {start: lots}}]\n", "s.yaml: behaviours.0.memory.start"),
        (HEAD + "behaviours: [{cpu: {base: x}}]\n", "s.yaml: behaviours.0.cpu.base"),
        (HEAD + 'behaviours: [{request_line: "{user}"}]\n', "s.yaml: behaviours.0.request_line"),
        (HEAD + "behaviours: [{error_ratio: 2}]\n", "s.yaml: behaviours.0.error_ratio"),
        (HEAD + "story: [{at: -5m}]\n", "s.yaml: story.0"),
        (HEAD + "story: [{at: -5m, delete: Pod/x, traffic: {app: a, rps: 1}}]\n", "s.yaml: story.0"),
        (HEAD + "alerts: [{alert: A, signal: mood, app: x, above: 1}]\n", "s.yaml: alerts.0.signal"),
        (HEAD + "objects: []\n", "s.yaml: objects"),
        (HEAD + "---\nkind: Widget\nmetadata: {name: w}\n", "s.yaml: kind"),
        (HEAD + "---\njust text\n", "s.yaml"),
        ("", "s.yaml"),
        ("a: [\n", "s.yaml"),
    ],
)
def test_a_scenario_that_is_wrong_is_refused_with_its_place(text: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_scenario(text, where="s.yaml")
    assert caught.value.where == where
    assert caught.value.code == "bad_scenario"


def test_a_scenario_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD + "---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n", "utf-8")
    scenario = load_scenario(path)
    assert scenario.objects[0]["metadata"] == {"namespace": "default", "name": "c"}
    with pytest.raises(BadInput, match="cannot be read"):
        load_scenario(tmp_path / "none.yaml")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="there are api-rate-limits, certificate-renewal"):
        load_scenario("low-error-rate")
    with pytest.raises(BadInput):
        load_scenario()


def test_two_namespaces_do_not_join(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD, "utf-8")
    with pytest.raises(BadInput, match="two namespaces"):
        load_scenario("high-latency", path)


STORY = (
    HEAD
    + """
age: 1h
traffic: [{app: web, rps: 1}]
story:
  - at: -10m
    patch: {kind: ConfigMap, name: c, manager: flux, operations: [{op: add, path: /data/a, value: "2"}]}
  - at: 5m
    create: {apiVersion: v1, kind: ConfigMap, metadata: {name: later}, data: {}}
  - {at: 6m, traffic: {app: web, rps: 7}}
  - {at: 7m, delete: ConfigMap/c}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: "1"}
"""
)


def test_a_story_goes_on_after_its_start() -> None:
    clock = VirtualClock()
    cluster = SimCluster(clock, parse_scenario(STORY))

    def found(name: str) -> Obj | None:
        return cluster.peek(Kind.CONFIG_MAP, "default", name)

    config = found("c")
    assert config is not None
    assert config["data"] == {"a": "2"}
    assert config["metadata"]["creationTimestamp"] == "2026-03-04T02:00:00Z"
    flux = config["metadata"]["managedFields"][-1]
    assert (flux["manager"], flux["time"]) == ("flux", "2026-03-04T02:50:00Z")
    clock.advance(299)
    assert found("later") is None
    clock.advance(1)
    assert found("later") is not None
    clock.advance(90)
    cluster.catch_up()
    assert cluster.traffic.samples("web", 2)[-1].requests == 7
    clock.advance(60)
    assert found("c") is None
