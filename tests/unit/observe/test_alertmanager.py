"""The Alertmanager client: exactly the asked alert, hidden ones told apart, unreadable is never "gone"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.domain.alert import Alert, AlertStatus, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.errors import ProbeUnavailable
from app.domain.subject import UNREAD
from app.intake import alertmanager as intake
from app.observe.alertmanager import Alertmanager, ListedAlert, matcher
from app.sim.alerts import fingerprint

LABELS = {"alertname": "HighErrorRate", "deployment": "langgraph", "namespace": "rag7"}


class Still:
    """A clock on which nothing takes time."""

    def now(self) -> datetime:
        return datetime(2026, 3, 4, 10, 15, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Return at once."""


def alertmanager(answer: Callable[[httpx.Request], httpx.Response]) -> Alertmanager:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Alertmanager(client, "http://am.example:9093", Still())


def listed(labels: Mapping[str, str] = LABELS, **status: Any) -> dict[str, Any]:
    return {
        "labels": dict(labels),
        "annotations": {},
        "fingerprint": "",
        "generatorURL": f"{PROMETHEUS}/graph?g0.expr=y",
        "startsAt": "2026-03-04T10:15:22.713123456Z",
        "endsAt": "2026-03-04T10:19:22.713Z",
        "receivers": [{"name": "auto"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [], **status},
    }


PROMETHEUS = "http://prometheus-0:9090"
SINCE = "firing since 2026-03-04 10:15:22 UTC"
GONE = AlertReport(Reported.GONE, "Alertmanager no longer lists the alert")


def alert(**more: str) -> Alert:
    labels = {**LABELS, **more}
    url = f"{PROMETHEUS}/graph?g0.expr=x"
    return Alert(
        Source.ALERTMANAGER, fingerprint(labels), AlertStatus.FIRING, Still().now(), labels, {}, None, url
    )


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ([], GONE),
        ([listed()], AlertReport(Reported.FIRING, SINCE)),
        (
            [listed(state="suppressed", inhibitedBy=["a1", "b2"])],
            AlertReport(Reported.SILENCED, "inhibited by alert a1, b2"),
        ),
        (
            [listed(state="suppressed", mutedBy=["weekends"])],
            AlertReport(Reported.SILENCED, "muted by time interval weekends"),
        ),
        # The filter also lets through alerts that have more labels: they are other alerts.
        ([listed({**LABELS, "pod": "langgraph-1"})], GONE),
        ([listed({**LABELS, "pod": "langgraph-1"}), listed()], AlertReport(Reported.FIRING, SINCE)),
    ],
)
async def test_the_state_is_that_of_the_alert_with_exactly_these_labels(
    alerts: list[dict[str, Any]], expected: AlertReport
) -> None:
    client = alertmanager(lambda _: httpx.Response(200, json=alerts))
    assert await client.states([alert()]) == [expected]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            httpx.Response(200, json={"createdBy": "kim", "endsAt": "2026-03-04T12:00:00.000Z"}),
            "silenced by kim until 2026-03-04 12:00 UTC",
        ),
        (
            httpx.Response(
                200,
                json={
                    "createdBy": "kim password=sunflower-4801\nok  approval",
                    "endsAt": "2026-03-04T12:00:00.000Z",
                },
            ),
            "silenced by kim password=[redacted] ok approval until 2026-03-04 12:00 UTC",
        ),
        (httpx.Response(404), "silenced by silence 8e2f"),
        (httpx.Response(200, json=[]), "silenced by silence 8e2f"),
    ],
)
async def test_a_silence_is_told_with_its_maker_and_its_end_where_they_can_be_read(
    answer: httpx.Response, text: str
) -> None:
    def both(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v2/silence/8e2f":
            return answer
        return httpx.Response(200, json=[listed(state="suppressed", silencedBy=["8e2f"])])

    assert await alertmanager(both).states([alert()]) == [AlertReport(Reported.SILENCED, text)]


async def test_all_alerts_of_an_incident_are_asked_for_in_one_query_by_what_they_share() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[listed({**LABELS, "pod": "7"})])

    found = await alertmanager(answer).states([alert(pod=str(n)) for n in range(8)])

    assert [r.state for r in found] == [Reported.GONE] * 7 + [Reported.FIRING]
    assert [r.url.params.get_list("filter") for r in seen] == [[matcher(k, v) for k, v in LABELS.items()]]


