"""What the Jobs of backups and restores have in common: params that no Job could work with are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from remediations.backups import StoreParams


@pytest.mark.parametrize("params", [{"deadline": 0.4}, {"deadline": 59}, {"memory": 1}, {"memory": "63Mi"}])
def test_a_job_that_could_not_live_is_no_order(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(params))):
        StoreParams(**params)
    assert StoreParams(deadline=60, memory=64 * 1024**2).memory == 67_108_864
