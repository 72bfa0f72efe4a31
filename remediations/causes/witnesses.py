"""Whose last words are read: of the containers that show the trouble, several of each kind, those that ended last first. Neither a pod that is well nor the
order of names decides what is heard.

Called by `investigate`. Reads logs, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.domain.cluster import Cluster
from app.domain.remediation import Scene
from app.domain.workload import ContainerState, Pod
from remediations.causes.alike import Like, like
from remediations.causes.containers import container_causes, ended_lately
from remediations.causes.model import At, Snapshot, log_of
from remediations.evidence.last_words import Aside, LastWords, last_words

MAX_LOGS = 12
"""Containers whose last words are read."""
_OF_EACH = 3
"""So many that are alike stand for the others."""
_AT_ONCE = 4
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Witness:
    """A container whose words may tell; the lower its `rank`, the more."""

    pod: Pod
    state: ContainerState
    rank: int


async def with_words(scene: Scene, seen: Snapshot, unread: dict[str, str]) -> Snapshot:
    """The snapshot with what its containers in trouble said last; why a log could not be read goes into `unread`."""
    kinds = _kinds(seen)
    chosen = _in_turns([kind[:_OF_EACH] for kind in kinds.values()])[:MAX_LOGS]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def hear(witness: _Witness) -> LastWords:
        async with gate:
            return await heard_from(scene.cluster, seen, witness.pod, witness.state.name)

    said = await asyncio.gather(*map(hear, chosen))
    for witness, words in zip(chosen, said, strict=True):
        if words.unread:
            unread[log_of(witness.state.name)] = words.unread
    for kind in kinds.values():
        if kind[0] not in chosen:  # the first of each kind comes before the second of any
            unread[log_of(kind[0].state.name)] = f"only {MAX_LOGS} logs are read"
    words_by = {(w.pod.name, w.state.name): words for w, words in zip(chosen, said, strict=True) if words}
    return replace(seen, words=words_by)


async def heard_from(
    cluster: Cluster, seen: Snapshot, pod: Pod, container: str, without: Aside | None = None
) -> LastWords:
    """What it said before it last ended; what it says now where that end is over."""
    state = next(c for c in pod.containers if c.name == container)
    over = state.running_since is not None and not ended_lately(At(seen, pod, state))
    return await last_words(cluster, pod, container, without=without, ended=not over)


def _kinds(seen: Snapshot) -> Mapping[Like, list[_Witness]]:
    """All that may tell, by what they have in common: in each those first that tell most, and of these the one that ended last; the kinds likewise."""
    shown = {(name, cause.container) for cause in container_causes(seen) for name in cause.pods}
    found = [
        _Witness(pod, state, rank)
        for pod in seen.alive
        for state in pod.containers
        if (rank := _rank(pod, state, shows=(pod.name, state.name) in shown)) is not None
    ]
    kinds: dict[Like, list[_Witness]] = {}
    for witness in sorted(found, key=_newest_first):
        kinds.setdefault(like(seen, witness.pod, witness.state), []).append(witness)
    return dict(sorted(kinds.items(), key=lambda kind: kind[1][0].rank))


def _rank(pod: Pod, state: ContainerState, *, shows: bool) -> int | None:
    """How much its words tell: those of one that fails and ended before those of one that only is not ready, and those of one that is ready again last.
    None where they tell nothing, as of one that is well, whatever its log has from before."""
    if not (state.running_since or state.last_terminated or state.terminated):
        return None
    if not state.ready and shows:
        return 0 if state.last_terminated or state.terminated else 1
    waits = state.first and state.running_since is not None
    if not state.ready or waits or (pod.gated and not state.init):
        return 2
    return 3 if shows else None


def _newest_first(witness: _Witness) -> tuple[int, float, float, str]:
    ended = witness.state.terminated or witness.state.last_terminated
    at = ended.finished_at if ended is not None and ended.finished_at is not None else _LONG_AGO
    return witness.rank, -at.timestamp(), -witness.pod.created_at.timestamp(), witness.pod.ref.uid


def _in_turns(kinds: Iterable[Sequence[_Witness]]) -> list[_Witness]:
    """The first of each, then the second of each."""
    listed = list(kinds)
    return [kind[place] for place in range(_OF_EACH) for kind in listed if place < len(kind)]
