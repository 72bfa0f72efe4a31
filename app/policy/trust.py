"""Trust: how the trust level of one alert, remediation and class of targets rises by proof and falls by setback.

Owns the levels (observe, approve, auto), the arithmetic of the proof and its words. Called by the gate `trust`, by the
flow when a run's result is counted or a person moves a trust level, by replays and policy tests. Pure: time comes in.

A level is left upwards one at a time, when enough runs were counted since it began and Wilson's lower bound of the share
that was fixed reaches the policy's. Any setback leaves it downwards at once. Counting begins again with each level.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from math import floor, sqrt
from statistics import NormalDist

from app.domain.decision import Mode
from app.domain.quantities import Percent
from app.domain.target import Target
from app.domain.units import counted
from app.policy.model import Promotion, Proof, TargetClass, TrustTerms

LEVELS = (Mode.OBSERVE, Mode.APPROVE, Mode.AUTO)
MAX_RUNS = 1_000
"""So many fixed runs in a row prove everything that can be proved; a bound above theirs is never reached."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Evidence(StrEnum):
    """What one run said about its remediation. What is not here (expired, abandoned, refused by the cluster) says nothing."""

    FIXED = "fixed"
    UNCLEAR = "unclear"  # inconclusive or not measurable: a trial that proves nothing
    NOT_FIXED = "not_fixed"
    STUCK = "stuck"
    UNDONE = "undone"  # by a person
    REJECTED = "rejected"  # by a person

    @property
    def setback(self) -> bool:
        """It lowers the level."""
        return self not in (Evidence.FIXED, Evidence.UNCLEAR)


_BECAUSE = {
    Evidence.FIXED: "was fixed",
    Evidence.UNCLEAR: "could not be judged",
    Evidence.NOT_FIXED: "did not fix it",
    Evidence.STUCK: "got stuck",
    Evidence.UNDONE: "was undone",
    Evidence.REJECTED: "was rejected",
}


class Change(StrEnum):
    """What became of a trust level."""

    OPENED = "opened"
    COUNTED = "counted"
    ASKED = "asked"  # enough for the next level: a person has to confirm it
    AGREED = "agreed"  # one yes of several
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    RESET = "reset"  # setback at the lowest level: counting begins again


@dataclass(frozen=True, slots=True)
class TrustLevel:
    """Where one alert, remediation and class of targets stands. `successes` of `trials` since the level began at `since`.

    `waits`: there is enough proof for the next level, and a person has to confirm it. `why` says how it came here.
    """

    level: Mode
    since: datetime
    successes: int = 0
    trials: int = 0
    waits: bool = False
    why: str = "it begins here"

    def __post_init__(self) -> None:
        """Raises ValueError for what no trust level can be."""
        if self.level not in LEVELS or not 0 <= self.successes <= self.trials:
            raise ValueError(f"no trust level: {self.level}, {self.successes} of {self.trials}")

    @property
    def above(self) -> Mode | None:
        """The next level; None at the highest."""
        at = LEVELS.index(self.level) + 1
        return LEVELS[at] if at < len(LEVELS) else None

    @property
    def below(self) -> Mode | None:
        """The level that a setback leads to; None at the lowest."""
        at = LEVELS.index(self.level)
        return LEVELS[at - 1] if at else None


def fresh(terms: TrustTerms, now: datetime) -> TrustLevel:
    """A trust level of which nothing is known yet."""
    return TrustLevel(Mode(terms.start.value), now)


def class_of(per: TargetClass, target: Target) -> str:
    """The class that a target belongs to: `rag7`, `rag7/Deployment` or `rag7/Deployment/langgraph`."""
    parts = target.key.split("/", 2)
    return "/".join(parts[: {TargetClass.NAMESPACE: 1, TargetClass.KIND: 2, TargetClass.TARGET: 3}[per]])


def key_of(alertname: str, remediation: str, per: TargetClass, target: Target) -> str:
    """The name of a trust level, as people give it: `HighErrorRate/high-error-rate/rag7/Deployment`."""
    return f"{alertname}/{remediation}/{class_of(per, target)}"


def count(
    trust_level: TrustLevel, evidence: Evidence, terms: TrustTerms | None, now: datetime, run: str
) -> tuple[TrustLevel, Change]:
    """What one run's evidence makes of a trust level. `terms` None: no rule says any more what a level takes, so nothing is
    promoted; setback still lowers it."""
    because = f"{run} {_BECAUSE[evidence]}"
    if evidence.setback:
        return lower(trust_level, now, because)
    tallied = replace(
        trust_level,
        successes=trust_level.successes + (evidence is Evidence.FIXED),
        trials=trust_level.trials + 1,
    )
    if not proved(tallied, terms):
        return replace(tallied, waits=False), Change.COUNTED
    if evidence is not Evidence.FIXED:  # whatever was proved before: doubt raises nothing
        return tallied, Change.COUNTED
    if terms is not None and terms.promotion is Promotion.ASKED:
        return replace(tallied, waits=True), Change.COUNTED if trust_level.waits else Change.ASKED
    return rise(tallied, now, proof_text(tallied, terms))


