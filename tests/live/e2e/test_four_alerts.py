"""The runbook's four alerts, from a real Alertmanager through the service's process to a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.shop import BAD, ERRORS, GOOD, Shop
from tests.live.e2e.stage import scene
from tests.live.stack import FAULT

pytestmark = pytest.mark.live


def _errors(shop: Shop) -> Script:
    shop.deploy()
    yield shop.settled
    shop.plane.set_logs(shop.namespace, "app=web", "main", ERRORS)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    shop.add("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", spec)


def _slow(_shop: Shop) -> Script:
    yield lambda: True


def _crashes(shop: Shop) -> Script:
    shop.deploy(BAD, **{FAULT: "crash"})
    yield lambda: any(_waits(pod) == "CrashLoopBackOff" for pod in shop.pods())
    broken = [pod["metadata"]["name"] for pod in shop.pods() if _waits(pod)]
    shop.plane.set_logs(shop.namespace, broken[0], "main", ["ERROR no module named beans"], previous=True)


def _waits(pod: Any) -> str:
    statuses = pod["status"].get("containerStatuses", [{}])
    return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))


def _killed_for_memory(shop: Shop) -> Script:
    shop.put_fault("oom")
    yield shop.broken


STORIES: dict[str, tuple[Callable[[Shop], Script], Callable[[Shop], bool], str]] = {
    "HighErrorRate": (_errors, lambda s: s.container["image"] == GOOD, "Roll back"),
    "HighLatency": (_slow, lambda s: s.get()["spec"]["replicas"] == 8, "8"),
    "PodRestarting": (_crashes, lambda s: s.container["image"] == GOOD, "Roll back"),
    "OOM": (_killed_for_memory, lambda s: s.container["resources"]["limits"]["memory"] == "768Mi", "768"),
}


@scene(Cast(asks=True), cases=tuple(STORIES))
def test_an_alert_is_remediated_once_and_the_thread_tells_it(s: Scene, alertname: str) -> Script:
    prepare, changed, words = STORIES[alertname]
    yield from s.opens()
    yield from prepare(s.shop)
    s.fire(alertname)
    yield lambda: changed(s.shop)
    yield lambda: s.state == "verifying"
    yield from s.fixed(lambda: changed(s.shop), alertname)
    yield s.shop.settled
    (written,) = s.written
    assert (written.verb, written.target, written.name) == ("patch", "deployments", "web")
    assert [m.target for m in s.shop.dry_run_result] == ["deployments"]
    assert written.request_object == s.shop.dry_run_result[0].request_object
    yield lambda: len(s.shop.events) == 1
    run = s.run["id"]
    assert run in s.shop.events[0]["note"]
    assert run in json.dumps(s.shop.get()["metadata"]["annotations"])
    yield s.last("Checked")
    word = "CONTAINED" if alertname in ("HighLatency", "OOM") else "FIXED"
    yield s.says(word)
    _tells_the_story(s, word, words)
    if alertname == "HighErrorRate":
        assert "postgres and redis answer" in s.thread


def _tells_the_story(s: Scene, word: str, words: str) -> None:
    assert word in s.parent.splitlines()[0]
    assert words in s.parent
    told = [entry.split(maxsplit=1)[0] for entry in s.entries]
    assert told == ["*Fired*:", "*Evidence*:", "*Allowed", "*Done*:", "*Checked*:"]
    assert "17 of 17 gates allow" in s.entries[2]
    assert "Undo: " in s.entries[3]
    assert not any(ping in s.parent + s.thread for ping in ("<!here", "<!channel", "<!everyone", "<@"))
