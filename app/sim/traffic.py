"""Requests and what becomes of them: shared by the ready pods of an app, answered, refused, slow, logged.

A step of the world. Keeps the samples of the last minutes, from which signals and alerts are computed. Writes log lines of
the running containers; never touches objects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from pydantic import Field

from app.sim.behaviour import Behaviour, ErrorLine
from app.sim.kubelet import Kubelet, Run
from app.sim.units import Strict
from app.sim.world import World

TIMEOUT = 30.0
"""Latency in seconds of a request that nobody answers in time; no measured latency is higher."""
KEPT = 3600.0
"""Seconds for which samples are kept."""
_LINES_A_SECOND = 5.0
_FULL = 0.95


class Stream(Strict):
    """Requests a second to the pods with this `app` label."""

    app: str
    rps: float = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One step of one stream; `latency` is the 95th percentile in seconds, None when nobody answered."""

    at: float
    requests: float
    errors: float
    latency: float | None


@dataclass(slots=True)
class _Debt:
    """Fractions of log lines that are still owed, so that ratios come out exactly over time."""

    errors: float = 0.0
    requests: float = 0.0
    kinds: list[float] = field(default_factory=list)


class Traffic:
    """All streams of one namespace."""

    def __init__(self, world: World, kubelet: Kubelet, namespace: str, streams: Sequence[Stream]) -> None:
        self._world = world
        self._kubelet = kubelet
        self._namespace = namespace
        self._rps = {stream.app: stream.rps for stream in streams}
        self._samples: dict[str, deque[Sample]] = {app: deque() for app in self._rps}
        self._debts: dict[str, _Debt] = {}

    def set_rps(self, app: str, rps: float) -> None:
        """Change a stream from now on, or begin one."""
        self._rps[app] = rps
        self._samples.setdefault(app, deque())

    def samples(self, app: str, window: float) -> list[Sample]:
        """Samples of the last `window` seconds, oldest first."""
        since = self._world.time - window
        newest = list(takewhile(lambda s: s.at > since, reversed(self._samples.get(app, deque()))))
        return newest[::-1]

    def step(self, seconds: float) -> None:
        """Let `seconds` worth of requests come in."""
        for app, rps in self._rps.items():
            samples = self._samples[app]
            samples.append(self._serve(app, rps, seconds))
            while samples[0].at < self._world.time - KEPT:
                samples.popleft()

    def _serve(self, app: str, rps: float, seconds: float) -> Sample:
        now = self._world.time
        runs = list(self._kubelet.runs(self._namespace, app))
        ready = []
        for run in runs:
            run.main.rps = 0.0
            if run.ready(now):
                ready.append(run)
        for run in ready:
            run.main.rps = rps / len(ready)
        errors, weighted = 0.0, 0.0
        for run in ready:
            ratio, latency = self._answer(run, seconds)
            errors += rps / len(ready) * seconds * ratio
            weighted += latency
            container = run.main
            if container.limit and container.memory(now) > container.limit:
                self._world.queue(run.key)
        if not ready:
            return Sample(now, rps * seconds, rps * seconds, None)
        return Sample(now, rps * seconds, errors, weighted / len(ready))

    def _answer(self, run: Run, seconds: float) -> tuple[float, float]:
        """Error ratio and latency of one pod under its present load; also writes its log lines."""
        behaviour, rps = run.main.behaviour, run.main.rps
        if behaviour is None:
            return 0.0, 0.0
        load = rps / behaviour.capacity if behaviour.capacity else 0.0
        refused = 1 - 1 / load if load > 1 else 0.0
        latency = min(TIMEOUT, behaviour.latency / (1 - min(load, _FULL)))
        if load > 1:
            latency = min(TIMEOUT, latency * load)
        ratio = refused + (1 - refused) * behaviour.error_ratio
        self._log(run, behaviour, (refused, ratio), seconds)
        return ratio, latency

    def _log(self, run: Run, behaviour: Behaviour, ratios: tuple[float, float], seconds: float) -> None:
        log, rps = run.main.log, run.main.rps
        if log is None:
            return
        refused, ratio = ratios
        debt = self._debts.get(run.uid)
        if debt is None:
            debt = self._debts[run.uid] = _Debt()
        # Long quiet steps of the past do not fill the log with lines of one moment.
        span = min(seconds, 2.0)
        debt.requests += min(_LINES_A_SECOND, rps * (1 - ratio)) * span
        debt.errors += min(_LINES_A_SECOND, rps * ratio) * span
        if debt.errors >= 1:
            kinds = behaviour.error_lines
            if refused:
                kinds = (*kinds, ErrorLine(line=behaviour.overload_line, share=max(0.01, refused)))
            while debt.errors >= 1 and kinds:
                debt.errors -= 1
                log.write(self._world.time, _next_kind(debt, kinds))
        if debt.requests >= 1 and behaviour.request_line:
            lines = int(debt.requests)
            debt.requests -= lines
            log.write(self._world.time, behaviour.request_line, lines)
        debt.errors, debt.requests = min(debt.errors, 1.0), min(debt.requests, 1.0)
        if len(self._debts) > 10_000:
            self._debts.clear()


def _next_kind(debt: _Debt, kinds: Sequence[ErrorLine]) -> str:
    """The kind that is furthest behind its share."""
    if len(kinds) == 1:
        return kinds[0].line
    if len(debt.kinds) != len(kinds):
        debt.kinds = [0.0] * len(kinds)
    total = sum(kind.share for kind in kinds)
    debt.kinds = [owed + kind.share / total for owed, kind in zip(debt.kinds, kinds, strict=True)]
    first = max(range(len(kinds)), key=lambda i: debt.kinds[i])
    debt.kinds[first] -= 1
    return kinds[first].line
