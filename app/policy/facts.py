"""Facts: everything the gates look at, as values, gathered by the flow at one moment.

The flow fills `Facts` (cluster reads, store counts, Alertmanager) and hands it to `decide`; whatever could not be read
is `Unknown` with the reason, and closes the gate that needs it. Never reads anything itself and never asks the time:
`now` is a fact too.

Whoever re-checks a run before it touches anything gathers the same facts again *without the run's own traces*: its own
reservation is not in `spend`, its own steps are not in `last_action` and `results`, it is not in `busy_with` and not in
`targets_in_flight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from app.domain.decision import Mode
from app.domain.new_pods import NewPods
from app.domain.outcome import RunState
from app.domain.owner import Owners
from app.domain.target import Target
from app.domain.workload import Manager
from app.policy.budgets import BudgetScope
from app.policy.trust import TrustLevel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be read. `reason` is one clause for people: what was asked and why it failed."""

    reason: str


NOT_LOOKED = Unknown("nobody looked")
Fact: TypeAlias = "T | Unknown"
"""A value, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A switch set by a person. `scope`: all, namespace:X, target:N/K/N, rule:NAME or remediation:NAME."""

    scope: str
    reason: str
    author: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent of one budget scope inside its window. `oldest` is the first of these reservations, None for 0."""

    count: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replicas:
    """Pods of the workload: wanted, ready now, and of the newest template.

    `at_once` is how many pods its controller takes down at the same time in a rolling update; None when that is not
    known, which is read as all of them.
    """

    desired: int
    ready: int
    updated: int
    at_once: int | None = None

    @property
    def broken(self) -> int:
        """Pods wanted and not ready."""
        return max(0, self.desired - self.ready)


@dataclass(frozen=True, slots=True)
class Past:
    """How an earlier run of this remediation on this target ended."""

    state: RunState
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """Measured at `now` (UTC) for one target, rule and step.

    Mode ceiling: `ceiling` is the process setting, None for no ceiling.
    Alert: `firing` is the word of the best source; `silenced` says by what all its firing alerts are silenced or inhibited, empty
    for not at all; `last_seen` the newest moment at which any source (a delivery, or a
    poll of Alertmanager's API) said that it fires.
    Hands: `acknowledged` says by whom the incident is acknowledged, empty for nobody; `changed_by` who else changed the target since
    the alert fired, what and when.
    Marks: `marks` are the values of the label or annotation `alert-remediator.io/enabled` by where it stands (`namespace`,
    `object`), absent where it is not set.
    Cluster: `managers` (an autoscaler counts as Manager.HPA), `owners` (other controllers of what the step changes),
    `rollout_paused`, `replicas`, and `new_pods`: what is known of
    whether the step's new pods could start.
    Store: `spend` by scope of `budgets.scopes_for`; `last_action` of this remediation on this target, None for never;
    `busy_with` is the run at work on the target, empty for none; `waiting` are other plans for it that wait for an answer and
    have written nothing; `targets_in_flight` counts the other targets that a run is at work on; `results` newest first; `storm_targets` counts distinct targets with new alerts inside the storm window, this one
    included.
    Blocking: `blocking` has for each matcher text of `blocking_matchers` the names of firing alerts that match it.
    Trust: `trust_level` of this alert, remediation and class of targets, for a rule with mode earned; None for other rules.
    People: `ordered_by` is set for a manual request, `ordered_as` are the other names of who ordered it,
    `order_may_approve` says whether its caller may also approve, `scheduled` that the clock ordered it and nobody, `approved_by` is set once a person approved this very plan.
    Half way: `brings_back`: the write starts what the same approved plan stopped.
    """

    now: datetime
    target: Target
    firing: Fact[bool]
    last_seen: Fact[datetime]
    marks: Fact[Mapping[str, str]]
    managers: Fact[tuple[Manager, ...]]
    rollout_paused: Fact[bool]
    replicas: Fact[Replicas]
    spend: Fact[Mapping[BudgetScope, Spend]]
    last_action: Fact[datetime | None]
    busy_with: Fact[str]
    targets_in_flight: Fact[int]
    results: Fact[tuple[Past, ...]]
    storm_targets: Fact[int]
    pauses: Fact[tuple[Pause, ...]] = ()
    blocking: Fact[Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    ceiling: Mode | None = None
    silenced: str = ""
    acknowledged: str = ""
    changed_by: Fact[str] = ""
    ordered_by: str = ""
    ordered_as: tuple[str, ...] = ()
    order_may_approve: bool = False
    scheduled: bool = False
    approved_by: str = ""
    brings_back: bool = False
    dry_run: bool = False
    trust_level: Fact[TrustLevel | None] = None
    waiting: tuple[str, ...] = ()
    new_pods: Fact[NewPods] = NOT_LOOKED
    owners: Fact[Owners] = NOT_LOOKED
