"""Adjust HPA: other bounds or another target for a workload's autoscaler (runbook, Scaling Procedure, Adjust HPA).

Ordered; needs no alert. An autoscaler that KEDA makes is refused with the command that changes its ScaledObject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from app.domain.evidence import Diagnosis
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Params, Remediation, Scene
from app.kube.actions import Bounds
from remediations.scale_order import autoscaler_findings, of_autoscaler, over
from remediations.shared import act, refuse

ADJUST = "adjust-autoscaler"
Count = Annotated[int, Field(ge=1, le=1_000)]


class AdjustHpaParams(Params):
    """What is to change; null stays as it is."""

    min: Count | None = Field(default=None, description="minReplicas; null: as it is")
    max: Count | None = Field(default=None, description="maxReplicas; null: as it is")
    max_replicas: Count = Field(
        default=1_000, description="No order sets min or max above this; only a rule sets it"
    )
    utilization: Annotated[int, Field(ge=1, le=400)] | None = Field(
        default=None, description="Target utilization in percent of the request, 400 at most; null: as it is"
    )
    average: str = Field(
        default="",
        max_length=16,
        pattern=r"^([1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)?$",
        description="Target of a pod as a quantity, such as `500m` or `2Gi`, where the autoscaler has an AverageValue; empty: as it is",
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
    actions = frozenset({ActionKind.ADJUST_AUTOSCALER})
    procedure: Procedure | None = Procedure()

    async def diagnose(self, scene: Scene, params: AdjustHpaParams) -> Diagnosis:
        """The autoscaler as it is."""
        del params
        found = autoscaler_findings(scene.workload.autoscaler)
        summary = found[0].text if found else f"No autoscaler sizes {scene.workload.target}"
        return Diagnosis(summary, found)

    async def ladder(self, scene: Scene, params: AdjustHpaParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """One step."""
        if params.min is None and params.max is None and params.utilization is None and not params.average:
            return (refuse(ADJUST, "nothing to change was given: min, max, utilization or average"),)
        for value, what in ((params.min, "minReplicas"), (params.max, "maxReplicas")):
            if no := over(value, params.max_replicas, what):
                return (refuse(ADJUST, no),)
        wanted = Bounds(params.min, params.max, params.utilization, params.resource, params.average)
        built = await of_autoscaler(scene, wanted)
        return (act(ADJUST, f"another size was ordered; {diagnosis.summary}", built),)
