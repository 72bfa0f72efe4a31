"""Test cases of a policy as a team writes them (`*.test.yaml`): their form, and reading them with the place of each fault.

Used by `app.policytools.testing`, which runs them. Pure: it is given the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PlainValidator

from app.domain.decision import Code, Verdict
from app.domain.outcome import RunState
from app.domain.quantities import parse_duration
from app.policy.block import Block
from app.policy.decide import GATE_NAMES
from app.policy.faults import PolicyFault, PolicyInvalid, unknown_name
from app.policy.model import Ceiling, Per
from app.policy.source import Source, read_source
from app.policy.values import Duration
from app.policy.written import validated
from app.policy.zones import parse_zone
from app.policytools.assumed import ClusterFacts, StepSpec

B = TypeVar("B", bound=Block)
QUIET_NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
"""When a case plays that names no time: a Wednesday, noon UTC."""

NONE = "none"
"""As `expect.rule` or `expect.target`: that there is none."""

Readable = Literal[
    "alert", "last_seen", "marks", "managers", "paused", "replicas", "spend", "last_action", "busy", "in_flight", "results",
    "storm_targets", "pauses", "blocking", "trust_level",
]  # fmt: skip
"""Facts that a case may declare unreadable."""


def parse_instant(value: object) -> datetime:
    """Read `2026-03-06T17:00:00+01:00` or `2026-03-06 17:00 Europe/Berlin`. Raises ValueError without a time zone."""
    text = value if isinstance(value, str) else repr(value)
    clock, _, zone = text.rpartition(" ")
    named = bool(clock) and not zone[:1].isdigit()
    try:
        at = datetime.fromisoformat(clock if named else text)
    except ValueError as error:
        expected = "2026-03-06T17:00:00+01:00 or 2026-03-06 17:00 Europe/Berlin"
        raise ValueError(f"expected an instant such as {expected}, got {text!r}") from error
    if named:
        at = at.replace(tzinfo=parse_zone(zone))
    if at.tzinfo is None:
        raise ValueError(f"expected a time zone with the instant {text!r}")
    return at.astimezone(UTC)


def parse_moment(value: object) -> timedelta | datetime:
    """Read `20s` (so long ago) or an instant. Raises ValueError."""
    try:
        return parse_duration(value)
    except ValueError:
        return parse_instant(value)


Instant = Annotated[datetime, PlainValidator(parse_instant)]
Moment = Annotated[timedelta | datetime, PlainValidator(parse_moment)]


class TimeFacts(Block):
    """When: `fired` and `last_seen` are instants or so long before `now`. Without `last_seen` the alert was said once,
    when it fired; without both it was heard 20 s ago."""

    now: Instant = QUIET_NOON
    fired: Moment | None = None
    last_seen: Moment | None = None
    resolved: bool = False


class PastRun(Block):
    """An earlier run of this remediation on this target."""

    state: RunState
    ago: Moment


class PauseFact(Block):
    """A pause that stands: `all`, `namespace:X`, `target:N/K/N`, `rule:NAME` or `remediation:NAME`."""

    scope: str
    reason: str = "maintenance"
    author: str = "someone"
    until: Instant | None = None


Spent = Annotated[int, Field(ge=0)] | tuple[Duration, ...]


class TrustFact(Block):
    """The trust level of a rule with mode earned: its level and the runs counted since that began. `waits`: a promotion waits for
    a person."""

    level: Ceiling
    fixed: int = Field(default=0, ge=0)
    runs: int | None = Field(default=None, ge=0, description="Counted runs; absent: as many as were fixed.")
    since: Moment = timedelta(days=30)
    waits: bool = False


class HistoryFacts(Block):
    """What happened before. `trust level` is that of a rule with mode earned, a level alone or with its numbers; without
    it the trust level begins now. `spend` counts earlier actions: per cluster, namespace, target, rule, remediation, or `own`
    for this rule on this target; a number counts in every window, a list says how long ago each was."""

    spend: Mapping[Per | Literal["own"], Spent] = {}
    last_action: Moment | None = None
    results: tuple[RunState | PastRun, ...] = ()
    busy: str = ""
    in_flight: int = Field(default=0, ge=0)
    storm_targets: int = Field(default=1, ge=0)
    pauses: tuple[str | PauseFact, ...] = ()
    firing: tuple[str | Mapping[str, str], ...] = ()
    trust_level: Ceiling | TrustFact | None = None


class PeopleFacts(Block):
    """Who ordered or approved it, and the ceiling under which the service runs. `may_approve`: who ordered it may also approve.
    `scheduled`: the clock ordered it, which is nobody's approval."""

    ordered_by: str = ""
    may_approve: bool = False
    scheduled: bool = False
    approved_by: str = ""
    ceiling: Ceiling | None = None
    dry_run: bool = False


