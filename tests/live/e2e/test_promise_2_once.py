"""However often an alert is delivered, by whom, and to which replica: one mutation, by the API server's audit log."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.service import INGEST, Service, body_of
from tests.live.e2e.stage import scene
from tests.live.stack import Timing

pytestmark = pytest.mark.live


def _post_at_once(
    s: Scene, services: Sequence[Service], times: int, *, resolved: bool = False
) -> list[httpx.Response]:
    body = body_of(s.labels(), s.began, resolved=resolved)
    with ThreadPoolExecutor(times * len(services)) as pool:
        return list(pool.map(lambda service: service.post(body), [*services] * times))


def _one_mutation(s: Scene, service: Service) -> bool:
    (incident,) = service.incidents(s.shop.namespace)
    runs = service.get("runs", incident=str(incident["id"]))["items"]
    found = [(m.verb, m.target) for m in s.written]
    return [run["state"] for run in runs] == ["contained"] and found == [("patch", "deployments")]


@scene(Cast(of_policy=lambda shop: {"scope": {"namespaces": [shop.namespace]}}))
def test_five_deliveries_at_the_same_moment_are_one_mutation(s: Scene) -> Script:
    yield from s.opens()
    # Exactly the rights that the service says it needs are enough to be ready.
    assert s.service.ready() == {"ready": True, "problems": {}, "degraded": {}}
    answers = _post_at_once(s, s.services, 5)
    assert [answer.status_code for answer in answers] == [202] * 5
    assert len({incident for answer in answers for incident in answer.json()["incidents"]}) == 1
    yield s.scaled(8)
    _post_at_once(s, s.services, 5, resolved=True)
    yield s.ended("contained")
    assert _one_mutation(s, s.service)
    (late,) = _post_at_once(s, s.services, 1)
    assert late.status_code == 202
    assert _one_mutation(s, s.service)


@scene()
def test_two_alertmanagers_that_both_deliver_are_one_mutation(s: Scene) -> Script:
    timing = Timing(peer_timeout="1s", partitioned=True)
    s.alertmanager = s.tools.alertmanager(s.service.webhook, INGEST, count=2, timing=timing)
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield lambda: all(map(_has_delivered, s.alertmanager.urls if s.alertmanager else []))
    s.fire(resolved=True)
    yield s.ended("contained")
    assert _one_mutation(s, s.service)


def _has_delivered(url: str) -> bool:
    """Whether an Alertmanager has sent its webhook, by its own count."""
    rows = httpx.get(f"{url}/metrics", trust_env=False, verify=False).text.splitlines()  # noqa: S501 - plain HTTP
    counted = [r for r in rows if r.startswith("alertmanager_notifications_total{") and '"webhook"' in r]
    return any(float(row.rsplit(maxsplit=1)[1]) >= 1 for row in counted)


@scene(Cast(replicas=2, on_postgres=True))
def test_two_replicas_on_one_database_make_one_mutation(s: Scene) -> Script:
    yield from s.opens()
    answers = _post_at_once(s, s.services, 3)
    assert [answer.status_code for answer in answers] == [202] * 6
    yield s.scaled(8)
    _post_at_once(s, s.services, 1, resolved=True)
    yield s.ended("contained")
    assert all(_one_mutation(s, service) for service in s.services)
    code, text = yield from s.ask("audit", "verify")
    assert (code, "ok: " in text) == (0, True), text


@scene()
def test_an_alert_that_fires_again_after_the_fix_is_a_new_story(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    s.fire(resolved=True)
    yield s.ended("contained")
    s.began = datetime.now(UTC)
    s.fire()
    yield lambda: len(s.service.incidents(s.shop.namespace)) == 2
    yield lambda: s.state == "refused"
    assert len(s.written) == 1
