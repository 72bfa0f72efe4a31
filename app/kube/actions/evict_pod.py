"""Evicting one pod: a deletion that PodDisruptionBudgets may refuse. Built by handlers. Pure."""

from __future__ import annotations

from app.domain.plan import Action, ActionKind
from app.domain.workload import Pod, Workload
from app.kube.actions.delete_pod import removal
from app.kube.impossible import Impossible


def evict_pod(pod: Pod, workload: Workload) -> Action | Impossible:
    """Evict exactly this pod (by uid), if somebody will replace it."""
    return removal(ActionKind.EVICT_POD, "Evict", pod, workload)
