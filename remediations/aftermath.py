"""What a change of a workload is held against once it is in place: an HTTP health check, its error lines before and after, and
the named cause when its rollout hangs.

Used by procedures, in their diagnosis (`before`) and while they are verified (`after`). Reads only; what cannot be read is not
measured, never fine.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.domain.actuator import Effect
from app.domain.errors import RemediatorError
from app.domain.evidence import Certainty, Finding
from app.domain.http_check import HttpAddress
from app.domain.plan import Step
from app.domain.remediation import Params, Scene
from app.domain.target import Kind
from app.domain.workload import Pod, RolloutState
from app.kube.rollout import rollout_status
from app.kube.service_address import address_of
from remediations.causes import findings_of, investigate
from remediations.causes.report import CAUSE
from remediations.evidence.logs import read_errors
from remediations.evidence.pods import pods_of

HEALTH, ERRORS = "health.http", "errors.before"
_BEFORE, _AFTER = 300.0, 120.0
"""Seconds of log that are read before the change, and at each look after it."""

Port = Annotated[int, Field(ge=1, le=65_535)]
Status = Annotated[int, Field(ge=100, le=599)]
ServiceName = Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
HttpPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/%?=&-]{0,200}$")]


class HealthParams(Params):
    """The HTTP health check of a procedure."""

    service: ServiceName = Field(
        default="", description="Service in the target's namespace that is asked; empty: no health check"
    )
    port: Port | None = Field(default=None, description="Port of the Service; null: its only one")
    path: HttpPath = Field(default="/health", description="Path that is asked")
    status: Status | None = Field(default=None, description="Expected status; null: any 2xx")


HEALTH_CHECK = frozenset(HealthParams.model_fields)
"""Their names: an order that changed one of them could switch off the check that the rule asks for."""


class AftermathParams(HealthParams):
    """The same with error lines. Both numbers bound what is taken as harmless after the change."""

    error_growth: float = Field(
        default=3.0,
        ge=1.0,
        le=100.0,
        description="Error lines after the change: at most so many times those before",
    )
    few_errors: float = Field(
        default=6.0,
        ge=0.0,
        le=1_000.0,
        description="Error lines a minute and pod that are never held against it",
    )


async def address(scene: Scene, params: HealthParams) -> HttpAddress | str:
    """Where the health check asks, or why it cannot."""
    namespace = scene.workload.target.namespace
    if scene.http is None:
        return "this service has no way to ask a Service of the cluster"
    try:
        services = await scene.cluster.list_objects(
            Kind.SERVICE, namespace, fields=f"metadata.name={params.service}"
        )
    except RemediatorError as error:
        return f"Service {params.service} could not be read: {error.message}"
    if not services:
        return f"there is no Service {params.service} in the namespace {namespace}"
    return address_of(services[0], scene.workload, params.port, params.path)


async def health_finding(scene: Scene, params: HealthParams) -> Finding:
    """What the health check says before the change; `data["usable"]` is False when it could not be asked at all."""
    if not params.service:
        text = "No health check is set (param service): the rollout alone tells whether it is healthy"
        return Finding(HEALTH, text, data={"usable": True, "healthy": None})
    found = await address(scene, params)
    if isinstance(found, str):
        return Finding(
            HEALTH, f"The health check cannot be made: {found}", Certainty.UNKNOWN, {"usable": False}
        )
    effect = await _asked(scene, params, found)
    return Finding(HEALTH, f"Before the change {effect.text}", data={"usable": True, "healthy": effect.good})


async def errors_finding(scene: Scene) -> Finding:
    """Error lines a minute and pod of the last five minutes; `data["rate"]` is None when no log could be read, and `data["pods"]`
    False when not even the pods could."""
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return Finding(ERRORS, pods.text, Certainty.UNKNOWN, {"rate": None, "pods": False})
    rate = await _rate(scene, pods, _BEFORE)
    if rate is None:
        text = "Error lines before the change are not known: no log could be read"
        return Finding(ERRORS, text, Certainty.UNKNOWN, {"rate": None})
    text = f"{rate:g} error lines a minute and pod before the change"
    return Finding(ERRORS, text, data={"rate": rate})


async def _rate(scene: Scene, pods: list[Pod], window: float) -> float | None:
    alive = [p for p in pods if not p.over]
    log = await read_errors(scene.cluster, alive, scene.now, window)
    read = len(log.read) or len(alive)
    if not log.known or not read:
        return None
    return round(log.errors * 60 / window / read, 1)


async def after(scene: Scene, params: HealthParams, step: Step) -> Effect | None:
    """How it stands at one look after the change: the cause while the rollout hangs, then health check and error lines."""
    if rollout_status(scene.workload).state is not RolloutState.COMPLETE:
        return await _hangs(scene)
    found: list[Effect] = []
    if params.service:
        where = await address(scene, params)
        if isinstance(where, str):
            found.append(Effect(None, f"the health check cannot be made: {where}"))
        else:
            found.append(await _asked(scene, params, where))
    before = next((a.params["errors_before"] for a in step.actions if "errors_before" in a.params), None)
    if isinstance(params, AftermathParams) and isinstance(before, int | float):
        found.append(await _compared(scene, params, float(before)))
    if not found:
        return None
    good = next((word for word in (False, None) if any(e.good is word for e in found)), True)
    return Effect(good, "; ".join(e.text for e in found))


async def _hangs(scene: Scene) -> Effect | None:
    """The cause that is more than possible; None as long as there is none, when the rollout's own words tell enough."""
    finding = next((f for f in findings_of(await investigate(scene)) if f.code == CAUSE), None)
    if finding is None or not finding.data.get("code") or finding.data.get("sureness") == "possible":
        return None
    return Effect(False, f"cause: {finding.text}")


async def _asked(scene: Scene, params: HealthParams, where: HttpAddress) -> Effect:
    if scene.http is None:
        return Effect(None, f"{where} could not be asked")
    answer = await scene.http.get(where)
    wanted = "2xx" if params.status is None else str(params.status)
    if answer.status is None:
        return Effect(False, f"{where} gives {answer.fault} (wanted {wanted})")
    good = answer.status == params.status if params.status is not None else 200 <= answer.status < 300
    return Effect(good, f"{where} answers {answer.status}" + ("" if good else f" (wanted {wanted})"))


async def _compared(scene: Scene, params: AftermathParams, before: float) -> Effect:
    pods = await pods_of(scene.cluster, scene.workload)
    rate = None if isinstance(pods, Finding) else await _rate(scene, pods, _AFTER)
    if rate is None:
        return Effect(None, "error lines after the change could not be read")
    most = round(max(before * params.error_growth, params.few_errors), 1)
    text = f"{rate:g} error lines a minute and pod, {before:g} before"
    return Effect(rate <= most, text + ("" if rate <= most else f" (at most {most:g} are taken as harmless)"))
