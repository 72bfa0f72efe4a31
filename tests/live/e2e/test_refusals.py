"""What the service may not do on a real cluster: it says so, names the reason, and writes nothing."""

from __future__ import annotations

import pytest

from app.domain.cluster import OPT
from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.shop import MERGE
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live


@scene()
def test_a_namespace_that_opted_out_is_not_touched(s: Scene) -> Script:
    yield from s.opens()
    mark = {"metadata": {"labels": {OPT: "false"}, "annotations": {OPT: "false"}}}
    path = f"/api/v1/namespaces/{s.shop.namespace}"
    s.shop.plane.client().patch(path, json=mark, headers=MERGE).raise_for_status()
    s.fire()
    yield lambda: s.state == "refused"
    yield s.last("What would have to change")
    assert "REFUSED" in s.parent
    assert OPT in s.entries[-1]
    assert s.written == s.shop.dry_run_result == []
    s.fire(resolved=True)
    yield lambda: s.state == "resolved"


@scene(Cast(writes=False))
def test_a_missing_permission_is_named_to_a_person(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield lambda: s.state == "escalated"
    yield s.last("patch")
    assert "ESCALATED" in s.parent
    told = f"{s.parent}\n{s.thread}"
    assert "patch" in told
    assert "deployments" in told
    assert s.written == s.shop.dry_run_result == []
