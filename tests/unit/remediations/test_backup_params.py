"""What the Jobs of backups and restores have in common: params that no Job could work with are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from remediations.backup_pods import client_finding
from remediations.backups import StoreParams


@pytest.mark.parametrize("params", [{"deadline": 0.4}, {"deadline": 59}, {"memory": 1}, {"memory": "63Mi"}])
def test_a_job_that_could_not_live_is_no_order(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(params))):
        StoreParams(**params)
    assert StoreParams(deadline=60, memory=64 * 1024**2).memory == 67_108_864


@pytest.mark.parametrize(
    ("image", "tls", "tells"),
    [
        ("postgres:15.4", "prefer", True),
        ("postgres:14", "disable", True),
        ("postgres:15.4", "require", False),
        ("postgres:15.4", "verify-full", False),
        ("postgres:16.1", "prefer", False),
    ],
)
def test_a_client_that_tells_its_password_to_whoever_asks_is_named_in_the_plan(
    image: str, tls: str, *, tells: bool
) -> None:
    """Before 16 libpq cannot be told which authentication to accept."""
    assert ("tells its password to whoever asks for it" in client_finding(image, tls).text) is tells
