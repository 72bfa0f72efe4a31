"""Decisions: what the gates said, each with measured value and threshold.

Deny wins, then ask, then observe, then allow. Every alert ends in one decision, also when no rule matched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from app.domain.json import JsonValue


class Verdict(StrEnum):
    """A gate's or a whole decision's word, strongest first."""

    DENY = "deny"
    ASK = "ask"
    OBSERVE = "observe"
    ALLOW = "allow"


_STRENGTH = {Verdict.DENY: 3, Verdict.ASK: 2, Verdict.OBSERVE: 1, Verdict.ALLOW: 0}


class Mode(StrEnum):
    """How far a rule may go by itself. `earned` is for rules only: then its trust level says which of the others holds."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"
    EARNED = "earned"


class Code(StrEnum):
    """Closed list of reasons; the same word in logs, metric labels, audit and Slack. Documented in docs of the policy."""

    ALLOWED = "allowed"
    KILL_SWITCH = "kill_switch"
    CEILING = "ceiling"
    PAUSED = "paused"
    OUT_OF_SCOPE = "out_of_scope"
    OPTED_OUT = "opted_out"
    PROTECTED = "protected"
    NOT_FIRING = "not_firing"
    STALE = "stale"
    SILENCED = "silenced"
    ACKNOWLEDGED = "acknowledged"
    CHANGED_SINCE = "changed_since"
    TAKEN_BESIDE = "taken_beside"
    BEING_DELETED = "being_deleted"
    OWNED = "owned"
    ROLLOUT_PAUSED = "rollout_paused"
    OUTSIDE_WINDOW = "outside_window"
    FROZEN = "frozen"
    BLOCKING_ALERT = "blocking_alert"
    COOLING_DOWN = "cooling_down"
    RATE_LIMITED = "rate_limited"
    BUDGET_SPENT = "budget_spent"
    POD_CANNOT_START = "pod_cannot_start"
    POD_UNPROVEN = "pod_unproven"
    BLAST_RADIUS = "blast_radius"
    TARGET_BUSY = "target_busy"
    FLAPPING = "flapping"
    STORM = "storm"
    MODE_OBSERVE = "mode_observe"
    NOT_EARNED = "not_earned"
    UNSURE = "unsure"
    APPROVAL_NEEDED = "approval_needed"
    UNKNOWN_FACT = "unknown_fact"
    NO_RULE = "no_rule"
    NO_TARGET = "no_target"
    TARGET_NOT_FOUND = "target_not_found"
    NO_STEP = "no_step"
    PERSON_NEEDED = "person_needed"
    NOTHING_TO_DO = "nothing_to_do"
    NOT_YET = "not_yet"
    DRY_RUN = "dry_run"


class Calls(StrEnum):
    """Whether a person is called for a decision of this reason, and when; nobody is for one that waits for an answer, before it expires, for what is only observed, nor for an
    order, whose answer says why. The words are those of the reference."""

    NOBODY = "nobody"
    A_PERSON = "a person, at once"
    IN_THE_WAY = "a person, at once, where the rule is not observing: only they can clear the way"
    NOT_WELL = "a person, where not all pods are up"
    AFTER_A_FAILURE = "a person, where the alert fires and the last run on the target did not help, or two helped within the window of `flapping`, or one did and the cooldown lasts longer than a question stands"
    COMES_BACK = "a person, where the alert fires and the last run on the target did not help, or one helped within the window of `flapping` or of a limit, or the target's own limit is used up"
    WHEN_IT_LASTS = "a person, after 10 min, where the rule may act"
    NO_WORKLOAD = "a person, where the rule may act and ends with `escalate`, and it is about a server that is no workload in the scope, or the rule's own default"
    FOR_THE_STORM = "one person for the whole storm"
    BY_THE_RUN = "as the run ends: the rule's `otherwise`"
    IF_UNANSWERED = "whoever may approve is asked; when it expires, the rule's `otherwise`"


