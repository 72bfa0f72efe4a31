"""Diagnose on a real API server: every section is filled from real objects, within two seconds on an idle cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.diagnose import screen
from app.domain.json import Obj
from app.flow.diagnosing.look import SECTIONS, diagnose
from app.kube.client import KubeCluster
from app.observe.system import SystemClock
from app.policy.load import load_policy
from remediations import CATALOGUE
from tests.live.stack import ControlPlane, wait_until
from tests.live.workload import Shop
from tests.scenario.rig import Rig

pytestmark = pytest.mark.live

_SECONDS = 2.0
_OF_THE_STORE = {"Alerts, last 24 h", "Decisions, last 24 h", "Runs, last 24 h"}


def furnish(plane: ControlPlane, shop: Shop) -> None:
    """A workload in its second revision with everything around it."""
    space = f"namespaces/{shop.namespace}"
    quota = {"hard": {"limits.memory": "8Gi", "pods": "20"}}
    plane.create(f"/api/v1/{space}/resourcequotas", named("ResourceQuota", "team", spec=quota))
    limits = {"limits": [{"type": "Container", "max": {"memory": "2Gi"}}]}
    plane.create(f"/api/v1/{space}/limitranges", named("LimitRange", "sizes", spec=limits))
    shop.create()
    shop.image("registry.test/web:2")
    shop.settle()
    service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    plane.create(f"/api/v1/{space}/services", named("Service", "web", spec=service))
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    plane.create(
        f"/apis/policy/v1/{space}/poddisruptionbudgets", named("PodDisruptionBudget", "web", spec=budget)
    )
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    sizes = {"scaleTargetRef": scaled, "minReplicas": 2, "maxReplicas": 4}
    plane.create(
        f"/apis/autoscaling/v2/{space}/horizontalpodautoscalers",
        named("HorizontalPodAutoscaler", "web", spec=sizes),
    )
    pod = next(iter(shop.pods()))
    plane.set_logs(
        shop.namespace, pod, "main", [(SystemClock().now(), "ERROR app OperationalError: connection refused")]
    )
    about = {"kind": "Pod", "name": pod, "namespace": shop.namespace}
    plane.create(f"/api/v1/{space}/events", warning(about))


def named(kind: str, name: str, **rest: Any) -> Obj:
    return {"kind": kind, "metadata": {"name": name}, **rest}


def warning(about: Obj) -> Obj:
    now = SystemClock().now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "Event",
        "metadata": {"generateName": "web."},
        "involvedObject": about,
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "type": "Warning",
        "count": 3,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "kubelet"},
    }


async def test_every_section_is_filled_within_two_seconds(
    cluster: KubeCluster, control_plane: ControlPlane, shop: Shop, tmp_path: Path
) -> None:
    furnish(control_plane, shop)
    rig = await Rig(tmp_path / "rig.sqlite").born()
    policy = load_policy({"p.yaml": f"version: 1\nscope: {{namespaces: [{shop.namespace}]}}\n"}, CATALOGUE)
    services = replace(rig.services, cluster=cluster, clock=SystemClock(), policy=lambda: policy)

    def budgeted() -> bool:
        path = f"/apis/policy/v1/namespaces/{shop.namespace}/poddisruptionbudgets/web"
        found: Any = control_plane.client().get(path).raise_for_status().json()
        return bool((found.get("status") or {}).get("currentHealthy") == 2)

    wait_until(budgeted, 30.0, what="the disruption budget to be counted")
    found: Any = (await diagnose(services, shop.namespace, "Deployment", "web")).to_json()
    sections = {s["name"]: s for s in found["sections"]}
    told = {name: "\n".join(s["lines"]) for name, s in sections.items()}
    unread = {name: s["unread"] for name, s in sections.items() if s["unread"]}
    assert set(unread) <= {"Usage"}, unread  # its server runs only where another test has asked for it
    empty = {name for name, _, none in SECTIONS if told[name] == none} - set(unread)
    assert (empty, set(told) >= _OF_THE_STORE) == (set(), True)
    assert "2 of 2 pods ready" in told["Status"]
    assert "revision 2, present" in told["Revisions"]
    assert "HorizontalPodAutoscaler web: 2 to 4" in told["Managed by"]
    assert "3 x Unhealthy Pod/web-" in told["Warnings, last hour"]
    assert "OperationalError: connection refused" in told["Errors, last 5 min"]
    assert told["Endpoints"] == "Service web (80/TCP): 2 of 2 pods ready"
    assert "PodDisruptionBudget web: 1 disruption allowed" in told["Disruption budgets"]
    assert "ResourceQuota team: limits.memory 1Gi of 8Gi, pods 2 of 20" in told["Limits and quota"]
    assert found["seconds"] < _SECONDS, found["seconds"]
    assert all(len(line) <= 100 for line in screen(found))
    whole: Any = (await diagnose(services, shop.namespace)).to_json()
    (workloads,) = [s for s in whole["sections"] if s["name"] == "Workloads"]
    assert workloads["lines"] == ["Deployment/web: 2 of 2 ready, complete; by hpa"]
    assert whole["seconds"] < _SECONDS, whole["seconds"]
    await rig.close()
