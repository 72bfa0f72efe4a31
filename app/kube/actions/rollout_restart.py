"""Restarting all pods of a workload by its own rolling update, as `kubectl rollout restart` does.

Built by handlers. Pure. There is nothing to undo: the new pods are made from the same template.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.change import escape
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.manifest import value_at
from app.kube.newpods.goal import refusal
from app.kube.parse import RESTARTED_AT

RESTART_PATH = f"/spec/template/metadata/annotations/{escape(RESTARTED_AT)}"


def rollout_restart(workload: Workload, now: datetime) -> Action | Impossible:
    """Set the restart annotation of the template to `now`. Refused while paused: the API would take it, and nothing
    would roll."""
    if no := refusal(workload, "a restart"):
        return no
    before = value_at(workload.manifest, RESTART_PATH)
    after = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if before == after:
        return Impossible(f"{workload.target} was restarted in this very second")
    return Action(
        kind=ActionKind.ROLLOUT_RESTART,
        object=workload.ref,
        target=workload.target,
        changes=(FieldChange(RESTART_PATH, before, after),),
        summary=f"Restart {workload.target} ({workload.desired} pods, one rolling update)",
        pods_affected=workload.desired,
        reversible=False,
        undo="nothing to undo: a restart makes equal pods from the same template",
        params={"restarted_at": after},
    )
