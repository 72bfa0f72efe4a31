"""Whose hand was on an object since we wrote it, or since an alert fired: who, what and when, from managedFields.

Called by the verification and the facts of the gates. Pure; reads manifests only. Moments are compared within one object, as the
API server stamped them, so that the clocks of two machines do not matter. Never says what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.change import DigestKey, hidden, is_hidden
from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from app.domain.plan import FieldChange
from app.kube.fields import same, value_at
from app.kube.look import moved
from app.kube.owners import written_at
from app.kube.parse import parse_time

_AUTOMATIC = frozenset({"kube-controller-manager", "horizontal-pod-autoscaler", "kube-scheduler"})
"""Controllers of the cluster itself: an autoscaler that scales is no hand on the object."""
_BY_HAND = ("kubectl", "oc", "k9s", "lens", "node-fetch", "mozilla", "openlens", "headlamp", "dashboard")
_SHOWN = ("replicas", "paused", "template", "minReplicas", "maxReplicas", "strategy", "updateStrategy")


@dataclass(frozen=True, slots=True)
class Hand:
    """A change that is not ours: the field manager, when it wrote, and which fields it holds, for people. `took_back`: a
    value that we had set is not in place any more. `by_hand`: the tool of a person, as far as its name tells."""

    who: str
    at: datetime | None
    what: str
    took_back: bool = False

    @property
    def by_hand(self) -> bool:
        """A person's tool; whatever else is a pipeline or a controller."""
        return self.who.lower().startswith(_BY_HAND)

    @property
    def text(self) -> str:
        """One clause."""
        at = f" at {self.at:%H:%M:%S} UTC" if self.at else ""
        if self.took_back:
            return f"our change was taken back by {self.who}{at}: {self.what}"
        return f"{self.who} changed {self.what}{at}"


def hand_since(manifest: Obj, since: datetime) -> Hand | None:
    """The newest writer of the spec, other than this service and the cluster's own controllers, that wrote after `since`."""
    found = [h for h in _writers(manifest) if h.at is not None and h.at > since]
    return max(found, key=lambda h: h.at or since, default=None)


def hand_after_ours(
    manifest: Obj,
    expected: Iterable[FieldChange],
    since: datetime,
    uid: str = "",
    key: DigestKey | None = None,
) -> Hand | None:
    """Somebody else's change after our write, whose values `expected` has. Of hidden ones those of a Secret are compared by their
    digests under `key`, and no others. `since` is when we wrote by our own clock, for an object on which nothing of ours is left."""
    meta = manifest["metadata"]
    if uid and meta.get("uid") != uid:
        at = parse_time(meta.get("creationTimestamp"))
        return Hand("somebody", at, f"{meta.get('name')} was deleted and created again", took_back=True)
    lost = [c for c in expected if not _in_place(manifest, c, key)]
    after = written_at(manifest, FIELD_MANAGER) or since
    if lost:
        text = "; ".join(moved(manifest, c.path, c.after) for c in lost[:3])
        who = _writer_of(manifest, lost, after)
        return Hand(who.who if who else "somebody", who.at if who else None, text, took_back=True)
    return hand_since(manifest, after)


def _in_place(manifest: Obj, change: FieldChange, key: DigestKey | None) -> bool:
    if key is not None and change.path.startswith("/data/") and is_hidden(change.after):
        return bool(hidden(change.path, value_at(manifest, change.path), key) == change.after)
    if is_hidden(change.after) or isinstance(change.after, Mapping | list):
        return True  # not to be compared: the server completes objects, and hidden values are not known here
    return same(change.path, value_at(manifest, change.path), change.after)


def _writer_of(manifest: Obj, lost: Sequence[FieldChange], after: datetime) -> Hand | None:
    """Who took it back. A value that was removed has no owner any more: then whoever wrote last."""
    others = [h for h in _writers(manifest, automatic=True) if h.at is not None and h.at >= after]
    fields = {c.path.split("/")[2] for c in lost if c.path.startswith("/spec/")}
    own = [h for h in others if fields & set(h.what.split(", "))]
    return max(own or others, key=lambda h: h.at or after, default=None)


def _writers(manifest: Obj, *, automatic: bool = False) -> list[Hand]:
    found = []
    for entry in manifest["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", "unknown"))
        if entry.get("subresource") == "status" or manager == FIELD_MANAGER:
            continue
        spec = (entry.get("fieldsV1") or {}).get("f:spec")
        if spec is None or (manager in _AUTOMATIC and not automatic):
            continue
        found.append(Hand(manager, parse_time(entry.get("time")), _fields(spec)))
    return found


def _fields(spec: Mapping[str, Any]) -> str:
    names = sorted(name.removeprefix("f:") for name in spec if name.startswith("f:"))
    known = [name for name in names if name in _SHOWN]
    return ", ".join(known or names[:3]) or "its spec"