def rise(trust_level: TrustLevel, now: datetime, why: str) -> tuple[TrustLevel, Change]:
    """One level up; counting begins again. Raises ValueError at the highest."""
    if trust_level.above is None:
        raise ValueError("there is no level above auto")
    return TrustLevel(trust_level.above, now, why=why), Change.PROMOTED


def lower(trust_level: TrustLevel, now: datetime, why: str) -> tuple[TrustLevel, Change]:
    """One level down, at the lowest none; counting begins again."""
    if trust_level.below is None:
        return TrustLevel(trust_level.level, now, why=why), Change.RESET
    return TrustLevel(trust_level.below, now, why=why), Change.DEMOTED


def proof(trust_level: TrustLevel, terms: TrustTerms | None) -> Proof | None:
    """What the next level takes; None when there is none."""
    if terms is None or trust_level.above is None:
        return None
    return terms.approve if trust_level.level is Mode.OBSERVE else terms.auto


def proved(trust_level: TrustLevel, terms: TrustTerms | None) -> bool:
    """The counted runs are enough for the next level."""
    wanted = proof(trust_level, terms)
    if wanted is None or terms is None or trust_level.trials < wanted.runs:
        return False
    return lower_bound(trust_level.successes, trust_level.trials, terms.confidence) >= wanted.bound


@lru_cache(maxsize=64)
def _z(confidence: Percent) -> float:
    return NormalDist().inv_cdf(0.5 + confidence.hundredths / 20_000)


def lower_bound(successes: int, trials: int, confidence: Percent) -> float:
    """The lower end of Wilson's score interval (two-sided, at this confidence) for the share of fixed runs; 0 for no runs."""
    if not trials:
        return 0.0
    z, share = _z(confidence), successes / trials
    square = z * z / trials
    spread = z * sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, (share + square / 2 - spread) / (1 + square))


def missing(trust_level: TrustLevel, terms: TrustTerms | None) -> int | None:
    """How many more runs, all of them fixed, would be enough for the next level; None when there is no next level, or when
    not even a thousand would."""
    wanted = proof(trust_level, terms)
    if wanted is None or terms is None:
        return None

    def enough(more: int) -> bool:
        return proved(
            replace(trust_level, successes=trust_level.successes + more, trials=trust_level.trials + more),
            terms,
        )

    found = bisect_left(range(MAX_RUNS + 1), True, key=enough)
    return found if found <= MAX_RUNS else None


def tally_text(trust_level: TrustLevel) -> str:
    """`12 of 12 fixed since 3 Nov 2025`."""
    at = trust_level.since.astimezone(UTC)
    since = f"since {at.day} {_MONTHS[at.month - 1]} {at.year}"
    if not trust_level.trials:
        return f"no run counted {since}"
    return f"{trust_level.successes} of {trust_level.trials} fixed {since}"


def proof_text(trust_level: TrustLevel, terms: TrustTerms | None) -> str:
    """`12 of 12 fixed since 3 Nov 2025, lower bound 0.76 of 0.70 needed`; without a next level the tally alone."""
    wanted = proof(trust_level, terms)
    if wanted is None or terms is None or not trust_level.trials:
        return tally_text(trust_level)
    bound = lower_bound(trust_level.successes, trust_level.trials, terms.confidence)
    text = f"{tally_text(trust_level)}, lower bound {measured(bound)} of {share(wanted.bound)} needed"
    short = wanted.runs - trust_level.trials
    return f"{text}, {trust_level.trials} of {counted(wanted.runs, 'run')}" if short > 0 else text


def next_text(trust_level: TrustLevel, terms: TrustTerms | None) -> str:
    """What would have to happen for the next level; empty at the highest."""
    if trust_level.above is None:
        return ""
    if terms is None:
        return "no rule with mode earned says what the next level takes"
    if trust_level.waits:
        return f"a person confirms level {trust_level.above}"
    more = missing(trust_level, terms)
    if more is None:
        return (
            f"level {trust_level.above} cannot be earned: its bound is above what {MAX_RUNS} fixed runs prove"
        )
    if not more:
        return f"the next fixed run leads to level {trust_level.above}"
    runs = f"{counted(more, 'more run')} fixed in a row"
    how = " (ordered by hand: nothing acts by itself here)" if trust_level.level is Mode.OBSERVE else ""
    return f"{runs}{how} for level {trust_level.above}"


def measured(bound: float) -> str:
    """A measured bound, rounded down: it never looks like more than it is."""
    return f"{floor(bound * 100 + 1e-9) / 100:.2f}"


def share(bound: float) -> str:
    """A bound of the policy, as exact as it is written."""
    text = f"{bound:.2f}"
    return text if float(text) == bound else f"{bound:g}"
