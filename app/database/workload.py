"""The workload that an action inside of a database stands for: is it still the one that the decision was about?

Called by the actuators of this package. Only reads.
"""

from __future__ import annotations

from app.domain.actuator import CheckResult, Doors
from app.domain.errors import ObjectChanged, ObjectMissing
from app.domain.plan import Action


async def another_workload(doors: Doors, action: Action) -> CheckResult | None:
    """Why the action may not be carried out any more: its workload is gone, or another one under the same name. None when it is
    the same. Raises the cluster's read errors."""
    ref = action.object
    try:
        manifest = await doors.cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return CheckResult(None, f"{ref} is gone", ObjectMissing.code)
    if manifest["metadata"].get("uid") != ref.uid:
        return CheckResult(
            None, f"{ref} was deleted and created again since the decision", ObjectChanged.code
        )
    return None
