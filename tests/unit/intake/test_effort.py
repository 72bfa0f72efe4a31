"""What it may cost to hide secrets in the texts of a body: bounded for whoever fills them, no matter for ordinary alerts."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from app.domain.redact import Effort, TooDear, redact, work_bounded
from app.intake import alertmanager
from app.web.long_bodies import MAX_ON_LOOP
from tests.unit.intake.test_alertmanager import NOW, parse


def test_what_secrets_in_texts_may_cost_is_bounded_and_the_rest_is_hidden_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond it nothing is looked at, so nothing is shown: neither a secret nor what stands around it."""
    monkeypatch.setattr(alertmanager, "_EFFORT", 20_000)
    text = "password=y dotnet nuget push x -k  -s yx\\ncurl -s -ua:= password is x " * 4
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": f"c{n}"},
            "annotations": {f"k{m}": text for m in range(128)},
        }
        for n in range(60)
    ]
    found = parse({"version": "4", "alerts": alerts}).alerts
    texts = [[shown for shown in one.annotations.values() if shown != "[redacted]"] for one in found]
    assert not any("is x" in shown or "=y" in shown for shown in itertools.chain(*texts))
    # An alert may cost so much, and all of a body together: 128 texts of one would be more, and 60 of these alerts.
    assert 0 < len(texts[0]) < 120
    assert texts[-1] == []


def test_of_a_storm_of_ordinary_alerts_every_text_stays_readable() -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "KubePodCrashLooping"},
        "annotations": {
            "summary": "Pod is crash looping",
            "description": "Pod rag7/api-1 restarts; DATABASE_URL=postgres://api:hunter22@db/x",
            "runbook_url": "https://runbooks.example/KubePodCrashLooping?a=b",
        },
        "generatorURL": "http://prometheus:9090/graph?g0.expr=sum%28rate%28x%29%29&g0.tab=1",
    }
    body = json.dumps({"version": "4", "alerts": [alert] * 10_000}).encode()
    last = alertmanager.parse(body, received_at=NOW, sender="am").alerts[-1]
    assert last.annotations["description"].startswith("Pod rag7/api-1 restarts")
    assert "hunter22" not in last.annotations["description"]
    assert last.generator_url == alert["generatorURL"]


@pytest.mark.parametrize("sign", ["\uff41", "%41", r"\u0041"])
def test_a_text_that_reads_otherwise_costs_by_its_signs(sign: str) -> None:
    effort = Effort(10_000)
    shown = redact(sign * 1_500 + " password=Sw0rdfish9", effort)
    assert "Sw0rdfish9" not in shown
    assert 10_000 - effort.left >= 1_500 / 16


