"""Which of the alerts that the policy waits for reach us through Alertmanager's routes, and which of them something keeps away.

Called by `app.doctor.routes`. Pure. Each alternative of a rule is judged by itself. Of a label that no rule says, each value is tried that a
route asks for, none, and another one: an alert that our route fits and an earlier one keeps is named with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, Final

from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.tree import Labels, Route, Way, all_fit, matchers_of, taken_by
from app.flow.readiness.rights import named_namespaces
from app.policy.matchers import Matcher, Operator
from app.policy.model import Policy, Rule

_SAY = Voice(Area.ALERTMANAGER)
_WORDS = re.compile(r"[A-Za-z0-9_-]+(\|[A-Za-z0-9_-]+)*", re.ASCII)
MAX_COMBINATIONS: Final = 64
"""Combinations of labels that are tried of one alternative, and alternatives of one list; with more, each label alone."""
_ANOTHER: Final = "another-value"
_NEVER_OURS: Final = {"severity": "none"}
"""By convention the alerts that nobody acts on (Watchdog, InfoInhibitor): a route that keeps them keeps nothing from us."""
_ALWAYS_FIRE: Final = ("Watchdog", "DeadMansSwitch")
_SAYS = (Operator.EQUAL, Operator.NOT_EQUAL)
_SOME = "the policy's namespaces"
_ABOVE = "add a route for the namespace, above any that takes its alerts without continue: true"


@dataclass(frozen=True, slots=True)
class Sort:
    """Alerts that one alternative of a rule waits for: in which namespace, what is known of their labels, and what all of them match."""

    rule: Rule
    namespace: str
    labels: Labels
    matchers: Sequence[Matcher]

    @property
    def told(self) -> str:
        """The alternative in words; empty where it is the rule's only one."""
        name = self.labels.get("alertname", "")
        return f"alertname={name}" if name else ", ".join(map(str, self.matchers))


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of the alerts of one sort: the routes to us that some take, the receivers of those that never reach us, and by which labels an
    earlier route keeps some, each with its receivers."""

    ways: Sequence[Way]
    elsewhere: frozenset[str]
    kept: Sequence[tuple[Labels, str]]


@dataclass(frozen=True, slots=True)
class WaysToUs:
    """Our receivers, what becomes of each sort of alerts, and the routes to us that each heartbeat may take."""

    ours: frozenset[str]
    fates: Sequence[tuple[Sort, Fate]]
    of_heartbeats: Mapping[str, Sequence[Way]]

    @property
    def of_rules(self) -> Mapping[Way, timedelta]:
        """The routes to us that alerts of the rules may take, each with the shortest freshness among those rules."""
        found: dict[Way, timedelta] = {}
        for sort, fate in self.fates:
            for way in fate.ways:
                found[way] = min(found.get(way, sort.rule.freshness), sort.rule.freshness)
        return found

    @property
    def all(self) -> list[Way]:
        """Each once. A route that no alert of ours takes is nobody's business here."""
        beats = (way for ways in self.of_heartbeats.values() for way in ways)
        return list(dict.fromkeys((*self.of_rules, *beats)))


def ways_to(root: Route, ours: frozenset[str], policy: Policy) -> WaysToUs:
    """Walk the tree with every alert that the policy waits for. A heartbeat always fires, so it is about no namespace."""
    asked = _asked(root)
    fates = [(sort, _fate(sort, root, asked, ours)) for sort in sorts_of(policy)]
    beats = {
        one.alertname: [
            way
            for way in taken_by(root, {"alertname": one.alertname, "namespace": ""})
            if way.receiver in ours
        ]
        for one in policy.heartbeats
    }
    return WaysToUs(ours, fates, beats)


