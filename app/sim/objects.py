"""The simulated API server's storage: objects by kind, namespace and name, with the metadata that the real one keeps.

Owns uid, resourceVersion, generation, creationTimestamp, managedFields and the index of owners. Called by the cluster's
door and by the controllers. Stored objects are never changed in place: whoever wants a change writes a new object,
and whoever leaves this package gets a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from app.domain.errors import ObjectChanged, ObjectInvalid, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import defaults, ownership, validation
from app.sim.kinds import APIS, stamp
from app.sim.naming import Names
from app.sim.patch import apply_patch, clone


class Key(NamedTuple):
    """Where an object lives; `namespace` is empty for cluster-scoped kinds."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


Listener = Callable[[Key, Obj | None, Obj | None], None]
"""Told of each stored change: key, object before, object after."""


def key_of(obj: Obj) -> Key:
    """The key of a manifest. Raises ObjectInvalid for a kind that the simulation does not know."""
    metadata = obj.get("metadata", {})
    try:
        kind = Kind(obj.get("kind", ""))
    except ValueError as error:
        raise ObjectInvalid(f"unknown kind {obj.get('kind')!r}", where="kind") from error
    return make_key(kind, metadata.get("namespace", "default"), metadata.get("name", ""))


def make_key(kind: Kind, namespace: str, name: str) -> Key:
    """A key; the namespace is dropped for cluster-scoped kinds."""
    return Key(kind, namespace if APIS[kind].namespaced else "", name)


