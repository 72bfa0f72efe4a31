"""What a manifest says: paths and values of fields, exact quantities, containers with their resources, what a pod needs by name, and what
two pod templates differ in. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from typing import Any

from kubernetes.utils import quantity

from app.domain.change import escape, image_told, tokens
from app.domain.cluster import MARKER
from app.domain.errors import BadInput, ObjectChanged
from app.domain.json import Obj
from app.domain.plan import FieldChange
from app.domain.redact import in_one_line
from app.domain.target import Kind
from app.domain.units import QUANTITY
from app.domain.workload import ConfigRef, ContainerSpec

# Kubernetes quantities as exact integers: memory in bytes, CPU in millicores.
#
# Called by `app.kube.parse`, the actions and whoever shows a number. Never uses floating point, so that a limit that
# we read, raise and write back is the one that was meant. Rule of the API server: a fraction of the unit is rounded
# up.

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_LONGEST = 64
_MAX_INT64 = Decimal(2**63 - 1)
"""The API server caps the magnitude of every quantity here (Kubernetes API reference, Quantity)."""
_EXACT = Context(prec=2 * _LONGEST)
_parse: Callable[[str], Decimal] = quantity.parse_quantity


def parse_quantity(text: str | float) -> Decimal:
    """The exact value of a quantity. Raises BadInput (`bad_quantity`) for anything the API server would not take."""
    written = str(text).strip()
    if len(written) > _LONGEST or QUANTITY.fullmatch(written) is None:
        told = repr(written[:_LONGEST])[: 2 * _LONGEST]  # of what is no text, a sign is up to ten
        raise BadInput(f"not a quantity: {told}", code="bad_quantity")
    with localcontext(_EXACT):
        return max(-_MAX_INT64, min(_MAX_INT64, _parse(written)))


def parse_memory(text: str | float) -> int:
    """Bytes, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text))


