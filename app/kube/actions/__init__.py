"""Everything this service can do to a cluster: pure builders from snapshots to typed actions, one file a kind.

Handlers call them; `app.kube.apply` carries the actions out. To add a kind: a builder here, a row in `BUILDERS`, its
verbs in `app.kube.verbs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.plan import Action, ActionKind
from app.kube.actions.adjust_autoscaler import Bounds, adjust_autoscaler
from app.kube.actions.adjust_scaled_object import adjust_scaled_object
from app.kube.actions.delete_pod import delete_pod
from app.kube.actions.evict_pod import evict_pod
from app.kube.actions.raise_memory import Killed, raise_memory
from app.kube.actions.roll_back import roll_back, roll_back_to, unstick
from app.kube.actions.rollout_restart import rollout_restart
from app.kube.actions.rotate_key import rotate_key
from app.kube.actions.scale import scale
from app.kube.actions.set_image import set_image
from app.kube.actions.set_replicas import set_replicas
from app.kube.impossible import Impossible

BUILDERS: Mapping[ActionKind, Callable[..., Action | Impossible | Any]] = {
    ActionKind.ROLLOUT_RESTART: rollout_restart,
    ActionKind.ROLL_BACK: roll_back,
    ActionKind.SCALE: scale,
    ActionKind.RAISE_MIN_REPLICAS: scale,  # the same question; an autoscaler turns the answer into this kind
    ActionKind.RAISE_MEMORY_LIMIT: raise_memory,
    ActionKind.DELETE_POD: delete_pod,
    ActionKind.EVICT_POD: evict_pod,
    ActionKind.SET_IMAGE: set_image,
    ActionKind.ADJUST_AUTOSCALER: adjust_autoscaler,
    ActionKind.ADJUST_SCALED_OBJECT: adjust_scaled_object,
    ActionKind.ROTATE_KEY: rotate_key,
}

__all__ = [
    "BUILDERS",
    "Bounds",
    "Impossible",
    "Killed",
    "adjust_autoscaler",
    "adjust_scaled_object",
    "delete_pod",
    "evict_pod",
    "raise_memory",
    "roll_back",
    "roll_back_to",
    "rollout_restart",
    "rotate_key",
    "scale",
    "set_image",
    "set_replicas",
    "unstick",
]
