"""A cluster whose every object says something with a secret in it: what its controllers, its kubelets and its admission write into
conditions, states, messages and events, and what people write into specs and annotations.

Owns the words and the places. They are put in when the service reads, so that the simulation itself goes on as it would. Used with the search
of `tests.scenario.canaries`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

from app.domain.cluster import LogQuery
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import SimCluster
from app.sim.scenario import Scenario
from tests.scenario.canaries import CANARY

_BAD: dict[Kind, tuple[tuple[str, str, str], ...]] = {
    Kind.HPA: (
        ("ScalingActive", "False", "FailedGetExternalMetric"),
        ("AbleToScale", "False", "FailedGetScale"),
    ),
    Kind.VPA: (("RecommendationProvided", "False", "NoPodsMatched"), ("ConfigUnsupported", "True", "Odd")),
    Kind.SCALED_OBJECT: (
        ("Ready", "False", "ScaledObjectCheckFailed"),
        ("Fallback", "True", "FallbackExists"),
    ),
    Kind.ROLLOUT: (("Progressing", "False", "RolloutAborted"), ("InvalidSpec", "True", "InvalidSpec")),
}
"""What is wrong with those that stand beside a workload: type, status and reason of its conditions."""


def words(place: str, *, quotes: bool = True) -> str:
    """What is said somewhere: a login and a token in a URL, a named value, and, where a controller or the API server speaks, a value that it
    `quotes` and that looks like no secret."""
    named = f"password={CANARY}-{place}-named"
    url = f'Post "https://bot:{CANARY}-{place}-login@hooks.test/v1?token={CANARY}-{place}-token": connection refused'
    quoted = f'spec.x[0].value: Invalid value: "{CANARY}-{place}-value": must be shorter; ' if quotes else ""
    return f"{quoted}{url}; {named}"


def containers(place: str) -> Iterator[Obj]:
    """Two containers, all of whose fields that may hold a secret hold one."""
    for name in ("prepare", "fetch"):
        secret = f"{CANARY}-{place}-{name}"
        yield {
            "name": name,
            "image": "registry.test/prepare:v1",
            "command": ["sh", "-c", f"psql postgresql://app:{secret}-command@db/app"],
            "args": [f"--token={secret}-args", f"{secret}-bare"],
            "env": [
                {"name": "DB_PASSWORD", "value": f"{secret}-env"},
                {"name": "MODE", "value": f"{secret}-plain"},
            ],
            "livenessProbe": {"exec": {"command": ["check", f"{secret}-probe"]}},
            "lifecycle": {"preStop": {"httpGet": {"path": f"/stop?key={secret}-hook", "port": 80}}},
        }


def neighbours(name: str, namespace: str = "rag7") -> tuple[Obj, ...]:
    """What may stand beside a Deployment of this name and scales, sizes or rolls it."""
    of = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}

    def made(kind: str, version: str, spec: Obj) -> Obj:
        meta = {"name": f"{name}-{kind.lower()}", "namespace": namespace}
        return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec, "status": {}}

    trigger = {
        "host": f"amqp://guest:{CANARY}-trigger@mq:5672/",
        "password": f"{CANARY}-trigger",
        "queueName": "q",
    }
    metric = {"metric": {"name": "queue", "selector": {"matchLabels": {"api-key": f"{CANARY}-metric"}}}}
    target = {"type": "External", "external": {**metric, "target": {"type": "Value", "value": "10"}}}
    web = {"name": "slow", "args": [{"name": "token", "value": f"{CANARY}-analysis"}]}
    return (
        made("HorizontalPodAutoscaler", "autoscaling/v2", {"scaleTargetRef": of, "minReplicas": 2, "maxReplicas": 6, "metrics": [target]}),
        made("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", {"targetRef": of, "updatePolicy": {"updateMode": "Off"}}),
        made("ScaledObject", "keda.sh/v1alpha1", {"scaleTargetRef": {"name": name}, "triggers": [{"type": "rabbitmq", "metadata": trigger}]}),
        made("Rollout", "argoproj.io/v1alpha1", {"workloadRef": of, "strategy": {"canary": {"steps": [{"analysis": web}]}}}),
    )  # fmt: skip


def talking(scenario: Scenario, *more: Obj, prepared: bool = True) -> Scenario:
    """The scenario with these objects too, with secrets in all annotations and, where `prepared`, init containers in all workloads."""
    objects = tuple(copy.deepcopy(o) for o in (*scenario.objects, *more))
    for found in objects:
        kind, meta = found["kind"], found["metadata"]
        applied = {"spec": {"env": [{"name": "DB_PASSWORD", "value": f"{CANARY}-{kind}-applied"}]}}
        meta["annotations"] = {
            **(meta.get("annotations") or {}),
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied),
            "team/note": words(f"{kind}-note", quotes=False),
            "kubernetes.io/change-cause": f"kubectl set env deployment/x DB_PASSWORD={CANARY}-{kind}-cause",
        }
        if prepared and kind in ("Deployment", "StatefulSet", "DaemonSet"):
            found["spec"]["template"]["spec"]["initContainers"] = list(containers("init"))
    return scenario.model_copy(update={"objects": objects})


class TalkingCluster(SimCluster):
    """Whatever is read says a secret."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """As it is, with the words."""
        return told(kind, await super().get(kind, namespace, name))

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """As they are, with the words."""
        return [told(kind, found) for found in await super().list_objects(kind, namespace, selector, fields)]

    async def logs(self, query: LogQuery) -> str:
        """Every line says one more."""
        said = words(f"log-{query.container}", quotes=False)
        return "".join(f"{line} {said}\n" for line in (await super().logs(query)).splitlines())


def told(kind: Kind, found: Obj) -> Obj:
    """A copy of the object with secrets in what an object of this kind says of itself."""
    found, place = copy.deepcopy(found), kind.value
    for field in ("note", "message"):
        if kind is Kind.EVENT and field in found:
            found[field] += f": {words(place)}"
    if isinstance(found.get("status"), dict):
        _status(kind, place, found["status"])
    return found


def _status(kind: Kind, place: str, status: Obj) -> None:
    bad = _BAD.get(kind, ())
    kept = [c for c in status.get("conditions") or () if c.get("type") not in {type_ for type_, _, _ in bad}]
    kept += [{"type": type_, "status": is_, "reason": why, "message": "cannot"} for type_, is_, why in bad]
    for condition in kept:
        said = words(f"{place}-{condition['type']}")
        condition["message"] = f"{condition.get('message') or 'told'}: {said}"
    if kept:
        status["conditions"] = kept
    if kind is Kind.ROLLOUT:
        status["phase"], status["message"] = "Degraded", words(f"{place}-message")
    elif status.get("message"):
        status["message"] += f": {words(f'{place}-message')}"
    for state in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        for how in ("state", "lastState"):
            for name, one in (state.get(how) or {}).items():
                if name != "running":
                    own = name == "terminated"  # the process's own words
                    one["message"] = f"{one.get('message', '')} {words(f'{place}-{name}', quotes=not own)}"
