"""Alertmanager bodies: strict about what is needed, one bad alert never drops its neighbours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import AlertStatus, Delivery, Source
from app.domain.errors import BadInput
from app.domain.subject import UNREAD, unread
from app.intake import alertmanager
from app.intake.alertmanager import unquote_receiver
from tests.unit.work import measured

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 3, 4, 10, 16, tzinfo=UTC)
LABELS = {"alertname": "HighErrorRate", "namespace": "rag7"}


def parse(body: object, **options: Any) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return alertmanager.parse(raw, received_at=NOW, sender="am", **options)


def alert(**changes: Any) -> dict[str, Any]:
    """A good firing alert; None removes a field."""
    fields = {
        "status": "firing",
        "labels": LABELS,
        "annotations": {"summary": "s"},
        "startsAt": "2026-03-04T10:15:22.713Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prom/x",
        "fingerprint": "163f1b7682685560",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def message(*alerts: Any, **changes: Any) -> dict[str, Any]:
    fields = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "alerts": list(alerts), **changes}
    return {name: value for name, value in fields.items() if value is not None}


def test_the_example_with_firing_and_resolved_alerts_is_understood_per_alert() -> None:
    delivery = parse((DATA / "alertmanager-firing.json").read_bytes())
    assert delivery.source is Source.ALERTMANAGER
    assert (delivery.received_at, delivery.sender) == (NOW, "am")
    assert delivery.rejected == ()
    assert [a.status for a in delivery.alerts] == [
        AlertStatus.FIRING,
        AlertStatus.FIRING,
        AlertStatus.RESOLVED,
    ]
    first, _, last = delivery.alerts
    assert first.fingerprint == "163f1b7682685560"
    assert first.starts_at == datetime(2026, 3, 4, 10, 15, 22, 713_000, tzinfo=UTC)
    assert first.ends_at is None
    assert first.labels["pod"] == "checkout-api-7c9f6d5b8c-2kxvw"
    assert first.annotations["summary"] == "5xx ratio above 5% on checkout-api"
    assert first.generator_url.startswith("https://prom.example.net/graph")
    assert last.ends_at == datetime(2026, 3, 4, 10, 18, 52, 713_000, tzinfo=UTC)
    assert delivery.group_key.startswith('{}/{team="payments"}')
    assert delivery.note == "receiver auto-remediation; some alerts resolved"


def test_the_same_alert_has_the_same_episode_firing_and_resolved() -> None:
    firing = parse((DATA / "alertmanager-firing.json").read_bytes())
    resolved = parse((DATA / "alertmanager-resolved.json").read_bytes())
    assert firing.alerts[0].episode == resolved.alerts[0].episode


BODIES = [
    (b"not json", "invalid_json", "body line 1 column 2"),
    ([], "not_an_object", "body"),
    ([alert()], "not_an_object", "body"),  # what Prometheus sends to Alertmanager
    ("x", "not_an_object", "body"),
    ({}, "invalid_field", "/alerts"),
    ({"version": "3"}, "invalid_field", "/alerts"),
    (message(alerts=None), "invalid_field", "/alerts"),
    (message(alerts={}), "invalid_field", "/alerts"),
]


@pytest.mark.parametrize(("body", "code", "where"), BODIES)
def test_a_body_without_a_list_of_alerts_is_refused(body: object, code: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(body)
    assert (caught.value.code, caught.value.where) == (code, where)


REJECTED = [
    (None, "not_an_object", "/alerts/1"),
    ("text", "not_an_object", "/alerts/1"),
    ({}, "no_labels", "/alerts/1/labels"),
    (alert(labels=None), "no_labels", "/alerts/1/labels"),
    (alert(labels={}), "no_labels", "/alerts/1/labels"),
    (alert(labels=["a"]), "no_labels", "/alerts/1/labels"),
    (alert(labels={**LABELS, "a/b": [5]}), "bad_label", "/alerts/1/labels/a~1b"),
    (alert(labels={**LABELS, "x": {}}), "bad_label", "/alerts/1/labels/x"),
    (alert(labels={"x": None}), "no_labels", "/alerts/1/labels"),
    (alert(status=None), "bad_status", "/alerts/1/status"),
    (alert(status="pending"), "bad_status", "/alerts/1/status"),
    (alert(status=["firing"]), "bad_status", "/alerts/1/status"),
]


@pytest.mark.parametrize(("bad", "code", "where"), REJECTED)
def test_one_bad_alert_is_kept_with_the_reason_and_its_neighbours_proceed(
    bad: Any, code: str, where: str
) -> None:
    delivery = parse(message(alert(), bad, alert(status="resolved", endsAt="2026-03-04T10:20:00Z")))
    assert [a.status for a in delivery.alerts] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    [rejected] = delivery.rejected
    assert (rejected.index, rejected.code, rejected.where, rejected.raw) == (1, code, where, bad)
    assert rejected.reason


@pytest.mark.parametrize(
    ("of_all", "ends_at", "status"),
    [("firing", "", "firing"), ("firing", "2019-03-04T10:20:00Z", "resolved"), ("resolved", "", "resolved")],
)
def test_an_alert_without_a_status_has_that_of_its_message(of_all: str, ends_at: str, status: str) -> None:
    (found,) = parse(message(alert(status=None, endsAt=ends_at), status=of_all)).alerts
    assert found.status == status


def test_a_message_without_alerts_is_a_delivery_without_alerts() -> None:
    assert parse(message()).alerts == ()


def test_a_missing_or_odd_fingerprint_is_computed_from_the_labels() -> None:
    labels = json.loads((DATA / "alertmanager-firing.json").read_text())["alerts"][0]["labels"]
    for missing in (None, "", 7, "a b", "f" * 65, ["163f1b7682685560"]):
        assert (
            parse(message(alert(labels=labels, fingerprint=missing))).alerts[0].fingerprint
            == "163f1b7682685560"
        )


def test_the_end_of_a_firing_alert_does_not_count_and_a_missing_end_is_the_time_of_the_message() -> None:
    firing, zero, missing = parse(
        message(
            alert(endsAt="2026-03-04T11:00:00Z"),
            alert(status="resolved", endsAt="0001-01-01T00:00:00Z"),
            alert(status="resolved", endsAt=None),
        )
    ).alerts
    assert (firing.ends_at, zero.ends_at, missing.ends_at) == (None, NOW, NOW)


def test_odd_optional_fields_do_not_cost_the_alert() -> None:
    [found] = parse(
        message(
            alert(annotations={"n": 1, "o": {"a": [1]}}, generatorURL=7, extra={"new": True}),
            receiver=5, notification_reason=None, routeLabels="?", groupKey=[], commonLabels=3,
        )
    ).alerts  # fmt: skip
    assert found.annotations == {"n": "1", "o": '{"a":[1]}'}
    assert found.generator_url == ""
    assert parse(message(alert(annotations=None))).alerts[0].annotations == {}


@pytest.mark.parametrize(
    "start", [None, "0001-01-01T00:00:00Z", "yesterday", 1772619322, "1899-12-31T23:59:59Z"]
)
@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_an_alert_without_a_readable_start_is_taken_as_of_now_and_says_so(start: object, status: str) -> None:
    [found] = parse(message(alert(startsAt=start, status=status))).alerts
    assert (found.starts_at, found.start_told, found.status) == (NOW, False, status)


def test_a_readable_start_is_the_alerts_own() -> None:
    assert parse(message(alert())).alerts[0].start_told


@pytest.mark.parametrize("status", ["FIRING", "Firing", " firing "])
def test_the_letters_of_a_status_do_not_matter(status: str) -> None:
    assert parse(message(alert(status=status))).alerts[0].status is AlertStatus.FIRING


def test_labels_that_a_template_left_as_numbers_are_texts_and_null_is_none() -> None:
    [found] = parse(message(alert(labels={**LABELS, "shard": 5, "canary": True, "zone": None}))).alerts
    assert found.labels == {**LABELS, "shard": "5", "canary": "true"}


def test_an_empty_list_as_go_writes_it_is_no_alerts() -> None:
    assert parse({**message(), "alerts": None}).alerts == ()


def test_five_thousand_alerts_with_long_annotations_are_within_the_limit_of_bytes() -> None:
    long = {"summary": "s" * 200, "description": "d" * 1_500, "runbook_url": "https://runbooks/x"}
    body = json.dumps(message(*[alert(annotations=long)] * 5_000)).encode()
    assert len(body) < alertmanager.MAX_BYTES
    assert len(parse(body).alerts) == 5_000


def test_more_alerts_than_are_read_of_a_body_are_counted_and_the_rest_is_taken() -> None:
    delivery = parse(message(*[alert()] * 10_007, truncatedAlerts=5))
    assert (len(delivery.alerts), delivery.truncated_alerts) == (10_000, 12)
    [told] = delivery.rejected
    assert (told.index, told.code, told.where) == (10_000, "too_many_alerts", "/alerts")
    assert "set max_alerts in the webhook receiver" in told.reason


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (3, 3), (2**64 - 1, 2**31 - 1)])
def test_truncated_alerts_are_counted(count: int, kept: int) -> None:
    assert parse(message(alert(), truncatedAlerts=count)).truncated_alerts == kept


def test_grafanas_version_is_nothing_odd() -> None:
    assert parse(message(alert(), version="1")).note == ""


def test_versions_before_the_field_existed_say_nothing_of_truncation() -> None:
    assert parse(message(alert(), truncatedAlerts=None)).truncated_alerts == 0


@pytest.mark.parametrize(
    ("sent", "configured"),
    [
        ("auto-remediation", "auto-remediation"),
        (r"team\.ops", "team.ops"),
        (r"a\+b\(c\)\\d", r"a+b(c)\d"),
        ("", ""),
    ],
)
def test_the_receiver_is_shown_as_configured(sent: str, configured: str) -> None:
    assert unquote_receiver(sent) == configured
    assert parse(message(receiver=sent)).note == (f"receiver {configured}" if configured else "")


def test_the_limit_of_bytes_holds() -> None:
    with pytest.raises(BadInput) as caught:
        parse(message(alert()), max_bytes=100)
    assert caught.value.code == "body_too_large"


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["labels", "status", "startsAt", "x"]), inner)
    ),
    max_leaves=10,
)


@given(st.lists(_ANY, max_size=6))
def test_every_alert_of_a_message_is_either_taken_or_rejected(items: list[Any]) -> None:
    delivery = parse(message(*items, alert()))
    assert len(delivery.alerts) + len(delivery.rejected) == len(items) + 1
    assert delivery.alerts[-1].name == "HighErrorRate"


def test_a_message_of_one_alert_is_parsed_in_no_time() -> None:
    body = json.dumps(message(alert())).encode()
    rounds = []
    for _ in range(20):
        with measured() as work:
            for _ in range(20):
                alertmanager.parse(body, received_at=NOW, sender="am")
        rounds.append(work.units)
    # About 14 µs each on the machine it was written on; the best round is free of other people's load.
    assert min(rounds) < 0.8


@pytest.mark.parametrize("odd", [-1, "2", True, 1.5, {}])
def test_an_odd_count_of_truncated_alerts_never_drops_the_body(odd: object) -> None:
    delivery = parse(message(alert(), truncatedAlerts=odd))
    assert (len(delivery.alerts), delivery.truncated_alerts) == (1, 0)


def test_thousands_of_unusable_items_become_twenty_records_and_one_with_the_count() -> None:
    delivery = parse(message(alert(), *[0] * 4_999))
    assert len(delivery.alerts) == 1
    assert len(delivery.rejected) == 21
    assert delivery.rejected[-1].code == "more_rejected"
    assert "4979 more" in delivery.rejected[-1].reason


def test_an_unusable_item_is_kept_with_the_beginning_of_its_text_only() -> None:
    kept = parse(message(alert(status="x" * 100_000))).rejected[0].raw
    assert isinstance(kept, str)
    assert len(kept) == 2_000


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ({"alertname": "A", "query": "x" * 4_097}, {"alertname": "A", "query": "x" * 4_095 + "…"}),
        ({"alertname": "A", "n" * 257: "x"}, {"alertname": "A", UNREAD: unread(["n" * 257])}),
        ({"alertname": "A", "n" * 257: 1}, {"alertname": "A", UNREAD: unread(["n" * 257])}),
        (
            {"alertname": "A", "service": None, "severity": None},
            {"alertname": "A", UNREAD: unread(["service"])},
        ),
        (
            {**{f"l{n}": "x" for n in range(129)}, "pod": "web-0", "alertname": "A"},
            {**{f"l{n}": "x" for n in range(125)}, "pod": "web-0", "alertname": "A"}
            | {UNREAD: unread(["l125", "l126", "l127", "l128"])},
        ),
        (
            {**{f"l{n:02}": "x" * 4_096 for n in range(20)}, "pod": "web-0", "alertname": "A"},
            {**{f"l{n:02}": "x" * 4_096 for n in range(15)}, "pod": "web-0", "alertname": "A"}
            | {UNREAD: unread([f"l{n}" for n in range(15, 20)])},
        ),
    ],
    ids=["long value", "long name", "long name of a number", "null", "many", "long all together"],
)
def test_labels_beyond_the_caps_are_cut_and_cost_no_alert(
    labels: dict[str, Any], kept: dict[str, str]
) -> None:
    delivery = parse(message(alert(labels=labels), alert()))
    assert delivery.rejected == ()
    assert [a.labels for a in delivery.alerts[:1]] == [kept]
    assert len(delivery.alerts) == 2


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400", "9" * 5_000])
def test_a_number_that_is_none_in_an_advisory_field_costs_nothing(odd: str) -> None:
    body = json.dumps(message(alert(values={"B": "@"}))).replace('"@"', odd).encode()
    assert len(parse(body).alerts) == 1


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(parse(b"\xef\xbb\xbf" + json.dumps(message(alert())).encode()).alerts) == 1


@pytest.mark.parametrize(
    ("version", "noted"),
    [("5", '"5"'), (4, "4"), (None, "null"), ({"a": "\ud800"}, '{"a":"\N{REPLACEMENT CHARACTER}"}')],
)
def test_another_version_of_the_known_shape_is_read_and_noted(version: Any, noted: str) -> None:
    delivery = parse({**message(alert()), "version": version})
    assert (len(delivery.alerts), delivery.rejected) == (1, ())
    assert delivery.note == f'version {noted} instead of "4"'


def test_half_a_character_in_a_label_costs_that_alert_and_not_its_neighbours() -> None:
    fine, spoilt, odd_name = alert(), alert(), alert()
    spoilt["labels"] = {**spoilt["labels"], "pod": "a\ud800"}
    odd_name["labels"] = {**odd_name["labels"], "\udfff": "x"}
    delivery = parse(message(spoilt, fine, odd_name))
    assert len(delivery.alerts) == 1
    assert [(r.code, r.where) for r in delivery.rejected] == [
        ("bad_label", "/alerts/0/labels/pod"),
        ("bad_label", "/alerts/2/labels"),
    ]


def test_half_a_character_in_what_is_only_shown_is_replaced() -> None:
    delivery = parse(
        message(
            alert(annotations={"summary": "a\ud800b"}, generatorURL="http://x/\udfff"), receiver="r\ud800"
        )
    )
    [read] = delivery.alerts
    assert read.annotations["summary"] == "a\N{REPLACEMENT CHARACTER}b"
    assert read.generator_url == "http://x/\N{REPLACEMENT CHARACTER}"
    assert delivery.note == "receiver r\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("rest", [b"[" * 200_000, b"oops", b"NaN oops", b"1e999]"])
def test_half_a_character_lets_nothing_else_through(rest: bytes) -> None:
    with pytest.raises(BadInput):
        parse(b'{"version":"4","alerts":[],"a":"\\ud800","b":' + rest + b"}")


def test_secrets_in_annotations_and_links_are_hidden_and_labels_stay() -> None:
    """Labels say which alert it is; of the rest nothing is decided by."""
    given = alert(
        annotations={
            "summary": "login refused: password=hunter2",
            "api_token": "abc",
            "runbook_url": "https://r/x",
        },
        generatorURL="https://metrics/graph?token=abcdef&g0.expr=up",
        labels={"alertname": "A", "note": "password=x"},
    )
    found = parse(message(given)).alerts[0]
    assert found.annotations == {
        "summary": "login refused: password=[redacted]",
        "api_token": "[redacted]",
        "runbook_url": "https://r/x",
    }
    assert found.generator_url == "https://metrics/graph?token=[redacted]&g0.expr=up"
    assert found.labels["note"] == "password=x"
