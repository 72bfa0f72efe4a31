"""One policy for two replicas with files of their own, on the real parts: a brake holds both until it leaves the files in which it stands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.json import Obj
from tests.live.e2e.scene import Tools
from tests.live.e2e.service import Place, Service, policy
from tests.live.e2e.stage import Stage
from tests.live.e2e.test_random_kills import SERVE, Many

pytestmark = pytest.mark.live

LIMIT = 60.0  # seconds


def _text(*, braked: bool = False, note: str = "") -> str:
    document = json.loads(policy())
    for rule in document["rules"]:
        if rule["remediation"] == "high-latency":
            rule["params"] = {"scale_to": 2}
    said = "\n".join(f"{key}: {json.dumps(value)}" for key, value in document.items() if key != "mode")
    return f"{'mode: observe' if braked else 'mode: auto'}\n{said}\n# {note}\n"


def _two(tools: Tools) -> tuple[Service, Service]:
    url = tools.postgres().fresh_database()
    one = tools.new_place(database_url=url, policy_text=_text())
    beside = Path(f"{one.folder}-beside")
    parts = (one.plane, one.slack_url, one.channel)
    other = Place(beside, *parts, database_url=url, policy_text=_text(), prometheus_url=one.prometheus_url)
    return Service(one, "replica-0"), Service(other, "replica-1")


def _write(service: Service, text: str) -> None:
    (service.place.folder / "policies" / "policy.yaml").write_text(text, "utf-8")


def _until(what: Callable[[], bool], said: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end, said()
        time.sleep(0.2)  # real processes: nothing else tells that time has passed


def _state(service: Service, name: str) -> str:
    items: list[Obj] = service.get("incidents", limit="200")["items"]
    return next((str(i["state"]) for i in items if str(i["target"]).endswith(f"/{name}")), "")


def _degraded(service: Service) -> str:
    return str(service.ready().get("degraded", {}).get("policy", ""))


def test_a_brake_holds_both_replicas_until_it_leaves_the_files_in_which_it_stands(stage: Stage) -> None:
    """Also over a restart of the other one with its older files, and over a change of these."""
    crowd = Many(stage.tools, 4)
    one, other = _two(stage.tools)
    name = iter(crowd.names)

    def fired(at: Service, *states: str) -> None:
        target = next(name)
        crowd.shop.wait_out_last_second()
        crowd.began = datetime.now(UTC)
        assert at.post(crowd.body(target, resolved=False)).status_code == 202
        _until(lambda: _state(at, target) in states, lambda: (target, _state(at, target)))

    try:
        for service in (one, other):
            service.fork(SERVE)
        _until(lambda: one.serves() and other.serves(), lambda: (one.log, other.log))
        _write(other, _text(braked=True))
        _until(lambda: "replica" in _degraded(one), one.ready)
        fired(one, "observed")
        one.kill_and_leave()
        one.fork(SERVE)
        _until(one.serves, lambda: one.log)
        fired(one, "observed")
        _write(one, _text(note="another word"))
        _until(lambda: "the files of replica-1 say mode: observe" in _degraded(one), one.ready)
        fired(other, "observed")
        assert [m for m in crowd.shop.written if m.target == "deployments"] == []
        _write(other, _text(note="another word"))
        _until(lambda: not _degraded(one) and not _degraded(other), lambda: (one.ready(), other.ready()))
        fired(other, "acting", "verifying", "fixed", "contained")
    finally:
        one.close()
        other.close()
