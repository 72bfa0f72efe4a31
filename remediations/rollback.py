"""Rollback: back to the newest different revision, or to a chosen one (runbook, Rollback Procedure).

Ordered; needs no alert. Which revision was good nobody asks here: who orders it has chosen, and sees the history first. What a rollback by an
alert is careful about beside that is told, and asked about: they may not know of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from app.domain.actuator import Effect
from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Remediation, Scene
from app.kube.actions import roll_back, roll_back_to, unstick
from app.kube.impossible import Impossible
from app.kube.known_good import pods_by_template
from remediations.aftermath import HEALTH, HEALTH_CHECK, HealthParams, after, health_finding
from remediations.evidence.pods import pods_of
from remediations.evidence.rollouts import (
    KNOWN_GOOD,
    MARKS,
    ONE_WAY_MARKS,
    Ordered,
    Past,
    RollbackParams,
    read_revisions,
    records_of,
    rollout_finding,
    way_back,
)
from remediations.shared import Names, Seconds, act, refuse

ROLL_BACK = "roll-back"


class RollbackOrder(HealthParams):
    """Where to go back to."""

    known_good: Seconds = Field(
        default=KNOWN_GOOD,
        description="So long a revision has to have run without an alert to be told as known good; only a rule sets it",
    )
    one_way: Names = Field(default=ONE_WAY_MARKS, description=MARKS)
    revision: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Revision to restore; null: the one whose pods are ready beside those of the present one, else the newest whose template differs",
    )


class Rollback(Remediation[RollbackOrder]):
    """The handler."""

    name = "rollback"
    runbook = "Rollback Procedure"
    steps: tuple[str, ...] = (ROLL_BACK,)
    params: type[RollbackOrder] = RollbackOrder
    actions = frozenset({ActionKind.ROLL_BACK, ActionKind.DELETE_POD})
    reads_config = True
    fixed_params = frozenset({"known_good", "one_way"})
    rule_first = HEALTH_CHECK
    procedure: Procedure | None = Procedure()

    async def diagnose(self, scene: Scene, params: RollbackOrder) -> Diagnosis:
        """The kept revisions with their images and causes, and the health check as it is."""
        history = rollout_finding(
            await read_revisions(scene.cluster, scene.workload), scene, RollbackParams()
        )
        return Diagnosis(history.text, (history, await health_finding(scene, params)))

    async def ladder(self, scene: Scene, params: RollbackOrder, diagnosis: Diagnosis) -> Sequence[Step]:
        """One step: the template of that revision, and the pod deletions without which a StatefulSet would wait for ever."""
        found = await read_revisions(scene.cluster, scene.workload)
        if isinstance(found, str):
            return (refuse(ROLL_BACK, f"the revisions could not be read: {found}"),)
        health = diagnosis.finding(HEALTH)
        if health is not None and health.data.get("usable") is False:
            return (
                refuse(
                    ROLL_BACK,
                    health.text,
                    f"{health.text}: name a Service of the namespace that chooses the pods",
                ),
            )
        pods = await pods_of(scene.cluster, scene.workload)
        if isinstance(pods, Finding):
            return (refuse(ROLL_BACK, pods.text),)
        made = pods_by_template(scene.workload, found, pods, scene.now)
        if params.revision is None:
            built = roll_back(scene.workload, found, scene.history.left_revisions, pods=made)
        else:
            built = roll_back_to(scene.workload, found, params.revision, made)
        why = "a rollback was ordered" + (f" to revision {params.revision}" if params.revision else "")
        if isinstance(built, Impossible):
            return (act(ROLL_BACK, why, built),)
        records = records_of(found, scene, params.known_good, made)
        past, ordered = Past(found, pods, records), Ordered.THIS if params.revision else Ordered.ANY
        way = await way_back(scene, past, built, params.one_way, ordered=ordered)
        told = "; ".join(filter(None, (why, diagnosis.summary, way.told)))
        step = act(ROLL_BACK, told, built, unstick(scene.workload, pods))
        return (replace(step, asks=way.asks),)

    async def effect(self, scene: Scene, params: RollbackOrder, step: Step) -> Effect | None:
        """Health check, and the cause while the rollout hangs."""
        return await after(scene, params, step)
