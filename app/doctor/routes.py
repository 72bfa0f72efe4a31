"""Alertmanager's configuration as our alerts meet it: which receiver is ours, which routes lead there, and what keeps an alert from them.

Called by `app.doctor.sources`, which read the configuration. Pure. A label that no rule says may have any value, so a route that looks at one may
fit or not: only what is certain is told as a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.patient import Patient
from app.domain.units import counted
from app.flow.readiness.rights import named_namespaces
from app.policy.matchers import Matcher, Operator, compile_anchored, parse_matchers
from app.policy.model import Policy, Rule
from app.policy.units import duration_text

_SAY = Voice(Area.ALERTMANAGER)
PATH: Final = "/webhooks/alertmanager"
_OURS, _HIDDEN = "remediator", "<secret>"
_REPEAT, _GROUP, _WAIT = (
    timedelta(hours=4),
    timedelta(minutes=5),
    timedelta(seconds=30),
)  # Alertmanager's defaults
_LATE = timedelta(minutes=2)
"""A first message that is held back for longer is late for whoever waits at night."""
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (
    timedelta(days=365),
    timedelta(weeks=1),
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
    timedelta(milliseconds=1),
)
_WORDS = re.compile(r"[A-Za-z0-9_-]+(\|[A-Za-z0-9_-]+)*", re.ASCII)
_LOGINS = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file", "tls_config")
_EXAMPLE = "charts/alert-remediator/examples/alertmanager.yml"

Labels = Mapping[str, Sequence[str]]
"""What an alert may have under each label that is known; any value under the others."""


def ours_of(config: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Our webhooks by receiver, and the names of receivers whose URL is hidden. Newer releases hide it; only then the name tells."""
    ours: dict[str, Mapping[str, Any]] = {}
    hidden: list[str] = []
    for receiver in config.get("receivers") or ():
        name = str(receiver["name"])
        for hook in receiver.get("webhook_configs") or ():
            url = str(hook.get("url", ""))
            if url == _HIDDEN:
                hidden.append(name)
            if url.partition("?")[0].rstrip("/").endswith(PATH) or (url == _HIDDEN and _OURS in name):
                ours[name] = hook
    return ours, hidden


def judged(config: Mapping[str, Any], patient: Patient) -> Iterator[Finding]:
    """All that is wrong with the way of our alerts through this configuration."""
    ours, hidden = ours_of(config)
    if not ours and hidden:
        text = f"Alertmanager hides the URLs of its webhooks ({foreign(', '.join(hidden))}), so that ours is not known"
        yield _SAY.skip("receiver_hidden", f"{text}; a receiver with {_OURS} in its name is looked at")
        return
    if not ours:
        text = f"no receiver of Alertmanager leads to {PATH}"
        yield _SAY.fail("receiver_missing", text, f"add one ({_EXAMPLE})")
        return
    root = config.get("route") or {}
    ways = [way for way in ways_of(root, Way()) if way.receiver in ours]
    if not ways:
        text = f"no route leads to the receiver {foreign(', '.join(ours))}"
        yield _SAY.fail("receiver_unused", text, "add a route for the policy's namespaces")
    elif patient.policy is not None:
        yield from _unreached(root, ours, patient.policy)
    yield from _hooks(config, ours, patient)
    yield from _held_back(config, ways)
    yield from _pace(ways, patient)


def _hooks(
    config: Mapping[str, Any], ours: Mapping[str, Mapping[str, Any]], patient: Patient
) -> Iterator[Finding]:
    """What our webhooks leave out."""
    everywhere = (config.get("global") or {}).get("http_config") or {}
    for name, hook in ours.items():
        who = f"the receiver {foreign(name)}"
        if hook.get("send_resolved") is False:
            text = f"{who} does not tell when an alert resolves"
            yield _SAY.fail("receiver_send_resolved", text, "set send_resolved: true")
        login = {**everywhere, **(hook.get("http_config") or {})}
        inside = "@" in str(hook.get("url", ""))  # of a hidden URL nobody knows
        if patient.settings.access.tokens and not inside and not any(login.get(key) for key in _LOGINS):
            text = (
                f"{who} sends no credentials that the configuration shows: each message is refused with 401"
            )
            fix = "give its http_config an authorization with a token of the scope ingest"
            yield _SAY.warn("receiver_no_credentials", text, fix)
        if most := int(hook.get("max_alerts") or 0):
            text = f"{who} sends {counted(most, 'alert')} of a group at most (max_alerts): the others are never heard"
            yield _SAY.warn("receiver_max_alerts", text, "set max_alerts: 0")


