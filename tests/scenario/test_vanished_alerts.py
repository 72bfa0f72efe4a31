"""Alerts that vanish without a word, and decisions that are cut off: no incident rests for ever, and none waits for its claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert_report import Reported
from app.domain.decision import Mode, Verdict
from app.domain.errors import StoreUnavailable
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from tests.scenario.scenes import alert, body, born, decision, policy, the_incident, trail
from tests.scenario.test_way_of_an_incident import Told, use

GHOSTS: dict[str, dict[str, Any]] = {
    "no rule": {"alertname": "NobodyKnowsIt"},
    "no target": {"deployment": "ghost"},
    "out of scope": {"namespace": "kube-system"},
    "only observed": {},
}


@pytest.mark.parametrize("asked", [True, False], ids=["its source is asked", "only messages tell"])
@pytest.mark.parametrize("labels", GHOSTS.values(), ids=GHOSTS.keys())
async def test_an_alert_that_vanishes_without_a_word_is_closed_however_far_its_incident_came(
    labels: dict[str, Any], asked: bool, tmp_path: Path
) -> None:
    """Also where nothing was read of a target, and without looking at anything again for it."""
    rig = await born(tmp_path, rules=policy({"mode": Mode.OBSERVE}), use_api=False)
    if asked:
        use(rig, alert_sources=Told(lambda _: Reported.GONE))
    await rig.send(body(alert(rig, **labels)))
    await rig.run(60, alerts=False)
    assert not (await the_incident(rig)).state.closed
    rig.stride = 600.0
    await rig.run(9 * 3_600 if asked else 40 * 3_600, alerts=False)
    incident = await the_incident(rig)
    assert incident.state is IncidentState.RESOLVED
    assert ("its source no longer has" if asked else "nothing was heard") in (
        await trail(rig, EventKind.INCIDENT_MOVED)
    )[-1].data["reason"]
    await rig.close()


@pytest.mark.parametrize("labels", list(GHOSTS.values())[:2], ids=list(GHOSTS)[:2])
async def test_what_still_fires_stays_open_whatever_nobody_says(
    labels: dict[str, Any], tmp_path: Path
) -> None:
    rig = await born(tmp_path, use_api=False)
    use(rig, alert_sources=Told(lambda _: Reported.FIRING))
    await rig.send(body(alert(rig, **labels)))
    rig.stride = 600.0
    await rig.run(30 * 3_600, alerts=False)
    assert not (await the_incident(rig)).state.closed
    await rig.close()


async def test_a_decision_that_the_store_cut_off_is_made_again_within_seconds(tmp_path: Path) -> None:
    """Later each time, long before its claim would have run out."""
    rig = await born(tmp_path, use_api=False)
    whole, failures = rig.services.store, list[float]()

    class Away:
        """The store does not answer the first reads of a decision."""

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        async def read(self, fn: Any) -> Any:
            if "decide._load" in fn.__qualname__ or "_claimed" in fn.__qualname__:
                if len(failures) < 2:
                    failures.append(rig.clock.monotonic())
                    raise StoreUnavailable("the database is restarting")
                failures.append(rig.clock.monotonic())
            return await whole.read(fn)

    use(rig, store=Away())
    await rig.send(body(alert(rig)))
    rig.stride = 1.0
    await rig.run(30, alerts=False)
    first, second, third = failures[:3]
    assert (round(second - first), round(third - second)) == (5, 10)
    assert (await decision(rig)).verdict is Verdict.ALLOW
    await rig.close()
