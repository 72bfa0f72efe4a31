"""What the service asks the API server for is what the roles grant that are printed for its policy: a read that they forget is refused in a
cluster, and where a refusal says nothing, nobody would ever see it.

Every remediation and procedure runs under a policy that has no other rule, on a cluster that refuses what its role does not grant."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code, Decision
from app.domain.json import Obj
from app.domain.target import Kind
from app.flow.deciding.marks import OWNING
from app.kube.verbs import OPTIONAL, READS
from app.policy.load import load_policy
from app.policy.model import Policy
from app.sim import SimCluster
from remediations import CATALOGUE
from tests.crash.cases import Case, cases
from tests.orders import SCALER
from tests.scenario.rig import Rig
from tests.scenario.roles import Roles
from tests.scenario.scenes import alert, body, decision, policy, the_incident

READ: frozenset[tuple[str, Kind]] = frozenset(
    (p.verb, p.kind) for p in (*READS, *OPTIONAL) if not p.subresource
)


@pytest.mark.parametrize("kind", sorted(OWNING))
def test_every_kind_that_is_read_as_an_owner_may_be_read(kind: Kind) -> None:
    assert ("get", kind) in READ


def _only(rules: Policy, remediation: str) -> Policy:
    """The policy with the rules of this remediation alone; where it has none, with one that says no more than that it may be ordered."""
    own = tuple(r for r in rules.rules if r.remediation == remediation)
    if not own:
        text = f"version: 1\nscope: {{namespaces: [rag7]}}\nrules: [{{name: orders, remediation: {remediation}, mode: approve}}]"
        own = load_policy({"orders.yaml": text}, CATALOGUE).rules
    return rules.model_copy(update={"rules": own})


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_each_step_ends_as_it_should_under_the_roles_of_its_own_rule(
    tmp_path: Path, case: Case
) -> None:
    rig = case.rig(tmp_path / "rig.sqlite")
    rig.policy = _only(case.policy(), case.remediation)
    roles = Roles(rig.policy)
    roles.rule(rig.cluster)
    await rig.born()
    for _ in range(200):
        await case.hand(rig)
        await rig.run(30)
        if await _ended(rig):
            break
    incident = await the_incident(rig)
    assert roles.asked
    assert roles.missing == []
    assert incident.state is case.ends, rig.notebook.text[-3000:]
    await rig.close()


async def _ended(rig: Rig) -> bool:
    try:
        return (await the_incident(rig)).state.closed
    except ValueError:
        return False


def _object(kind: str, api: str, name: str, owner: Obj | None = None, **fields: Any) -> Obj:
    of = {"ownerReferences": [owner]} if owner else {}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "rag7", "labels": {"app": name}, **of},
        **fields,
    }


def _owner(kind: str, api: str, name: str) -> Obj:
    """Its uid is known once the cluster has created the owner."""
    return {"apiVersion": api, "kind": kind, "name": name, "controller": True}


def _create(cluster: SimCluster, manifests: Sequence[Obj]) -> None:
    """In this order: each knows the uid of its owner, as on a real cluster."""
    uids: dict[tuple[str, str], str] = {}
    for manifest in manifests:
        owned = deepcopy(manifest)
        for owner in owned["metadata"].get("ownerReferences", ()):
            owner["uid"] = uids[owner["kind"], owner["name"]]
        created = cluster.create(owned)["metadata"]
        uids[manifest["kind"], created["name"]] = created["uid"]


POD = {"restartPolicy": "Never", "containers": [{"name": "app", "image": "registry.test/app:v1"}]}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph"}
ROLLOUT, CRON = "argoproj.io/v1alpha1", "batch/v1"
SCENES: dict[str, tuple[tuple[Obj, ...], dict[str, str]]] = {
    "a Rollout's pod": (
        (
            _object("Rollout", ROLLOUT, "web", spec={"replicas": 1}),
            _object(
                "ReplicaSet",
                "apps/v1",
                "web-6d4f8",
                _owner("Rollout", ROLLOUT, "web"),
                spec={"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
            ),
            _object("Pod", "v1", "web-6d4f8-x8q2p", _owner("ReplicaSet", "apps/v1", "web-6d4f8"), spec=POD),
        ),
        {"pod": "web-6d4f8-x8q2p"},
    ),
    "a Rollout's pod that is gone": (
        (_object("Rollout", ROLLOUT, "web", spec={"replicas": 1}),),
        {"pod": "web-6d4f8c7b9-x8q2p"},
    ),
    "only the template of a Rollout": (
        (_object("Rollout", ROLLOUT, "web", spec={"workloadRef": DEPLOYMENT}),),
        {"deployment": "langgraph"},
    ),
    "a CronJob's pod": (
        (
            _object("CronJob", CRON, "nightly", spec={"schedule": "0 3 * * *"}),
            _object(
                "Job",
                CRON,
                "nightly-29000000",
                _owner("CronJob", CRON, "nightly"),
                spec={"template": TEMPLATE},
            ),
            _object("Pod", "v1", "nightly-29000000-abcde", _owner("Job", CRON, "nightly-29000000"), spec=POD),
        ),
        {"pod": "nightly-29000000-abcde"},
    ),
    "a CronJob's pod that is gone": (
        (_object("CronJob", CRON, "nightly", spec={"schedule": "0 3 * * *"}),),
        {"pod": "nightly-29000000-abcde"},
    ),
    "a pod of nobody that is gone": ((), {"pod": "web-6d4f8c7b9-x8q2p"}),
    "a CronJob": (
        (_object("CronJob", CRON, "nightly", spec={"schedule": "0 3 * * *"}),),
        {"job_name": "nightly-29000000"},
    ),
    "a workload that KEDA scales": (
        ({**SCALER, "spec": {**SCALER["spec"], "scaleTargetRef": {"name": "langgraph"}}},),
        {"deployment": "langgraph"},
    ),
    "a workload with a HorizontalPodAutoscaler": (
        (
            _object(
                "HorizontalPodAutoscaler",
                "autoscaling/v2",
                "langgraph",
                spec={"scaleTargetRef": DEPLOYMENT, "minReplicas": 2, "maxReplicas": 9},
            ),
        ),
        {"deployment": "langgraph"},
    ),
    "a workload with a VerticalPodAutoscaler": (
        (_object("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", "sizes", spec={"targetRef": DEPLOYMENT}),),
        {"deployment": "langgraph"},
    ),
    "a StatefulSet's pod that is gone": ((), {"pod": "cache-3"}),
}
ALERTS = {
    "high-error-rate": "HighErrorRate",
    "high-latency": "HighLatency",
    "out-of-memory": "OOMKilled",
    "pod-restarting": "PodRestarting",
    "database-connections": "DatabaseConnectionIssues",
    "api-rate-limits": "RateLimitErrors",
}


def test_every_remediation_that_alerts_start_is_tried() -> None:
    assert set(ALERTS) == {name for name, handler in CATALOGUE.items() if handler.procedure is None}


async def _heard(path: Path, remediation: str, scene: str, *, optional: bool) -> tuple[Roles, Decision]:
    rig = Rig(path / "rig.sqlite", use_api=False, stride=30.0)
    rig.policy = _only(policy(), remediation)
    objects, labels = SCENES[scene]
    _create(rig.cluster, objects)
    roles = Roles(rig.policy, () if optional else OPTIONAL)
    roles.rule(rig.cluster)
    await rig.born()
    named: dict[str, Any] = {"deployment": "", "team": "", **labels}
    await rig.send(body(alert(rig, alertname=ALERTS[remediation], **named)))
    await rig.run(400, alerts=False)
    found = await decision(rig)
    await rig.close()
    return roles, found


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("remediation", ALERTS)
async def test_no_right_is_missed_whoever_owns_what_the_alert_names(
    tmp_path: Path, remediation: str, scene: str
) -> None:
    roles, _ = await _heard(tmp_path, remediation, scene, optional=True)
    assert roles.asked
    assert roles.missing == []


@pytest.mark.parametrize("scene", SCENES)
async def test_a_right_that_only_tells_more_closes_nothing_where_it_is_not_granted(
    tmp_path: Path, scene: str
) -> None:
    """A role that was written by hand, or is from before."""
    roles, found = await _heard(tmp_path, "pod-restarting", scene, optional=False)
    assert roles.denied
    assert found.code is not Code.UNKNOWN_FACT, found.text
    assert "cannot get" not in found.text