def _held_back(config: Mapping[str, Any], ways: Sequence[Way]) -> Iterator[Finding]:
    """Routes that are silent at times, or slow to begin."""
    always = {
        str(one.get("name"))
        for key in ("time_intervals", "mute_time_intervals")
        for one in config.get(key) or ()
        if any(not interval for interval in one.get("time_intervals") or ())
    }
    for way in ways:
        who = f"the route to {foreign(way.receiver)}"
        if muted := [name for name in way.muted if name in always]:
            text = f"{who} is always muted ({foreign(', '.join(muted))}): no alert arrives by it"
            yield _SAY.warn("route_muted", text, "take mute_time_intervals from the route")
        elif way.muted or way.active:
            names = foreign(", ".join((*way.muted, *way.active)))
            text = f"{who} is silent at times ({names}): what fires then is not heard"
            yield _SAY.warn(
                "route_muted",
                text,
                "take the time intervals from it; the policy's windows bound what is done",
            )
        if way.wait > _LATE:
            text = f"{who} holds the first message about an alert back for {duration_text(way.wait)} (group_wait)"
            yield _SAY.warn("group_wait", text, "set group_wait: 10s")


def _pace(ways: Sequence[Way], patient: Patient) -> Iterator[Finding]:
    """A repeat comes at the next group interval after the repeat interval; the alert is stale when that is too late."""
    policy = patient.policy
    freshness = min((r.freshness for r in policy.rules), default=None) if policy else None
    if policy is None or freshness is None:
        return
    # Which route a heartbeat takes is not known: the quickest is the best case.
    quickest = min((way.longest for way in ways), default=timedelta())
    for heartbeat in policy.heartbeats:
        if quickest >= heartbeat.missing_after:
            text = (
                f"{heartbeat.alertname} counts as missing after {duration_text(heartbeat.missing_after)}, and no route "
                f"repeats an alert in less than {duration_text(quickest)}"
            )
            yield _SAY.fail("heartbeat_pace", text, "set missing_after to more than that")
    for way in ways:
        longest = way.longest
        text = f"the route to {foreign(way.receiver)} repeats an alert after up to {duration_text(longest)}"
        if longest > freshness:
            told = f"{text}, and the policy takes one older than {duration_text(freshness)} for stale"
            fix = f"set repeat_interval and group_interval to less than {duration_text(freshness)} together"
            yield _SAY.fail("repeat_interval", told, fix)
        else:
            yield _SAY.ok("repeat_interval", f"{text}, well within {duration_text(freshness)}")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a route sends, and how often, with what it takes from the routes above; when it is silent is its own."""

    receiver: str = ""
    repeat: timedelta = _REPEAT
    group: timedelta = _GROUP
    wait: timedelta = _WAIT
    muted: tuple[str, ...] = ()
    active: tuple[str, ...] = ()

    @property
    def longest(self) -> timedelta:
        """Between two messages about an alert that fires on: the next group interval after the repeat interval."""
        return self.repeat + self.group


def ways_of(route: Mapping[str, Any], above: Way) -> Iterator[Way]:
    """A route and all below it."""
    here = _way(route, above)
    yield here
    for child in route.get("routes") or ():
        yield from ways_of(child, here)


def _way(route: Mapping[str, Any], above: Way) -> Way:
    return Way(
        str(route.get("receiver") or above.receiver),
        _span(route.get("repeat_interval"), above.repeat),
        _span(route.get("group_interval"), above.group),
        _span(route.get("group_wait"), above.wait),
        tuple(map(str, route.get("mute_time_intervals") or ())),
        tuple(map(str, route.get("active_time_intervals") or ())),
    )


def _span(text: object, above: timedelta) -> timedelta:
    """As Prometheus writes durations: 1d12h, 30s, 1w."""
    parts = _DURATION.fullmatch(str(text)) if text else None
    if parts is None:
        return above
    return sum((unit * int(n) for unit, n in zip(_UNITS, parts.groups(), strict=True) if n), timedelta())


# --- which alerts arrive ---


def _unreached(
    root: Mapping[str, Any], ours: Mapping[str, Mapping[str, Any]], policy: Policy
) -> Iterator[Finding]:
    """Namespaces of the scope whose alerts surely go elsewhere, by the rules that wait for them."""
    for namespace in named_namespaces(policy.scope):
        lost: dict[str, set[str]] = {}
        for rule in policy.rules:
            taken = [taken_by(root, labels, Way()) for labels in _alerts_of(rule, namespace, policy)]
            if taken and not any(one.receiver in ours for group in taken for one in group):
                elsewhere = sorted({one.receiver for group in taken for one in group})
                lost.setdefault(", ".join(elsewhere) or "nobody", set()).add(rule.name)
        for place, rules in sorted(lost.items()):
            every = len(rules) == sum(bool(rule.when.lists) for rule in policy.rules)
            whose = "" if every else f" for {foreign(', '.join(sorted(rules)))}"
            text = (
                f"alerts of {namespace}{whose} go to {foreign(place)} and never to {foreign(', '.join(ours))}"
            )
            fix = "add a route for the namespace, above any that takes its alerts without continue: true"
            yield _SAY.warn("route_elsewhere", text, fix)


def _alerts_of(rule: Rule, namespace: str, policy: Policy) -> Iterator[Labels]:
    """What is known of the labels of alerts that the rule waits for, one way for each of its lists."""
    for matchers in rule.when.lists:
        known: dict[str, Sequence[str]] = dict.fromkeys(_names_of_namespace(matchers, policy), (namespace,))
        for one in matchers:
            if one.operator is Operator.EQUAL:
                known[one.name] = (one.value,)
            elif one.operator is Operator.REGEX and _WORDS.fullmatch(one.value):
                known[one.name] = tuple(one.value.split("|"))
        if namespace in known["namespace"]:
            yield known


def _names_of_namespace(matchers: Sequence[Matcher], policy: Policy) -> list[str]:
    """The labels that say the namespace: `namespace`, and what else of the policy's names the rule itself asks for."""
    return [
        "namespace",
        *(m.name for m in matchers if m.name in policy.labels.namespace and m.name != "namespace"),
    ]