ORDINARY = {
    "logfmt": 'ts=2026-03-04T03:00:00Z level=error msg="upstream timed out" path=/v1/orders status=504 took=30s user=17\n',
    "java": "\tat com.shop.orders.OrderService.place(OrderService.java:118) ~[orders.jar:1.4]\n",
    "nginx": '10.0.0.7 - - [04/Mar/2026:03:00:00 +0000] "GET /v1/orders?page=2 HTTP/1.1" 504 0 "-" "curl/8.5"\n',
    "json": '{"level":"error","msg":"no rows","order":17,"took_ms":30,"trace_id":"9f86d081884c7d65"}\n',
    "diff": "-  image: registry.test/orders:1.4\n+  image: registry.test/orders:1.5\n   replicas: 3\n",
    "plan": "  ->  Index Scan using orders_pkey on orders  (cost=0.42..8.44 rows=1 width=118) (actual time=0.02..0.03)\n",
    "grafana": "https://grafana.test/d/abc/orders?orgId=1&var-pod=orders-1&from=now-1h&to=now\n",
    "python": '  File "/srv/orders/app.py", line 118, in place\n    raise OrderError(f"no stock for {sku}")\n',
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_what_programs_write_stays_readable_in_alerts_that_hold_much_of_it(kind: str) -> None:
    """Ten kilobytes in a description, ten alerts in a body: the summary, the links and the lines themselves."""
    text = (ORDINARY[kind] * 200)[:9_900]
    alert = {
        "status": "firing",
        "labels": {"alertname": "A"},
        "annotations": {"description": text, "summary": "Orders are slow on pod x", "runbook_url": "https://runbooks.test/a?b=c"},
        "generatorURL": "http://prometheus:9090/graph?g0.expr=sum%28rate%28x%29%29&g0.tab=1",
    }  # fmt: skip
    for one in parse({"version": "4", "alerts": [alert] * 10}).alerts:
        assert one.annotations["summary"] == "Orders are slow on pod x"
        assert one.generator_url == alert["generatorURL"]
        assert one.annotations["runbook_url"] == "https://runbooks.test/a?b=c"
        assert one.annotations["description"] != "[redacted]"


def test_where_a_text_costs_too_much_what_says_most_stays() -> None:
    """The costly one alone is hidden, wherever it stands."""
    hostile = (
        "['sh','-c','redis-cli -a  ping']|\n property \"auth.token\" holds ``, which is not a UR%22" * 110
    )
    notes = {"description": hostile, "summary": "Orders are slow", "runbook_url": "https://runbooks.test/a"}
    alert = {"status": "firing", "labels": {"alertname": "A"}, "annotations": notes}
    (one,) = parse({"version": "4", "alerts": [alert]}).alerts
    assert one.annotations == {**notes, "description": "[redacted]"}
    assert list(one.annotations) == list(notes)


HOSTILE = "['sh','-c','redis-cli -a  ping']|\n property \"auth.token\" holds ``, which is not a UR%22"
_LABELS = {"alertname": "A"}
BODIES: dict[str, dict[str, Any]] = {
    "names": {"alerts": [{"labels": _LABELS, "annotations": {f"{HOSTILE}{i}{j}": "x" for j in range(100)}} for i in range(3)]},
    "group key": {"alerts": [], "groupKey": HOSTILE * 300},
    "status": {"alerts": [{"labels": _LABELS, "status": f"{HOSTILE * 10}{i}"} for i in range(30)]},
    "label names": {"alerts": [{"labels": {f"{HOSTILE * 2}{i}": [1]}} for i in range(130)]},
    "short texts": {"alerts": [{"labels": _LABELS, "annotations": {"d": f"{HOSTILE}{i}"}} for i in range(150)]},
    "a long text": {"alerts": [{"labels": _LABELS, "annotations": {"d": HOSTILE * 100}}] * 3},
    "items": {"alerts": [[]] * 7_500},
    "links": {"alerts": [{"labels": _LABELS, "generatorURL": f"{HOSTILE * 20}{i}"} for i in range(14)]},
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_whatever_is_hostile_in_a_short_body_it_leaves_the_event_loop(what: str) -> None:
    """Everything that is looked at for secrets counts, wherever it stands in the body."""
    body = json.dumps({"version": "4", "status": "firing", **BODIES[what]}).encode()
    assert len(body) < 32 * 1024
    with pytest.raises(TooDear), work_bounded(MAX_ON_LOOP, hides=False):
        alertmanager.parse(body, received_at=NOW, sender="am")
    with work_bounded(4_000 + len(body) // 2, hides=True):
        alertmanager.parse(body, received_at=NOW, sender="am")


def test_of_what_is_kept_only_shortly_no_more_is_looked_at() -> None:
    body = json.dumps({"version": "4", "alerts": [], "receiver": HOSTILE * 300}).encode()
    with work_bounded(1_000, hides=False):
        assert alertmanager.parse(body, received_at=NOW, sender="am").alerts == ()


def test_ordinary_alerts_are_read_on_the_event_loop() -> None:
    alert = {
        "labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "orders-1"},
        "annotations": {"summary": "Pod is crash looping", "description": ORDINARY["logfmt"]},
        "generatorURL": "http://prometheus:9090/graph?g0.expr=sum%28rate%28x%29%29&g0.tab=1",
    }
    body = json.dumps({"version": "4", "status": "firing", "alerts": [alert] * 20}).encode()
    with work_bounded(MAX_ON_LOOP, hides=False):
        assert len(alertmanager.parse(body, received_at=NOW, sender="am").alerts) == 20
