"""What the audit log says of requests, as the tests read it; needs no API server."""

from __future__ import annotations

from typing import Any

from tests.live.audit import find_mutations


def _event(code: int, **more: Any) -> dict[str, Any]:
    return {
        "verb": "patch",
        "stage": "ResponseComplete",
        "auditID": f"request-{code}",
        "user": {"username": "remediator"},
        "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web"},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web",
        "responseStatus": {"code": code},
        **more,
    }


def test_a_request_whose_client_was_gone_is_a_write_only_for_who_asks() -> None:
    events = [_event(200), _event(403), _event(504)]
    assert [m.code for m in find_mutations(events)] == [200]
    found = find_mutations(events, include_unanswered=True)
    assert [(m.code, m.answered) for m in found] == [(200, True), (504, False)]
