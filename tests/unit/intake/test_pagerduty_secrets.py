"""What PagerDuty's API tells of an incident becomes labels without secrets, and costs a bounded time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain import effort
from app.domain import redact as redaction
from app.domain.redact import Effort
from app.intake import pagerduty
from app.intake.pagerduty import enriched
from tests.unit.intake.test_pagerduty import FIRING, WANTED, alerts_json, triggered


@pytest.mark.parametrize(
    "details",
    [
        {"note": "login refused: password=hunter2"},
        {"db_password": "hunter2"},
        {"labels": {"url": "https://app:hunter2@db.test/"}},
        {"custom_details": json.dumps({"api_key": "hunter2"})},
        {"firing": f"{FIRING.format(pod='a')}Labels:\n - token = hunter2\n"},
        {"tags": ["client_secret:hunter2", "team:rag"]},
        {"password=hunter2 of the database": [1]},
    ],
)
def test_a_secret_in_what_pagerdutys_api_tells_becomes_no_label(details: dict[str, Any]) -> None:
    """Custom details are free text, as titles are: they are kept, asked about and shown."""
    after = enriched(triggered().alerts[0], alerts_json({**details, **WANTED}, severity="token=hunter2"))
    assert "hunter2" not in str(after)
    assert "[redacted]" in str(after.labels)


def test_what_the_texts_of_pagerdutys_api_may_cost_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it a text is hidden whole; what says what the alert is about is looked at first."""
    hostile = {f"k{n}": f"{n} mysql -pa'b' curl -u 'a:b' " * 30 for n in range(60)}
    spent, real = list[int](), effort.spend

    def spend(of: Effort | None, number: int = 1) -> None:
        spent.append(number)
        real(of, number)

    monkeypatch.setattr(redaction, "spend", spend)
    monkeypatch.setattr(pagerduty, "_WORK", 1_000)
    labels = enriched(triggered().alerts[0], alerts_json({**hostile, **WANTED})).labels
    assert labels["namespace"] == "shop"
    assert "[redacted]" in [labels[name] for name in hostile if name in labels]
    assert 1_000 < sum(spent) < 1_000 + 200