_REFUSED, _OBSERVED, _ASKED, _ACTING, _PERSONS = "refused", "observed", "waiting", "acting", "escalated"
_QUESTION = (_ASKED, _OBSERVED)
FOLLOWS: Mapping[Code, tuple[tuple[str, ...], Calls]] = {
    Code.ALLOWED: ((_ACTING,), Calls.BY_THE_RUN),
    Code.KILL_SWITCH: ((_REFUSED,), Calls.NOBODY),
    Code.CEILING: ((_OBSERVED,), Calls.NOBODY),
    Code.PAUSED: ((_REFUSED,), Calls.NOBODY),
    Code.OUT_OF_SCOPE: ((_REFUSED,), Calls.NOBODY),
    Code.OPTED_OUT: ((_REFUSED,), Calls.NOBODY),
    Code.PROTECTED: ((_REFUSED,), Calls.NOT_WELL),
    Code.NOT_FIRING: ((_REFUSED,), Calls.NOBODY),
    Code.STALE: ((_REFUSED,), Calls.NOBODY),
    Code.SILENCED: ((_REFUSED,), Calls.NOBODY),
    Code.ACKNOWLEDGED: ((_REFUSED,), Calls.NOBODY),
    Code.CHANGED_SINCE: (_QUESTION, Calls.IF_UNANSWERED),
    Code.TAKEN_BESIDE: (_QUESTION, Calls.IF_UNANSWERED),
    Code.BEING_DELETED: ((_REFUSED,), Calls.NOBODY),
    Code.OWNED: ((_REFUSED, *_QUESTION), Calls.IN_THE_WAY),
    Code.ROLLOUT_PAUSED: ((_REFUSED,), Calls.NOBODY),
    Code.OUTSIDE_WINDOW: ((_REFUSED,), Calls.NOBODY),
    Code.FROZEN: ((_REFUSED,), Calls.NOBODY),
    Code.BLOCKING_ALERT: ((_REFUSED,), Calls.NOBODY),
    Code.COOLING_DOWN: ((_REFUSED,), Calls.AFTER_A_FAILURE),
    Code.RATE_LIMITED: ((_REFUSED,), Calls.COMES_BACK),
    Code.BUDGET_SPENT: ((_REFUSED,), Calls.COMES_BACK),
    Code.POD_CANNOT_START: ((_REFUSED,), Calls.IN_THE_WAY),
    Code.POD_UNPROVEN: ((_REFUSED, *_QUESTION), Calls.IF_UNANSWERED),
    Code.BLAST_RADIUS: ((_REFUSED,), Calls.NOBODY),
    Code.TARGET_BUSY: ((_REFUSED,), Calls.NOBODY),
    Code.FLAPPING: (_QUESTION, Calls.IF_UNANSWERED),
    Code.STORM: ((_OBSERVED,), Calls.FOR_THE_STORM),
    Code.MODE_OBSERVE: ((_OBSERVED,), Calls.NOBODY),
    Code.NOT_EARNED: (_QUESTION, Calls.IF_UNANSWERED),
    Code.UNSURE: (_QUESTION, Calls.IF_UNANSWERED),
    Code.APPROVAL_NEEDED: (_QUESTION, Calls.IF_UNANSWERED),
    Code.UNKNOWN_FACT: ((_REFUSED,), Calls.WHEN_IT_LASTS),
    Code.NO_RULE: ((_OBSERVED,), Calls.NOBODY),
    Code.NO_TARGET: ((_REFUSED,), Calls.NO_WORKLOAD),
    Code.TARGET_NOT_FOUND: ((_REFUSED,), Calls.NO_WORKLOAD),
    Code.NO_STEP: ((_PERSONS, _OBSERVED), Calls.A_PERSON),
    Code.PERSON_NEEDED: ((_PERSONS, _OBSERVED), Calls.A_PERSON),
    Code.NOTHING_TO_DO: ((_OBSERVED,), Calls.NOBODY),
    Code.NOT_YET: ((_REFUSED, _OBSERVED), Calls.NOBODY),
    Code.DRY_RUN: ((_OBSERVED,), Calls.NOBODY),
}
"""What an alert's incident is by a decision of this reason, and who is called. The flow goes by it, and the reference shows it."""


OFF_LIMITS = frozenset({Code.OUT_OF_SCOPE, Code.PROTECTED, Code.OPTED_OUT})
"""Targets that are none of our business, so that nothing of them is read."""


def calling(calls: Calls) -> frozenset[Code]:
    """The reasons for which people are called like that."""
    return frozenset(code for code, (_, found) in FOLLOWS.items() if found is calls)


