"""Others who own the object: it is asked or handed over, with where to change it, and never fought over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code, Decision, Mode, Verdict
from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, closed, decision, policy, trail, writes

NAMESPACE = "rag7"


def _owner(kind: str, api: str, name: str) -> Obj:
    return {"apiVersion": api, "kind": kind, "name": name, "uid": f"{name}-uid", "controller": True}


def _object(kind: str, api: str, name: str, **fields: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


async def _gate(rig: Rig) -> tuple[Verdict, str, str]:
    """What ownership said of the last decision, and what would have to change."""
    found = await decision(rig)
    (gate,) = [g for g in found.gates if g.gate == "ownership"]
    return gate.verdict, gate.value, gate.remedy


async def test_an_operator_s_object_is_asked_about_with_where_to_change_it(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-error-rate")
    owner = _owner("Widget", "example.com/v1", "shop")
    rig.cluster.edit(
        Kind.DEPLOYMENT,
        NAMESPACE,
        "langgraph",
        [{"op": "add", "path": "/metadata/ownerReferences", "value": [owner]}],
    )
    await rig.run(300)
    verdict, value, remedy = await _gate(rig)
    assert (verdict, value) == (Verdict.ASK, "Deployment is owned by Widget shop")
    assert "kubectl edit widget.example.com/shop -n rag7" in remedy
    assert writes(rig) == []
    await rig.close()


async def test_a_rollout_s_template_is_never_touched_and_the_rollout_is_named(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-error-rate")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph"}
    rig.cluster.create(
        _object("Rollout", "argoproj.io/v1alpha1", "langgraph", spec={"workloadRef": reference})
    )
    await rig.run(300)
    assert await _gate(rig) == (
        Verdict.DENY,
        "Deployment is only the template of Rollout langgraph (Argo Rollouts)",
        "it is changed in Rollout langgraph (Argo Rollouts): kubectl edit rollout.argoproj.io/langgraph -n rag7",
    )
    assert closed(await decision(rig)) == {"ownership": Code.OWNED}
    assert writes(rig) == []
    await rig.close()


async def test_keda_s_autoscaler_is_left_alone_and_the_patch_for_its_scaled_object_is_shown(
    tmp_path: Path,
) -> None:
    scaler = _object(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        "keda-hpa-api",
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph-api"},
            "minReplicas": 3,
            "maxReplicas": 20,
            "metrics": [],
        },
    )
    scaler["metadata"]["ownerReferences"] = [_owner("ScaledObject", "keda.sh/v1alpha1", "api")]
    rig = await born(tmp_path, "high-latency")
    rig.cluster.create(scaler)
    await rig.run(400)
    verdict, value, remedy = await _gate(rig)
    assert verdict is Verdict.DENY
    assert "HorizontalPodAutoscaler is owned by ScaledObject api (KEDA)" in value
    patch = '{"spec":{"minReplicaCount":8}}'
    assert remedy == f"kubectl patch scaledobject.keda.sh/api -n rag7 --type merge -p '{patch}'"
    assert patch in rig.notebook.text
    assert rig.notebook.text.count("A person is needed") == 1, "who alone may change it is called, once"
    assert writes(rig) == []
    await rig.close()


async def test_sizes_that_a_vertical_autoscaler_sets_are_asked_about_with_its_recommendation(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, "out-of-memory")
    recommended = [{"containerName": "langgraph-embedder", "target": {"memory": "1Gi"}}]
    rig.cluster.create(
        _object(
            "VerticalPodAutoscaler",
            "autoscaling.k8s.io/v1",
            "embedder",
            spec={"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph-embedder"}},
            status={"recommendation": {"containerRecommendations": recommended}},
        )
    )
    await rig.run(400)
    verdict, value, _ = await _gate(rig)
    assert verdict is Verdict.ASK
    assert (
        value
        == "VerticalPodAutoscaler embedder sets its requests and limits (recommends langgraph-embedder 1 GiB)"
    )
    assert writes(rig) == []
    await rig.close()


async def test_a_tool_that_applies_it_from_elsewhere_is_asked_about(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-error-rate")
    mark = [
        {"op": "add", "path": "/metadata/annotations/objectset.rio.cattle.io~1id", "value": "default-web"}
    ]
    rig.cluster.edit(Kind.DEPLOYMENT, NAMESPACE, "langgraph", mark)
    await rig.run(300)
    verdict, value, remedy = await _gate(rig)
    assert (verdict, value) == (Verdict.ASK, "Deployment is applied again and again by Rancher Fleet")
    assert "it is changed where Rancher Fleet takes it from" in remedy
    assert writes(rig) == []
    await rig.close()


async def test_a_tool_that_deployed_it_is_named_with_what_its_next_deployment_does(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-error-rate")
    mark = [{"op": "add", "path": "/metadata/labels/app.kubernetes.io~1managed-by", "value": "pulumi"}]
    rig.cluster.edit(Kind.DEPLOYMENT, NAMESPACE, "langgraph", mark)
    await rig.run(300)
    verdict, value, _ = await _gate(rig)
    told = "Deployment is deployed by Pulumi, whose next deployment brings its own version again"
    assert (verdict, value) == (Verdict.ALLOW, told)
    assert told in rig.notebook.text
    await rig.close()


async def test_replicas_that_keda_sets_are_left_alone_without_an_autoscaler_too(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-latency")
    reference = {"name": "langgraph-api"}
    rig.cluster.create(_object("ScaledObject", "keda.sh/v1alpha1", "api", spec={"scaleTargetRef": reference}))
    await rig.run(400)
    verdict, value, remedy = await _gate(rig)
    assert (verdict, value) == (Verdict.DENY, "ScaledObject api (KEDA) sets the replicas of Deployment")
    patch = '{"spec":{"minReplicaCount":8}}'
    assert remedy == f"kubectl patch scaledobject.keda.sh/api -n rag7 --type merge -p '{patch}'"
    assert writes(rig) == []
    await rig.close()


FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "its limit"}
COMPLETE = {"type": "Complete", "status": "True"}


async def _of_a_job(path: Path, *conditions: Obj, mode: Mode = Mode.APPROVE) -> tuple[Rig, Decision]:
    """The decision on KubeJobFailed of a Job with these conditions; without any it is gone."""
    rig = await born(path, "high-latency", rules=policy(mode=mode), use_api=False)
    template = {"spec": {"containers": [{"name": "main", "image": "i:1"}], "restartPolicy": "Never"}}
    status = {"conditions": list(conditions)}
    if conditions:
        rig.cluster.create(
            _object("Job", "batch/v1", "import-28", spec={"template": template}, status=status)
        )
    labels: dict[str, Any] = {
        "alertname": "KubeJobFailed",
        "namespace": NAMESPACE,
        "deployment": "",
        "job_name": "import-28",
    }
    await rig.send(body(alert(rig, **labels, job="kube-state-metrics")))
    await rig.run(60, alerts=False)
    return rig, await decision(rig)


async def test_a_job_that_failed_is_told_with_its_last_words_and_a_person_is_called(tmp_path: Path) -> None:
    """Nothing is done, and nothing else mends it."""
    rig, found = await _of_a_job(tmp_path, FAILED)
    assert (found.code, found.rule) == (Code.PERSON_NEEDED, "jobs that fail")
    assert "Job import-28 failed (BackoffLimitExceeded: its limit)" in found.text
    assert "A run to completion is not restarted or rolled back" in found.text
    assert "kubectl describe job import-28 -n rag7" in found.text
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert all(gate.code is not Code.UNKNOWN_FACT for gate in found.gates)
    assert writes(rig) == []
    await rig.close()


@pytest.mark.parametrize(
    ("conditions", "mode", "code", "told"),
    [
        ((COMPLETE,), Mode.APPROVE, Code.NOTHING_TO_DO, "Job import-28 is complete"),
        ((), Mode.APPROVE, Code.NO_TARGET, "Job import-28 is gone"),
        ((FAILED,), Mode.OBSERVE, Code.NO_TARGET, "Job import-28 failed"),
    ],
    ids=["complete", "gone", "the rule only observes"],
)
async def test_a_job_that_asks_for_nobody_calls_nobody(
    tmp_path: Path, conditions: tuple[Obj, ...], mode: Mode, code: Code, told: str
) -> None:
    rig, found = await _of_a_job(tmp_path, *conditions, mode=mode)
    assert found.code is code
    assert told in found.text
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def test_what_is_not_changed_here_calls_nobody_in_a_namespace_that_is_paused(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-latency", rules=policy(mode=Mode.APPROVE), use_api=False)
    await rig.operations.pause("namespace:rag7", "maintenance", "kim", None)
    rig.cluster.create(_object("ReplicaSet", "apps/v1", "old-5f6c7d8b9", spec=_replicas()))
    await rig.run(30, alerts=False)
    pod = await _its_pod(rig, "old-5f6c7d8b9")
    await rig.send(body(alert(rig, alertname="KubePodCrashLooping", deployment="", pod=pod)))
    await rig.run(60, alerts=False)
    assert (await decision(rig)).code is Code.PAUSED
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


def _replicas() -> Obj:
    labels = {"app": "old"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "i:1"}]}}
    return {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}


async def _its_pod(rig: Rig, name: str) -> str:
    pods = await rig.cluster.list_objects(Kind.POD, NAMESPACE)
    return next(n for p in pods if (n := str(p["metadata"]["name"])).startswith(name))


@pytest.mark.parametrize(
    ("owner", "told", "look_at"),
    [
        (
            None,
            "belongs to ReplicaSet old-5f6c7d8b9, which no Deployment owns, and is not changed here",
            "kubectl describe replicaset old-5f6c7d8b9 -n rag7",
        ),
        (
            ("Rollout", "argoproj.io/v1alpha1", "old"),
            "belongs to Rollout old (Argo Rollouts), which is not changed here",
            "kubectl argo rollouts get rollout old -n rag7",
        ),
        (
            ("Widget", "example.com/v1", "old"),
            "belongs to Widget old, which is not changed here",
            "kubectl describe widget.example.com/old -n rag7",
        ),
    ],
    ids=["ReplicaSet", "Rollout", "operator"],
)
async def test_a_pod_of_what_is_not_changed_here_is_told_with_whose_it_is_and_a_person_is_called(
    tmp_path: Path, owner: tuple[str, str, str] | None, told: str, look_at: str
) -> None:
    """It is there: nothing says that it cannot be found."""
    rig = await born(tmp_path, "high-latency", rules=policy(mode=Mode.APPROVE), use_api=False)
    made = _object("ReplicaSet", "apps/v1", "old-5f6c7d8b9", spec=_replicas())
    if owner is not None:
        made["metadata"]["ownerReferences"] = [_owner(*owner)]
    if owner and owner[0] == "Rollout":
        rig.cluster.create(_object("Rollout", owner[1], "old", spec={}))
    rig.cluster.create(made)
    await rig.run(30, alerts=False)
    pod = await _its_pod(rig, "old-5f6c7d8b9")
    await rig.send(body(alert(rig, alertname="KubePodCrashLooping", deployment="", pod=pod)))
    await rig.run(60, alerts=False)
    found = await decision(rig)
    assert found.code is Code.PERSON_NEEDED
    assert f"Pod {pod} {told}" in found.text
    assert look_at in found.text
    assert "cannot be found" not in found.text
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert writes(rig) == []
    await rig.close()


async def test_a_protected_kind_calls_a_person_where_pods_do_not_come_up_also_where_no_step_would_help(
    tmp_path: Path,
) -> None:
    """A database that crashes by itself has no release behind it: nobody else would call."""
    shipped = policy(steps=("restart",))
    scope = shipped.scope.model_copy(update={"protected_kinds": (Kind.DEPLOYMENT,)})
    rig = await born(tmp_path, "pod-restarting", rules=shipped.model_copy(update={"scope": scope}))
    await rig.run(400)
    assert (await decision(rig)).code is Code.PROTECTED
    (call,) = await trail(rig, EventKind.ESCALATED)
    assert "the policy leaves this kind to people" in call.data["reason"]
    assert "and it is not well: " in call.data["reason"]
    assert writes(rig) == []
    await rig.close()


@pytest.mark.parametrize(("scenario", "called"), [("pod-restarting", 1), ("high-error-rate", 0)])
async def test_a_protected_kind_calls_a_person_where_pods_do_not_come_up_and_what_would_help_is_known(
    tmp_path: Path, scenario: str, called: int
) -> None:
    """Nothing is written to it, by the policy's word. Where all pods serve nobody is woken."""
    shipped = policy()
    scope = shipped.scope.model_copy(update={"protected_kinds": (Kind.DEPLOYMENT,)})
    rig = await born(tmp_path, scenario, rules=shipped.model_copy(update={"scope": scope}))
    await rig.run(400)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.PROTECTED)
    calls = await trail(rig, EventKind.ESCALATED)
    assert len(calls) == called
    assert all("so this is not done: Roll back " in one.data["reason"] for one in calls)
    assert writes(rig) == []
    await rig.close()
