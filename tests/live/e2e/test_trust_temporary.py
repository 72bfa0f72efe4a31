"""Temporary changes on a real cluster: taken back at their end, kept, and never taken back over somebody's edit."""

from __future__ import annotations

import pytest

from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live


@scene(temporary={"revert_after": "8s"})
def test_a_temporary_size_is_taken_back_although_the_service_was_killed_meanwhile(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    s.fire(resolved=True)
    yield s.ended("contained")
    yield from s.dies(s.service)
    assert len(s.written) == 1
    yield from s.comes_back(s.services[0])
    yield s.ended("reverted")
    assert s.shop.get()["spec"]["replicas"] == 2
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")] * 2
    yield lambda: "Temporary change over" in s.thread
    code, text = yield from s.ask("audit", "verify")
    assert (code, "ok: " in text) == (0, True), text


@scene(temporary={"revert_after": "2m"})
def test_a_kept_size_is_temporary_no_more(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield from s.fixed(s.scaled(8))
    run = str(s.run["id"])
    code, text = yield from s.ask("keep", run)
    assert code == 0, text
    code, text = yield from s.ask("keep", run)
    assert (code, "it was kept already by" in text) == (1, True), text
    yield lambda: "the change stays" in s.thread
    assert s.shop.get()["spec"]["replicas"] == 8
    assert (s.run["state"], len(s.written)) == ("contained", 1)


@scene(temporary={"revert_after": "10s"})
def test_the_end_of_a_temporary_change_leaves_a_persons_edit_alone(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield from s.fixed(s.scaled(8))
    s.shop.edit({"spec": {"replicas": 6}})
    yield s.ended("undo_conflict")
    yield lambda: "kubectl-edit" in s.thread
    assert s.shop.get()["spec"]["replicas"] == 6
    assert len(s.written) == 1


@scene(temporary={"revert_after": "4s"})
def test_temporary_memory_is_taken_back(s: Scene) -> Script:
    yield from s.opens()
    s.shop.put_fault("oom")
    yield s.shop.broken
    s.fire("OOM")
    yield from s.fixed(lambda: s.shop.container["resources"]["limits"]["memory"] == "768Mi", "OOM")
    yield lambda: "kubectl patch deployment web" in s.thread
    yield s.ended("reverted")
    resources = s.shop.container["resources"]
    assert (resources["limits"]["memory"], resources["requests"]["memory"]) == ("512Mi", "256Mi")
    assert len(s.written) == 2