class GateResult(NamedTuple):
    """One gate's answer. `value` was measured, `threshold` is the policy's; both as people read them, with units.

    `remedy` says what would have to change for it to allow; `retry_at` when it may by itself. A tuple, because storms and
    backtests make millions of them, and a frozen dataclass takes three times as long.
    """

    gate: str
    verdict: Verdict
    code: Code
    value: str
    threshold: str
    remedy: str = ""
    retry_at: datetime | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """For the store and the audit trail."""
        # Written out: a storm asks for a hundred thousand of these, and `asdict` takes ten times as long.
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "code": self.code.value,
            "value": self.value,
            "threshold": self.threshold,
            "remedy": self.remedy,
            "retry_at": self.retry_at.isoformat() if self.retry_at else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateResult:
        """Rebuild from `to_json`."""
        at = data.get("retry_at")
        return cls(
            data["gate"],
            Verdict(data["verdict"]),
            Code(data["code"]),
            data["value"],
            data["threshold"],
            data.get("remedy", ""),
            datetime.fromisoformat(at) if at else None,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The word on one incident at one moment, with the whole trace. `again` is when looking again gives another one, where no gate says so."""

    verdict: Verdict
    code: Code
    text: str
    rule: str
    remediation: str
    step: str
    gates: tuple[GateResult, ...]
    policy_version: str = ""
    again: datetime | None = None

    @property
    def silenced(self) -> bool:
        """A gate says that its alert is silenced: nobody is called while that lasts."""
        return any(gate.code is Code.SILENCED for gate in self.gates)

    @property
    def retry_at(self) -> datetime | None:
        """When looking again may give another answer: the latest retry time of the gates that decided it. A weaker gate
        does not count: behind a denial that ends there may be a question, and that is another answer. Where there is no step, what keeps
        steps away does not count either: only whether a person is called waits for what is under way on the target."""
        if self.again is not None:
            return self.again
        waits = self.code is Code.TARGET_BUSY and not self.step
        judged = [g for g in self.gates if g.code is self.code] if waits else self.gates
        times = [g.retry_at for g in judged if g.verdict is self.verdict and g.verdict is not Verdict.ALLOW]
        known = [t for t in times if t is not None]
        return max(known) if known and len(known) == len(times) else None

    @property
    def blind(self) -> bool:
        """Something that the decision needs could not be read."""
        if self.code in OFF_LIMITS:  # nobody wanted to read more
            return False
        return self.code is Code.UNKNOWN_FACT or any(g.code is Code.UNKNOWN_FACT for g in self.gates)

    def repeats(self, body: Mapping[str, Any]) -> bool:
        """Whether it says nothing that an earlier one, given as its JSON, did not say; measured values may differ, but not what it waits
        for on a busy target."""
        same = all(body.get(part) == getattr(self, part) for part in ("verdict", "code", "rule", "step"))
        if not same or self.code is not Code.TARGET_BUSY:
            return same
        before = [g.get("remedy", "") for g in body.get("gates", ()) if g.get("code") == self.code]
        return before == [g.remedy for g in self.gates if g.code is self.code]

    def to_json(self) -> dict[str, JsonValue]:
        """For the store and the audit trail."""
        return {
            "verdict": self.verdict.value,
            "code": self.code.value,
            "text": self.text,
            "rule": self.rule,
            "remediation": self.remediation,
            "step": self.step,
            "policy_version": self.policy_version,
            "gates": [g.to_json() for g in self.gates],
            **({"again": self.again.isoformat()} if self.again else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Decision:
        """Rebuild from `to_json`."""
        return cls(
            Verdict(data["verdict"]),
            Code(data["code"]),
            data["text"],
            data["rule"],
            data["remediation"],
            data["step"],
            tuple(GateResult.from_json(g) for g in data["gates"]),
            data.get("policy_version", ""),
            datetime.fromisoformat(data["again"]) if data.get("again") else None,
        )


def strongest(gates: Sequence[GateResult]) -> GateResult | None:
    """The gate that decides: the first of the strongest verdict, None when all allow."""
    allow = Verdict.ALLOW
    against = [g for g in gates if g.verdict is not allow]
    return max(against, key=lambda g: _STRENGTH[g.verdict]) if against else None
