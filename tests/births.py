"""Shipped scenarios, read once, and simulated clusters at the start of theirs, of which the history was played once.

Used by the rigs: to play fifteen minutes second by second takes longer than most tests. A copy shares with its siblings what
never changes: the scenario and its models.
"""

from __future__ import annotations

import io
import pickle
import threading
from datetime import datetime
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from app.domain.ports import Clock
from app.sim import SimCluster, load_scenario
from app.sim.scenario import Scenario

_KEPT: Final = 128
_NOT_YET: Final = b""  # most worlds of a single test are asked for once
_CLOCK, _LOCK = "clock", "lock"
_LOCKS: Final = type(threading.RLock())

_Key = tuple[str, datetime]


class _Births:
    """By what a scenario says and moment: that it was asked for, and from the second time on a cluster to copy."""

    def __init__(self) -> None:
        self._known: dict[_Key, bytes] = {}
        self._shared: dict[int, BaseModel] = {}

    def cluster(self, clock: Clock, scenario: Scenario) -> SimCluster:
        """A cluster of its own, as `SimCluster(clock, scenario)` makes it."""
        key = (scenario.model_dump_json(), clock.now())
        known = self._known.get(key)
        if known:
            return _Reader(known, clock, self._shared).read()
        cluster = SimCluster(clock, scenario)
        if len(self._known) < _KEPT:
            self._known[key] = _NOT_YET if known is None else _written(cluster, clock, self._shared)
        return cluster


class Copies:
    """A cluster as it is now, to go on from as often as wanted."""

    def __init__(self, cluster: SimCluster, clock: Clock) -> None:
        self._shared: dict[int, BaseModel] = {}
        self._written = _written(cluster, clock, self._shared)

    def another(self, clock: Clock) -> SimCluster:
        """One of its own at `clock`, which tells the same time as the first one's did."""
        return _Reader(self._written, clock, self._shared).read()


class _Writer(pickle.Pickler):
    def __init__(self, into: io.BytesIO, clock: Clock, shared: dict[int, BaseModel]) -> None:
        super().__init__(into, protocol=pickle.HIGHEST_PROTOCOL)
        self._clock = clock
        self._shared = shared

    def persistent_id(self, obj: Any) -> Any:
        """What is not copied."""
        if obj is self._clock:
            return _CLOCK
        if isinstance(obj, _LOCKS):
            return _LOCK
        if isinstance(obj, BaseModel):
            self._shared[id(obj)] = obj
            return id(obj)
        return None


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, clock: Clock, shared: dict[int, BaseModel]) -> None:
        super().__init__(io.BytesIO(data))
        self._clock = clock
        self._shared = shared

    def persistent_load(self, pid: Any) -> Any:
        """The same thing, a lock of its own, or the clock of this cluster."""
        if pid == _CLOCK:
            return self._clock
        return threading.RLock() if pid == _LOCK else self._shared[pid]

    def read(self) -> SimCluster:
        """The copy."""
        found: SimCluster = self.load()
        return found


def _written(cluster: SimCluster, clock: Clock, shared: dict[int, BaseModel]) -> bytes:
    into = io.BytesIO()
    _Writer(into, clock, shared).dump(cluster)
    return into.getvalue()


_BIRTHS: Final = _Births()
cluster_of = _BIRTHS.cluster


@cache
def scenario_of(*names: str) -> Scenario:
    """The shipped scenarios of these names as one, always the same object, so that its clusters are copies."""
    return load_scenario(*names)
