"""Adjust HPA: other bounds or another target for a workload's autoscaler (runbook, Scaling Procedure, Adjust HPA).

Ordered; needs no alert. Where KEDA makes the autoscaler its ScaledObject is changed, and KEDA carries that over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from app.domain.errors import AccessDenied, RemediatorError
from app.domain.evidence import Diagnosis
from app.domain.json import Obj
from app.domain.plan import Action, ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Params, Remediation, Scene
from app.domain.target import Kind
from app.kube.actions import Bounds, Impossible, adjust_autoscaler, adjust_scaled_object
from app.kube.actions.adjust_scaled_object import doubt
from app.kube.scaled_objects import maker_of, of_target
from remediations.scale_order import autoscaler_findings, over
from remediations.shared import act, asking, refuse

ADJUST = "adjust-autoscaler"
Count = Annotated[int, Field(ge=1, le=1_000)]
_QUANTITY = r"^([1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)?$"


class AdjustHpaParams(Params):
    """What is to change; null stays as it is."""

    min: Count | None = Field(
        default=None, description="minReplicas, of KEDA minReplicaCount; null: as it is"
    )
    max: Count | None = Field(
        default=None, description="maxReplicas, of KEDA maxReplicaCount; null: as it is"
    )
    max_replicas: Count = Field(
        default=1_000, description="No order sets min or max above this; only a rule sets it"
    )
    utilization: Annotated[int, Field(ge=1, le=400)] | None = Field(
        default=None, description="Target utilization in percent of the request, 400 at most; null: as it is"
    )
    average: str = Field(
        default="",
        max_length=16,
        pattern=_QUANTITY,
        description="Target of a pod as a quantity, such as `500m` or `2Gi`, where the autoscaler has an AverageValue; empty: as it is",
    )
    value: str = Field(
        default="",
        max_length=16,
        pattern=_QUANTITY,
        description="Target of `metric` as a whole, where the autoscaler has a Value; empty: as it is",
    )
    metric: str = Field(
        default="",
        max_length=253,
        description="Name of a metric that is no resource (External, Object or Pods); `average` or `value` is its target",
    )
    resource: str = Field(
        default="cpu", pattern=r"^(cpu|memory)$", description="Whose utilization or average: cpu or memory"
    )


class AdjustHpa(Remediation[AdjustHpaParams]):
    """The handler."""

    name = "adjust-hpa"
    runbook = "Scaling Procedure (Adjust HPA)"
    steps: tuple[str, ...] = (ADJUST,)
    params: type[AdjustHpaParams] = AdjustHpaParams
    fixed_params = frozenset({"max_replicas"})
    actions = frozenset({ActionKind.ADJUST_AUTOSCALER, ActionKind.ADJUST_SCALED_OBJECT})
    procedure: Procedure | None = Procedure()

    async def diagnose(self, scene: Scene, params: AdjustHpaParams) -> Diagnosis:
        """The autoscaler as it is."""
        del params
        found = autoscaler_findings(scene.workload.autoscaler)
        summary = found[0].text if found else f"No autoscaler sizes {scene.workload.target}"
        return Diagnosis(summary, found)

    async def ladder(self, scene: Scene, params: AdjustHpaParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """One step."""
        if no := _contradiction(params):
            return (refuse(ADJUST, no),)
        for value, what in ((params.min, "minReplicas"), (params.max, "maxReplicas")):
            if no := over(value, params.max_replicas, what):
                return (refuse(ADJUST, no),)
        wanted = Bounds(
            params.min,
            params.max,
            params.utilization,
            params.resource,
            params.average,
            params.metric,
            params.value,
        )
        built, doubts = await _built(scene, wanted)
        return (asking(act(ADJUST, f"another size was ordered; {diagnosis.summary}", built), doubts),)


def _contradiction(params: AdjustHpaParams) -> str:
    """Why what was given is no order; empty when it is one."""
    if params.metric and params.utilization is not None:
        return f"a metric that is no resource ({params.metric}) has no utilization: give average or value"
    if params.metric and not params.average and not params.value:
        return f"no target for {params.metric} was given: average or value"
    if params.value and not params.metric:
        return "value is the target of a metric by its name: give metric"
    given = (params.min, params.max, params.utilization, params.average or None, params.value or None)
    if all(one is None for one in given):
        return "nothing to change was given: min, max, utilization, average or value"
    return ""


async def _built(scene: Scene, wanted: Bounds) -> tuple[Action | Impossible, str]:
    """The change of the autoscaler, or of the ScaledObject from which KEDA makes it; and what a person is asked about it."""
    target, scaler, hpa = scene.workload.target, scene.workload.autoscaler, None
    try:
        if scaler is not None:
            hpa = await scene.cluster.get(Kind.HPA, scaler.ref.namespace, scaler.ref.name)
        maker = maker_of(hpa) if hpa else ""
        found = await _scaled_objects(scene, needed=hpa is None or bool(maker))
        if scaler is not None and scaler.others and not found:
            both = ", ".join((scaler.ref.name, *scaler.others))
            return Impossible(
                f"several autoscalers size {target} ({both}), and none of them does then; leave one"
            ), ""
        if len(found) != 1:
            return _without_one(scene, hpa, [m["metadata"]["name"] for m in found], wanted), ""
        name = found[0]["metadata"]["name"]
        # Of two that size one workload neither scales it, and nobody knows which one was meant.
        if scaler is not None and (maker != name or scaler.others):
            both = ", ".join((scaler.ref.name, *scaler.others))
            return Impossible(
                f"ScaledObject {name} and autoscalers not of its making size {target} ({both})"
            ), ""
        manifest = await scene.cluster.get(Kind.SCALED_OBJECT, target.namespace, name)
    except RemediatorError as error:
        return Impossible(f"what sizes {target} could not be read: {error.message}"), ""
    built = adjust_scaled_object(scene.workload, manifest, wanted)
    return built, "" if isinstance(built, Impossible) else doubt(manifest, built)


async def _scaled_objects(scene: Scene, *, needed: bool) -> Sequence[Obj]:
    """Those of the target. Where they may not be listed, an autoscaler that does not bear KEDA's mark is taken for its own."""
    try:
        return await of_target(scene.cluster, scene.workload.target)
    except AccessDenied:
        if needed:
            raise
        return ()


def _without_one(scene: Scene, hpa: Obj | None, names: Sequence[str], wanted: Bounds) -> Action | Impossible:
    """Several ScaledObjects, or none."""
    target = scene.workload.target
    if names:
        told = f"{len(names)} ScaledObjects are for {target} ({', '.join(sorted(names))})"
        return Impossible(told, f"{told}; leave one of them")
    if hpa is None:
        return Impossible(f"no autoscaler sizes {target}")
    if maker := maker_of(hpa):
        name = hpa["metadata"]["name"]
        why = f"autoscaler {name} is marked as KEDA's, and there is no ScaledObject {maker} for {target}"
        return Impossible(why, f"{why}; delete {name}, or create its ScaledObject again")
    return adjust_autoscaler(scene.workload, hpa, wanted)
