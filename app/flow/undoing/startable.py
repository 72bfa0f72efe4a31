"""Could the pods start that an undo makes? The question of the gate `new pods`, asked before anything is put back.

Called by `undo` right before its write, for whatever order it comes from: a rule's word, the end of a temporary change, a person.
Says only what stands in the way; what may not be read holds nothing back, because an undo is the way out, and what could not be read in
passing is read again. Never writes.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain.errors import ClusterRefused, TryLater
from app.domain.new_pods import Finding
from app.domain.plan import Action, FieldChange
from app.flow.services import Services
from app.kube.newpods import new_pods
from app.kube.read import View, read_workload
from app.store.runs import Run

NEW_PODS = "new pods"
"""What a person's `--despite` sets aside besides the holds."""


async def against_undo(services: Services, run: Run, action: Action) -> str:
    """Why no pod could start of what the undo of this action puts back; empty when one could, or it makes none. `action` has its
    real values. Raises TryLater."""
    if NEW_PODS in run.life.get("despite", ()) or not action.changes:
        return ""
    back = replace(action, changes=tuple(FieldChange(c.path, c.after, c.before) for c in action.changes))
    view = View(services.cluster)
    try:
        workload = await read_workload(view, action.target)
        found = await new_pods(view, workload, (back,), services.clock.now())
    except ClusterRefused:
        return ""
    if view.transient_errors:
        raise TryLater(f"whether its pods could start is not known: {view.transient_errors[0]}")
    return "; ".join(f"{NEW_PODS}: {check.text}" for check in found.found(Finding.MISSING))
