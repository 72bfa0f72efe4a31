"""Configuration that the present template needs and that does not exist, found by looking at it. Pure.

The kubelet says so too, but only once it has tried, and never for pods that still run with what was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.domain.workload import ConfigRef
from remediations.causes.containers import missing_config
from remediations.causes.model import Cause, Snapshot, Sureness, earliest


def reference_causes(seen: Snapshot) -> Iterator[Cause]:
    """One cause for each missing ConfigMap, Secret or key. Certain as long as pods wait, likely when all of them run and only
    new ones would wait."""
    waiting = tuple(
        p.name for p in seen.alive if not p.ready and not any(c.running_since for c in p.containers)
    )
    for ref, container in missing_references(seen):
        found = missing_config(seen, ref, waiting, f"container {container}")
        sure = Sureness.CERTAIN if waiting else Sureness.LIKELY
        since = earliest([p.created_at for p in seen.alive if p.name in waiting])
        yield replace(found, sureness=sure, since=since, container=container)


def missing_references(seen: Snapshot) -> list[tuple[ConfigRef, str]]:
    """Needed references that lead nowhere, each with the container that needs it; only what could be looked at."""
    found: dict[ConfigRef, str] = {}
    for container in seen.workload.containers:
        for ref in container.config:
            kept = seen.kept.get((ref.kind, ref.name))
            if ref.optional or ref in found or kept is None:
                continue
            if kept.keys is None or (ref.key and ref.key not in kept.keys):
                found[ref] = container.name
    return list(found.items())