def astray(to_us: WaysToUs, policy: Policy) -> Iterator[Finding]:
    """Alerts that go elsewhere, all of an alternative or some, and heartbeats without a route."""
    lost: dict[tuple[str, str], dict[str, list[str]]] = {}
    kept: dict[tuple[str, str, str], None] = {}
    alternatives: dict[tuple[str, str], int] = {}
    for sort, fate in to_us.fates:
        key = (sort.namespace, sort.rule.name)
        alternatives[key] = alternatives.get(key, 0) + 1
        if not fate.ways:
            place = ", ".join(sorted(fate.elsewhere)) or "nobody"
            lost.setdefault((sort.namespace, place), {}).setdefault(sort.rule.name, []).append(sort.told)
        else:
            kept |= dict.fromkeys((sort.namespace, _told(which), place) for which, place in fate.kept)
    us = foreign(", ".join(to_us.ours))
    yield from _lost(lost, alternatives, us)
    for namespace, which, place in kept:
        text = f"alerts of {namespace or _SOME} with {foreign(which)} go to {foreign(place)} and not to {us}"
        fix = f"say continue: true at the route to {foreign(place)}, or put ours above it"
        yield _SAY.warn("route_keeps", text, fix)
    for heartbeat in policy.heartbeats:
        if not to_us.of_heartbeats[heartbeat.alertname]:
            name = foreign(heartbeat.alertname)
            text = f"no route leads {name}, which is about no namespace, to {us}: it will count as missing"
            fix = f'add a route with alertname="{name}" to the receiver, with a short repeat_interval'
            yield _SAY.warn("heartbeat_astray", text, fix)


def _lost(
    lost: Mapping[tuple[str, str], Mapping[str, Sequence[str]]],
    alternatives: Mapping[tuple[str, str], int],
    us: str,
) -> Iterator[Finding]:
    for (namespace, place), by_rule in sorted(lost.items()):
        whole = {rule for rule, told in by_rule.items() if len(told) == alternatives[namespace, rule]}
        every = whole == {rule for space, rule in alternatives if space == namespace}
        named = (
            rule if rule in whole else f"{rule} ({'; '.join(dict.fromkeys(told))})"
            for rule, told in sorted(by_rule.items())
        )
        whose = "" if every else f" for {foreign(', '.join(named))}"
        text = f"alerts of {namespace or _SOME}{whose} go to {foreign(place)} and never to {us}"
        yield _SAY.warn("route_elsewhere", text, _ABOVE)


def _fate(sort: Sort, root: Route, asked: Mapping[str, Collection[str]], ours: frozenset[str]) -> Fate:
    ways, elsewhere, kept = dict[Way, None](), set[str](), list[tuple[Labels, str]]()
    for labels in _alerts_of(sort, asked):
        taken = taken_by(root, labels)
        if to_us := [way for way in taken if way.receiver in ours]:
            ways |= dict.fromkeys(to_us)
            continue
        receivers = {way.receiver for way in taken}
        elsewhere |= receivers
        place = ", ".join(sorted(receivers))
        more = {name: value for name, value in labels.items() if name not in sort.labels and value}
        if not sort.namespace or any(p == place and k.items() <= more.items() for k, p in kept):
            continue
        if any(way.receiver in ours for way in taken_by(root, labels, all_continue=True)):
            kept.append((more, place))
    return Fate(list(ways), frozenset(elsewhere), kept)


def _told(labels: Labels) -> str:
    told = [f"any {n}" if v == _ANOTHER else f"{n}={v}" for n, v in labels.items()]
    return " and ".join(told) or "none of the labels that the routes ask for"


# --- the alerts ---


def sorts_of(policy: Policy) -> Iterator[Sort]:
    """The alternatives of all rules in all namespaces that the scope names; of a scope that only has patterns the namespace is not known."""
    for namespace in named_namespaces(policy.scope) or [""]:
        for rule in policy.rules:
            for matchers in rule.when.lists:
                for known in _alternatives(matchers):
                    names = _names_of_namespace(matchers, policy) if namespace else ()
                    where = dict.fromkeys(names, namespace)
                    if not namespace or known.get("namespace", namespace) == namespace:
                        yield Sort(rule, namespace, {**where, **known}, matchers)


def _alternatives(matchers: Sequence[Matcher]) -> Iterator[dict[str, str]]:
    """What is known of the labels, one way for each word of an alternation."""
    words = {one.name: found for one in matchers if (found := _words(one))}
    ways = 1
    for name in sorted(words, key=lambda name: name != "alertname"):
        if ways * len(words[name]) > MAX_COMBINATIONS:
            del words[name]
        else:
            ways *= len(words[name])
    for values in product(*words.values()):
        yield dict(zip(words, values, strict=True))


