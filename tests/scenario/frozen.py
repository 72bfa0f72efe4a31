"""A cluster in which nothing moves by itself: manifests with the times and states that a test gives them, and the whole service on it.

For situations that no simulated controller or kubelet makes. Writes through the port are carried out and recorded; nothing
follows from them, so that no step ever helps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from app.domain.cluster import LogQuery, PodUsage
from app.domain.json import Obj
from app.sim import SimCluster
from app.sim.objects import key_of


class FrozenCluster(SimCluster):
    """`put` keeps a manifest as it is; `said` is what containers say, by pod or container name and whether of the run before."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._still = False
        super().__init__(*arguments, **options)
        self._still = True
        self._store.listeners.clear()
        self.said: Mapping[tuple[str, bool], str] = {}

    def catch_up(self) -> None:
        """Only the time passes."""
        if self._still:
            self._world.time = self._clock.now().timestamp()
        else:
            super().catch_up()

    def put(self, manifest: Obj) -> None:
        """Keep this object, its metadata included."""
        stored, key = copy.deepcopy(manifest), key_of(manifest)
        stored["metadata"].setdefault("uid", str(key))
        self._store._put(key, None, stored)

    async def logs(self, query: LogQuery) -> str:
        """What the test gave."""
        own = self.said.get((query.pod, query.previous))
        return self.said.get((query.container, query.previous), "") if own is None else own

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """Nothing is measured."""
        return []
