"""Undo on a real cluster, after somebody or something else has been at the object."""

from __future__ import annotations

import pytest

from app.notify.buttons import Click
from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

HPA = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/web"


@scene()
def test_a_field_that_a_person_has_edited_since_keeps_the_whole_change(s: Scene) -> Script:
    """Two fields are ours; half undone would be nobody's intention, and the message names who changed what."""
    yield from s.opens(memory_request="512Mi")
    s.shop.put_fault("oom")
    yield s.shop.broken
    s.fire("OOM")
    yield from s.fixed(lambda: s.shop.container["resources"]["limits"]["memory"] == "768Mi", "OOM")
    assert s.shop.container["resources"]["requests"]["memory"] == "768Mi"
    edited = {"name": "main", "resources": {"requests": {"memory": "600Mi"}}}
    s.shop.edit({"spec": {"template": {"spec": {"containers": [edited]}}}})
    s.click(Click.UNDO, value=s.value())
    yield s.ended("undo_conflict")
    yield lambda: "Compare" in s.thread
    told = s.thread.splitlines()[-1]
    assert "requests/memory is 600Mi, not 768Mi (last set by kubectl-edit at" in s.thread, told
    resources = s.shop.container["resources"]
    assert (resources["limits"]["memory"], resources["requests"]["memory"]) == ("768Mi", "600Mi")
    assert len(s.written) == 1


@scene()
def test_an_object_that_was_created_anew_is_not_undone(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield from s.fixed(s.scaled(8))
    s.shop.plane.client().delete(s.shop.path()).raise_for_status()
    s.shop.begin(replicas=8)
    s.click(Click.UNDO, value=s.value())
    yield lambda: "there is nothing to take back" in s.told(s.ana)
    assert s.run["state"] == "contained"
    assert s.shop.get()["spec"]["replicas"] == 8
    assert len(s.written) == 1


@scene()
def test_an_autoscalers_minimum_is_put_back_once_however_often_undo_is_pressed(s: Scene) -> Script:
    path = HPA.format(s.shop.namespace)
    yield from s.opens()
    s.shop.add_autoscaler()
    s.fire()
    yield lambda: s.shop.get(path)["spec"]["minReplicas"] == 8
    yield from s.fixed(s.scaled(8))
    yield lambda: "Undo" in s.buttons
    double, second = s.signed(Click.UNDO), s.signed(Click.UNDO, s.ben)
    s.click(Click.UNDO)
    assert [s.send(double), s.send(second)] == [200, 200]
    yield s.ended("undone")
    assert s.shop.get(path)["spec"]["minReplicas"] == 2
    s.click(Click.UNDO, value=s.value())
    yield lambda: "undone already" in s.told(s.ana)
    assert [(m.verb, m.target) for m in s.written] == [("patch", "horizontalpodautoscalers")] * 2
