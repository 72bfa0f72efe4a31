"""The simulated world's engine: virtual seconds, a work queue of object keys, timers, and Events.

Called by the cluster, which lets the world catch up with its clock before each request. Controllers and the
kubelet register one reconcile function a kind; a change of an object queues it and its owner, so that a world of ten
thousand quiet objects costs nothing. Never waits and never reads a clock itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.kinds import stamp
from app.sim.naming import Names
from app.sim.objects import Key, ObjectStore
from app.sim.patch import clone

TICK = 1.0
"""Seconds between two looks of the controllers."""
QUIET = 900.0
"""The longest step, in seconds, through a past in which nothing happens."""
EVENT_TTL = 3600.0
"""Seconds that Events are kept, as kube-apiserver does."""
EVENT_BURST = 25.0
EVENT_REFILL = 300.0

Reconcile = Callable[[Key], None]
_ORDER = (
    Kind.SCALED_OBJECT,
    Kind.HPA,
    Kind.DEPLOYMENT,
    Kind.REPLICA_SET,
    Kind.STATEFUL_SET,
    Kind.DAEMON_SET,
    Kind.JOB,
    Kind.ISSUER,
    Kind.CERTIFICATE,
    Kind.POD,
    Kind.PDB,
    Kind.SERVICE,
    Kind.RESOURCE_QUOTA,
)
_KINDS = frozenset(Kind)
_COUNTS_PODS = (Kind.PDB, Kind.SERVICE, Kind.RESOURCE_QUOTA)


class World:
    """Time and what is waiting to happen in it. `time` is seconds since 1970."""

    def __init__(self, start: float, seed: str) -> None:
        self.time = start
        self.names = Names(seed)
        self.store = ObjectStore(self.names, self._seconds)
        self.steps: list[Callable[[float], None]] = []
        """Called each tick with the seconds that have passed: traffic and alerts."""
        self.fine_from = 0.0
        """Before this moment quiet stretches are skipped, although traffic would like each second."""
        self._reconcilers: dict[Kind, Reconcile] = {}
        self._dirty: dict[Kind, dict[Key, None]] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._events: dict[tuple[str, ...], Key] = {}
        self._tokens: dict[tuple[str, str], tuple[float, float]] = {}
        self._expiry: list[tuple[float, int, Key]] = []
        self.store.listeners.append(self._changed)

    @property
    def now(self) -> datetime:
        """The world's time, timezone-aware UTC."""
        return datetime.fromtimestamp(self.time, UTC)

    def _seconds(self) -> float:
        return self.time

    def reconcile_with(self, kind: Kind, reconcile: Reconcile) -> None:
        """Give the keys of a kind to this function when they are due."""
        self._reconcilers[kind] = reconcile

    def queue(self, key: Key) -> None:
        """Look at this object on the next tick."""
        if key.kind in self._reconcilers:
            self._dirty.setdefault(key.kind, {})[key] = None

    def later(self, key: Key, at: float) -> None:
        """Look at this object at that time."""
        heapq.heappush(self._timers, (at, next(self._order), key))

    def plan(self, at: float, deed: Callable[[], None]) -> None:
        """Do something at that time: the story of a scenario."""
        heapq.heappush(self._plans, (at, next(self._order), deed))

    def run_to(self, target: float) -> None:
        """Let time pass up to `target`; only whole ticks happen."""
        while self.time + TICK <= target:
            step = self._step(target)
            self.time += step
            self._tick(step)

    def _step(self, target: float) -> float:
        busy = any(self._dirty.values())
        if busy or (self.steps and self.time >= self.fine_from):
            return TICK
        upcoming = [heap[0][0] for heap in (self._timers, self._plans) if heap]
        limit = min(
            target, self.time + QUIET, *([max(self.fine_from, self.time + TICK)] if self.steps else [])
        )
        step = min(limit, *upcoming) - self.time if upcoming else limit - self.time
        return max(TICK, step // TICK * TICK)

    def _tick(self, step: float) -> None:
        while self._plans and self._plans[0][0] <= self.time:
            heapq.heappop(self._plans)[2]()
        while self._timers and self._timers[0][0] <= self.time:
            self.queue(heapq.heappop(self._timers)[2])
        for kind in _ORDER:
            for key in self._dirty.pop(kind, {}):
                self._reconcilers[kind](key)
        for advance in self.steps:
            advance(step)
        self._expire()

    def _changed(self, key: Key, old: Obj | None, new: Obj | None) -> None:
        self.queue(key)
        obj = new or old or {}
        for reference in obj["metadata"].get("ownerReferences", []):
            if reference["kind"] in _KINDS:  # an operator's own kind has no controller here
                self.queue(Key(Kind(reference["kind"]), key.namespace, reference["name"]))
        if key.kind is Kind.POD:
            for kind in _COUNTS_PODS:
                for counting in self.store.all(kind, key.namespace):
                    self.queue(Key(kind, key.namespace, counting["metadata"]["name"]))
        if key.kind is Kind.NODE:
            for daemon in self.store.all(Kind.DAEMON_SET):
                self.queue(Key(Kind.DAEMON_SET, daemon["metadata"]["namespace"], daemon["metadata"]["name"]))

    def set_status(self, obj: Obj, status: Obj, manager: str = "kube-controller-manager") -> None:
        """Write a status as the component `manager`; nothing happens when it is the same."""
        if obj.get("status") != status:
            self.store.update({**obj, "status": status}, manager, subresource="status")

    def event(self, about: Obj, reason: str, note: str, *, component: str, warning: bool = False) -> None:
        """Record an Event as the old recorder of `component` does; the same one again only counts up."""
        identity = (about["metadata"]["uid"], reason, note, component)
        known = self._events.get(identity)
        stored = self.store.find(known) if known is not None else None
        if stored is None:
            if not self._may_speak((about["metadata"]["uid"], component)):
                return
            created = self.store.create(self._new_event(about, reason, note, (component, warning)), component)
            key = Key(Kind.EVENT, created["metadata"]["namespace"], created["metadata"]["name"])
            self._events[identity] = key
            heapq.heappush(self._expiry, (self.time + EVENT_TTL, next(self._order), key))
            return
        changed = clone(stored)
        changed["deprecatedCount"] += 1
        changed["deprecatedLastTimestamp"] = stamp(self.time)
        self.store.update(changed, component)

    def _may_speak(self, source: tuple[str, str]) -> bool:
        """The recorder's spam filter: 25 different Events about one object, then one each five minutes."""
        tokens, since = self._tokens.get(source, (EVENT_BURST, self.time))
        tokens = min(EVENT_BURST, tokens + (self.time - since) / EVENT_REFILL)
        self._tokens[source] = (max(0.0, tokens - 1), self.time)
        return tokens >= 1

    def _new_event(self, about: Obj, reason: str, note: str, how: tuple[str, bool]) -> Obj:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        component, warning = how
        source = {"component": component}
        if component == "kubelet" and about.get("spec", {}).get("nodeName"):
            source["host"] = about["spec"]["nodeName"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{int(self.time * 1e6):x}{next(self._order):04x}",
                "namespace": namespace,
            },
            "eventTime": None,
            "reportingController": component,
            "reportingInstance": source.get("host", ""),
            "reason": reason,
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
                "resourceVersion": metadata["resourceVersion"],
                "uid": metadata["uid"],
            },
            "note": note,
            "type": "Warning" if warning else "Normal",
            "deprecatedCount": 1,
            "deprecatedFirstTimestamp": stamp(self.time),
            "deprecatedLastTimestamp": stamp(self.time),
            "deprecatedSource": source,
        }

    def _expire(self) -> None:
        while self._expiry and self._expiry[0][0] <= self.time:
            _, _, key = heapq.heappop(self._expiry)
            event = self.store.find(key)
            if event is not None:
                self.store.delete(key)
        if len(self._events) > 20_000:
            self._events = {i: k for i, k in self._events.items() if self.store.find(k) is not None}
            self._tokens.clear()


def condition(
    conditions: Sequence[Obj], kind: str, status: bool | None, reason: str, message: str, at: float
) -> tuple[Obj, bool]:
    """The condition of that type as it should be now, and whether its status flipped; lastTransitionTime only moves
    when it did. A status of None is Unknown."""
    old = next((c for c in conditions if c["type"] == kind), None)
    word = "Unknown" if status is None else str(status)
    flipped = old is None or old["status"] != word
    since = stamp(at) if old is None or flipped else old["lastTransitionTime"]
    new = {"type": kind, "status": word, "lastTransitionTime": since, "reason": reason, "message": message}
    return {k: v for k, v in new.items() if v != ""}, flipped
