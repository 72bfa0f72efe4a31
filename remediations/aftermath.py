"""What a change of a workload is held against once it is in place: an HTTP health check, its error lines before and after, and
the named cause when its rollout hangs.

Used by procedures, in their diagnosis and while they are verified (`after`). The application is asked only after the change: until
then nobody knows whether there will be one (dry run, pause, an open approval, a refused image), and only the Service is read. Reads
only; what cannot be read is not measured, never fine.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from app.domain.actuator import Effect
from app.domain.errors import RemediatorError
from app.domain.evidence import Certainty, Finding
from app.domain.http_check import HttpAddress
from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.remediation import Params, Scene
from app.domain.target import Kind
from app.domain.workload import RolloutState
from app.kube.parse import parse_pod
from app.kube.read import pod_manifests
from app.kube.rollout import rollout_status
from app.kube.service_address import address_of
from remediations.causes import findings_of, investigate
from remediations.causes.report import CAUSE
from remediations.evidence.error_rates import error_rate
from remediations.evidence.pods import pods_of

HEALTH, ERRORS = "health.http", "errors.before"
_BEFORE, _AFTER = 300.0, 120.0
"""Seconds of log that are read before the change, and at most at each look after it."""

_NAMED = 3
Port = Annotated[int, Field(ge=1, le=65_535)]
Status = Annotated[int, Field(ge=100, le=599)]
ServiceName = Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
HttpPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/%-]{0,200}$")]
"""Without a query: params stand in messages, answers and the audit trail, and a query is where credentials are put."""


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
    found = address_of(services[0], scene.workload, params.port, params.path)
    return found if isinstance(found, str) else await _of_the_target_alone(scene, services[0]) or found


async def _of_the_target_alone(scene: Scene, service: Obj) -> str:
    """Why the Service's answers may not be the target's: it also chooses pods of others. Empty when it does not."""
    name, selector = service["metadata"]["name"], service["spec"]["selector"]
    labels = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    try:
        chosen, own = await asyncio.gather(
            scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, labels),
            pod_manifests(scene.cluster, scene.workload),
        )
    except RemediatorError as error:
        return f"whose pods Service {name} chooses could not be read: {error.message}"
    mine = {m["metadata"]["uid"] for m in own}
    others = sorted(
        m["metadata"]["name"] for m in chosen if m["metadata"]["uid"] not in mine and not parse_pod(m).over
    )
    if not others:
        return ""
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return (
        f"Service {name} also chooses pods that are not {scene.workload.target}'s: {', '.join(others[:_NAMED])}{more}; "
        "their answers would count as its own"
    )


async def health_finding(scene: Scene, params: HealthParams) -> Finding:
    """Where the health check will ask; nothing is sent yet. `data["usable"]` is False when it could not be asked at all."""
    if not params.service:
        text = "No health check is set (param service): the rollout alone tells whether it is healthy"
        return Finding(HEALTH, text, data={"usable": True})
    found = await address(scene, params)
    if isinstance(found, str):
        return Finding(
            HEALTH, f"The health check cannot be made: {found}", Certainty.UNKNOWN, {"usable": False}
        )
    text = f"{found} will be asked after the change (wanted {_wanted(params)})"
    return Finding(HEALTH, text, data={"usable": True})


async def errors_finding(scene: Scene) -> Finding:
    """Error lines a minute and pod of the last five minutes; `data["rate"]` is None when the logs do not tell, and `data["pods"]`
    False when not even the pods could be read."""
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return Finding(ERRORS, pods.text, Certainty.UNKNOWN, {"rate": None, "pods": False})
    rate = await error_rate(scene.cluster, pods, scene.now, _BEFORE)
    if isinstance(rate, str):
        text = f"Error lines before the change are not known: {rate}"
        return Finding(ERRORS, text, Certainty.UNKNOWN, {"rate": None})
    text = f"{rate:g} error lines a minute and pod before the change"
    return Finding(ERRORS, text, data={"rate": rate})


async def after(scene: Scene, params: HealthParams, step: Step) -> Effect | None:
    """How it stands at one look after the change: the cause while the rollout hangs, then health check and error lines."""
    if rollout_status(scene.workload).state is not RolloutState.COMPLETE:
        return await _hangs(scene)
    if not scene.workload.desired:
        return Effect(None, f"it is set, and no pod shows it: {scene.workload.target} has 0 replicas")
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
    elif isinstance(params, AftermathParams):
        found.append(Effect(True, "error lines were not compared: those before the change are not known"))
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


def _wanted(params: HealthParams) -> str:
    return "2xx" if params.status is None else str(params.status)


async def _asked(scene: Scene, params: HealthParams, where: HttpAddress) -> Effect:
    if scene.http is None:
        return Effect(None, f"{where} could not be asked")
    answer = await scene.http.get(where)
    wanted = _wanted(params)
    if answer.status is None:
        return Effect(False, f"{where} gives {answer.fault} (wanted {wanted})")
    good = answer.status == params.status if params.status is not None else 200 <= answer.status < 300
    return Effect(good, f"{where} answers {answer.status}" + ("" if good else f" (wanted {wanted})"))


async def _compared(scene: Scene, params: AftermathParams, before: float) -> Effect:
    pods = await pods_of(scene.cluster, scene.workload)
    rate = (
        pods.text if isinstance(pods, Finding) else await error_rate(scene.cluster, pods, scene.now, _AFTER)
    )
    if isinstance(rate, str):
        return Effect(None, f"error lines after the change are not known yet: {rate}")
    most = round(max(before * params.error_growth, params.few_errors), 1)
    text = f"{rate:g} error lines a minute and pod, {before:g} before"
    return Effect(rate <= most, text + ("" if rate <= most else f" (at most {most:g} are taken as harmless)"))
