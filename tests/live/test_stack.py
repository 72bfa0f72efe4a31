"""Smoke tests: each part of the live stack does what the other live tests rely on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.stack import (
    ALL,
    FAULT,
    AlertmanagerFactory,
    ControlPlane,
    MetricsServer,
    Postgres,
    Redis,
    Timing,
    WebhookReceiver,
    wait_until,
)

pytestmark = pytest.mark.live

MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


def _template(annotations: dict[str, str] | None = None, app: str = "web") -> dict[str, Any]:
    containers = [
        {"name": "main", "image": "registry.test/web:1"},
        {"name": "sidecar", "image": "registry.test/s:1"},
    ]
    metadata = {"labels": {"app": app}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": containers}}


def _deployment(plane: ControlPlane, namespace: str, annotations: dict[str, str] | None = None) -> str:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": _template(annotations),
        },
    }
    plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", manifest)
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/web"


def _get(plane: ControlPlane, path: str, **params: str) -> dict[str, Any]:
    found: dict[str, Any] = plane.client().get(path, params=params).raise_for_status().json()
    return found


def _rolled_out(plane: ControlPlane, path: str) -> bool:
    deployment = _get(plane, path)
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas")
        == status.get("availableReplicas")
        == status.get("replicas")
        == wanted
    )


def _pods(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    pods: list[dict[str, Any]] = _get(plane, f"/api/v1/namespaces/{namespace}/pods")["items"]
    return pods


def _container(pod: dict[str, Any], name: str = "main") -> dict[str, Any]:
    statuses = pod["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == name), {})


def _ready_condition(pod: dict[str, Any]) -> str | None:
    return next((c["status"] for c in pod["status"].get("conditions", []) if c["type"] == "Ready"), None)


def test_a_rollout_completes_and_pods_are_deleted_quickly(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = _deployment(control_plane, namespace)
    wait_until(lambda: _rolled_out(control_plane, path), what="the rollout")
    pods = _pods(control_plane, namespace)
    assert [_ready_condition(pod) for pod in pods] == ["True", "True"]
    assert all(pod["status"]["podIP"] for pod in pods)

    names = {pod["metadata"]["name"] for pod in pods}
    first = pods[0]["metadata"]["name"]
    control_plane.client().delete(f"/api/v1/namespaces/{namespace}/pods/{first}").raise_for_status()
    wait_until(lambda: first not in {p["metadata"]["name"] for p in _pods(control_plane, namespace)}, 10.0)
    wait_until(lambda: _rolled_out(control_plane, path), what="the replacement")
    assert {pod["metadata"]["name"] for pod in _pods(control_plane, namespace)} != names


FAULTS = {
    "crash": ("Running", ("waiting", "CrashLoopBackOff"), ("Error", 1)),
    "oom": ("Running", ("waiting", "CrashLoopBackOff"), ("OOMKilled", 137)),
    "flapping": ("Running", ("running", None), ("Error", 1)),
    "image-pull": ("Pending", ("waiting", "ImagePullBackOff"), None),
    "config": ("Pending", ("waiting", "CreateContainerConfigError"), None),
    "not-ready": ("Running", ("running", None), None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows_and_a_template_without_it_heals(
    control_plane: ControlPlane, namespace: str, fault: str
) -> None:
    phase, (state, reason), last = FAULTS[fault]
    path = _deployment(control_plane, namespace, {FAULT: fault, "kwok.test/fault-container": "main"})
    pods = wait_until(
        lambda: [pod for pod in _pods(control_plane, namespace) if _ready_condition(pod) == "False"],
        what="a pod at fault",
    )
    status = _container(pods[0])
    assert pods[0]["status"]["phase"] == phase
    assert not status["ready"]
    assert status["state"][state].get("reason") == reason
    terminated = status.get("lastState", {}).get("terminated")
    assert (terminated and (terminated["reason"], terminated["exitCode"])) == last
    assert (status["restartCount"] > 0) == (last is not None)
    assert _container(pods[0], "sidecar")["ready"]

    heal = {"spec": {"template": {"metadata": {"annotations": {FAULT: None}}}}}
    control_plane.client().patch(path, json=heal, headers=MERGE).raise_for_status()
    wait_until(lambda: _rolled_out(control_plane, path), what="the healed rollout")


def test_an_annotation_breaks_and_heals_a_running_pod(control_plane: ControlPlane, namespace: str) -> None:
    path = _deployment(control_plane, namespace)
    wait_until(lambda: _rolled_out(control_plane, path), what="the rollout")
    pod = f"/api/v1/namespaces/{namespace}/pods/{_pods(control_plane, namespace)[0]['metadata']['name']}"

    def annotate(value: str | None) -> None:
        body = {"metadata": {"annotations": {FAULT: value, "kwok.test/restarts": "9"}}}
        control_plane.client().patch(pod, json=body, headers=MERGE).raise_for_status()

    annotate("oom")
    wait_until(lambda: _ready_condition(_get(control_plane, pod)) == "False")
    broken = _container(_get(control_plane, pod))
    assert broken["lastState"]["terminated"]["reason"] == "OOMKilled"
    annotate(None)
    wait_until(lambda: _ready_condition(_get(control_plane, pod)) == "True")
    assert _container(_get(control_plane, pod))["restartCount"] == 9


def test_a_pod_is_resized_in_place(control_plane: ControlPlane, namespace: str) -> None:
    path = _deployment(control_plane, namespace)
    limits = {
        "spec": {"template": {"spec": {"containers": [{"name": "main", "resources": _resources("64Mi")}]}}}
    }
    control_plane.client().patch(path, json=limits, headers=STRATEGIC).raise_for_status()
    wait_until(lambda: _rolled_out(control_plane, path), what="the rollout")
    pod = f"/api/v1/namespaces/{namespace}/pods/{_pods(control_plane, namespace)[0]['metadata']['name']}"
    body = {"spec": {"containers": [{"name": "main", "resources": _resources("128Mi")}]}}
    control_plane.client().patch(f"{pod}/resize", json=body, headers=STRATEGIC).raise_for_status()
    wait_until(
        lambda: (
            _container(_get(control_plane, pod)).get("resources", {}).get("limits") == {"memory": "128Mi"}
        ),
        what="the new limit in the status",
    )


def _resources(memory: str) -> dict[str, Any]:
    return {"limits": {"memory": memory}, "requests": {"memory": memory}}


@pytest.mark.parametrize(("annotations", "condition"), [({}, "Complete"), ({FAULT: "fail"}, "Failed")])
def test_a_job_ends(
    control_plane: ControlPlane, namespace: str, annotations: dict[str, str], condition: str
) -> None:
    template = _template(annotations, app="job")
    template["spec"]["restartPolicy"] = "Never"
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    spec = {"backoffLimit": 0, "template": template}
    control_plane.create(
        path, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}
    )

    def ended() -> bool:
        conditions = _get(control_plane, f"{path}/j")["status"].get("conditions", [])
        return any(item["type"] == condition and item["status"] == "True" for item in conditions)

    wait_until(ended, what=f"the Job to be {condition}")


def test_logs_come_through_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    path = _deployment(control_plane, namespace)
    wait_until(lambda: _rolled_out(control_plane, path), what="the rollout")
    old = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    pods = control_plane.set_logs(namespace, "app=web", "main", [(old, "started"), "first", "second"])
    control_plane.set_logs(namespace, pods[0], "main", ["panic: out of beans"], previous=True)

    def log(pod: str, **params: str) -> str:
        url = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return control_plane.client().get(url, params=params).raise_for_status().text

    assert len(pods) == 2
    assert log(pods[1], container="main") == "started\nfirst\nsecond\n"
    assert log(pods[1], container="main", tailLines="1") == "second\n"
    assert log(pods[1], container="main", sinceSeconds="600") == "first\nsecond\n"
    assert log(pods[0], container="main", previous="true") == "panic: out of beans\n"
    assert log(pods[0], container="sidecar") == ""


def test_rbac_and_the_audit_log_witness_each_mutation_once(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = _deployment(control_plane, namespace)
    body = {"metadata": {"annotations": {"touched-by": "remediator"}}}
    client = control_plane.client("remediator")
    assert client.patch(path, json=body, headers=MERGE).status_code == 403
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]
    control_plane.grant("remediator", rules, namespace)
    # RBAC works on a cache of the roles.
    wait_until(lambda: client.get(path).is_success, what="the grant")
    client.patch(path, json=body, headers=MERGE, params={"dryRun": "All"}).raise_for_status()
    client.patch(path, json=body, headers={**MERGE, "User-Agent": "smoke/1"}).raise_for_status()

    seen = control_plane.mutations(user="remediator", namespace=namespace)
    assert len(seen) == 1
    assert (seen[0].verb, seen[0].target, seen[0].name) == ("patch", "deployments", "web")
    assert (seen[0].request_object, seen[0].user_agent, seen[0].code) == (body, "smoke/1", 200)
    both = control_plane.mutations(user="remediator", namespace=namespace, include_dry_run=True)
    assert [mutation.dry_run for mutation in both] == [True, False]


@pytest.mark.skipif(not ALL, reason="takes half a minute; make live runs it")
def test_the_metrics_api_tells_what_pods_use(
    control_plane: ControlPlane, namespace: str, metrics_api: MetricsServer
) -> None:
    usage = {"kwok.x-k8s.io/usage-cpu": "250m", "kwok.x-k8s.io/usage-memory": "64Mi"}
    _deployment(control_plane, namespace, usage)
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
    assert control_plane.client("outsider").get(path).status_code == 403
    items = wait_until(
        lambda: _get(control_plane, path)["items"], 90.0, what="the first numbers", interval=0.5
    )
    assert {container["name"] for container in items[0]["containers"]} == {"main", "sidecar"}
    used = items[0]["containers"][0]["usage"]
    assert used["memory"] == "64Mi"
    assert _cores(used["cpu"]) == pytest.approx(0.25, rel=0.2)


def _cores(quantity: str) -> float:
    units = {"n": 1e-9, "u": 1e-6, "m": 1e-3}
    return float(quantity.rstrip("num")) * units.get(quantity[-1], 1.0)


def test_a_kubeconfig_names_the_server_and_the_user(control_plane: ControlPlane) -> None:
    text = control_plane.kubeconfig("remediator").read_text("utf-8")
    assert control_plane.url in text
    assert control_plane.token("remediator") in text


def test_alertmanager_delivers_a_webhook(
    alertmanager: AlertmanagerFactory, receiver: WebhookReceiver
) -> None:
    source = alertmanager(receiver.url, "secret-token")
    labels = {"alertname": "Smoke", "namespace": "shop"}
    source.fire(labels, {"summary": "it smokes"})
    firing = wait_until(lambda: receiver.deliveries, what="the firing webhook")[0]
    assert firing.headers["authorization"] == "Bearer secret-token"
    assert (firing.body["version"], firing.body["status"]) == ("4", "firing")
    assert firing.body["alerts"][0]["labels"] == labels
    source.resolve(labels)
    resolved = wait_until(lambda: receiver.deliveries[1:], what="the resolved webhook")[0]
    assert resolved.body["status"] == "resolved"
    assert resolved.body["alerts"][0]["fingerprint"] == firing.body["alerts"][0]["fingerprint"]
    assert resolved.body["alerts"][0]["startsAt"] == firing.body["alerts"][0]["startsAt"]


@pytest.mark.parametrize(("partitioned", "copies"), [(True, 2), (False, 1)])
def test_two_alertmanagers_both_deliver_only_when_partitioned(
    alertmanager: AlertmanagerFactory, receiver: WebhookReceiver, partitioned: bool, copies: int
) -> None:
    pair = alertmanager(receiver.url, count=2, timing=Timing(peer_timeout="1s", partitioned=partitioned))
    pair.fire({"alertname": "Smoke", "namespace": "shop"})
    wait_until(lambda: len(receiver.deliveries) >= copies, what="the webhooks")
    assert all(pair.alerts(member) for member in (0, 1))
    # The second member's turn comes a second later: let that pass.
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    wait_until(lambda: dt.datetime.now(dt.UTC) > end)
    assert len(receiver.deliveries) == copies
    pair.stop()


def test_postgres_answers_and_keeps_data_over_a_restart(postgres: Postgres) -> None:
    database = postgres.fresh_database()
    assert postgres.execute("SELECT 1", database) == "1"
    assert postgres.fresh_database() != database
    postgres.execute("CREATE TABLE kept AS SELECT 42 AS answer", database)
    postgres.stop()
    postgres.start()
    assert postgres.execute("SELECT answer FROM kept", database) == "42"
    if postgres.has_stat_statements:
        postgres.execute("CREATE EXTENSION pg_stat_statements", database)
        assert int(postgres.execute("SELECT count(*) FROM pg_stat_statements", database)) > 0


def test_redis_answers(redis: Redis) -> None:
    assert redis.ping()
    assert redis.fresh_database() != redis.fresh_database()