def parse_cpu(text: str | float) -> int:
    """Millicores, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text).scaleb(3, _EXACT))


def format_memory(amount: int) -> str:
    """Bytes in the form in which the API server gives them back: the largest binary unit that needs no fraction."""
    for suffix, power in reversed(_BINARY.items()):
        size: int = 1024**power
        if amount and amount % size == 0:
            return f"{amount // size}{suffix}"
    return str(amount)


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING, _EXACT))


# Fields of manifests by path: reading, comparing, and turning field changes into a JSON patch.
#
# A path is a JSON pointer (RFC 6901), except that a list element may be chosen by name: `[name=app]`. Called by the
# actions (to record what is there), by `app.kube.apply` (to patch, read back and undo). Pure.

Operation = dict[str, Any]
ANNOTATIONS = "/metadata/annotations"
_QUANTITIES = frozenset({"limits", "requests", "averageValue"})


def annotation_path(name: str) -> str:
    """The path of an annotation of the object itself."""
    return f"{ANNOTATIONS}/{escape(name)}"


def value_at(manifest: Obj, path: str) -> Any:
    """The value at a path, None when it or something above it is absent."""
    node: Any = manifest
    for token in tokens(path):
        node = _child(node, token)
        if node is None:
            return None
    return node


def pointer(manifest: Obj, path: str) -> str:
    """The path as a plain JSON pointer into this manifest: names of list elements become indexes.

    Raises ObjectChanged when no element has that name any more.
    """
    steps: list[str] = []
    node: Any = manifest
    for token in tokens(path):
        if token.startswith("[name=") and token.endswith("]"):
            index = _index(node, token)
            if index is None:
                raise ObjectChanged(f"there is no element named {token[6:-1]} any more", where=path)
            steps.append(str(index))
        else:
            steps.append(escape(token))
        node = _child(node, token)
    return "".join(f"/{step}" for step in steps)


def _index(node: Any, token: str) -> int | None:
    if not isinstance(node, list):
        return None
    name = token[6:-1]
    return next(
        (i for i, item in enumerate(node) if isinstance(item, dict) and item.get("name") == name), None
    )


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    if isinstance(node, list):
        index = int(token) if token.isdecimal() else _index(node, token)
        return node[index] if index is not None and index < len(node) else None
    return None


def same(path: str, one: Any, other: Any) -> bool:
    """Do two values at this path mean the same to the API server?

    It omits empty fields and rewrites quantities (1024Mi is given back as 1Gi), so neither may count as a change.
    """
    quantity = not _QUANTITIES.isdisjoint(tokens(path))
    return bool(_plain(one, quantity) == _plain(other, quantity))


def _plain(value: Any, quantity: bool) -> Any:
    if isinstance(value, Mapping):
        items = {k: _plain(v, quantity or k in _QUANTITIES) for k, v in value.items()}
        return {k: v for k, v in items.items() if v is not None} or None
    if isinstance(value, list | tuple):
        return [_plain(item, quantity) for item in value] or None
    if quantity and isinstance(value, str | int | float):
        with contextlib.suppress(BadInput):  # an annotation may happen to be called "limits" too
            return parse_quantity(value)
    return value


def operations(manifest: Obj, changes: Iterable[FieldChange], marker: str) -> list[Operation]:
    """The JSON patch that sets every change's `after` and our marker, refused unless the resourceVersion still holds.

    Missing parents are created; `after` None removes the field. Raises ObjectChanged as `pointer` does.
    """
    ops: list[Operation] = [
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": manifest["metadata"]["resourceVersion"],
        }
    ]
    made: set[str] = set()
    for change in changes:
        ops.extend(_set(manifest, change.path, change.after, made))
    ops.extend(_set(manifest, annotation_path(MARKER), marker, made))
    return ops


def _set(manifest: Obj, path: str, value: Any, made: set[str]) -> list[Operation]:
    ops: list[Operation] = []
    steps = path[1:].split("/")
    for depth in range(1, len(steps)):
        parent = "/" + "/".join(steps[:depth])
        if parent not in made and value_at(manifest, parent) is None:
            if steps[depth - 1].startswith("[name="):
                pointer(manifest, parent)  # a list element is never invented: raises ObjectChanged
            if value is None:
                return ops
            ops.append({"op": "add", "path": pointer(manifest, parent), "value": {}})
            made.add(parent)
    present = value_at(manifest, path) is not None
    where = pointer(manifest, path)
    if value is None:
        return [*ops, {"op": "remove", "path": where}] if present else ops
    return [*ops, {"op": "replace" if present else "add", "path": where, "value": value}]


# What a pod spec asks for: containers with their resources, and the ConfigMaps and Secrets they need.
#
# Called by `app.kube.parse`. Pure.


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


def name_of(reference: str) -> str:
    """The name of the object that a reference in a pod spec means. The API server takes any text of any length for it; one that no object
    can have is cut and redacted, and found nowhere."""
    return reference if _NAME.fullmatch(reference) else in_one_line(reference, 253)


def containers_of(spec: Mapping[str, Any]) -> tuple[ContainerSpec, ...]:
    """Containers of a pod spec, init containers first, as the kubelet starts them."""
    volumes = {v["name"]: tuple(_volume_refs(v)) for v in spec.get("volumes") or ()}
    listed = [(c, True) for c in spec.get("initContainers") or ()]
    listed += [(c, False) for c in spec.get("containers") or ()]
    mounted = {m["name"] for c, _ in listed for m in c.get("volumeMounts") or ()}
    # A volume that no container mounts still keeps the pod from starting when its source is missing.
    idle = [ref for name, refs in volumes.items() if name not in mounted for ref in refs]
    specs = []
    for index, (container, init) in enumerate(listed):
        refs = [*_environment_refs(container), *(idle if index == 0 else ())]
        for mount in container.get("volumeMounts") or ():
            refs.extend(volumes.get(mount["name"], ()))
        specs.append(_container(container, init=init, config=tuple(dict.fromkeys(refs))))
    return tuple(specs)


def pod_memory_limit(spec: Mapping[str, Any]) -> int | None:
    """The memory limit of a pod as a whole (pod-level resources), in bytes; None for a pod without."""
    limits = (spec.get("resources") or {}).get("limits") or {}
    return _maybe(parse_memory, limits.get("memory"))


def config_keys(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The names of the keys of a ConfigMap or Secret; never a value."""
    return frozenset(manifest.get("data") or ()) | frozenset(manifest.get("binaryData") or ())


