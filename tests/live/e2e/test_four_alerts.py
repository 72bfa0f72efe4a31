"""The runbook's four alerts, from a real Alertmanager through the service's process to a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.e2e.conftest import Site
from tests.live.e2e.shop import BAD, GOOD, Shop
from tests.live.stack import FAULT, wait_until

pytestmark = pytest.mark.live


def _errors(shop: Shop) -> None:
    shop.deploy_bad_version()
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    shop.add("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", spec)


def _crashes(shop: Shop) -> None:
    shop.create()
    shop.deploy(BAD, **{FAULT: "crash"})
    wait_until(lambda: any(_waits(pod) == "CrashLoopBackOff" for pod in shop.pods()), what="a crash loop")
    broken = [pod["metadata"]["name"] for pod in shop.pods() if _waits(pod)]
    shop.plane.set_logs(shop.namespace, broken[0], "main", ["ERROR no module named beans"], previous=True)


def _waits(pod: Any) -> str:
    statuses = pod["status"].get("containerStatuses", [{}])
    return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))


def _killed_for_memory(shop: Shop) -> None:
    shop.create()
    shop.break_pods("oom")


STORIES: dict[str, tuple[Callable[[Shop], None], Callable[[Shop], bool], str]] = {
    "HighErrorRate": (_errors, lambda s: s.container["image"] == GOOD, "Roll back"),
    "HighLatency": (Shop.create, lambda s: s.get()["spec"]["replicas"] == 8, "8"),
    "PodRestarting": (_crashes, lambda s: s.container["image"] == GOOD, "Roll back"),
    "OOM": (_killed_for_memory, lambda s: s.container["resources"]["limits"]["memory"] == "768Mi", "768"),
}


@pytest.mark.parametrize("alertname", STORIES)
def test_an_alert_is_remediated_once_and_the_thread_tells_it(site: Site, shop: Shop, alertname: str) -> None:
    prepare, changed, words = STORIES[alertname]
    prepare(shop)
    labels = {"alertname": alertname, **shop.labels}
    site.alertmanager.fire(labels, {"summary": f"{alertname} in {shop.namespace}"})
    wait_until(lambda: changed(shop), 40.0, what=f"the change; log: {site.service.log}")
    site.service.wait_for(shop.namespace, "verifying")
    site.alertmanager.resolve(labels)
    incident = site.service.wait_for(shop.namespace, "fixed")
    shop.settle()

    (written,) = shop.written
    assert (written.verb, written.target, written.name) == ("patch", "deployments", "web")
    assert [m.target for m in shop.rehearsed] == ["deployments"]
    assert written.request_object == shop.rehearsed[0].request_object
    wait_until(lambda: len(shop.events) == 1, what="the Kubernetes Event")
    run = site.service.run_of(incident)
    assert run["id"] in shop.events[0]["note"]
    assert run["id"] in json.dumps(shop.get()["metadata"]["annotations"])
    _tells_the_story(site, shop, words)
    if alertname == "HighErrorRate":
        assert "postgres and redis answer" in "".join(site.thread_of(shop.namespace)[1])


def _tells_the_story(site: Site, shop: Shop, words: str) -> None:
    parent, entries = site.told(shop.namespace, "Checked")
    assert "FIXED" in parent.splitlines()[0]
    assert words in parent
    told = [entry.split(maxsplit=1)[0] for entry in entries]
    assert told == ["*Fired*:", "*Evidence*:", "*Allowed", "*Done*:", "*Checked*:"]
    assert "14 of 14 gates allow" in entries[2]
    assert "Undo: " in entries[3]
    assert not site.slack.state.pings
