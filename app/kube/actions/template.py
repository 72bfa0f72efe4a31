"""What all actions that change a pod template have in common: when they would not roll out.

Pure; used by the builders of this package only.
"""

from __future__ import annotations

from app.domain.workload import Workload
from app.kube.actions.impossible import Impossible


def refusal(workload: Workload, what: str) -> Impossible | None:
    """Why a changed template would not reach the pods by itself, None when it would."""
    if workload.paused:
        return Impossible(
            f"the rollout of {workload.target} is paused, so {what} would not roll out",
            f"see why it is paused, then: kubectl rollout resume {_words(workload)}",
        )
    strategy = workload.manifest["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Impossible(
            f"{workload.target} updates its pods only when they are deleted (OnDelete), so {what} would not roll out",
            "delete its pods one by one after changing it",
        )
    return None


def _words(workload: Workload) -> str:
    target = workload.target
    return f"{target.kind.lower()}/{target.name} -n {target.namespace}"
