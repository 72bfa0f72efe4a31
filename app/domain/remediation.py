"""The contract of a remediation handler: what users write when they extend this service.

A handler looks and proposes. It never loops, sleeps, notifies, writes, checks limits or knows the engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from app.domain.actuator import Effect
from app.domain.backups import Backups
from app.domain.cache import Caches
from app.domain.change import DigestKey, Replaced
from app.domain.cluster import Cluster
from app.domain.database import Databases
from app.domain.evidence import Diagnosis
from app.domain.http_check import HttpChecks
from app.domain.param_form import mistaken
from app.domain.plan import ActionKind, Step
from app.domain.ports import Dependencies, MetricSource, Sample
from app.domain.procedure import Procedure
from app.domain.target import Target
from app.domain.workload import Workload


class Params(BaseModel):
    """Base of a handler's parameters: strict and frozen, defaults are the runbook's values. No value passes for another type: true is
    no number, "8" neither, and 1 is no true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _exact(cls, value: object, info: ValidationInfo) -> object:
        if no := mistaken(cls.model_fields[str(info.field_name)], value):
            raise ValueError(no)
        return value


P = TypeVar("P", bound=Params)


@dataclass(frozen=True, slots=True)
class PastAlert:
    """One incident of this service on a target. `closed` is None while it is open."""

    name: str
    opened: datetime
    closed: datetime | None

    def fired_in(self, start: datetime, end: datetime, least: float) -> bool:
        """Whether it fired on what ran then: it began then, or went on for so many seconds that this was no cure for it."""
        if self.opened >= start:
            return self.opened < end
        return self.closed is None or self.closed > start + timedelta(seconds=least)


_NOTHING = Replaced(DigestKey(b""))


@dataclass(frozen=True, slots=True)
class History:
    """What this service already did and measured for this incident and target.

    `left_revisions` are template fingerprints this target was rolled away from, in any remembered incident; `tried` the
    steps already tried in this incident, `not_taken` those of them of which nothing came up, and `helped` those after which things were better,
    each with what was seen last;
    `overruled` are steps that somebody took back on this target, with who and when, across incidents, and `refused` those that somebody rejected or
    had undone on it; `alerts` the incidents on this target, oldest first; `memory` earlier memory samples of the workload's pods in bytes by pod;
    `replaced` the values that were rotated away from in Secrets, of any target; `watched` the spans of time in which an alert would have
    been heard, None where that is not the question.
    """

    left_revisions: Container[str] = frozenset()
    tried: tuple[str, ...] = ()
    not_taken: Mapping[str, str] = field(default_factory=dict)
    helped: Mapping[str, str] = field(default_factory=dict)
    overruled: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    alerts: Sequence[PastAlert] = ()
    memory: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    replaced: Replaced = _NOTHING
    watched: Sequence[tuple[datetime, datetime]] | None = None


OffLimits = Callable[[Target], Awaitable[bool]]


async def _nothing(_target: Target) -> bool:
    return False


def drawn() -> str:
    """32 hex digits of the system's randomness."""
    return token_hex(16)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a handler may look at. `metrics` is None when no Prometheus is configured, `databases`, `caches`, `http` and `backups` where none
    can be asked. `acted_at` is set for the look of a verification: when the step was carried out."""

    cluster: Cluster
    workload: Workload
    alertname: str
    labels: Mapping[str, str]
    fired_at: datetime
    now: datetime
    dependencies: Dependencies
    metrics: MetricSource | None = None
    history: History = History()
    databases: Databases | None = None
    http: HttpChecks | None = None
    caches: Caches | None = None
    backups: Backups | None = None
    off_limits: OffLimits = _nothing
    """Whether another workload is only named: nothing of what its owners or the policy's scope keep away is shown."""
    acted_at: datetime | None = None
    draw: Callable[[], str] = drawn
    """A word that nobody can guess, another one at each call."""

    def window(self, seconds: float) -> float:
        """How many of the last `seconds` count, at least one: what was written before the step is about the time before it."""
        return max(1.0, (self.now - self.lately(seconds)).total_seconds())

    def lately(self, seconds: float) -> datetime:
        """From when on something counts that happened within `seconds`: what a step was for and happened before it is over."""
        since = self.now - timedelta(seconds=seconds)
        return since if self.acted_at is None else max(since, self.acted_at)


class Remediation(Protocol, Generic[P]):
    """One handler, a subclass of this. Listed in the catalogue of `remediations/__init__.py`."""

    name: str
    """As rules name it, e.g. `high-error-rate`."""
    runbook: str
    """Section of the operations runbook it implements."""
    steps: tuple[str, ...]
    """Names of all its steps, in ladder order."""
    params: type[P]
    actions: frozenset[ActionKind]
    """All kinds of actions that its steps may hold: the rights for them are checked before the first alert comes."""
    reads_config: bool = False
    """It looks for missing or changed configuration: the printed roles let it read ConfigMaps, and the Secrets that the policy
    names."""
    secret_params: tuple[str, ...] = ()
    """Names of its params that name a Secret, which it may then read."""
    written_secrets: tuple[str, ...] = ()
    """Those of `secret_params` whose Secret its steps may change."""
    fixed_params: frozenset[str] = frozenset()
    """Names of its params that no order may change."""
    ordered_params: frozenset[str] = frozenset()
    """Names of the params that an order may change of one that alerts start: amounts, of which more is more. What it looks for, where and with
    which query is the rule's alone, or else an order would take away what the rule asks people about. An order of a procedure may change
    all but `fixed_params`."""
    rule_first: frozenset[str] = frozenset()
    """Names of its params that belong together: no order may change one of them where the rule writes any."""
    outside: bool = False
    """What its alerts are about may stand outside of the cluster, such as a managed database: then no workload is found for them, and a
    person is called."""
    procedure: Procedure | None = None
    """Set for a procedure: an order starts it, and it needs no alert. Its rule may leave out `when` and `target`, and params
    without a default have to come with the order."""

    async def diagnose(self, scene: Scene, params: P) -> Diagnosis:
        """Gather the runbook's evidence. A source that cannot be read becomes an unknown finding, not an exception."""
        ...

    async def ladder(self, scene: Scene, params: P, diagnosis: Diagnosis) -> Sequence[Step]:
        """All steps in order, each with its actions, or why it does not apply."""
        ...

    async def effect(self, scene: Scene, params: P, step: Step) -> Effect | None:
        """Measure whether what the step was for is so, beside rollout, alert and what its actuators measure; None when those
        tell. `scene.fired_at` is when the step was carried out. Asked at each look of the verification. What a step says to beware of is told
        with it, whatever it measures."""
        del scene, params
        return Effect(True, step.beware) if step.beware else None

    async def kept(self, scene: Scene, params: P, step: Step) -> str:
        """Why a step that did not help is left in place until a person takes it back, as one clause; empty where nothing speaks against its undo.
        Asked once, as that was found."""
        del scene, params, step
        return ""


AnyRemediation = Remediation[Any]
