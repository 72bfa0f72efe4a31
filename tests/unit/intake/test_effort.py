"""What it may cost to hide secrets in the texts of a body: bounded for whoever fills them, no matter for ordinary alerts."""

from __future__ import annotations

import itertools
import json

import pytest

from app.intake import alertmanager
from tests.unit.intake.test_alertmanager import NOW, parse


def test_what_secrets_in_texts_may_cost_is_bounded_and_the_rest_is_hidden_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond it nothing is looked at, so nothing is shown: neither a secret nor what stands around it."""
    monkeypatch.setattr(alertmanager, "_EFFORT", 20_000)
    text = "a://b:@c password is x password=y " * 5
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
    assert 0 < len(texts[0]) < 64
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
    text = sign * 1_500 + " password=Sw0rdfish9"
    alert = {"labels": {"alertname": "A"}, "annotations": {f"a{n}": text for n in range(16)}}
    body = json.dumps({"version": "4", "alerts": [{"status": "firing", **alert}]}).encode()
    shown = list(alertmanager.parse(body, received_at=NOW, sender="am").alerts[0].annotations.values())
    assert "Sw0rdfish9" not in "".join(shown)
    assert shown[0] != "[redacted]"
    assert shown[-1] == "[redacted]", "what an alert may cost is spent"