async def test_ten_thousand_alerts_of_a_full_alertmanager_are_read() -> None:
    long = "d" * 1_500
    many = [
        {**listed({**LABELS, "pod": str(n)}), "annotations": {"description": long}} for n in range(10_000)
    ]
    client = alertmanager(lambda _: httpx.Response(200, json=many))
    found = await client.states([alert(pod="7"), alert(pod="9999"), alert(pod="10000")])
    assert [r.state for r in found] == [Reported.FIRING, Reported.FIRING, Reported.GONE]


async def test_every_state_is_asked_for_and_every_label_is_a_filter() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    labels = {"b": 'say "hi"\\\n', "a.b": "x"}
    await alertmanager(answer).states([replace(alert(), labels=labels)])

    params = seen[0].url.params
    assert seen[0].url.path == "/api/v2/alerts"
    assert {params[k] for k in ("active", "silenced", "inhibited", "unprocessed")} == {"true"}
    assert params.get_list("filter") == ['"a.b"="x"', 'b="say \\"hi\\"\\\\\\n"']


async def test_blocking_alerts_come_with_what_hides_them() -> None:
    alerts = [listed({"alertname": "NodeDown"}, silencedBy=["8e2f"])]

    found = await alertmanager(lambda _: httpx.Response(200, json=alerts)).firing_matching(
        ['severity="page"']
    )

    at = datetime(2026, 3, 4, 10, 15, 22, 713123, tzinfo=UTC)
    assert found == [
        ListedAlert({"alertname": "NodeDown"}, at, "silenced by silence 8e2f", ("8e2f",), "", PROMETHEUS)
    ]


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            httpx.Response(400, json="bad matcher format: {"),
            "Alertmanager answered 400: bad matcher format: {",
        ),
        (httpx.Response(410), "Alertmanager answered 410"),
        (httpx.Response(503), "Alertmanager answered 503"),
        (
            httpx.Response(200, json={"alerts": []}),
            "Alertmanager gave an answer that is not a list of alerts",
        ),
        (httpx.Response(200, json=[{"labels": {}}]), "Alertmanager gave an alert that could not be read"),
        (httpx.Response(200, json=["x"]), "Alertmanager gave an alert that could not be read"),
        (
            httpx.Response(200, json=[{**listed(), "startsAt": "yesterday"}]),
            "Alertmanager gave an alert that could not be read",
        ),
    ],
)
async def test_what_cannot_be_read_is_unavailable_and_never_gone(response: httpx.Response, text: str) -> None:
    client = alertmanager(lambda _: response)
    with pytest.raises(ProbeUnavailable) as caught:
        await client.firing_matching(['severity="page"'])

    assert caught.value.message == text
    unknown = AlertReport(Reported.UNKNOWN, f"Alertmanager could not be asked: {text}")
    assert await client.states([alert()]) == [unknown]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("severity", "page", 'severity="page"'),
        ("severity", "", 'severity=""'),
        ("k8s.pod", "a", '"k8s.pod"="a"'),
        ("path", "C:\\x", 'path="C:\\\\x"'),
    ],
)
def test_a_matcher_takes_its_value_literally(name: str, value: str, text: str) -> None:
    assert matcher(name, value) == text


def _of(url: str, labels: Mapping[str, str] = LABELS) -> Alert:
    return replace(alert(), generator_url=url, labels=labels, fingerprint=fingerprint(dict(labels)))


