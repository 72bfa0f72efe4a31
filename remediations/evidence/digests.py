"""What the name of an image stood for when pods started: a tag can be pushed over, and one name is two programs then.

Asked by the causes and by whoever goes back to an older revision. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from app.domain.migrations import short_name
from app.domain.workload import Pod, Revision
from app.kube.known_good import of_revision

_DIGEST, _NAMED = 19, 2


def stood_for(
    pods: Sequence[Pod], others: Sequence[Pod], container: str
) -> tuple[frozenset[str], frozenset[str]]:
    """The digests that this container runs with in these pods and in others, of the repositories that both have; empty where nothing says so. An id
    without a repository is of an image that its node had already: it is made of other bytes, and one image has both."""
    found, theirs = _ids(pods, container), _ids(others, container)
    both = {repository for repository, _ in found} & {repository for repository, _ in theirs}
    mine, other = (frozenset(d for r, d in ids if r in both) for ids in (found, theirs))
    return mine, other


def _ids(pods: Sequence[Pod], container: str) -> frozenset[tuple[str, str]]:
    """Repositories and digests; a runtime may put its own name before them."""
    ids = (c.image_id.rpartition("://")[2] for p in pods for c in p.containers if c.name == container)
    parts = (one.rpartition("@") for one in ids)
    return frozenset((repository, digest) for repository, at, digest in parts if at and repository)


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
        of_now, of_goal = ([p for p in pods if of_revision(p, r)] for r in (current, goal))
        now, before = stood_for(of_now, of_goal, container)
        if before and now - before:
            return (
                f"{short_name(image)} stood for {short(before)} in the pods of revision {goal.number} and for {short(now - before)} in the present ones: "
                "pods that go back may get that one as well"
            )
    return ""


def _images(revision: Revision) -> dict[str, str]:
    spec = revision.template.get("spec") or {}
    return {c["name"]: c.get("image") or "" for c in spec.get("containers") or ()}
