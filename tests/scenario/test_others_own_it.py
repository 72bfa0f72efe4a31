"""Others who own the object: it is asked or handed over, with where to change it, and never fought over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.domain.decision import Code, Verdict
from app.domain.json import Obj
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, closed, decision, policy, writes

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


async def test_a_job_that_failed_is_told_with_its_last_words_and_nothing_is_done(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-latency", rules=policy(), use_api=False)
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "it has reached its limit",
    }
    template = {"spec": {"containers": [{"name": "main", "image": "i:1"}], "restartPolicy": "Never"}}
    job = _object(
        "Job", "batch/v1", "import-28", spec={"template": template}, status={"conditions": [failed]}
    )
    rig.cluster.create(job)
    about = alert(
        rig,
        alertname="KubeJobFailed",
        namespace=NAMESPACE,
        deployment="",
        job_name="import-28",
        job="kube-state-metrics",
    )
    await rig.send(body(about))
    await rig.run(60, alerts=False)
    found = await decision(rig)
    assert (found.code, found.rule) == (Code.NO_TARGET, "jobs that fail")
    assert "Job import-28" in found.text
    assert "A run to completion is not restarted or rolled back" in found.text
    assert writes(rig) == []
    await rig.close()
