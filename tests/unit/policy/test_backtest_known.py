"""What a replay remembers of labels: bounded, and without any influence on what it says."""

from __future__ import annotations

import pytest

from app.policytools import backtest_known
from app.policytools.backtest import Replay
from app.policytools.backtest_history import History, Incident
from app.policytools.backtest_known import Assumptions, Lookup, Said
from app.policytools.backtest_records import Reading, read_lines
from remediations import CATALOGUE
from tests.bench.backtest import lines, policy


def _said(records: int) -> tuple[list[Said], Replay]:
    replay = Replay(policy(), CATALOGUE, Assumptions())
    said = [replay.hear(record) for record in read_lines("x", lines(records), Reading())]
    return said, replay


def test_a_replay_that_forgets_all_the_time_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    told, remembering = _said(3_000)
    monkeypatch.setattr(backtest_known, "_CACHED", 8)
    again, forgetting = _said(3_000)
    assert again == told
    assert forgetting.acted == remembering.acted
    assert remembering.acted, "nothing was done, so nothing was compared"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest_known, "_CACHED", 100)
    lookup = Lookup(policy(), CATALOGUE, Assumptions())
    for n in range(1_000):
        lookup.at({"alertname": "Alert1", "namespace": "rag7", "deployment": f"service-{n}"})
    for kept in (lookup._known, lookup._prepared, lookup._rules):
        assert len(kept._young) + len(kept._old) <= 100


def test_targets_under_one_rule_share_the_facts_of_a_quiet_moment_and_nothing_else() -> None:
    lookup = Lookup(policy(), CATALOGUE, Assumptions())
    labels = {"alertname": "Alert1", "namespace": "rag7"}
    one, other = (lookup.at({**labels, "deployment": name}).prepared for name in ("a", "b"))
    assert one is not None
    assert other is not None
    assert one.quiet is other.quiet
    history, incident = History(0, 0), Incident(("x",), one, 0)
    assert history.measure(other, incident, 1).target == other.ground.target
    assert [a.object.name for a in other.step.actions] == ["b"]
    assert set(one.keys) & set(other.keys) == {"cluster"}
