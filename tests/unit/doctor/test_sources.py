"""Planted faults of Prometheus, Alertmanager, the collector of traces and the status page: each is named by its own code, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.doctor.clinic import Clinic, route
from tests.unit.doctor.test_planted import NOWHERE, F, Planted, W, examined, expect_named, given

OURS = "/webhooks/alertmanager"


def routed(**changes: Any) -> Callable[[Clinic], None]:
    def spoil(c: Clinic) -> None:
        c.alertmanager["route"]["routes"][0].update(changes)
        if "receiver" in changes:
            c.alertmanager["route"]["routes"][1].update(receiver=changes["receiver"])  # the heartbeat's

    return spoil


def receivers(*names: str, **hook: Any) -> Callable[[Clinic], None]:
    def spoil(c: Clinic) -> None:
        whole = route()["receivers"][1]["webhook_configs"][0]
        c.alertmanager["receivers"] = [{"name": n, "webhook_configs": [{**whole, **hook}]} for n in names]

    return spoil


def twice(*, other: bool = False, **hook: Any) -> Callable[[Clinic], None]:
    """A receiver with our webhook and the same again, or with a first one of ours that is spoilt."""

    def spoil(c: Clinic) -> None:
        (good,) = c.alertmanager["receivers"][1]["webhook_configs"]
        first = {**good, **hook, **({"url": f"http://second:8080{OURS}"} if other else {})}
        c.alertmanager["receivers"][1]["webhook_configs"] = [first, good]

    return spoil


def _answer(path: str, body: Any) -> Callable[[Clinic], None]:
    return lambda c: c.answers.update({path: body})


def answering(path: str, status: int) -> Callable[[Clinic], None]:
    return lambda c: c.statuses.update({path: status})


def sent_on(path: str) -> Callable[[Clinic], None]:
    """A proxy that sends everybody to its login."""

    def spoil(c: Clinic) -> None:
        answering(path, 302)(c)
        c.headers["Location"] = "https://login.example.org/start?token=geheim"

    return spoil


def reached_at(url: str, hook: str) -> Callable[[Clinic], None]:
    """A service with this URL for the outside, and a receiver that sends to that one."""

    def spoil(c: Clinic) -> None:
        given(external_url=url)(c)
        receivers("fix", url=hook)(c)

    return spoil


def behind(setting: str, status: int) -> Callable[[Clinic], None]:
    """A setting whose URL leads to something that answers so."""

    def spoil(c: Clinic) -> None:
        c.statuses["/there"] = status
        c.there[setting] = "/there"

    return spoil


def collector(path: str) -> Callable[[Clinic], None]:
    def spoil(c: Clinic) -> None:
        c.given["traces"] = "otlp"
        c.there["traces_url"] = path

    return spoil


def sibling(*matchers: str) -> Callable[[Clinic], None]:
    """A route above ours that takes its alerts and does not say `continue`."""
    return lambda c: c.alertmanager["route"]["routes"].insert(
        0, {"receiver": "pager", "matchers": list(matchers)}
    )


def muted(intervals: list[dict[str, Any]]) -> Callable[[Clinic], None]:
    def spoil(c: Clinic) -> None:
        routed(mute_time_intervals=["always"])(c)
        c.alertmanager["time_intervals"] = [{"name": "always", "time_intervals": intervals}]

    return spoil


FAULTS = [
    Planted(
        "traces_away", W, given(traces="otlp", traces_url=f"{NOWHERE}/v1/traces"), "could not be reached"
    ),
    Planted("traces_refused", W, collector("/elsewhere"), "HTTP 404"),
    Planted("status_page_away", F, given(status_page_url=f"{NOWHERE}/hook"), "could not be reached"),
    Planted("status_page_unwell", W, behind("status_page_url", 502), "HTTP 502"),
    Planted("prometheus_missing", W, given(prometheus_url=""), "not measured"),
    Planted("prometheus_away", F, given(prometheus_url=NOWHERE), "could not be reached"),
    Planted("prometheus_wrong", F, _answer("/api/v1/query", {"hello": 1}), "not Prometheus"),
    Planted("prometheus_refused", F, answering("/api/v1/query", 401), "wants credentials (HTTP 401)"),
    Planted("prometheus_refused", F, answering("/api/v1/query", 503), "not well (HTTP 503)"),
    Planted("alertmanager_refused", F, answering("/api/v2/status", 403), "wants credentials (HTTP 403)"),
    Planted("prometheus_refused", F, sent_on("/api/v1/query"), "sends on to login.example.org (HTTP 302)"),
    Planted("alertmanager_refused", F, sent_on("/api/v2/status"), "a login for people stands before Alert"),
    Planted("prometheus_refused", F, answering("/api/v1/query", 307), "another place of its own (HTTP 307)"),
    Planted("prometheus_refused", F, _answer("/api/v1/query", "<html>Sign in</html>"), "a page for people"),
    Planted("alertmanager_refused", F, _answer("/api/v2/status", "<html>"), "a page for people answers"),
    Planted("prometheus_skew", W, lambda c: setattr(c, "prometheus_ahead", 90.0), "90 s"),
    Planted("alertmanager_missing", W, given(alertmanager_url=""), "silenced"),
    Planted("alertmanager_away", F, given(alertmanager_url=NOWHERE), "could not be reached"),
    Planted("alertmanager_wrong", F, _answer("/api/v2/status", []), "not Alertmanager"),
    Planted("receiver_missing", F, receivers("pager", url="http://other/hook"), OURS),
    Planted("receiver_unused", F, routed(receiver="pager"), "no route leads to the receiver fix"),
    Planted("receiver_send_resolved", F, receivers("fix", send_resolved=False), "resolves"),
    Planted("repeat_interval", F, routed(repeat_interval="4h"), "4h1m"),
    Planted("repeat_interval", F, routed(repeat_interval=None), "4h1m"),  # the default
    Planted(
        "repeat_interval", F, routed(repeat_interval="15m"), "older than 15m"
    ),  # the group interval comes on top
    Planted("group_wait", W, routed(group_wait="20m"), "back for 20m"),
    Planted(
        "route_elsewhere",
        W,
        routed(matchers=['namespace="other"']),
        "alerts of rag7 go to pager and never to fix",
    ),
    Planted("route_elsewhere", W, routed(matchers=None, match={"namespace": "other"}), "alerts of rag7"),
    Planted("route_elsewhere", W, routed(matchers=None, match_re={"namespace": "team-.*"}), "alerts of rag7"),
    Planted("route_elsewhere", W, sibling('namespace="rag7"'), "alerts of rag7 go to pager"),
    Planted("route_elsewhere", W, sibling('alertname!="Watchdog"'), "alerts of rag7 go to pager"),
    Planted("route_muted", W, muted([{}]), "always muted (always)"),
    Planted("route_muted", W, muted([{"weekdays": ["saturday"]}]), "silent at times"),
    Planted("receiver_no_credentials", W, receivers("fix", http_config=None), "refused with 401"),
    Planted(
        "receiver_no_credentials",
        W,
        receivers("fix", http_config={"authorization": {"type": "Bearer"}}),
        "refused with 401",
    ),
    Planted(
        "receiver_no_credentials", W, receivers("fix", http_config={"bearer_token_file": ""}), "with 401"
    ),
    Planted(
        "receiver_no_credentials",
        W,
        receivers("fix", http_config={"tls_config": {"insecure_skip_verify": False}}),
        "with 401",
    ),
    Planted(
        "receiver_authorization",
        F,
        receivers("fix", http_config={"authorization": {"type": "Token", "credentials": "<secret>"}}),
        "of the type Token",
    ),
    Planted("receiver_scheme", W, receivers("fix", url=f"https://alert-remediator:8080{OURS}"), "plain http"),
    Planted("receiver_scheme", W, receivers("fix", url=f"https://r.ops.svc{OURS}"), "https to r.ops.svc"),
    Planted(
        "receiver_scheme",
        W,
        reached_at("https://r.example.org", f"http://r.example.org{OURS}"),
        "a message that is sent on to https is lost",
    ),
    Planted(
        "receiver_no_credentials",
        W,
        receivers("fix", http_config={"basic_auth": {"username": "alertmanager"}}),
        "refused with 401",
    ),
    Planted("receiver_twice", W, twice(), "the receiver fix has the same webhook more than once"),
    Planted("receiver_send_resolved", F, twice(other=True, send_resolved=False), "when an alert resolves"),
    Planted("receiver_max_alerts", W, receivers("fix", max_alerts=1), "1 alert of a group at most"),
    Planted("receiver_missing", F, receivers("remediator-old", url="http://other.example.org/hook"), OURS),
    Planted("receiver_missing", F, receivers("remediator", url="http://r:8080/webhooks/pagerduty"), OURS),
]


@pytest.mark.parametrize("planted", FAULTS, ids=lambda p: f"{p.code}-{p.words[:20]}")
async def test_a_planted_fault_of_a_source_is_named(tmp_path: Path, planted: Planted) -> None:
    await expect_named(tmp_path, planted)


async def test_a_source_that_is_not_well_is_not_told_to_take_a_login_away(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.statuses = {"/api/v1/query": 503, "/api/v2/status": 500}
    assert {f.fix.partition(",")[0] for f in await examined(clinic)} == {"look at its pods and their logs"}


async def test_receivers_whose_urls_are_hidden_are_known_by_their_name(tmp_path: Path) -> None:
    """Newer releases of Alertmanager show no URL of a webhook."""
    hidden = Clinic(tmp_path)
    receivers("fix", url="<secret>")(hidden)
    assert await examined(hidden) == []  # not known, which is no fault: it is said as skipped
    named = Clinic(tmp_path)
    receivers("alert-remediator", url="<secret>", send_resolved=False)(named)
    routed(receiver="alert-remediator")(named)
    assert [f.code for f in await examined(named)] == ["receiver_send_resolved"]


@pytest.mark.parametrize(
    "sound",
    [
        sibling('namespace="other"'),
        sibling('severity="none"'),  # nobody knows which severity the rule's alerts have
        lambda c: c.alertmanager["route"]["routes"].insert(
            0, {"receiver": "pager", "matchers": [], "continue": True}
        ),
        lambda c: c.alertmanager["route"].update(receiver="fix", routes=[], repeat_interval="5m"),
        routed(matchers=['namespace=~"rag7|team-.*"', "team=a"]),
        routed(matchers="{namespace=rag7}"),
        receivers("remediator-old", "fix"),
        receivers("fix", url=f"https://r.example.org{OURS}"),
        reached_at("https://r.example.org", f"https://r.example.org{OURS}"),
        reached_at("https://proxy.ops.svc", f"https://proxy.ops.svc{OURS}"),
        receivers("fix", http_config={"authorization": {"credentials_file": "/token"}}),
        receivers("fix", http_config={"authorization": {"type": "bearer", "credentials": "<secret>"}}),
        receivers("fix", http_config={"tls_config": {"cert_file": "/c", "key_file": "/k"}}),
        lambda c: (
            c.alertmanager.update(
                {"global": {"http_config": {"basic_auth": {"username": "a", "password": "<secret>"}}}}
            )
            or receivers("fix", http_config=None)(c)
        ),
    ],
)
async def test_a_configuration_that_lets_our_alerts_through_is_no_fault(
    tmp_path: Path, sound: Callable[[Clinic], None]
) -> None:
    clinic = Clinic(tmp_path)
    sound(clinic)
    assert await examined(clinic) == []


async def test_a_rule_whose_alerts_are_taken_by_another_route_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.rule["when"] = 'alertname="HighLatency", severity=~"critical|warning"'
    routed(matchers=['namespace="rag7"', 'severity="none"'])(clinic)
    (found,) = await examined(clinic)
    assert (found.code, "alerts of rag7 go to pager and never to fix" in found.text) == (
        "route_elsewhere",
        True,
    )


async def test_a_collector_and_a_status_page_that_answer_are_no_fault_and_get_nothing(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.given["traces"] = "otlp"
    clinic.there.update(traces_url="/v1/traces", status_page_url="/there")
    clinic.statuses.update({"/v1/traces": 200, "/there": 405})
    assert await examined(clinic) == []
    assert sorted(clinic.asked) == [("HEAD", "/there", b""), ("POST", "/v1/traces", b"")]
