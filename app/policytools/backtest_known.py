"""What a replay knows of labels: the rule, the target and the prepared gates, looked up once for many alerts.

Recorded alerts differ in labels that no policy looks at; here they become one. Called by `app.policytools.backtest`. Pure; its
caches are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from sys import intern
from typing import Generic, Literal, NamedTuple, TypeVar

from app.domain.alert import target_hint as hint_of_labels
from app.domain.decision import Code
from app.domain.subject import MEASURED_BY, NAMESPACE, POD
from app.domain.target import Kind, Target
from app.policy.block import Block
from app.policy.consistency import Handler
from app.policy.facts import Facts
from app.policy.match import NoHint, match_rule
from app.policy.model import Ceiling, Policy, Rule
from app.policy.values import Duration
from app.policytools.assumed import (
    ASSUMED_CLUSTER,
    ASSUMED_STEP,
    ClusterFacts,
    Ground,
    StepSpec,
    assumed_facts,
    find_target,
    own_blocking,
    step_of,
)
from app.policytools.backtest_history import Key, Prepared
from app.policytools.backtest_records import instant

_CACHED = 60_000
K = TypeVar("K")
V = TypeVar("V")
_ALWAYS = ("alertname", *MEASURED_BY)


class Assumptions(Block):
    """What nobody recorded. `answers`: what becomes of a question. `level`: where the trust levels of rules with mode earned
    begin, absent where the rule says; the runs of the replay move them from there."""

    cluster: ClusterFacts = ASSUMED_CLUSTER
    step: StepSpec = ASSUMED_STEP
    run: Duration = timedelta(minutes=5)
    fixed: bool = True
    approvals: Literal["nobody", "approved"] = "nobody"
    level: Ceiling | None = None


class Said(NamedTuple):
    """What became of one record: `what` is acted, asked, blocked, observed, joined, fixed, person or resolved; `code` and
    `gate` say why; `rule` and `target` are empty where there is none."""

    what: str
    code: str
    gate: str
    rule: str
    target: str


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for all alerts with these labels: the prepared gates, or what is said without asking any."""

    key: Key | None
    prepared: Prepared | None
    name: object
    said: Said | None
    rule: str = ""
    target: str = ""


class Lookup:
    """The labels of one policy's replay."""

    def __init__(self, policy: Policy, catalogue: Mapping[str, Handler], assumed: Assumptions) -> None:
        self._policy, self._catalogue, self._assumed = policy, catalogue, assumed
        specs = [rule.target for rule in policy.rules]
        named = [f.label for spec in specs for f in (spec.name, spec.namespace, spec.pod) if f and f.label]
        matched = dict.fromkeys(
            m.name
            for rule in policy.rules
            for when in (rule.when, *rule.blocked_by)
            for matchers in when.lists
            for m in matchers
        )
        names = policy.labels.names.sources
        pods = {*names[POD], *(spec.pod.label for spec in specs if spec.pod)}
        self._matched = tuple(matched)
        self._pods = frozenset(pods - matched.keys())
        read = [source for sources in names.values() for source in sources]
        self._labels = tuple(dict.fromkeys((*_ALWAYS, *read, *named, *matched)))
        self._known: _Recent[tuple[str | None, ...], Known] = _Recent()
        self._rules: _Recent[tuple[str | None, ...], tuple[Rule | None]] = _Recent()
        self._quiet: _Recent[tuple[str, str], Facts] = _Recent()
        self._prepared: _Recent[tuple[str, str, Kind, str, str], Prepared] = _Recent()

    def at(self, labels: Mapping[str, str]) -> Known:
        """What holds for an alert with these labels."""
        get = labels.get
        projection = tuple([_owner(get(name)) if name in self._pods else get(name) for name in self._labels])
        known = self._known.get(projection)
        if known is None:
            # A record brings a text of its own for each label; what is kept shares one for each value.
            kept = tuple([intern(value) if value else value for value in projection])
            known = self._known.keep(kept, self._learn({k: intern(v) for k, v in labels.items()}))
        return known

    def _learn(self, labels: Mapping[str, str]) -> Known:
        subject = self._policy.labels.names.subject(labels)
        alertname, namespace = labels.get("alertname", ""), subject.get(NAMESPACE, "")
        hint = hint_of_labels(subject)
        name = f"{alertname}|{namespace}|{hint}"
        key: Key | None = (name,) if hint else None
        rule = self._rule(labels)
        if rule is None:
            return Known(key, None, name, Said("observed", Code.NO_RULE, "", "", ""))
        target = find_target(rule, labels, self._assumed.cluster)
        if isinstance(target, NoHint) or not self._assumed.cluster.exists:
            code = Code.NO_TARGET if isinstance(target, NoHint) else Code.TARGET_NOT_FOUND
            return Known(key, None, name, Said("blocked", code, "", rule.name, ""), rule.name)
        prepared = self._prepare(rule, target, labels)
        return Known(
            (alertname, prepared.target), prepared, prepared.target, None, rule.name, prepared.target
        )

    def _rule(self, labels: Mapping[str, str]) -> Rule | None:
        """The live match, asked once for each combination of the labels that matchers look at."""
        read = self._policy.labels.names.read(labels)
        compared = tuple([read.get(name) for name in self._matched])
        known = self._rules.get(compared)
        if known is None:
            found = match_rule(self._policy, labels)
            known = self._rules.keep(compared, (found.rule if found else None,))
        return known[0]

    def _prepare(self, rule: Rule, target: Target, labels: Mapping[str, str]) -> Prepared:
        """One for each rule and target, and for each of the rule's own alerts that blocks it."""
        own = {name for names in own_blocking(rule, labels).values() for name in names}
        blocked = next(iter(own), "")
        name = (rule.name, target.namespace, target.kind, target.name, blocked)
        prepared = self._prepared.get(name)
        if prepared is None:
            ground = Ground(self._policy, rule, target, self._assumed.cluster, labels)
            step = step_of(self._assumed.step, ground, self._catalogue)
            quiet = self._quiet.get((rule.name, blocked))
            if quiet is None:
                quiet = self._quiet.keep((rule.name, blocked), assumed_facts(ground, instant(0)))
            past = (target.key, rule.remediation)
            prepared = self._prepared.keep(name, Prepared(ground, step, quiet, target.key, past))
        return prepared


class _Recent(Generic[K, V]):
    """A bounded cache in two generations: when the young one is full, the old one is forgotten. So nothing is ever forgotten
    all at once, and what is used is learned anew once in a while."""

    def __init__(self) -> None:
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What was kept under this key and is still known."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def keep(self, key: K, value: V) -> V:
        """Keep it; gives it back."""
        if len(self._young) >= _CACHED // 2:
            self._old, self._young = self._young, {}
        self._young[key] = value
        return value


def _owner(pod: str | None) -> str | None:
    """All pods of one workload are one to a policy that compares no pod's name."""
    return hint_of_labels({"pod": pod}) if pod else pod