def _container(container: Mapping[str, Any], *, init: bool, config: tuple[ConfigRef, ...]) -> ContainerSpec:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return ContainerSpec(
        name=container["name"],
        image=image_told(container.get("image", "")),
        init=init,
        memory_limit=_maybe(parse_memory, limits.get("memory")),
        memory_request=_maybe(parse_memory, requests.get("memory")),
        cpu_limit=_maybe(parse_cpu, limits.get("cpu")),
        cpu_request=_maybe(parse_cpu, requests.get("cpu")),
        config=config,
        sidecar=init and is_sidecar(container),
    )


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether this init container runs on beside the others, with probes of its own."""
    return container.get("restartPolicy") == "Always"


def _maybe(parse: Callable[[Any], int], text: Any) -> int | None:
    return None if text is None else parse(text)


def _environment_refs(container: Mapping[str, Any]) -> Iterator[ConfigRef]:
    for source in container.get("envFrom") or ():
        for field, kind in (("configMapRef", Kind.CONFIG_MAP), ("secretRef", Kind.SECRET)):
            if ref := source.get(field):
                yield ConfigRef(kind, name_of(ref["name"]), "", bool(ref.get("optional")))
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", Kind.CONFIG_MAP), ("secretKeyRef", Kind.SECRET)):
            if ref := origin.get(field):
                yield ConfigRef(kind, name_of(ref["name"]), ref["key"], bool(ref.get("optional")))


def _volume_refs(volume: Mapping[str, Any]) -> Iterator[ConfigRef]:
    if source := volume.get("configMap"):
        yield from _items(Kind.CONFIG_MAP, source["name"], source)
    if source := volume.get("secret"):
        yield from _items(Kind.SECRET, source["secretName"], source)
    for part in (volume.get("projected") or {}).get("sources") or ():
        if source := part.get("configMap"):
            yield from _items(Kind.CONFIG_MAP, source["name"], source)
        if source := part.get("secret"):
            yield from _items(Kind.SECRET, source["name"], source)


def _items(kind: Kind, name: str, source: Mapping[str, Any]) -> Iterator[ConfigRef]:
    optional = bool(source.get("optional"))
    keys = [item["key"] for item in source.get("items") or ()] or [""]
    for key in keys:
        yield ConfigRef(kind, name_of(name), key, optional)


def claims_of(spec: Mapping[str, Any]) -> list[str]:
    """Names of the PersistentVolumeClaims that a pod spec mounts."""
    sources = (v.get("persistentVolumeClaim") or {} for v in spec.get("volumes") or ())
    return [name_of(s["claimName"]) for s in sources if s.get("claimName")]


# Which parts of a pod template changed from one revision to the next. Pure.
#
# Paths are those of `Cause.fields`: `containers[app].image`, `nodeSelector`, `metadata.labels`; resources, variables and
# volumes are told one by one.

_LISTS = ("containers", "initContainers")
_PARTS = frozenset({"resources", "limits", "requests", "securityContext"})
_NAMED = frozenset({"env", "volumes", "volumeMounts"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that changed."""

    path: str
    before: Any
    after: Any


def differences(before: Obj, after: Obj) -> list[Difference]:
    """All parts of the pod spec and of the template's labels and annotations that differ."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    found = [d for name in _LISTS for d in _containers(name, old.get(name) or (), new.get(name) or ())]
    found += list(_fields("", _without(old), _without(new)))
    for part in ("labels", "annotations"):
        a, b = ((t.get("metadata") or {}).get(part) or {} for t in (before, after))
        if a != b:
            found.append(Difference(f"metadata.{part}", a, b))
    return found


def _without(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in spec.items() if k not in _LISTS}


def _containers(name: str, old: Sequence[Obj], new: Sequence[Obj]) -> Iterator[Difference]:
    before, after = ({c["name"]: c for c in listed} for listed in (old, new))
    for own in dict.fromkeys((*before, *after)):
        path = f"{name}[{own}]"
        if own in before and own in after:
            yield from _fields(f"{path}.", before[own], after[own])
        else:
            yield Difference(path, before.get(own), after.get(own))


def _fields(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        a, b, path = old.get(key), new.get(key), f"{prefix}{key}"
        if (a or None) == (b or None):
            continue
        if key in _PARTS:
            yield from _fields(f"{path}.", a or {}, b or {})
        elif key in _NAMED:
            before, after = ({_name(v): v for v in listed or ()} for listed in (a, b))
            changed = [n for n in dict.fromkeys((*before, *after)) if before.get(n) != after.get(n)]
            for name in changed:
                yield Difference(f"{path}[{name}]", before.get(name), after.get(name))
        else:
            yield Difference(path, a, b)


def _name(entry: Mapping[str, Any]) -> str:
    """What sets an entry apart; of mounts their path, since a volume can have several."""
    return str(entry.get("mountPath") or entry.get("name", ""))


def written_by(manifest: Obj, manager: str) -> bool:
    """Whether this field manager has written more of the object than its status."""
    entries = manifest["metadata"].get("managedFields") or ()
    return any(e.get("manager") == manager and e.get("subresource") != "status" for e in entries)
