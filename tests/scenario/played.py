"""Beginnings of stories that many tests share: each is played once, and every test goes on from a copy of what it left behind.

A copy is a service that was started again on the store, the engine's journal and the cluster of that moment, as after a restart.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engine.memory import Journal
from tests.births import Copies
from tests.scenario.rig import Rig

Make = Callable[[Path], Rig]


@dataclass(frozen=True)
class _Left:
    """What the beginning left behind."""

    store: bytes
    cluster: Copies
    journal: Journal
    elapsed: float
    said: tuple[list[tuple[str, str, str]], dict[str, str]]
    bodies: tuple[list[dict[str, Any]], list[dict[str, Any]]]


_PLAYED: dict[str, _Left] = {}


async def played(name: str, path: Path, make: Make, play: Callable[[Rig], Awaitable[None]]) -> Rig:
    """A running service at `path`, as `make` makes it and `play` leaves it; `name` is the beginning's own."""
    if name not in _PLAYED:
        first = make(path.with_name(f"{name} as it was played.sqlite"))
        await first.born()
        await play(first)
        await first.close()
        _PLAYED[name] = _left_by(first)
    return await _copied(_PLAYED[name], make(path)).born()


def _copied(left: _Left, rig: Rig) -> Rig:
    rig.path.write_bytes(left.store)
    rig.clock.advance(left.elapsed)
    rig.cluster = left.cluster.another(rig.clock)
    rig.cluster.on_request(rig._at_request)
    rig.journal = copy.deepcopy(left.journal)
    rig.notebook.posts[:], rig.notebook.parents = list(left.said[0]), dict(left.said[1])
    rig.bodies, rig.outgoing = copy.deepcopy(left.bodies)
    rig._births = 1  # its ids go on after those of the beginning
    return rig


def _left_by(rig: Rig) -> _Left:
    rig.cluster._hooks.clear()
    return _Left(
        store=rig.path.read_bytes(),
        cluster=Copies(rig.cluster, rig.clock),
        journal=copy.deepcopy(rig.journal),
        elapsed=rig.clock.monotonic(),
        said=(list(rig.notebook.posts), dict(rig.notebook.parents)),
        bodies=copy.deepcopy((rig.bodies, rig.outgoing)),
    )
