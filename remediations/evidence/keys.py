"""The keys of a list and the one in use: how pods take it, which one comes next, who else uses it. No value leaves this module.

Called by the handler of rate limits. Data of `keys.list`: `next` (position from 0 of the key to rotate to, None without one), `why` (why
there is none), `keys`, `active` (position, None when the active key is not in the list), `asks` (what is not known of it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.change import Replaced
from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj
from app.domain.secret import encoded, text_of
from app.domain.target import Kind
from app.domain.workload import Pod, Workload
from app.kube.actions.rotate_key import KeyList
from app.kube.manifest import containers_of
from app.kube.owners import who_changed
from app.kube.secrets import closed, written_from
from remediations.evidence.usage import count, joined, span

KEYS = "keys.list"
_SHOWN = 5

_ENDS = ("", "\n", "\r\n", " ")


@dataclass(frozen=True, slots=True)
class Rest:
    """Keys that were rotated away from within `seconds` before `now` are left alone; `replaced` knows when."""

    replaced: Replaced
    seconds: float
    now: datetime


async def keys_of(
    cluster: Cluster, workload: Workload, pods: Sequence[Pod], keys: KeyList, rest: Rest
) -> Finding:
    """Look at the Secret, and at who takes its active key."""
    namespace = workload.target.namespace
    try:
        manifest = await cluster.get(Kind.SECRET, namespace, keys.secret)
        others = await _others(cluster, workload, keys)
    except (ClusterRefused, TryLater) as error:
        text = f"The keys of Secret {keys.secret} could not be looked at: {error.message}"
        return Finding(KEYS, text, Certainty.UNKNOWN, {"next": None, "why": text})
    taken = taken_by(workload.manifest["spec"]["template"].get("spec") or {}, keys)
    why, position = _next(manifest, keys, rest)
    why = (
        closed(manifest)
        or ("" if taken else f"no pod of {workload.target} takes {keys.active} of Secret {keys.secret}")
        or why
    )
    listed = keys.keys(manifest)
    active = _active(manifest, keys)
    asks = joined(_unsure(manifest, keys, pods if any("variable" in one for one in taken) else ()))
    words = (
        f"key {active + 1} of {len(listed)}"
        if active is not None
        else f"a key that is none of the {len(listed)} of the list"
    )
    details = [f"pods take it by {one}" for one in taken]
    details += (
        [f"also used by {', '.join(others[:_SHOWN])}: their pods take another key at their next start"]
        if others
        else []
    )
    data: dict[str, JsonValue] = {
        "next": None if why else position, "why": why, "keys": len(listed), "active": active, "asks": asks,
        "others": list(others[:_SHOWN]),
    }  # fmt: skip
    text = f"{keys.active} of Secret {keys.secret} is {words}" + (f"; {why}" if why else "")
    return Finding(KEYS, text, data=data, details=tuple(details))


def _active(manifest: Obj, keys: KeyList) -> int | None:
    listed, present = keys.keys(manifest), text_of(manifest, keys.active)
    return listed.index(present) if present in listed else None


def _next(manifest: Obj, keys: KeyList, rest: Rest) -> tuple[str, int | None]:
    """Why there is no key to rotate to, or its position: the one after the active key that was not left lately, round about."""
    listed, active = keys.keys(manifest), _active(manifest, keys)
    if text_of(manifest, keys.active) is None:
        return f"Secret {keys.secret} has no key {keys.active}", None
    if listed and active is None:
        return "the active key is none of the list, so nobody can tell which one comes next", None
    order = [((active or 0) + step) % len(listed) for step in range(1, len(listed))]
    lacks = [name for name in (keys.lines, *keys.names) if name and text_of(manifest, name) is None]
    if not order:
        told = f"; Secret {keys.secret} has no text under {', '.join(lacks[:_SHOWN])}" if lacks else ""
        told += f"; {untaken}" if (untaken := _untaken(manifest, keys)) else ""
        return f"the list has no other key ({count(len(listed), 'key')}{told})", None
    since = rest.now - timedelta(seconds=rest.seconds)
    for at in order:
        # A Secret may have held it with the end of its line, and the record is of what stood there.
        left = [t for end in _ENDS if (t := rest.replaced.at(keys.path, encoded(f"{listed[at]}{end}")))]
        if max(left, default=since) <= since:
            return "", at
    return (
        f"each of the other {count(len(order), 'key')} was rotated away from within {span(rest.seconds)}",
        None,
    )


def _untaken(manifest: Obj, keys: KeyList) -> str:
    number = keys.untaken(manifest)
    form = "one key alone on each line" if keys.lines else "one key alone under each name"
    return (
        f"{count(number, 'part')} of the list not taken: it has to hold {form}, without blanks, commas, quotes and brackets"
        if number
        else ""
    )


def _unsure(manifest: Obj, keys: KeyList, pods: Sequence[Pod]) -> Iterator[str]:
    """What speaks against relying on it, and only a person knows."""
    if lacks := [name for name in keys.names if text_of(manifest, name) is None]:
        yield f"Secret {keys.secret} has no text under {', '.join(lacks[:_SHOWN])}, which the rule names"
    if untaken := _untaken(manifest, keys):
        yield untaken
    if tool := written_from(manifest):
        yield f"the next {tool} sets the former key back, unless it is changed there too"
    written = [at for _, at in who_changed(manifest, keys.path) if at is not None]
    began = [c.running_since for pod in pods for c in pod.containers if c.running_since is not None]
    if written and any(at < max(written) for at in began):
        yield f"some pods began before Secret {keys.secret} was last written, so that they may use an older key"


def taken_by(spec: Mapping[str, Any], keys: KeyList) -> tuple[str, ...]:
    """How the containers of a pod spec take the active key: each by a variable, by all variables of the Secret, or by a file."""
    found = []
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        name = container["name"]
        for variable in container.get("env") or ():
            ref = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
            if (ref.get("name"), ref.get("key")) == (keys.secret, keys.active):
                found.append(f"the variable {variable['name']} of container {name}")
        if any((s.get("secretRef") or {}).get("name") == keys.secret for s in container.get("envFrom") or ()):
            found.append(f"all variables of the Secret in container {name}")
    plain = {**spec, "containers": [_without_variables(c) for c in spec.get("containers") or ()]}
    found += [
        f"a file in container {one.name}"
        for one in containers_of(plain)
        if any(
            (r.kind, r.name) == (Kind.SECRET, keys.secret) and r.key in ("", keys.active) for r in one.config
        )
    ]
    return tuple(dict.fromkeys(found))


def _without_variables(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: v for k, v in container.items() if k not in ("env", "envFrom")}


async def _others(cluster: Cluster, workload: Workload, keys: KeyList) -> list[str]:
    """Controllers of other pods of the namespace that take the active key too."""
    own = workload.pod_labels
    found = set()
    for pod in await cluster.list_objects(Kind.POD, workload.target.namespace):
        labels = pod["metadata"].get("labels") or {}
        if all(labels.get(k) == v for k, v in own.items()) or not taken_by(pod.get("spec") or {}, keys):
            continue
        owners = pod["metadata"].get("ownerReferences") or ()
        found.add(
            next((f"{o.get('kind')} {o.get('name')}" for o in owners), f"Pod {pod['metadata']['name']}")
        )
    return sorted(found)
