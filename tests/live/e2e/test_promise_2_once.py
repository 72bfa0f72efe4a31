"""Once, on real parts: however often and by whomever an alert is delivered, the API server sees one mutation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx
import pytest

from tests.live.e2e.conftest import Site
from tests.live.e2e.service import INGEST, Place, Service, body_of, policy
from tests.live.e2e.shop import Shop
from tests.live.stack import AlertmanagerFactory, Postgres, Timing, wait_until

pytestmark = pytest.mark.live


def _scaled(shop: Shop) -> bool:
    return bool(shop.get()["spec"]["replicas"] == 8)


def _post_at_once(services: list[Service], body: dict[str, object], times: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(times * len(services)) as pool:
        return list(pool.map(lambda service: service.post(body), services * times))


def _one_mutation(service: Service, shop: Shop) -> None:
    incident = service.wait_for(shop.namespace, "fixed")
    runs = service.get("runs", incident=str(incident["id"]))["items"]
    assert [run["state"] for run in runs] == ["fixed"]
    assert [(m.verb, m.target) for m in shop.written] == [("patch", "deployments")]


@pytest.fixture
def start() -> Iterator[Callable[..., list[Service]]]:
    """Starts replicas that share a place, side by side."""
    with ExitStack() as stack:

        def begin(place: Place, *names: str) -> list[Service]:
            services = [Service(place, name) for name in names]
            for service in services:
                stack.callback(service.close)
                service.start()
            for service in services:
                wait_until(service.serves, 60.0, what=f"the service; its log: {service.log}")
            return services

        yield begin


def test_five_deliveries_at_the_same_moment_are_one_mutation(
    start: Callable[..., list[Service]], new_place: Callable[..., Place], shop: Shop
) -> None:
    shop.create()
    scope = {"namespaces": [shop.namespace]}
    (service,) = start(new_place(policy_text=policy(scope=scope)), "replica-0")
    # Exactly the rights that the service says it needs are enough to be ready.
    assert httpx.get(f"{service.url}/readyz", trust_env=False).json() == {"ready": True, "problems": {}}
    labels, began = {"alertname": "HighLatency", **shop.labels}, datetime.now(UTC)
    answers = _post_at_once([service], body_of(labels, began), 5)
    assert [answer.status_code for answer in answers] == [202] * 5
    assert len({incident for answer in answers for incident in answer.json()["incidents"]}) == 1
    wait_until(lambda: _scaled(shop), what="the change")
    _post_at_once([service], body_of(labels, began, resolved=True), 5)
    _one_mutation(service, shop)
    late = service.post(body_of(labels, began))
    assert late.status_code == 202
    _one_mutation(service, shop)


def test_two_alertmanagers_that_both_deliver_are_one_mutation(
    start: Callable[..., list[Service]],
    new_place: Callable[..., Place],
    alertmanager: AlertmanagerFactory,
    shop: Shop,
) -> None:
    shop.create()
    (service,) = start(new_place(), "replica-0")
    pair = alertmanager(service.webhook, INGEST, count=2, timing=Timing(peer_timeout="1s", partitioned=True))
    labels = {"alertname": "HighLatency", **shop.labels}
    pair.fire(labels)
    wait_until(lambda: _scaled(shop), what="the change")
    wait_until(lambda: all(map(_has_delivered, pair.urls)), what="the delivery of both")
    pair.resolve(labels)
    _one_mutation(service, shop)
    pair.stop()


def _has_delivered(url: str) -> bool:
    """Whether an Alertmanager has sent its webhook, by its own count."""
    rows = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    counted = [r for r in rows if r.startswith("alertmanager_notifications_total{") and '"webhook"' in r]
    return any(float(row.rsplit(maxsplit=1)[1]) >= 1 for row in counted)


def test_two_replicas_on_one_database_make_one_mutation(
    start: Callable[..., list[Service]], new_place: Callable[..., Place], postgres: Postgres, shop: Shop
) -> None:
    shop.create()
    services = start(new_place(database_url=postgres.fresh_database()), "replica-0", "replica-1")
    labels, began = {"alertname": "HighLatency", **shop.labels}, datetime.now(UTC)
    answers = _post_at_once(services, body_of(labels, began), 3)
    assert [answer.status_code for answer in answers] == [202] * 6
    wait_until(lambda: _scaled(shop), what="the change")
    _post_at_once(services, body_of(labels, began, resolved=True), 1)
    for service in services:
        _one_mutation(service, shop)
    assert services[0].ask("audit", "verify")[0] == 0


def test_an_alert_that_fires_again_after_the_fix_is_a_new_story(site: Site, shop: Shop) -> None:
    shop.create()
    labels = {"alertname": "HighLatency", **shop.labels}
    site.alertmanager.fire(labels)
    wait_until(lambda: _scaled(shop), what="the change")
    site.alertmanager.resolve(labels)
    site.service.wait_for(shop.namespace, "fixed")
    site.alertmanager.fire(labels, starts_at=datetime.now(UTC))
    wait_until(lambda: len(site.service.incidents(shop.namespace)) == 2, what="another incident")
    wait_until(lambda: site.service.incidents(shop.namespace)[0]["state"] == "refused", what="its refusal")
    assert len(shop.written) == 1
