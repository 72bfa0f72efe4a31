"""What an older version may not be able to live with, such as a migrated database: what marks, templates and Jobs tell of it. Pure.

A team marks such a revision; a migration that ran since the older one was replaced counts without a mark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from app.domain.json import Obj
from app.domain.migration_words import MIGRATION
from app.domain.text import bounded, visible
from app.domain.workload import Pod, Revision

PodsOf = Callable[[Revision], Sequence[Pod]]
_HOOK = "helm.sh/hook"
_HOOKS = re.compile(r"(pre|post)-(install|upgrade)")
_NO = frozenset({"false", "no", "0"})
_NAME = 100


def marked(found: Sequence[Revision], goal: Revision, keys: Sequence[str]) -> str:
    """That a team marked a revision after the goal as a one-way step."""
    for revision in sorted(found, key=lambda r: r.number):
        if revision.number <= goal.number or revision.fingerprint == goal.fingerprint:
            continue
        for key in keys:
            value = revision.marks.get(key)
            if value is not None and value.lower() not in _NO:
                return f"revision {revision.number} is marked as a one-way step ({key}: {short_name(value)})"
    return ""


def migrates(found: Sequence[Revision], goal: Revision, pods: PodsOf) -> str:
    """The newest revision after the goal whose pods migrate when they start, and have not been kept from it."""
    for revision in sorted(found, key=lambda r: -r.number):
        if revision.number <= goal.number or revision.fingerprint == goal.fingerprint:
            continue
        spec = revision.template.get("spec") or {}
        for group, containers in (
            ("init container", spec.get("initContainers")),
            ("container", spec.get("containers")),
        ):
            for container in containers or ():
                words = _commands(container)
                if group == "init container":  # what serves may be named after what it serves
                    words = " ".join([container.get("name", ""), container.get("image", ""), words])
                told = MIGRATION.search(words[:2_000])
                if told and not _never_ran(pods(revision), container.get("name", "")):
                    whole = told[0] + re.split(r"[^A-Za-z]", words[told.end() :], maxsplit=1)[0]
                    return (
                        f"{group} {short_name(container.get('name', ''))} of revision {revision.number} migrates when its pods start"
                        f" (it has {short_name(whole.split()[0])}), and an older version may not work"
                        " with what it changed"
                    )
    return ""


def _never_ran(own: Sequence[Pod], name: str) -> bool:
    """Pods of this revision are there, and in none of them has that container ever run: its image cannot be pulled, for example."""
    states = [c for p in own for c in p.containers if c.name == name]
    ran = any(c.running_since or c.terminated or c.last_terminated or c.restarts for c in states)
    return bool(own) and not ran and not any(p.ready for p in own)


def _commands(container: Obj) -> str:
    return " ".join(str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ())))


def migration(job: Obj) -> str:
    """That a Job is a migration, by its hook, name or command; empty where nothing says so."""
    meta = job["metadata"]
    name = f"Job {short_name(meta.get('name', ''))}"
    hook = (meta.get("annotations") or {}).get(_HOOK, "")
    if _HOOKS.search(hook):
        return f"{name} (Helm hook {short_name(hook)})"
    template = (job.get("spec") or {}).get("template") or {}
    spec = template.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    commands = [f"{c.get('image', '')} {_commands(c)}" for c in containers]
    words = " ".join([meta.get("name", ""), *(meta.get("labels") or {}).values(), *commands])
    return f"{name} (a migration by its name or command)" if MIGRATION.search(words[:2_000]) else ""


def short_name(text: str) -> str:
    """A name as it may stand in a sentence."""
    return visible(bounded(str(text), _NAME))
