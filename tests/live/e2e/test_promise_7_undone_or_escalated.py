"""Undone by a person's command on a real cluster, and only where our values are still in place."""

from __future__ import annotations

import pytest

from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live


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