class ObjectStore:
    """All objects. `now` gives seconds since 1970."""

    def __init__(self, names: Names, now: Callable[[], float]) -> None:
        self._names = names
        self._now = now
        self._objects: dict[tuple[Kind, str], dict[str, Obj]] = {}
        self._spaces: dict[Kind, set[str]] = {}
        self._dependents: dict[str, dict[Key, None]] = {}
        self._version = 1000
        self.listeners: list[Listener] = []

    def find(self, key: Key) -> Obj | None:
        """The stored object, not a copy, or None."""
        return self._objects.get((key.kind, key.namespace), {}).get(key.name)

    def get(self, key: Key) -> Obj:
        """The stored object, not a copy. Raises ObjectMissing."""
        obj = self.find(key)
        if obj is None:
            raise ObjectMissing(f'{APIS[key.kind].resource} "{key.name}" not found', where=str(key))
        return obj

    def all(self, kind: Kind, namespace: str = "") -> Iterator[Obj]:
        """Stored objects of a kind, by name; an empty namespace means all namespaces."""
        spaces = [namespace] if namespace and APIS[kind].namespaced else sorted(self._spaces.get(kind, ()))
        for space in spaces:
            objects = self._objects.get((kind, space), {})
            yield from (objects[name] for name in sorted(objects))

    def owned(self, uid: str, kind: Kind) -> list[Obj]:
        """Objects of a kind whose ownerReferences name this uid, oldest first."""
        keys = [key for key in self._dependents.get(uid, ()) if key.kind is kind]
        return [self.get(key) for key in keys]

    def create(self, manifest: Obj, manager: str, *, dry_run: bool = False) -> Obj:
        """Store a new object. Raises ObjectChanged when the name is taken and ObjectInvalid."""
        obj: Obj = clone(manifest)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._fresh_name(obj)
        key = key_of(obj)
        metadata["name"] = key.name
        if key.namespace:
            metadata["namespace"] = key.namespace
        defaults.fill(key.kind, obj)
        validation.validate(key.kind, obj)
        if self.find(key) is not None:
            raise ObjectChanged(
                f'{APIS[key.kind].resource} "{key.name}" already exists',
                code="already_exists",
                where=str(key),
            )
        metadata["uid"] = self._names.uid()
        metadata["creationTimestamp"] = stamp(self._now())
        if APIS[key.kind].generation:
            metadata["generation"] = 1
        metadata["managedFields"] = ownership.own_all(obj, manager, stamp(self._now()))
        return obj if dry_run else self._put(key, None, obj)

    def update(self, new: Obj, manager: str, *, subresource: str = "", dry_run: bool = False) -> Obj:
        """Store a changed object; a change of nothing is none and keeps its resourceVersion.

        With subresource `status` only the status is taken from `new` (of a Deployment the annotations too), with `scale` only
        spec.replicas, without one everything but the status. Raises ObjectMissing, ObjectChanged (uid), ObjectInvalid.
        """
        key = key_of(new)
        old = self.get(key)
        merged = _merge(key.kind, old, new, subresource)
        if subresource != "status":
            defaults.fill(key.kind, merged)
            validation.validate(key.kind, merged, old)
        if merged == old:
            return old
        if (
            subresource != "status"
            and APIS[key.kind].generation
            and _intent(key.kind, merged) != _intent(key.kind, old)
        ):
            merged["metadata"]["generation"] = old["metadata"]["generation"] + 1
        merged["metadata"]["managedFields"] = ownership.own_changes(
            old, merged, manager, subresource, stamp(self._now())
        )
        return merged if dry_run else self._put(key, old, merged)

    def patch(
        self,
        key: Key,
        patch: Sequence[dict[str, Any]],
        manager: str,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Apply a JSON patch as `manager`. Raises ObjectMissing, ObjectChanged, ObjectInvalid."""
        old = self.get(key)
        new = apply_patch(old, patch)
        wanted = new.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != old["metadata"]["resourceVersion"]:
            text = (
                f'operation cannot be fulfilled on {APIS[key.kind].resource} "{key.name}": '
                "the object has been modified; please apply your changes to the latest version"
            )
            raise ObjectChanged(text, where=str(key))
        if key_of(new) != key:
            raise ObjectInvalid("name, namespace and kind cannot change", where="metadata")
        return self.update(new, manager, subresource=subresource, dry_run=dry_run)

    def delete(self, key: Key) -> None:
        """Remove an object and, like the garbage collector, what it owns; pods only get a deletionTimestamp by
        `terminate`. What a finalizer holds stays, with its stamp. Raises ObjectMissing."""
        old = self.get(key)
        if old["metadata"].get("finalizers"):
            self._stamp(key, old)
            return
        del self._objects[key.kind, key.namespace][key.name]
        self._version += 1
        for owner in _owners(old):
            self._dependents.get(owner, {}).pop(key, None)
        self._notify(key, old, None)
        for dependent in list(self._dependents.get(old["metadata"]["uid"], ())):
            if dependent.kind is Kind.POD:
                self.terminate(dependent)
            else:
                self.delete(dependent)
        self._dependents.pop(old["metadata"]["uid"], None)

    def _stamp(self, key: Key, old: Obj) -> None:
        if "deletionTimestamp" in old["metadata"]:
            return
        new = clone(old)
        new["metadata"] |= {"deletionTimestamp": stamp(self._now()), "deletionGracePeriodSeconds": 0}
        if key.kind is Kind.NAMESPACE:
            new["status"] = {**new.get("status", {}), "phase": "Terminating"}
        self._put(key, old, new)

    def terminate(self, key: Key) -> Obj:
        """Mark a pod as being deleted; the kubelet removes it. Harmless when it is terminating already."""
        old = self.get(key)
        if "deletionTimestamp" in old["metadata"]:
            return old
        new = clone(old)
        grace = old["spec"].get("terminationGracePeriodSeconds", 30)
        new["metadata"]["deletionTimestamp"] = stamp(self._now() + grace)
        new["metadata"]["deletionGracePeriodSeconds"] = grace
        return self._put(key, old, new)

    def count(self) -> int:
        """How many objects there are."""
        return sum(len(objects) for objects in self._objects.values())

    def _fresh_name(self, obj: Obj) -> str:
        """A name from generateName that is not taken."""
        prefix = obj["metadata"]["generateName"]
        while True:
            name = f"{prefix}{self._names.suffix()}"
            if self.find(key_of({**obj, "metadata": {**obj["metadata"], "name": name}})) is None:
                return name

    def _put(self, key: Key, old: Obj | None, new: Obj) -> Obj:
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self._objects.setdefault((key.kind, key.namespace), {})[key.name] = new
        self._spaces.setdefault(key.kind, set()).add(key.namespace)
        if old is None or _owners(old) != _owners(new):
            for uid in _owners(old) if old is not None else ():
                self._dependents.get(uid, {}).pop(key, None)
            for uid in _owners(new):
                self._dependents.setdefault(uid, {})[key] = None
        self._notify(key, old, new)
        return new

    def _notify(self, key: Key, old: Obj | None, new: Obj | None) -> None:
        for listener in self.listeners:
            listener(key, old, new)


_KEPT = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields")


def _merge(kind: Kind, old: Obj, new: Obj, subresource: str) -> Obj:
    if subresource == "status":
        merged: Obj = {**old, "metadata": dict(old["metadata"])}
        merged["status"] = clone(new["status"])
        if kind is Kind.DEPLOYMENT and "annotations" in new["metadata"]:
            # Its controller writes the revision this way, so that it makes no new generation.
            merged["metadata"]["annotations"] = clone(new["metadata"]["annotations"])
        return merged
    if subresource == ownership.SCALE:
        return {
            **old,
            "metadata": dict(old["metadata"]),
            "spec": {**old["spec"], "replicas": new["spec"]["replicas"]},
        }
    if new["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
        raise ObjectChanged("the UID in the precondition does not match", where=str(key_of(new)))
    merged = clone(new)
    for field in _KEPT:
        merged["metadata"].pop(field, None)
        if field in old["metadata"]:
            merged["metadata"][field] = old["metadata"][field]
    if APIS[kind].status:
        merged.pop("status", None)
        if "status" in old:
            merged["status"] = old["status"]
    return merged


def _intent(kind: Kind, obj: Obj) -> Any:
    """The part of an object whose change counts as a new generation: its spec. Binding a pod to its node is none, and
    of a Deployment the annotations count too."""
    spec = obj.get("spec")
    if kind is Kind.DEPLOYMENT:
        return spec, obj["metadata"].get("annotations")
    return {k: v for k, v in spec.items() if k != "nodeName"} if kind is Kind.POD and spec else spec


def _owners(obj: Obj) -> Iterable[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences", [])]
