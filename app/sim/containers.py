"""The life of one container: waiting, running, crashed, killed for memory, backing off, started again.

Called by the kubelet with the world's time; decides nothing about pods and writes no manifests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from app.domain.json import Obj
from app.sim.behaviour import Behaviour
from app.sim.kinds import stamp
from app.sim.logs import Log
from app.sim.quantity import cpu, memory

BACKOFF = 10.0
"""Seconds before the second restart; doubles with each crash."""
BACKOFF_CAP = 300.0
BACKOFF_RESET = 600.0
"""A container that ran this long starts over with its back-off."""
RETRY = 10.0
"""Seconds between attempts to create a container that lacks its configuration or image."""


class Phase(StrEnum):
    """The three container states of the API."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a container cannot be started; `reason` as in state.waiting.reason, `event` the Event's reason."""

    reason: str
    message: str
    event: str = "Failed"


@dataclass(slots=True)
class Container:
    """One container of a running pod; times in seconds since 1970. `limit` (memory, bytes) and `cpu_limit` (millicores)
    are 0 when there is none."""

    name: str
    image: str
    init: bool
    limit: int
    pod: str
    next_at: float
    cpu_limit: int = 0
    phase: Phase = Phase.WAITING
    reason: str = "ContainerCreating"
    message: str = ""
    started_at: float = 0.0
    ready_at: float = math.inf
    restarts: int = 0
    crashes: int = 0
    behaviour: Behaviour | None = None
    rps: float = 0.0
    identity: str = ""
    ended: Obj | None = None
    last: Obj | None = None
    log: Log | None = None
    dead_log: Log | None = None
    again: bool = True
    """False: it is not started again when it has ended (restartPolicy Never)."""

    @classmethod
    def of(cls, spec: Obj, pod: str, at: float, *, init: bool, again: bool = True) -> Container:
        """A container that has not been created yet."""
        limits = spec.get("resources", {}).get("limits", {})
        reason = "PodInitializing" if not init else "ContainerCreating"
        return cls(
            name=spec["name"],
            image=spec["image"],
            init=init,
            limit=memory(limits.get("memory", 0)),
            cpu_limit=cpu(limits.get("cpu", 0)),
            pod=pod,
            next_at=at,
            reason=reason,
            again=again,
        )

    def memory(self, at: float) -> int:
        """Working set in bytes."""
        if self.phase is not Phase.RUNNING or self.behaviour is None:
            return 0
        return self.behaviour.memory.at(at - self.started_at, self.rps)

    def cpu(self) -> int:
        """Millicores in use: never more than the limit."""
        wanted = self._cpu_wanted()
        return min(wanted, self.cpu_limit) if self.cpu_limit else wanted

    def throttled(self) -> float:
        """Share of the wanted CPU time that the limit withholds."""
        wanted = self._cpu_wanted()
        return max(0.0, 1 - self.cpu_limit / wanted) if self.cpu_limit and wanted else 0.0

    def _cpu_wanted(self) -> int:
        if self.phase is not Phase.RUNNING or self.behaviour is None:
            return 0
        return int(self.behaviour.cpu.base + self.behaviour.cpu.per_rps * self.rps)

    def ready(self, at: float) -> bool:
        """Running and past its start-up time."""
        return self.phase is Phase.RUNNING and at >= self.ready_at

    @property
    def done(self) -> bool:
        """An init container that ended well."""
        return self.init and self.phase is Phase.TERMINATED and (self.ended or {}).get("exitCode") == 0

    @property
    def final(self) -> bool:
        """It has ended and is not started again."""
        return self.phase is Phase.TERMINATED and (self.done or not self.again)

    def start(self, behaviour: Behaviour, identity: str, at: float) -> None:
        """Begin to run."""
        if self.ended is not None or self.last is not None:
            self.restarts += 1
            self.last = self.ended or self.last
        self.phase, self.reason, self.message = Phase.RUNNING, "", ""
        self.behaviour, self.identity, self.started_at, self.ended = behaviour, identity, at, None
        self.ready_at = at + behaviour.ready_after
        self.log = Log(self.pod)
        for line in behaviour.start_lines:
            self.log.write(at, line)
        self.next_at = min(self._ends_at(), self.ready_at)

    def hold(self, obstacle: Obstacle, at: float) -> None:
        """Stay waiting because of an obstacle; the next attempt comes later."""
        if self.ended is not None:
            self.last, self.ended = self.ended, None
        self.phase, self.reason, self.message = Phase.WAITING, obstacle.reason, obstacle.message
        self.next_at = at + RETRY

    def check(self, at: float) -> bool:
        """End a running container whose time has come; True when it ended now."""
        if self.phase is not Phase.RUNNING or self.behaviour is None:
            return False
        if self.limit and self.memory(at) > self.limit:
            self._end(at, "OOMKilled", 137, "")
        elif self.behaviour.crash is not None and at >= self.started_at + self.behaviour.crash.after:
            crash = self.behaviour.crash
            for line in crash.log:
                if self.log is not None:
                    self.log.write(at, line)
            self._end(at, "Error" if crash.exit_code else "Completed", crash.exit_code, crash.message)
        elif self.init and at >= self.ready_at:
            self._end(at, "Completed", 0, "")
        else:
            upcoming = (self.ready_at, self._ends_at())
            self.next_at = min((t for t in upcoming if t > at), default=math.inf)
            return False
        return True

    def back_off(self, at: float) -> bool:
        """After an end: wait visibly in CrashLoopBackOff from the second crash on; True when it begins now."""
        if self.phase is not Phase.TERMINATED or self.final:
            return False
        wait = min(BACKOFF_CAP, BACKOFF * 2 ** min(self.crashes - 2, 16)) if self.crashes > 1 else 0.0
        if wait == 0.0 or self.ended is None:
            return False
        self.last, self.ended = self.ended, None
        self.phase, self.reason = Phase.WAITING, "CrashLoopBackOff"
        self.message = f"back-off {_go_duration(wait)} restarting failed container={self.name} pod={self.pod}"
        self.next_at = at + wait
        return True

    def _end(self, at: float, reason: str, exit_code: int, message: str) -> None:
        self.crashes = 1 if at - self.started_at >= BACKOFF_RESET else self.crashes + 1
        self.phase = Phase.TERMINATED
        self.ended = {
            "exitCode": exit_code,
            "reason": reason,
            **({"message": message} if message else {}),
            "startedAt": stamp(self.started_at),
            "finishedAt": stamp(at),
            "containerID": self.identity,
        }
        self.dead_log, self.ready_at = self.log, math.inf
        self.next_at = math.inf if self.final else at + 1.0

    def _ends_at(self) -> float:
        """When a crash or the memory limit will end it, as far as can be told now."""
        behaviour = self.behaviour
        if behaviour is None:
            return math.inf
        ends = [math.inf]
        if behaviour.crash is not None:
            ends.append(self.started_at + behaviour.crash.after)
        use = behaviour.memory
        fits = use.plateau is not None and use.at(math.inf, self.rps) <= self.limit
        if self.limit and use.growth and not fits:
            room = self.limit - use.start - use.per_rps * self.rps
            ends.append(self.started_at + math.ceil(room / use.growth) + 1)
        return max(min(ends), self.started_at)


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
