"""What stands behind broken containers: the image, a memory limit, the revision they are of, their own last words.

Called by the handlers with the troubles that `remediations.evidence.pods` found.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.cluster import Cluster
from app.domain.evidence import Finding
from app.domain.json import JsonValue
from app.domain.workload import Pod, Revision
from remediations.evidence.config import missing_refs, needs
from remediations.evidence.logs import last_words
from remediations.evidence.pods import Fault, Trouble, message_of, of_revision
from remediations.evidence.units import count, memory

_EXPLAINED = 3


def image_finding(found: Sequence[Trouble]) -> Finding | None:
    """The finding `image.pull`: which image a container does not get, in the registry's words."""
    stuck = [t for t in found if t.fault is Fault.IMAGE]
    if not stuck:
        return None
    first = stuck[0]
    image = next((s.image for s in first.pod.specs if s.name == first.container.name), "")
    said = message_of(first)
    text = f"Container {first.container.name} cannot get image {image} ({first.container.waiting})"
    data: dict[str, JsonValue] = {"image": image, "containers": len(stuck), "message": said}
    return Finding("image.pull", f"{text}: {said}" if said else text, data=data)


def killed_finding(found: Sequence[Trouble]) -> Finding | None:
    """The finding `memory.killed`: which containers ran into which limit; data has their `containers`."""
    killed = [t for t in found if t.fault is Fault.OUT_OF_MEMORY]
    if not killed:
        return None
    limits = {s.name: s.memory_limit for t in killed for s in t.pod.specs}
    names = sorted({t.container.name for t in killed})
    shown = ", ".join(f"{n} (limit {_limit(limits.get(n))})" for n in names)
    pods = len({t.pod.name for t in killed})
    text = f"Killed for memory (OOMKilled) on {count(pods, 'pod')}: {shown}"
    data: dict[str, JsonValue] = {
        "containers": names,
        "pods": pods,
        "limits": {n: limits.get(n) for n in names},
    }
    return Finding("memory.killed", text, data=data, details=tuple(t.text for t in killed[:8]))


def _limit(limit: int | None) -> str:
    return "none" if limit is None else memory(limit)


async def words_finding(cluster: Cluster, found: Sequence[Trouble]) -> Finding | None:
    """The finding `logs.last`: what crashing containers said last, of at most three of them."""
    crashed = [t for t in found if t.fault in (Fault.CRASH, Fault.OUT_OF_MEMORY)][:_EXPLAINED]
    rows = []
    for trouble in crashed:
        said = await last_words(cluster, trouble.pod, trouble.container.name) or message_of(trouble)
        if said:
            rows.append((trouble, said))
    if not rows:
        return None
    trouble, said = rows[0]
    text = f'Container {trouble.container.name} of {trouble.pod.name} said last: "{said}"'
    details = tuple(f"{t.pod.name}/{t.container.name}: {words}" for t, words in rows)
    return Finding("logs.last", text, data={"said": said}, details=details)


def revision_finding(
    pods: Sequence[Pod], found: Sequence[Trouble], revisions: Sequence[Revision], missing: Finding
) -> Finding | None:
    """The finding `pods.revision`: are the broken pods all of the present template, and does an older one do better?

    Data: `only_newest` (no pod of an older template is in trouble), `older_ready` (pods of an older template that are
    ready), `newest_ready`, `same_need` (the template before it needs the missing configuration as well).
    """
    current = next((r for r in revisions if r.current), None)
    if current is None:
        return None
    family = [r for r in revisions if r.fingerprint == current.fingerprint]
    previous = next(
        (r for r in revisions if r.number < current.number and r.fingerprint != current.fingerprint), None
    )

    def newest(pod: Pod) -> bool:
        return any(of_revision(pod, r) for r in family)

    alive = [p for p in pods if not p.terminating]
    broken = {t.pod.name: t.pod for t in found}
    older_broken = sum(not newest(p) for p in broken.values())
    older_ready = sum(p.ready and not newest(p) for p in alive)
    newest_ready = sum(p.ready and newest(p) for p in alive)
    refs = missing_refs(missing)
    data: dict[str, JsonValue] = {
        "only_newest": bool(broken) and older_broken == 0,
        "older_ready": older_ready,
        "newest_ready": newest_ready,
        "same_need": previous is not None and any(needs(previous, ref) for ref in refs),
    }
    text = (
        f"{count(len(broken) - older_broken, 'pod')} of revision {current.number} broken and {newest_ready} ready; "
        f"of older revisions {older_broken} broken and {older_ready} ready"
    )
    return Finding("pods.revision", text, data=data)
