"""One-way steps between two revisions: what an older version may not be able to live with, such as a migrated database.

Called by the rollback step. A team marks such a revision by a label or annotation that its rule names; a migration Job or Helm hook
that ran since the older revision was replaced counts without a mark. What cannot be read counts as one: it only makes us ask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from app.domain.errors import ClusterRefused, TryLater
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.text import bounded, visible
from app.domain.workload import Revision
from app.kube.parse import parse_time

ONE_WAY = "alert-remediator.io/one-way"
_HOOK = "helm.sh/hook"
_HOOKS = re.compile(r"(pre|post)-(install|upgrade)")
_MIGRATION = re.compile(r"migrat|alembic|flyway|liquibase|schema[-_]?(change|update)", re.IGNORECASE)
_NO = frozenset({"false", "no", "0"})
_NAME = 100


async def one_way_since(
    scene: Scene, found: Sequence[Revision], goal: Revision, since: datetime | None, keys: Sequence[str]
) -> str:
    """What stands between `goal` and the present revision, as one clause; empty when nothing is seen. `since` is when the
    release after it can have begun; None looks at all Jobs."""
    marked = _marked(found, goal, keys)
    if marked:
        return marked
    try:
        jobs = await scene.cluster.list_objects(Kind.JOB, scene.workload.target.namespace)
    except (ClusterRefused, TryLater) as error:
        return f"whether a migration ran since then is not known: Jobs could not be read ({error.message})"
    for job in jobs:
        made = parse_time(job["metadata"].get("creationTimestamp"))
        if made is None or (since is not None and made < since):
            continue
        if what := _migration(job):
            return f"{what} ran at {made:%Y-%m-%d %H:%M} UTC, and an older version may not work with what it changed"
    return ""


def _marked(found: Sequence[Revision], goal: Revision, keys: Sequence[str]) -> str:
    for revision in sorted(found, key=lambda r: r.number):
        if revision.number <= goal.number or revision.fingerprint == goal.fingerprint:
            continue
        for key in keys:
            value = revision.marks.get(key)
            if value is not None and value.lower() not in _NO:
                return f"revision {revision.number} is marked as a one-way step ({key}: {_short(value)})"
    return ""


def _migration(job: Obj) -> str:
    meta = job["metadata"]
    name = f"Job {_short(meta.get('name', ''))}"
    hook = (meta.get("annotations") or {}).get(_HOOK, "")
    if _HOOKS.search(hook):
        return f"{name} (Helm hook {_short(hook)})"
    template = (job.get("spec") or {}).get("template") or {}
    commands = [
        str(word)
        for container in (template.get("spec") or {}).get("containers") or ()
        for word in (*(container.get("command") or ()), *(container.get("args") or ()))
    ]
    words = " ".join([meta.get("name", ""), *(meta.get("labels") or {}).values(), *commands])
    return f"{name} (a migration by its name or command)" if _MIGRATION.search(words[:2_000]) else ""


def _short(text: str) -> str:
    return visible(bounded(str(text), _NAME))
