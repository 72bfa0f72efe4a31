"""Alertmanager's configuration as our alerts meet it: which receiver is ours, what it leaves out, and how often and when its routes send.

Called by `app.doctor.sources`, which read the configuration. Pure. Which alerts take which route is told by `app.doctor.arrivals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from app.doctor import arrivals
from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.intervals import Holds, holds
from app.doctor.patient import Patient
from app.doctor.tree import Way, read_tree
from app.domain.quantities import duration_text
from app.domain.units import counted
from app.policy.model import Policy
from app.settings import Settings

_SAY = Voice(Area.ALERTMANAGER)
PATH: Final = "/webhooks/alertmanager"
_OURS, _HIDDEN = "remediator", "<secret>"
_LATE = timedelta(minutes=2)
"""A first message that is held back for longer is late for whoever waits at night."""
_LOGINS = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file", "tls_config")
_NO_LOGIN = {
    *("type", "username", "username_file"),
    *("insecure_skip_verify", "ca", "ca_file", "server_name", "min_version", "max_version"),
}
"""What these have besides a secret or its file; Alertmanager shows a tls_config that nobody wrote."""
_EXAMPLE = "charts/alert-remediator/examples/alertmanager.yml"


def ours_of(config: Mapping[str, Any]) -> tuple[dict[str, list[Mapping[str, Any]]], list[str]]:
    """Our webhooks by receiver, and the names of receivers whose URL is hidden. Newer releases hide it; only then the name tells."""
    ours: dict[str, list[Mapping[str, Any]]] = {}
    hidden: list[str] = []
    for receiver in config.get("receivers") or ():
        name = str(receiver["name"])
        for hook in receiver.get("webhook_configs") or ():
            url = str(hook.get("url", ""))
            if url == _HIDDEN:
                hidden.append(name)
            if url.partition("?")[0].rstrip("/").endswith(PATH) or (url == _HIDDEN and _OURS in name):
                ours.setdefault(name, []).append(hook)
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
    root = read_tree(config.get("route") or {})
    ways = [route.way for route in root.all() if route.way.receiver in ours]
    if not ways:
        text = f"no route leads to the receiver {foreign(', '.join(ours))}"
        yield _SAY.fail("receiver_unused", text, "add a route for the policy's namespaces")
    yield from _hooks(config, ours, patient)
    if ways and patient.policy is not None:
        to_us = arrivals.ways_to(root, frozenset(ours), patient.policy)
        yield from arrivals.astray(to_us, patient.policy)
        yield from arrivals.inhibited(config, patient.policy)
        yield from _pace(to_us, patient.policy)
        ways = to_us.all
    yield from _held_back(config, ways, patient.clock.now())


def _hooks(
    config: Mapping[str, Any], ours: Mapping[str, Sequence[Mapping[str, Any]]], patient: Patient
) -> Iterator[Finding]:
    """What our webhooks leave out, and what they send more than once."""
    everywhere = (config.get("global") or {}).get("http_config") or {}
    for name, hooks in ours.items():
        who = f"the receiver {foreign(name)}"
        for hook in hooks:
            yield from _hook(who, hook, {**everywhere, **(hook.get("http_config") or {})}, patient.settings)
        urls = [url for hook in hooks if (url := str(hook.get("url", ""))) != _HIDDEN]
        if len(set(urls)) < len(urls):
            text = f"{who} has the same webhook more than once: each message is sent again"
            yield _SAY.warn("receiver_twice", text, "take all but one of them out of its webhook_configs")


def _hook(who: str, hook: Mapping[str, Any], login: Mapping[str, Any], given: Settings) -> Iterator[Finding]:
    if hook.get("send_resolved") is False:
        text = f"{who} does not tell when an alert resolves"
        yield _SAY.fail("receiver_send_resolved", text, "set send_resolved: true")
    yield from _scheme(who, str(hook.get("url", "")), given)
    inside = "@" in str(hook.get("url", ""))  # of a hidden URL nobody knows
    if given.access.tokens and not inside and not any(_filled(login.get(key)) for key in _LOGINS):
        text = f"{who} sends no credentials that the configuration shows: each message is refused with 401"
        fix = "give its http_config an authorization with a token of the scope ingest"
        yield _SAY.warn("receiver_no_credentials", text, fix)
    kind = str((login.get("authorization") or {}).get("type") or "Bearer")
    if kind.casefold() not in ("bearer", "basic"):
        text = f"{who} sends credentials of the type {foreign(kind)}, which the service does not know: each message is refused with 401"
        yield _SAY.fail("receiver_authorization", text, "set authorization.type: Bearer")
    if most := int(hook.get("max_alerts") or 0):
        text = f"{who} sends {counted(most, 'alert')} of a group at most (max_alerts): the others are never heard"
        yield _SAY.warn("receiver_max_alerts", text, "set max_alerts: 0")


def _filled(login: object) -> bool:
    """Whether there is something to log in with: Alertmanager shows a secret as `<secret>`, and leaves an empty one out."""
    return bool(login.keys() - _NO_LOGIN) if isinstance(login, Mapping) else bool(login)


def _scheme(who: str, url: str, given: Settings) -> Iterator[Finding]:
    """By https where nobody speaks it, or by http where everything is sent on to https, which makes a POST a GET."""
    to, ours = urlsplit(url), urlsplit(given.external_url)
    host = to.hostname or ""
    if to.scheme == "https" and to.netloc != ours.netloc and (".svc" in host or (host and "." not in host)):
        text = f"{who} sends by https to {foreign(host)}, and the service speaks plain http there"
        fix = "write http:// where nothing before the service speaks TLS"
        yield _SAY.warn("receiver_scheme", text, fix)
    elif to.scheme == "http" and ours.scheme == "https" and host == ours.hostname:
        text = f"{who} sends by http to {foreign(host)}, which is {foreign(given.external_url)}: a message that is sent on to https is lost"
        yield _SAY.warn("receiver_scheme", text, "write https://, or the Service's name inside the cluster")


def _held_back(config: Mapping[str, Any], ways: Sequence[Way], now: datetime) -> Iterator[Finding]:
    """Routes that are silent, always or at times, or slow to begin."""
    intervals = {
        str(one.get("name")): one.get("time_intervals") or ()
        for key in ("time_intervals", "mute_time_intervals")
        for one in config.get(key) or ()
    }

    def together(names: Sequence[str]) -> Holds:
        if not set(names) <= set(intervals):
            return Holds.AT_TIMES
        return holds([interval for name in names for interval in intervals[name]], now)

    for way in ways:
        who = f"the route to {foreign(way.receiver)}"
        muted = together(way.muted) if way.muted else Holds.NEVER
        active = together(way.active) if way.active else Holds.ALWAYS
        if muted is Holds.ALWAYS:
            text = f"{who} is always muted ({foreign(', '.join(way.muted))}): no alert arrives by it"
            yield _SAY.warn("route_muted", text, "take mute_time_intervals from the route")
        elif active is Holds.NEVER:
            text = f"{who} is never active ({foreign(', '.join(way.active))}): no alert arrives by it"
            yield _SAY.warn("route_muted", text, "take active_time_intervals from the route")
        elif (muted, active) != (Holds.NEVER, Holds.ALWAYS):
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


def _pace(to_us: arrivals.WaysToUs, policy: Policy) -> Iterator[Finding]:
    """A repeat comes at the next group interval after the repeat interval; the alert is stale when that is too late. Each route is judged by
    what takes it: rules by their freshness, a heartbeat by when it counts as missing."""
    for heartbeat in policy.heartbeats:
        quickest = min((way.longest for way in to_us.of_heartbeats[heartbeat.alertname]), default=timedelta())
        if quickest >= heartbeat.missing_after:
            text = (
                f"{heartbeat.alertname} counts as missing after {duration_text(heartbeat.missing_after)}, and its route "
                f"repeats it after up to {duration_text(quickest)}"
            )
            yield _SAY.fail("heartbeat_pace", text, "set missing_after to more than that")
    for way, freshness in to_us.of_rules.items():
        longest = way.longest
        text = f"the route to {foreign(way.receiver)} repeats an alert after up to {duration_text(longest)}"
        if longest > freshness:
            told = f"{text}, and the policy takes one older than {duration_text(freshness)} for stale"
            fix = f"set repeat_interval and group_interval to less than {duration_text(freshness)} together"
            yield _SAY.fail("repeat_interval", told, fix)
        else:
            yield _SAY.ok("repeat_interval", f"{text}, well within {duration_text(freshness)}")
