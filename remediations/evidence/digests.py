"""What the name of an image stood for when pods started: a tag can be pushed over, and one name is two programs then.

Asked by the causes and by whoever goes back to an older revision. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from app.domain.migrations import short_name
from app.domain.workload import Pod, Revision
from app.kube.known_good import of_revision

_DIGEST, _NAMED = 19, 2


def stood_for(pods: Sequence[Pod], container: str) -> frozenset[str]:
    """The digests that this container runs with in these pods; empty where nothing says so."""
    return frozenset(
        c.image_id.rpartition("@")[2]
        for p in pods
        for c in p.containers
        if c.name == container and c.image_id
    )


def short(digests: Collection[str]) -> str:
    """Digests in words, each by its beginning."""
    return " or ".join(found[:_DIGEST] for found in sorted(digests)[:_NAMED])


def pushed_over(found: Sequence[Revision], goal: Revision, pods: Sequence[Pod]) -> str:
    """Why pods that go back to `goal` may run what its own pods do not run, as one clause: the present revision names the same image, and
    its pods got another one by that name. Empty where nothing tells it; a name with a digest stands for one image always."""
    current = next((r for r in found if r.current), None)
    if current is None or current.fingerprint == goal.fingerprint:
        return ""
    named = _images(current)
    for container, image in _images(goal).items():
        if "@" in image or named.get(container) != image:
            continue
        now, before = (stood_for([p for p in pods if of_revision(p, r)], container) for r in (current, goal))
        if before and now - before:
            return (
                f"{short_name(image)} stood for {short(before)} in the pods of revision {goal.number} and for {short(now - before)} in the present ones: "
                "pods that go back may get that one as well"
            )
    return ""


def _images(revision: Revision) -> dict[str, str]:
    spec = revision.template.get("spec") or {}
    return {c["name"]: c.get("image") or "" for c in spec.get("containers") or ()}