def taken_by(route: Mapping[str, Any], labels: Labels, above: Way) -> list[Way]:
    """The routes that may take such an alert, as Alertmanager walks its tree: the first child that fits and does not say continue ends the walk;
    a route takes the alert itself where none of its children surely does."""
    here, found, surely = _way(route, above), [], False
    for child in route.get("routes") or ():
        fits = _fits(child, labels)
        if fits is False:
            continue
        found += taken_by(child, labels, replace(here, muted=(), active=()))
        if fits:
            surely = True
            if not child.get("continue"):
                return found
    return found if surely else [*found, here]


def _fits(route: Mapping[str, Any], labels: Labels) -> bool | None:
    """Whether the route fits all such alerts (True), none (False), or nobody can tell."""
    answers = [_one_fits(matcher, labels) for matcher in _matchers(route)]
    if False in answers:
        return False
    return None if None in answers else True


def _one_fits(matcher: Matcher, labels: Labels) -> bool | None:
    if matcher.name not in labels:
        return None
    answers = {matcher.matches({matcher.name: value}) for value in labels[matcher.name]}
    return answers.pop() if len(answers) == 1 else None


def _matchers(route: Mapping[str, Any]) -> Iterator[Matcher]:
    """The route's conditions, in all three ways to write them; what cannot be read is a condition on a label that nobody knows."""
    for name, value in (route.get("match") or {}).items():
        yield Matcher(str(name), Operator.EQUAL, str(value))
    for name, value in (route.get("match_re") or {}).items():
        yield _regex(str(name), str(value))
    written = route.get("matchers") or ()
    for text in [written] if isinstance(written, str) else written:
        try:
            yield from parse_matchers(str(text))
        except ValueError:
            yield Matcher("", Operator.EQUAL, "")


def _regex(name: str, value: str) -> Matcher:
    try:
        return Matcher(name, Operator.REGEX, value, compile_anchored(value))
    except ValueError:
        return Matcher("", Operator.EQUAL, "")