class Expectation(Block):
    """What must come out; what is not said may be anything. A gate is expected to give this verdict or this code."""

    verdict: Verdict | None = None
    code: Code | None = None
    rule: str | None = None
    target: str | None = None
    step: str | None = None
    gates: Mapping[str, Verdict | Code] = {}


class Situation(Block):
    """Everything about a case but its alert, block by block."""

    cluster: ClusterFacts = ClusterFacts()
    time: TimeFacts = TimeFacts()
    history: HistoryFacts = HistoryFacts()
    people: PeopleFacts = PeopleFacts()
    step: StepSpec = StepSpec()


class WrittenCase(Situation):
    """One case: `alert`, or several `alerts` that must all come out alike."""

    name: str = Field(min_length=1)
    alert: Mapping[str, str] = {}
    alerts: tuple[Mapping[str, str], ...] = ()
    unknown: tuple[Readable, ...] = Field(default=(), description="Facts that cannot be read.")
    expect: Expectation


class CaseFile(Block):
    """One file. `defaults` holds for all of its cases, field by field."""

    version: Literal[1]
    defaults: Situation = Situation()
    cases: tuple[WrittenCase, ...]


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """A case with the file's defaults under it, and where it stands."""

    file: str
    line: int
    written: WrittenCase

    @property
    def alerts(self) -> tuple[Mapping[str, str], ...]:
        """The label sets that are judged."""
        return self.written.alerts or (self.written.alert,)


def read_cases(texts: Mapping[str, str]) -> tuple[PolicyCase, ...]:
    """All cases of all files, by file name. Raises PolicyInvalid with every fault."""
    faults: list[PolicyFault] = []
    cases: list[PolicyCase] = []
    for file in sorted(texts):
        source = read_source(file, texts[file])
        faults += source.faults
        found = None if source.faults else validated(CaseFile, source.value, source, (), faults)
        if found is None:
            continue
        if not found.cases:
            faults.append(source.fault(("cases",), "no case in it"))
        for at, written in enumerate(found.cases):
            faults += _faults(source, at, written)
            cases.append(
                PolicyCase(file, source.place(("cases", at)).line, _with_defaults(written, found.defaults))
            )
        faults += _twice(source, [c.name for c in found.cases])
    if faults:
        raise PolicyInvalid(tuple(sorted(set(faults))))
    return tuple(cases)


def _faults(source: Source, at: int, case: WrittenCase) -> list[PolicyFault]:
    here = ("cases", at)
    faults = []
    if bool(case.alert) is bool(case.alerts):
        faults.append(source.fault(here, "a case has an alert or several alerts, with at least one label"))
    if not case.expect.model_fields_set:
        faults.append(source.fault((*here, "expect"), "nothing is expected, so this case cannot fail"))
    for gate in case.expect.gates:
        if gate not in GATE_NAMES:
            message = unknown_name("gate", gate, GATE_NAMES)
            faults.append(source.fault((*here, "expect", "gates", gate), message, GATE_NAMES, of_key=True))
    trust_level = case.history.trust_level
    if (
        isinstance(trust_level, TrustFact)
        and trust_level.runs is not None
        and trust_level.fixed > trust_level.runs
    ):
        faults.append(
            source.fault((*here, "history", "trust_level", "fixed"), "more runs were fixed than counted")
        )
    time = case.time
    moments = [before(time.now, m) for m in (time.fired, time.last_seen) if m is not None]
    if moments != sorted(moments) or any(m > time.now for m in moments):
        faults.append(source.fault((*here, "time"), "the order must be fired, last_seen, now"))
    return faults


def _twice(source: Source, names: list[str]) -> list[PolicyFault]:
    return [
        source.fault(("cases", at, "name"), f'the name "{name}" is taken in this file')
        for at, name in enumerate(names)
        if name in names[:at]
    ]


def _with_defaults(case: WrittenCase, defaults: Situation) -> WrittenCase:
    merged = {name: _over(getattr(defaults, name), getattr(case, name)) for name in Situation.model_fields}
    return case.model_copy(update=merged)


def _over(base: B, own: B) -> B:
    return base.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def before(now: datetime, moment: timedelta | datetime) -> datetime:
    """The instant that was so long before `now`, or the instant itself."""
    return moment if isinstance(moment, datetime) else now - moment
