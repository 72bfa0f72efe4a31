"""What may have brought the limited answers of a provider: the last release, or who scaled or changed configuration right before. Pure.

Another key ends none of these: what asks more often than before uses it up as well. Called by the handler of rate limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from app.domain.evidence import Finding
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.lineage import template_written_at, written_by_us
from remediations.causes.changes import CONFIGURATION, changes_of, of_itself
from remediations.causes.compared import made_at
from remediations.causes.model import Snapshot
from remediations.causes.suspects import brings_no_errors
from remediations.evidence.limits import RELEASE, Group
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.usage import count, span

CHANGED = "limits.changed"
"""Finding: that the limited answers began right after a change that is no release. Data: `text`."""
_SOON = timedelta(minutes=3)
"""So long after what brought it, at most, the first limited answer comes."""
_LATELY = timedelta(hours=1)
"""A release of so long ago may have brought limited answers of which nobody saw the beginning."""
_AT_ONCE = timedelta(minutes=1)
"""Answers that are limited so soon after the beginning of what was read began before it."""
_OFTENER = 3.0
"""So many times as often as a pod of an older version meets it is a limit that the newest one meets of itself."""


def what_brought(
    seen: Snapshot, group: Group | None, answers: Finding, window: float, keys: str = ""
) -> list[Finding]:
    """The findings `limits.release` and `limits.changed`, of which each says why in one clause. `keys`: the Secret with the list of keys; another key from
    it asks no more than the one before."""
    if group is None or group.first is None or group.count < 2:
        return []
    whole = group.first - (seen.now - timedelta(seconds=window)) < _AT_ONCE or answers.data["cut"] is True
    released = _released(seen, group, window, whole=whole)
    found = [_told(RELEASE, released)] if released else []
    changed = next(_changed(seen, group, keys), "") if not whole else ""
    return [*found, *([_told(CHANGED, changed)] if changed else [])]


def _told(code: str, text: str) -> Finding:
    return Finding(code, f"{text[:1].upper()}{text[1:]}", data={"text": text})


def _released(seen: Snapshot, group: Group, window: float, *, whole: bool) -> str:
    """Why the last release may ask more often than the version before; empty where nothing says so."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None or group.first is None:
        return ""
    deployed = seen.now - timedelta(seconds=last.age)
    if written_by_us(seen.workload, deployed) or brings_no_errors(last):
        return ""
    what = f"revision {last.revision.number} ({last.change})"
    if timedelta() <= group.first - deployed <= _SOON:
        after = span((group.first - deployed).total_seconds())
        began = (
            f"limited answers of {group.title} began {after} after {what} was deployed {span(last.age)} ago"
        )
        return f"{began}, which may ask more often than before"
    if seen.now - deployed > _LATELY:
        return ""
    own, others = _a_pod(seen, group)
    if own and others is not None and own[0] >= _OFTENER * others:
        of = f"{own[1]:,} of {count(group.count, 'limited answer')} of {group.title} are of {own[2]} of {what}, deployed {span(last.age)} ago"
        return f"{of}, and {others:.0f} a pod of those of an older version, so that the newest one asks more often than before"
    # Pods of an older version that meet it as often tell that it is not of the newest one.
    if not whole or not deployed <= min(group.first, seen.fired_at) or (others is not None and own):
        return ""
    return (
        f"whether limited answers of {group.title} began with {what}, deployed {span(last.age)} ago, is not known: the {span(window)} of logs"
        " that were read are full of them"
    )


def _a_pod(seen: Snapshot, group: Group) -> tuple[tuple[float, int, str] | None, float | None]:
    """How many limited answers a pod of the newest version has, with how many these have together and how they are called; and how many one of an
    older version has. None without such a pod."""
    counts = dict(group.pods)
    newest = [p for p in seen.alive if p.name in counts and seen.newest(p)]
    older = [p for p in seen.alive if p.name in counts and not seen.newest(p)]

    def together(pods: list[Pod]) -> int:
        return sum(counts[p.name] for p in pods)

    of = f"pod {newest[0].name}" if len(newest) == 1 else count(len(newest), "pod")
    mine = (together(newest) / len(newest), together(newest), of) if newest else None
    return mine, together(older) / len(older) if older else None


def _changed(seen: Snapshot, group: Group, keys: str) -> Iterator[str]:
    """Changes by people, other than a release, right after which they began: more replicas, and configuration."""
    target, itself = seen.workload.target, of_itself(seen.workload)
    for change in changes_of(seen):
        own = change.kind is target.kind and change.what.startswith("replicas of ")
        after = group.first - change.at if group.first is not None else timedelta(days=-1)
        more = made_at(seen, change.at) if own else change.kind in CONFIGURATION
        if (change.kind, change.name) == (Kind.SECRET, keys):
            continue
        if more and not itself(change.by) and timedelta() <= after <= _SOON:
            what = f"{span(after.total_seconds())} after what changed {change.told(seen.now)}"
            yield f"limited answers of {group.title} began {what}, by which more may be asked than before"
