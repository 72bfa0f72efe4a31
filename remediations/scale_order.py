"""Scale: an exact number of replicas, up or down (runbook, Scaling Procedure).

Ordered; needs no alert. Where an autoscaler sizes the workload the order is refused with its name, or goes to the autoscaler's
minimum where the rule says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.domain.errors import RemediatorError
from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import Action, ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Params, Remediation, Scene
from app.domain.target import Kind
from app.domain.workload import Autoscaler
from app.kube.actions import Bounds, Impossible, adjust_autoscaler, set_replicas
from remediations.evidence.pods import pods_finding, pods_of, troubles
from remediations.shared import act, refuse

SET_REPLICAS = "set-replicas"


class Autoscaled(StrEnum):
    """What an order means where an autoscaler sizes the workload."""

    REFUSE = "refuse"
    MINIMUM = "minimum"


class ScaleParams(Params):
    """How many pods."""

    replicas: Annotated[int, Field(ge=0, le=1_000)] = Field(description="Wanted number of pods")
    max_replicas: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=1_000, description="No order is for more pods than this; only a rule sets it"
    )
    to_zero: bool = Field(default=False, description="Says that 0 replicas are meant: it stops the workload")
    autoscaler: Autoscaled = Field(
        default=Autoscaled.REFUSE,
        description="Where an autoscaler sizes it: refuse, or set its minimum; only a rule sets it",
    )


class Scale(Remediation[ScaleParams]):
    """The handler."""

    name = "scale"
    runbook = "Scaling Procedure"
    steps: tuple[str, ...] = (SET_REPLICAS,)
    params: type[ScaleParams] = ScaleParams
    actions = frozenset({ActionKind.SCALE, ActionKind.ADJUST_AUTOSCALER})
    fixed_params = frozenset({"autoscaler", "max_replicas"})
    procedure: Procedure | None = Procedure()

    async def diagnose(self, scene: Scene, params: ScaleParams) -> Diagnosis:
        """The pods, and who else sizes the workload."""
        del params
        pods = await pods_of(scene.cluster, scene.workload)
        state = (
            pods
            if isinstance(pods, Finding)
            else pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
        )
        return Diagnosis(state.text, (state, *autoscaler_findings(scene.workload.autoscaler)))

    async def ladder(self, scene: Scene, params: ScaleParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """One step. To 0 only by an explicit word, and it asks where the order is no approval."""
        workload, wanted = scene.workload, params.replicas
        if wanted == 0 and not params.to_zero:
            text = f"0 replicas stop {workload.target}; to_zero=true says that this is wanted"
            return (refuse(SET_REPLICAS, text),)
        if no := over(wanted, params.max_replicas, "replicas"):
            return (refuse(SET_REPLICAS, no),)
        scaler = workload.autoscaler
        if scaler is None:
            built = set_replicas(workload, wanted)
        elif params.autoscaler is Autoscaled.REFUSE or wanted == 0:
            return (refuse(SET_REPLICAS, *_held(scene, scaler, wanted)),)
        else:
            built = await of_autoscaler(scene, Bounds(minimum=wanted))
        step = act(SET_REPLICAS, f"{wanted} replicas were ordered; {diagnosis.summary}", built)
        return (
            replace(step, asks=f"0 replicas stop {workload.target}")
            if wanted == 0 and step.applies
            else step,
        )


def over(wanted: int | None, most: int, what: str) -> str:
    """Why this number is not set; empty when it may be."""
    if wanted is None or wanted <= most:
        return ""
    return f"{what} {wanted} was ordered, and the rule allows at most {most} (param max_replicas)"


def _held(scene: Scene, scaler: Autoscaler, wanted: int) -> tuple[str, str]:
    target = scene.workload.target
    why = (
        f"autoscaler {scaler.ref.name} sizes {target} between {scaler.min_replicas} and {scaler.max_replicas} and would set "
        f"{wanted} back"
    )
    how = f"remediator trigger adjust-hpa --target {target} --param min={max(1, wanted)} --reason '...'"
    return why, f"{why}; change its bounds instead: {how}"


def autoscaler_findings(scaler: Autoscaler | None) -> tuple[Finding, ...]:
    """Who sizes the workload; nothing without an autoscaler."""
    if scaler is None:
        return ()
    text = f"Autoscaler {scaler.ref.name} holds {scaler.min_replicas} to {scaler.max_replicas} replicas, wants {scaler.desired}"
    details = (scaler.last_action,) if scaler.last_action else ()
    return (Finding("autoscaler", text, data={"name": scaler.ref.name}, details=details),)


async def of_autoscaler(scene: Scene, wanted: Bounds) -> Action | Impossible:
    """The change of the workload's autoscaler, which is read anew for it."""
    scaler = scene.workload.autoscaler
    if scaler is None:
        return Impossible(f"no autoscaler sizes {scene.workload.target}")
    try:
        hpa = await scene.cluster.get(Kind.HPA, scaler.ref.namespace, scaler.ref.name)
    except RemediatorError as error:
        return Impossible(f"autoscaler {scaler.ref.name} could not be read: {error.message}")
    return adjust_autoscaler(scene.workload, hpa, wanted)
