"""What a replay knows of labels: the rule, the target and the prepared gates, looked up once for many alerts.

Recorded alerts differ in labels that no policy looks at; here they become one. Called by `app.policy.backtest`. Pure; its
caches are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from app.domain.alert import target_hint as hint_of_labels
from app.domain.decision import Code
from app.domain.target import Target
from app.policy.assumed import (
    ASSUMED_CLUSTER,
    ASSUMED_RUNG,
    ClusterFacts,
    Ground,
    RungSpec,
    find_target,
    rung_of,
)
from app.policy.backtest_gates import Prepared, prepare
from app.policy.backtest_history import Key
from app.policy.consistency import Handler
from app.policy.match import NoHint, match_rule
from app.policy.model import Block, Duration, Policy, Rule

_CACHED = 50_000
_HINTS = (
    "alertname",
    "namespace",
    "deployment",
    "statefulset",
    "daemonset",
    "horizontalpodautoscaler",
    "pod",
)


class Assumptions(Block):
    """What nobody recorded. `answers`: what becomes of a question."""

    cluster: ClusterFacts = ASSUMED_CLUSTER
    rung: RungSpec = ASSUMED_RUNG
    run: Duration = timedelta(minutes=5)
    fixed: bool = True
    answers: Literal["nobody", "approved"] = "nobody"


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
            m.name for rule in policy.rules for matchers in rule.when.lists for m in matchers
        )
        pods = {"pod", *(spec.pod.label for spec in specs if spec.pod)}
        self._matched = tuple(matched)
        self._pods = frozenset(pods - matched.keys())
        self._labels = tuple(dict.fromkeys((*_HINTS, *named, *matched)))
        self._known: dict[tuple[str | None, ...], Known] = {}
        self._rules: dict[tuple[str | None, ...], Rule | None] = {}
        self._prepared: dict[tuple[str, str], Prepared] = {}

    def at(self, labels: Mapping[str, str]) -> Known:
        """What holds for an alert with these labels."""
        get = labels.get
        projection = tuple([_owner(get(name)) if name in self._pods else get(name) for name in self._labels])
        known = self._known.get(projection)
        if known is None:
            _bound(self._known)
            known = self._known[projection] = self._learn(labels)
        return known

    def _learn(self, labels: Mapping[str, str]) -> Known:
        alertname, namespace = labels.get("alertname", ""), labels.get("namespace", "")
        hint = hint_of_labels(labels)
        name = f"{alertname}|{namespace}|{hint}"
        key: Key | None = (name,) if hint else None
        rule = self._rule(labels)
        if rule is None:
            return Known(key, None, name, Said("observed", Code.NO_RULE, "", "", ""))
        target = find_target(rule, labels, self._assumed.cluster)
        if isinstance(target, NoHint) or not self._assumed.cluster.exists:
            code = Code.NO_TARGET if isinstance(target, NoHint) else Code.TARGET_NOT_FOUND
            return Known(key, None, name, Said("blocked", code, "", rule.name, ""), rule.name)
        prepared = self._prepare(rule, target)
        return Known((alertname, target.key), prepared, target.key, None, rule.name, target.key)

    def _rule(self, labels: Mapping[str, str]) -> Rule | None:
        """The live match, asked once for each combination of the labels that matchers look at."""
        compared = tuple([labels.get(name) for name in self._matched])
        if compared not in self._rules:
            _bound(self._rules)
            found = match_rule(self._policy, labels)
            self._rules[compared] = found.rule if found else None
        return self._rules[compared]

    def _prepare(self, rule: Rule, target: Target) -> Prepared:
        name = (rule.name, target.key)
        prepared = self._prepared.get(name)
        if prepared is None:
            _bound(self._prepared)
            ground = Ground(self._policy, rule, target, self._assumed.cluster)
            rung = rung_of(self._assumed.rung, ground, self._catalogue)
            prepared = self._prepared[name] = prepare(ground, rung)
        return prepared


def _bound(cache: dict[Any, Any]) -> None:
    if len(cache) >= _CACHED:
        cache.clear()


def _owner(pod: str | None) -> str | None:
    """All pods of one workload are one to a policy that compares no pod's name."""
    return hint_of_labels({"pod": pod}) if pod else pod
