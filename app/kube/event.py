"""The Kubernetes Event that tells about an action where people look first: `kubectl describe`.

Called by the flow. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj, digest
from app.domain.plan import Action
from app.kube.paths import RESOURCES

_NOTE_BYTES = 1024  # limits of events.k8s.io/v1
_REASON_CHARACTERS = 128


def event_for(action: Action, action_id: str, reason: str, note: str, now: datetime) -> Obj:
    """An events.k8s.io/v1 Event about the action's object. `reason` is one CamelCase word.

    Its name follows from action id and reason, so that creating it again finds it there.
    """
    ref = action.object
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{ref.name[:200].rstrip('.-')}.{digest([action_id, reason])[:16]}",
            "namespace": ref.namespace,
        },
        # The API wants exactly six digits; isoformat leaves them out at a whole second.
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
        "action": action.kind.value,
        "reason": reason[:_REASON_CHARACTERS],
        "type": "Normal",
        "note": _cut(note),
        "regarding": {
            "apiVersion": RESOURCES[ref.kind].api_version,
            "kind": ref.kind.value,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": ref.uid,
        },
    }


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= _NOTE_BYTES else data[: _NOTE_BYTES - 3].decode(errors="ignore") + "…"
