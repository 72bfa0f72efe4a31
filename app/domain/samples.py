"""Which pods are looked at where there are too many for all: some of each revision, of those that fail and of those that do not, on different nodes. No
order of names decides it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from app.domain.workload import Pod

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def sample(pods: Sequence[Pod], most: int) -> list[Pod]:
    """At most so many of these pods, a fair share of each kind; what a kind does not need goes to the others. Those that are over come last."""
    alive = [p for p in pods if not p.over]
    over = [p for p in pods if p.over]
    return [*_of_each_revision(alive), *_of_each_revision(over)][:most]


def _of_each_revision(pods: Iterable[Pod]) -> list[Pod]:
    """The newest revision begins."""
    newest_first = sorted(pods, key=lambda p: p.created_at, reverse=True)
    return _in_turns([_failing_and_well(group) for group in _groups(newest_first, _revision)])


def _failing_and_well(pods: Sequence[Pod]) -> list[Pod]:
    """Those that fail begin, and of both those of which a container ended last."""
    lately_first = sorted(pods, key=lambda p: (not _fails(p), -_ended(p), p.ref.uid))
    return _in_turns([_on_each_node(group) for group in _groups(lately_first, _fails)])


def _on_each_node(pods: Sequence[Pod]) -> list[Pod]:
    return _in_turns(_groups(pods, lambda p: p.node))


def _revision(pod: Pod) -> str:
    return pod.template_hash or (pod.owner.name if pod.owner is not None else "")


def _fails(pod: Pod) -> bool:
    return not pod.ready


def _ended(pod: Pod) -> float:
    """When a container of it ended last."""
    ends = (c.terminated or c.last_terminated for c in pod.containers)
    return max((e.finished_at or _LONG_AGO for e in ends if e is not None), default=_LONG_AGO).timestamp()


def _groups(pods: Iterable[Pod], key: Callable[[Pod], object]) -> list[list[Pod]]:
    """The pods by this key, the groups and the pods of each in the order in which they come."""
    found: dict[object, list[Pod]] = {}
    for pod in pods:
        found.setdefault(key(pod), []).append(pod)
    return list(found.values())


def _in_turns(groups: Iterable[Sequence[Pod]]) -> list[Pod]:
    """The first of each, then the second of each, and so on."""
    return [pod for turn in zip_longest(*groups) for pod in turn if pod is not None]
