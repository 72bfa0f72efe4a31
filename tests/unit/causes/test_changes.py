"""When what the pods use was last written, by whom, and what an older template needs."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.evidence import Certainty
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef
from app.kube.lineage import Write, last_write
from remediations.causes import CauseCode
from remediations.causes.creation import is_missing
from remediations.causes.demands import needed
from remediations.causes.report import FirstCause
from tests.unit.causes.world import World, at


def meta(created: str | None, *writes: tuple[str, str, str]) -> dict[str, Any]:
    fields = [{"manager": m, "time": t, "subresource": s} for m, t, s in writes]
    return {"metadata": {"creationTimestamp": created, "managedFields": fields}}


OLD, EDIT, LATER = "2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z"


@pytest.mark.parametrize(
    ("manifest", "day", "by"),
    [
        (meta(OLD), 1, ""),
        (meta(OLD, ("helm", "2026-03-02T00:00:00Z", ""), ("kubectl-edit", EDIT, "")), 3, "kubectl-edit"),
        (meta(None, ("helm", EDIT, "")), 3, "helm"),
        (meta(OLD, ("kubectl-edit", EDIT, ""), ("kubelet", LATER, "status")), 3, "kubectl-edit"),
        (meta(OLD, ("kube-controller-manager", LATER, "")), 1, ""),
    ],
    ids=[
        "created",
        "edited",
        "no creation",
        "status is no change",
        "a controller's write follows from others",
    ],
)
def test_the_newest_write_that_somebody_made_counts(manifest: dict[str, Any], day: int, by: str) -> None:
    write = last_write(manifest)
    assert isinstance(write, Write)
    assert (write.at.day, write.by) == (day, by)


def test_an_object_without_times_tells_nothing() -> None:
    assert last_write({"metadata": {}}) is None


@pytest.mark.parametrize(
    ("ref", "optional", "wanted"),
    [
        (ConfigRef(Kind.CONFIG_MAP, "c", "A"), False, True),
        (ConfigRef(Kind.CONFIG_MAP, "c"), False, True),
        (ConfigRef(Kind.CONFIG_MAP, "c", "A"), True, False),
        (ConfigRef(Kind.CONFIG_MAP, "c", "B"), False, False),
        (ConfigRef(Kind.SECRET, "c", "A"), False, False),
        (ConfigRef(Kind.SECRET, "regcred"), False, True),
    ],
)
def test_a_template_needs_exactly_what_it_names(ref: ConfigRef, optional: bool, wanted: bool) -> None:
    source = {"configMapKeyRef": {"name": "c", "key": "A", "optional": optional}}
    container = {"name": "app", "image": "i", "env": [{"name": "A", "valueFrom": source}]}
    template = {"spec": {"containers": [container], "imagePullSecrets": [{"name": "regcred"}]}}
    assert needed(template, ref) is wanted


async def test_everything_that_changed_is_told_in_one_list_newest_first() -> None:
    world = World()
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    world.config(changed=2)
    world.put("Service", "web", changed=8, by="argocd", spec={"selector": {"app": "web"}, "ports": []})
    world.put("NetworkPolicy", "open", changed=50, spec={"podSelector": {"matchLabels": {"app": "web"}}})
    world.fields.append(
        {"manager": "alice", "time": at(minutes=12), "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    )
    diagnosis, _ = await world.look()

    changes = diagnosis.finding("changes.recent")
    assert changes is not None
    assert changes.details == (
        "2 min ago: ConfigMap web-config changed by kubectl-edit",
        "8 min ago: Service web changed by argocd",
        "12 min ago: replicas of web set to 3 by alice",
        "30 min ago: revision 2 of web (v1 -> v2) deployed by kubectl-set",
        "50 min ago: NetworkPolicy open changed by helm",
    )


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "HorizontalPodAutoscaler",
            {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 9},
        ),
        ("Service", {"selector": {"app": "web"}, "ports": []}),
        ("NetworkPolicy", {"podSelector": {"matchLabels": {"app": "web"}}}),
        ("ResourceQuota", {"hard": {"pods": "4"}}),
        ("LimitRange", {"limits": [{"type": "Container", "max": {"memory": "2Gi"}}]}),
        ("PersistentVolumeClaim", {"accessModes": ["ReadWriteOnce"]}),
    ],
)
async def test_each_object_that_the_pods_use_is_in_the_list_of_what_changed(kind: str, spec: Obj) -> None:
    """Claims are read where pods wait, a quota and limits where pods are missing."""
    world = World()
    if kind == "PersistentVolumeClaim":
        world.unscheduled(
            "new-0", "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        )
    else:
        world.refused('pods "web-new-x" is forbidden: exceeded quota: web')
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "web"}}
    world.both(lambda s: s.update(volumes=[claim]))
    world.put(kind, "web", changed=8, by="alice", spec=spec)
    diagnosis, _ = await world.look()
    changes = diagnosis.finding("changes.recent")
    assert changes is not None
    assert f"8 min ago: {kind} web changed by alice" in changes.details


async def test_the_size_that_a_workload_was_made_with_is_no_change() -> None:
    world = World()
    world.fields.append({"manager": "ci", "time": at(minutes=12), "fieldsV1": {"f:spec": {"f:replicas": {}}}})
    world.made = {"creationTimestamp": at(minutes=12)}
    diagnosis, _ = await world.look()
    changes = diagnosis.finding("changes.recent")
    assert changes is None or not any("replicas of web" in told for told in changes.details)


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        (
            Kind.CONFIG_MAP,
            "config.missing",
            "Whether configuration is missing is not known: cannot read ConfigMap",
        ),
        (Kind.CONFIG_MAP, "config.changed", "When configuration changed is not known: cannot read ConfigMap"),
        (Kind.POD, "cause.first", "The pods could not be read: cannot read Pod"),
        (Kind.POD, "pods.state", "The pods could not be read: cannot read Pod"),
    ],
)
async def test_promise_4_what_may_not_be_read_is_unknown_and_says_why(
    kind: Kind, code: str, said: str
) -> None:
    world = World()
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    world.crash("new-0", first=3, restarts=4)
    world.cluster.unreadable.add(kind)
    diagnosis, steps = await world.look()

    finding = diagnosis.finding(code)
    assert finding is not None
    assert (finding.certainty, finding.text) == (Certainty.UNKNOWN, said)
    assert not any(s.applies for s in steps.values())


@pytest.mark.parametrize("readable", [True, False])
async def test_a_rollback_waits_for_a_person_where_configuration_may_have_changed_since(
    readable: bool,
) -> None:
    """It runs for five minutes and then crashes: by the release, or by what nobody may look at."""
    world = World()
    world.deployed = 8
    for pod in world.pods.values():
        pod["metadata"]["creationTimestamp"] = at(minutes=8)
    world.both(lambda s: s["containers"][0].update(envFrom=[{"secretRef": {"name": "web-keys"}}]))
    world.config("web-keys", kind="Secret").crash(first=3, restarts=4)
    world.cluster.unreadable |= set() if readable else {Kind.SECRET}
    world.fired = 2
    _, steps = await world.look()

    assert steps["roll-back"].applies is readable
    assert readable or "configuration changed after the rollout is not known" in steps["roll-back"].why


@pytest.mark.parametrize(
    "kind", [Kind.SERVICE, Kind.NETWORK_POLICY, Kind.NODE, Kind.EVENT, Kind.PVC, Kind.SERVICE_ACCOUNT]
)
async def test_a_right_that_is_optional_costs_no_more_than_its_own_cause(kind: Kind) -> None:
    world = World().rolling().crash("new-0")
    world.cluster.unreadable.add(kind)
    diagnosis, steps = await world.look()

    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] == "crash"
    assert steps["roll-back"].applies
    assert kind in (Kind.PVC, Kind.SERVICE_ACCOUNT) or any(f"cannot read {kind}" in d for d in cause.details)


async def test_a_look_asks_a_bounded_number_of_questions() -> None:
    world = World(replicas=60)
    many = [{"secretRef": {"name": f"s{n}"}} for n in range(100)]
    world.both(lambda s: s["containers"][0].update(envFrom=many))
    world.crash()
    await world.investigate()

    assert world.cluster.reads <= 70


async def test_without_a_look_nothing_is_known() -> None:
    diagnosis, _ = await World().look()
    assert not is_missing(diagnosis)
    assert FirstCause(diagnosis).code is None


async def test_promise_12_of_a_secret_only_the_names_of_its_keys_are_known() -> None:
    """Each reference that leads nowhere is named, optional ones are not, and no value is in what was read."""
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "url"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "gone"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x"}}},
        {"name": "E", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "x", "optional": True}}},
        {"name": "F", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "blob"}}},
    ]
    world = World().both(lambda s: s["containers"][0].update(env=env))
    world.put("ConfigMap", "settings", data={"url": "x"}, binaryData={"blob": "eA=="})
    world.put("Secret", "keys", data={"token": "c2VjcmV0LXZhbHVl"})
    found = await world.investigate()
    diagnosis, _ = await world.look()

    assert [(c.code, c.text) for c in found.causes] == [
        (
            CauseCode.CONFIG_MISSING,
            "container app needs key gone of ConfigMap settings, which does not have it",
        ),
        (CauseCode.CONFIG_MISSING, "container app needs Secret absent, which does not exist"),
    ]
    assert is_missing(diagnosis)
    assert not FirstCause(diagnosis).sure  # all pods run: only new ones would wait
    assert "c2VjcmV0" not in repr((found.seen.kept, found.causes, diagnosis))


def _node(ready: str, *, since: float, cordoned: float = 0, made: float = 9_000) -> Any:
    fields: list[dict[str, Any]] = [
        {"manager": "kubelet", "time": at(minutes=0.2), "subresource": "status", "fieldsV1": {}}
    ]
    if cordoned:
        mark: dict[str, Any] = {"f:spec": {"f:unschedulable": {}}}
        fields.append({"manager": "kubectl-cordon", "time": at(minutes=cordoned), "fieldsV1": mark})
    meta = {
        "name": "node-1",
        "uid": "n1",
        "resourceVersion": "1",
        "creationTimestamp": at(minutes=made),
        "managedFields": fields,
    }
    status = {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at(minutes=since)}]}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": meta,
        "spec": {"unschedulable": True} if cordoned else {},
        "status": status,
    }


CORDONED, AGAIN, GONE = (
    "4 min ago: Node node-1 cordoned by kubectl-cordon",
    "6 min ago: Node node-1 became ready again",
    "3 min ago: Node node-1 is not ready any more",
)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (_node("True", since=8_000, cordoned=4), [CORDONED]),
        (_node("True", since=6), [AGAIN]),
        (_node("True", since=6, cordoned=4), [CORDONED, AGAIN]),
        (_node("Unknown", since=3), [GONE]),
        (_node("True", since=6, made=7), []),
    ],
    ids=["cordoned", "ready again", "both", "not ready", "it joined"],
)
async def test_nodes_of_waiting_pods_are_in_the_list_of_changes(node: Any, told: list[str]) -> None:
    world = World().rolling()
    world.cluster.put(node)
    diagnosis, _ = await world.look()
    changes = diagnosis.finding("changes.recent")
    assert changes is not None
    assert [row for row in changes.details if "Node" in row] == told
    assert changes.data["lately"] == ""
