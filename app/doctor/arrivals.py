"""Which of the alerts that the policy waits for reach us through Alertmanager's routes, and which of them something keeps away.

Called by `app.doctor.routes`. Pure. Each alternative of a rule is judged by itself. Of a label that no rule says, each value is tried that a
route asks for, none, and another one: an alert that our route fits and an earlier one keeps is named with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, Final

from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.tree import Labels, Way, all_fit, matchers_of, taken_by
from app.flow.readiness.rights import named_namespaces
from app.policy.matchers import Matcher, Operator
from app.policy.model import Policy, Rule

_SAY = Voice(Area.ALERTMANAGER)
_WORDS = re.compile(r"[A-Za-z0-9_-]+(\|[A-Za-z0-9_-]+)*", re.ASCII)
_MOST: Final = 300
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
class WaysToUs:
    """The routes to us that alerts of the rules may take, each with the shortest freshness among those rules, and those of each heartbeat."""

    of_rules: Mapping[Way, timedelta]
    of_heartbeats: Mapping[str, Sequence[Way]]

    @property
    def all(self) -> list[Way]:
        """Each once."""
        return list(
            dict.fromkeys((*self.of_rules, *(w for ways in self.of_heartbeats.values() for w in ways)))
        )


def ways_to(root: Mapping[str, Any], ours: frozenset[str], policy: Policy) -> WaysToUs:
    """What of the tree matters to us: a route that no alert of ours takes is nobody's business here."""
    of_rules: dict[Way, timedelta] = {}
    for sort in sorts_of(policy):
        for labels in _alerts_of(sort, root):
            for way in taken_by(root, labels, Way()):
                if way.receiver in ours:
                    of_rules[way] = min(of_rules.get(way, sort.rule.freshness), sort.rule.freshness)
    beats = {one.alertname: _beating(root, ours, one.alertname) for one in policy.heartbeats}
    return WaysToUs(of_rules, beats)


def _beating(root: Mapping[str, Any], ours: frozenset[str], alertname: str) -> list[Way]:
    """An alert that always fires is about no namespace."""
    taken = taken_by(root, {"alertname": alertname, "namespace": ""}, Way())
    return [way for way in taken if way.receiver in ours]


def astray(root: Mapping[str, Any], ours: frozenset[str], policy: Policy) -> Iterator[Finding]:
    """Alerts that go elsewhere, all of an alternative or some, and heartbeats without a route."""
    lost: dict[tuple[str, str], dict[str, list[str]]] = {}
    kept: dict[tuple[str, str, str], None] = {}
    alternatives: dict[tuple[str, str], int] = {}
    for sort in sorts_of(policy):
        key = (sort.namespace, sort.rule.name)
        alternatives[key] = alternatives.get(key, 0) + 1
        arrives, elsewhere, taken = _fate(sort, root, ours)
        if not arrives:
            place = ", ".join(sorted(elsewhere)) or "nobody"
            lost.setdefault((sort.namespace, place), {}).setdefault(sort.rule.name, []).append(sort.told)
        else:
            kept |= dict.fromkeys((sort.namespace, _told(which), place) for which, place in taken)
    yield from _lost(lost, alternatives, ours)
    for namespace, which, place in kept:
        text = f"alerts of {namespace or _SOME} with {foreign(which)} go to {foreign(place)} and not to {foreign(', '.join(ours))}"
        yield _SAY.warn(
            "route_keeps", text, f"say continue: true at the route to {foreign(place)}, or put ours above it"
        )
    for heartbeat in policy.heartbeats:
        if not _beating(root, ours, heartbeat.alertname):
            text = (
                f"no route leads {foreign(heartbeat.alertname)}, which is about no namespace, to {foreign(', '.join(ours))}:"
                " it will count as missing"
            )
            fix = f'add a route with alertname="{heartbeat.alertname}" to the receiver, with a short repeat_interval'
            yield _SAY.warn("heartbeat_astray", text, fix)


def _lost(
    lost: Mapping[tuple[str, str], Mapping[str, Sequence[str]]],
    alternatives: Mapping[tuple[str, str], int],
    ours: frozenset[str],
) -> Iterator[Finding]:
    for (namespace, place), by_rule in sorted(lost.items()):
        whole = {rule for rule, told in by_rule.items() if len(told) == alternatives[namespace, rule]}
        every = whole == {rule for space, rule in alternatives if space == namespace}
        named = (
            rule if rule in whole else f"{rule} ({'; '.join(dict.fromkeys(told))})"
            for rule, told in sorted(by_rule.items())
        )
        whose = "" if every else f" for {foreign(', '.join(named))}"
        text = f"alerts of {namespace or _SOME}{whose} go to {foreign(place)} and never to {foreign(', '.join(ours))}"
        yield _SAY.warn("route_elsewhere", text, _ABOVE)


def _fate(
    sort: Sort, root: Mapping[str, Any], ours: frozenset[str]
) -> tuple[bool, set[str], list[tuple[Labels, str]]]:
    """Whether some of them may arrive; where those go that never do; and by which labels an earlier route keeps some, each with its receivers."""
    arrives, elsewhere, kept = False, set[str](), list[tuple[Labels, str]]()
    for labels in _alerts_of(sort, root):
        receivers = {way.receiver for way in taken_by(root, labels, Way())}
        if receivers & ours:
            arrives = True
            continue
        elsewhere |= receivers
        if ours & {way.receiver for way in taken_by(root, labels, Way(), all_continue=True)}:
            more = {name: value for name, value in labels.items() if name not in sort.labels and value}
            place = ", ".join(sorted(receivers))
            if sort.namespace and not any(p == place and k.items() <= more.items() for k, p in kept):
                kept.append((more, place))
    return arrives, elsewhere, kept


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
        if ways * len(words[name]) > _MOST:
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


def _alerts_of(sort: Sort, root: Mapping[str, Any]) -> Iterator[Labels]:
    """Alerts of this sort by all labels that the routes ask for."""
    tried = {
        name: _values(name, found, sort.matchers)
        for name, found in _asked(root).items()
        if name and name not in sort.labels
    }
    count = 1
    for values in tried.values():
        count *= len(values)
    if count <= _MOST:
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


def _asked(route: Mapping[str, Any]) -> dict[str, set[str]]:
    """The labels that the routes ask for, each with the values that they name."""
    found: dict[str, set[str]] = {}
    for one in matchers_of(route):
        words = (one.value,) if one.operator in _SAYS else _words(one) or _negated(one)
        found.setdefault(one.name, set()).update(words)
    for child in route.get("routes") or ():
        for name, values in _asked(child).items():
            found.setdefault(name, set()).update(values)
    return found


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
