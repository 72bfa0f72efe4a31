"""Undone by a person's command on a real cluster, and only where our values are still in place."""

from __future__ import annotations

import pytest

from tests.live.e2e.prometheus import AWAY, LATENCY
from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

UNDOES = Cast(
    asks=True,
    of_rules={"verify": {"settle": "1s", "timeout": "8s", "poll": "1s"}, "otherwise": ["undo", "escalate"]},
)


@scene(UNDOES)
def test_a_step_that_is_measured_to_be_no_better_is_undone_by_itself(s: Scene) -> Script:
    LATENCY[s.shop.namespace] = 4.0
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("not_fixed")
    assert s.shop.get()["spec"]["replicas"] == 2
    assert "it did not help: " in s.run["result"]


@scene(UNDOES)
def test_a_step_of_which_nothing_is_measured_any_more_stays(s: Scene) -> Script:
    """Prometheus went away after the write, and the alert fires on."""
    LATENCY[s.shop.namespace] = 4.0
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    AWAY.add(s.shop.namespace)
    yield s.ended("inconclusive")
    assert (s.shop.get()["spec"]["replicas"], len(s.written), s.state) == (8, 1, "escalated")
    yield lambda: f"To take it back: remediator undo {s.run['id']}" in s.thread


@scene()
def test_a_person_undoes_a_finished_run_by_command(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield from s.fixed(s.scaled(8))
    run = str(s.run["id"])
    ordered = s.service.command("undo", run)
    assert (ordered.returncode, ordered.stdout) == (0, f"run {run} undone: 1 undone\n"), ordered.stderr
    yield s.ended("undone")
    assert s.shop.get()["spec"]["replicas"] == 2
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")] * 2
    yield s.last("*Undone*")
    assert "from 2 to 8 replicas" in s.entries[-1]
    code, text = yield from s.ask("undo", run)
    assert (code, "undone already" in text) == (1, True), text
    assert len(s.written) == 2


@scene()
def test_an_undo_leaves_alone_what_a_person_has_changed_since(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield from s.fixed(s.scaled(8))
    run = str(s.run["id"])
    s.shop.edit({"spec": {"replicas": 6}})
    code, text = yield from s.ask("undo", run)
    assert (code, f"run {run} undo conflict: 1 conflict" in text) == (1, True), text
    yield s.ended("undo_conflict")
    assert s.shop.get()["spec"]["replicas"] == 6
    assert len(s.written) == 1
    yield s.last("Compare")
    assert "kubectl-edit" in s.entries[-1]
    assert "6" in s.entries[-1]
    code, text = yield from s.ask("explain", run)
    assert (code, "kubectl-edit" in text) == (0, True), text