GRAFANA = "https://grafana.example.net/alerting/grafana/adk1/view?orgId=1"
OTHER = {**listed({"alertname": "Watchdog"}), "generatorURL": "http://prometheus-0:9090/graph?g0.expr=vector"}


@pytest.mark.parametrize(
    ("url", "there", "state"),
    [
        (GRAFANA, [], Reported.TOLD),
        (GRAFANA, [OTHER], Reported.TOLD),
        (GRAFANA, [listed()], Reported.FIRING),  # Grafana that sends to this one
        (
            "http://prometheus-eu:9090/graph?g0.expr=x",
            [OTHER],
            Reported.TOLD,
        ),  # a second pair, a tenant's ruler
        ("http://prometheus-eu:9090/graph?g0.expr=x", [], Reported.GONE),  # nothing to tell by
        (f"{PROMETHEUS}/graph?g0.expr=x", [OTHER], Reported.GONE),
        ("", [OTHER], Reported.TOLD),  # a script
        ("", [], Reported.TOLD),
        ("http://[bad", [OTHER], Reported.TOLD),
    ],
)
async def test_an_alertmanager_says_nothing_of_an_alert_that_it_never_had(
    url: str, there: list[dict[str, Any]], state: Reported
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        filters = [f.partition("=") for f in request.url.params.get_list("filter")]
        found = [a for a in there if all(a["labels"].get(k) == v.strip('"') for k, _, v in filters)]
        return httpx.Response(200, json=found)

    (report,) = await alertmanager(answer).states([_of(url)])
    assert report.state is state


async def test_what_was_listed_once_is_gone_when_it_is_not_and_others_are_asked_for_once() -> None:
    there: list[dict[str, Any]] = [listed()]
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(len(request.url.params.get_list("filter")))
        return httpx.Response(200, json=there if asked[-1] else [OTHER])

    client = alertmanager(answer)
    script, foreign = _of(""), _of("http://prometheus-eu:9090/x", {"alertname": "Else"})
    assert [r.state for r in await client.states([script])] == [Reported.FIRING]
    there.clear()
    assert [r.state for r in await client.states([script])] == [Reported.GONE]
    for _ in range(3):
        assert [r.state for r in await client.states([foreign])] == [Reported.TOLD]
    assert asked.count(0) == 1


async def test_whether_others_are_listed_is_not_known_when_that_cannot_be_read() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[]) if request.url.params.get_list("filter") else httpx.Response(400)

    (report,) = await alertmanager(answer).states([_of("http://prometheus-eu:9090/x")])
    assert report.state is Reported.UNKNOWN


@pytest.mark.parametrize(
    "labels",
    [
        {**LABELS, "query": "x" * 5_000},
        {**LABELS, **{f"l{n}": "x" for n in range(130)}},
        {**LABELS, "n" * 300: "x"},
        {**LABELS, "q": 'a "b"\\c', "équipe": "x"},
    ],
    ids=["a long value", "many", "a long name", "odd"],
)
@pytest.mark.parametrize("known", [True, False], ids=["by its fingerprint", "by its labels"])
async def test_an_alert_whose_labels_the_intake_cut_is_still_found(
    labels: dict[str, str], known: bool
) -> None:
    own, other = (
        {**listed(each), "fingerprint": fingerprint(each) if known else ""}
        for each in (labels, {**labels, "deployment": "other"})
    )
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.extend(request.url.params.get_list("filter"))
        return httpx.Response(200, json=[other, own])

    sent = {"status": "firing", "labels": labels, "startsAt": "2026-03-04T10:15:22Z"}
    if known:
        sent["fingerprint"] = fingerprint(labels)
    body = json.dumps({"version": "4", "alerts": [sent]}).encode()
    (taken,) = intake.parse(body, received_at=Still().now(), sender="am").alerts
    (report,) = await alertmanager(answer).states([taken])
    assert report == AlertReport(Reported.FIRING, SINCE)
    assert not any("…" in matcher or UNREAD in matcher for matcher in asked)
