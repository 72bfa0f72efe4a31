"""Which containers in trouble are alike, so that the words of some stand for all: of one name, of pods of one revision, and with one end; and which are
not, as they said something else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.domain.accusing import Sign
from app.domain.workload import ContainerState, Pod
from remediations.causes.model import At, Cause, CauseCode, Snapshot
from remediations.evidence.error_lines import normalise
from remediations.evidence.last_words import LastWords

_BY_WORDS = frozenset({CauseCode.CRASH, CauseCode.ENDS})
"""What containers show alike whatever it is that they say."""


@dataclass(frozen=True, slots=True)
class Like:
    """What containers have in common that are alike."""

    container: str
    newest: bool
    reason: str
    exit_code: int | None


def like(seen: Snapshot, pod: Pod, state: ContainerState) -> Like:
    """What this one has in common with others."""
    ended = state.terminated or state.last_terminated
    reason, code = (ended.reason, ended.exit_code) if ended is not None else ("", None)
    return Like(state.name, seen.newest(pod), reason, code)


def heard_alike(at: At) -> LastWords:
    """What it said last; of one whose log was not read, what one said that is alike."""
    own = at.heard()
    if own:
        return own
    mine = like(at.seen, at.pod, at.state)
    others = (
        at.seen.words.get((p.name, c.name), own)
        for p in at.seen.alive
        for c in p.containers
        if c.name == at.state.name and like(at.seen, p, c) == mine
    )
    return next(filter(None, others), own)


def words_of(seen: Snapshot, container: str, pods: Collection[str]) -> list[LastWords]:
    """What containers of this name said last in these pods, as far as it was read."""
    return [words for (pod, name), words in seen.words.items() if name == container and pod in pods]


def said_else(seen: Snapshot, cause: Cause, newest: Collection[str], older: Collection[str]) -> bool:
    """Whether of this cause the newest pods say that the program fails by its own fault, and the older ones something else: then they do not show the
    same. Where either said nothing, nobody can tell."""
    ours, theirs = words_of(seen, cause.container, newest), words_of(seen, cause.container, older)
    own = any(w.sign is Sign.OWN and not w.follows for w in ours)
    both = {normalise(w.shown) for w in ours} & {normalise(w.shown) for w in theirs}
    return cause.code in _BY_WORDS and own and bool(theirs) and not both


def in_trouble(seen: Snapshot, container: str, names: Callable[[str], object]) -> tuple[str, ...]:
    """Pods that are not ready whose container of this name is not, but for those whose own words accuse the program and do not have what `names`
    looks for."""
    found = list[str]()
    for pod in seen.alive:
        words = seen.words.get((pod.name, container))
        else_ = words is not None and words.sign is Sign.OWN and not words.follows and not names(words.text)
        if not pod.ready and not else_ and any(c.name == container and not c.ready for c in pod.containers):
            found.append(pod.name)
    return tuple(found)