def _words(matcher: Matcher) -> tuple[str, ...]:
    """The values that it takes; empty when they cannot be counted."""
    if matcher.operator is Operator.EQUAL:
        return (matcher.value,)
    if matcher.operator is Operator.REGEX and _WORDS.fullmatch(matcher.value):
        return tuple(matcher.value.split("|"))
    return ()


def _names_of_namespace(matchers: Sequence[Matcher], policy: Policy) -> list[str]:
    """The labels that say the namespace: `namespace`, and what else of the policy's names the rule itself asks for."""
    return [
        "namespace",
        *(m.name for m in matchers if m.name in policy.labels.namespace and m.name != "namespace"),
    ]


def _alerts_of(sort: Sort, asked: Mapping[str, Collection[str]]) -> Iterator[Labels]:
    """Alerts of this sort by all labels that the routes ask for."""
    tried = {
        name: _values(name, found, sort.matchers)
        for name, found in asked.items()
        if name and name not in sort.labels
    }
    count = 1
    for values in tried.values():
        count *= len(values)
    if count <= MAX_COMBINATIONS:
        for combined in product(*tried.values()):
            yield {**sort.labels, **_known(zip(tried, combined, strict=True))}
        return
    for name, values in tried.items():
        for value in values:
            yield {**sort.labels, **_known([(name, value)])}


def _known(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    return {name: value for name, value in pairs if value is not None}


def _values(name: str, asked: Iterable[str], matchers: Sequence[Matcher]) -> list[str | None]:
    """What an alert of the sort may have there: what routes ask for, nothing, another value; None for one that cannot be thought of."""
    own = [one for one in matchers if one.name == name]
    every = dict.fromkeys(("", _ANOTHER, *asked))
    fitting: list[str | None] = [
        value
        for value in every
        if _NEVER_OURS.get(name) != value and all(m.matches({name: value}) for m in own)
    ]
    return fitting if _ANOTHER in fitting else [*fitting, None]


def _asked(root: Route) -> Mapping[str, Collection[str]]:
    """The labels that the routes ask for, each with the values that they name."""
    found: dict[str, set[str]] = {}
    for route in root.all():
        for one in route.matchers:
            words = (one.value,) if one.operator in _SAYS else _words(one) or _negated(one)
            found.setdefault(one.name, set()).update(words)
    return {name: sorted(values) for name, values in found.items()}


def _negated(matcher: Matcher) -> tuple[str, ...]:
    return tuple(matcher.value.split("|")) if _WORDS.fullmatch(matcher.value) else ()


# --- inhibitions ---


def inhibited(config: Mapping[str, Any], policy: Policy) -> Iterator[Finding]:
    """Alerts that are never told because an alert that always fires inhibits them."""
    always = dict.fromkeys((*_ALWAYS_FIRE, *(one.alertname for one in policy.heartbeats)))
    for rule in config.get("inhibit_rules") or ():
        for name in always:
            source = {"alertname": name, "severity": "none"}
            if not all_fit(matchers_of(rule, "source_"), source):
                continue
            target = tuple(matchers_of(rule, "target_"))
            equal = [str(label) for label in rule.get("equal") or ()]
            hit = [one for one in sorts_of(policy) if _is_inhibited(one, target, equal, source)]
            if hit:
                spaces = ", ".join(sorted({one.namespace or _SOME for one in hit}))
                which = ", ".join(map(str, target)) or "any label"
                text = f"an inhibit rule silences alerts of {spaces} ({foreign(which)}) while {foreign(name)} fires, which it always does"
                yield _SAY.warn(
                    "inhibited", text, "take the rule out, or name what it is for in its source_matchers"
                )
                break


def _is_inhibited(sort: Sort, target: Sequence[Matcher], equal: Sequence[str], source: Labels) -> bool:
    """Labels that nobody knows may be as the rule wants them."""
    if "namespace" in equal and not sort.namespace:
        return False  # they have one, and what always fires has none
    same = all(sort.labels.get(name, source.get(name, "")) == source.get(name, "") for name in equal)
    return same and all_fit(target, sort.labels) is not False
