"""Whose hand, on the real API server, which keeps of a scale no time, of a removal none, and of an annotation a generation: a
person's change after the alert is asked about, their change while we watch has the run, and nobody's change stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.json import Obj
from tests.live.e2e.prometheus import LATENCY
from tests.live.e2e.scene import Cast, Question, Scene, Script
from tests.live.e2e.shop import BAD, ERRORS, GOOD, MERGE, STRATEGIC
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

ASKS = Cast(of_rules={"approval": {"expires": "30m"}})
ROLLS_BACK = Cast(asks=True)
UNDOES = Cast(
    asks=True,
    of_rules={"verify": {"settle": "1s", "timeout": "8s", "poll": "1s"}, "otherwise": ["undo", "escalate"]},
)
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


def patch(s: Scene, body: Any, manager: str, headers: dict[str, str] = STRATEGIC, path: str = "") -> None:
    """Somebody else's write, of the workload unless told."""
    answer = s.shop.plane.client().patch(
        path or s.shop.path(), json=body, headers=headers, params={"fieldManager": manager}
    )
    answer.raise_for_status()


def scale(s: Scene, replicas: int, manager: str = "kubectl") -> None:
    """As kubectl scale and the autoscalers do it."""
    patch(s, {"spec": {"replicas": replicas}}, manager, MERGE, s.shop.path() + "/scale")


def env(*names: str, remove: bool = False) -> Obj:
    """A patch of the container's environment."""
    more: Obj = {"$patch": "delete"} if remove else {"value": "1"}
    container = {"name": "main", "env": [{"name": name, **more} for name in names]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def passes(seconds: float) -> Question:
    """So long the server's clock goes on: its stamps are whole seconds."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def after_the_alert(s: Scene, hand: Callable[[], None], alertname: str = "HighLatency") -> Script:
    """The alert fires, somebody does something, and the alert arrives here."""
    yield passes(1.1)
    s.began, s._fired = datetime.now(UTC), True
    yield passes(1.1)
    hand()
    yield s.shop.settled
    if s.alertmanager is None:
        s.fire(alertname)
    else:
        s.alertmanager.fire(s.labels(alertname), {"summary": "it fires"}, s.began)


def asked_about(s: Scene, words: str) -> Script:
    """A person is asked, and told why; nothing is written."""
    yield s.ended("waiting")
    yield lambda: words in s.thread
    assert s.written == []


def bad_release(s: Scene) -> Script:
    """A second revision full of errors."""
    s.shop.deploy(BAD)
    yield s.shop.settled
    s.shop.plane.set_logs(s.shop.namespace, "app=web", "main", ERRORS)
    yield passes(1.1)


def watched(s: Scene) -> Script:
    """It is rolled back, and that is watched."""
    yield from bad_release(s)
    s.fire("HighErrorRate")
    yield lambda: s.shop.container["image"] == GOOD
    yield s.ended("verifying")


@scene(ASKS)
def test_a_scale_up_by_a_person_after_the_alert_is_asked_about(s: Scene) -> Script:
    yield from s.opens()
    yield from after_the_alert(s, lambda: scale(s, 4))
    yield from asked_about(s, "kubectl changed replicas")


@scene(ASKS)
def test_a_scale_down_by_a_person_after_the_alert_is_asked_about(s: Scene) -> Script:
    yield from s.opens(replicas=4)
    yield from after_the_alert(s, lambda: scale(s, 1))
    yield from asked_about(s, "kubectl changed replicas")


@scene(ASKS)
def test_a_scale_by_a_person_long_before_the_alert_is_not_asked_about(s: Scene) -> Script:
    yield from s.opens()
    scale(s, 3)
    yield s.shop.settled
    s.fire()
    yield s.scaled(8)


@scene(ASKS)
def test_a_person_who_scales_us_back_is_named(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("verifying")
    scale(s, 3)
    yield s.ended("taken_over")
    assert s.run["result"].startswith("our change was taken back by kubectl: ")


@scene(ASKS)
def test_a_hand_on_the_autoscaler_is_asked_about(s: Scene) -> Script:
    yield from s.opens()
    s.shop.add_autoscaler()
    path = (
        s.shop.path().replace("apps/v1", "autoscaling/v2").replace("deployments", "horizontalpodautoscalers")
    )
    limits = {"spec": {"minReplicas": 4, "maxReplicas": 6}}
    yield from after_the_alert(s, lambda: patch(s, limits, "kubectl-edit", MERGE, path))
    yield from asked_about(s, "of HorizontalPodAutoscaler web")


@scene(ROLLS_BACK)
def test_an_autoscaler_that_scales_while_a_rollback_is_watched_is_no_hand(s: Scene) -> Script:
    yield from s.opens()
    yield from watched(s)
    scale(s, 3, "kube-controller-manager")
    s.fire("HighErrorRate", resolved=True)
    yield s.ended("fixed")


@scene(UNDOES)
def test_an_autoscaler_that_scales_keeps_nobody_from_the_undo(s: Scene) -> Script:
    yield from s.opens()
    yield from watched(s)
    scale(s, 3, "k3s")
    # Its errors are gone, but so are all lines: nobody knows whether anything is asked of it.
    yield s.ended("inconclusive")
    assert "What was done stays in place" in s.run["result"]
    assert s.shop.container["image"] == GOOD
    code, text = yield from s.ask("undo", s.run["id"])
    assert code == 0, text
    yield s.ended("undone")
    assert s.shop.container["image"] == BAD


@scene(UNDOES)
def test_our_value_that_a_controller_declares_as_well_is_not_undone_by_itself(s: Scene) -> Script:
    """By server-side apply, so that the generation stays: a size that somebody has declared is theirs."""
    LATENCY[s.shop.namespace] = 4.0
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("verifying")
    declared = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 8},
    }
    patch(s, declared, "kustomize-controller", {"Content-Type": "application/apply-patch+yaml"})
    yield s.ended("not_fixed")
    assert (s.shop.get()["spec"]["replicas"], len(s.written)) == (8, 1)
    assert "undo: 1 conflict" in s.run["result"]
    yield lambda: "kustomize-controller changed /spec/replicas to the value that it has" in s.thread


@scene(UNDOES)
def test_our_value_that_a_person_set_anew_is_theirs(s: Scene) -> Script:
    """To 7 and to 8 again, mostly between two looks: one that sees the 7 says so, and it is theirs all the same."""
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("verifying")
    scale(s, 7)
    scale(s, 8)
    yield s.ended("taken_over")
    assert (s.shop.get()["spec"]["replicas"], len(s.written)) == (8, 1)
    assert s.run["result"].startswith(("kubectl ", "our change was taken back by kubectl: "))


@scene(ROLLS_BACK)
def test_an_annotation_while_a_rollback_is_watched_is_no_hand(s: Scene) -> Script:
    yield from s.opens()
    yield from watched(s)
    notes = {"metadata": {"annotations": {"field.cattle.io/publicEndpoints": "[]"}}}
    patch(s, notes, "rancher", MERGE)
    yield passes(1.1)
    s.fire("HighErrorRate", resolved=True)
    yield s.ended("fixed")


@scene(ASKS)
def test_what_is_only_taken_away_after_the_alert_is_asked_about(s: Scene) -> Script:
    yield from s.opens()
    patch(s, env("POOL"), "kubectl-set")
    yield s.shop.settled
    yield from after_the_alert(s, lambda: patch(s, env("POOL", remove=True), "kubectl-set"))
    yield from asked_about(s, "somebody changed template")


@scene(ASKS)
def test_what_is_only_taken_away_while_we_watch_has_the_run(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("verifying")
    limit = {"op": "remove", "path": "/spec/template/spec/containers/0/resources/limits/memory"}
    patch(s, [limit], "kubectl-edit", JSON_PATCH)
    yield s.ended("taken_over")
    assert s.run["result"].startswith("somebody changed template")


@scene(ASKS)
def test_a_rollout_that_is_resumed_after_the_alert_is_asked_about(s: Scene) -> Script:
    yield from s.opens()
    patch(s, {"spec": {"paused": True}}, "kubectl-rollout")
    yield from after_the_alert(s, lambda: patch(s, {"spec": {"paused": None}}, "kubectl-rollout", MERGE))
    yield from asked_about(s, "somebody changed ")


@scene(ROLLS_BACK)
def test_a_label_by_a_tool_that_has_the_template_is_no_hand(s: Scene) -> Script:
    yield from s.opens()
    patch(s, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": BAD}]}}}}, "helm")
    yield s.shop.settled
    s.shop.plane.set_logs(s.shop.namespace, "app=web", "main", ERRORS)
    label = {"metadata": {"labels": {"team": "b"}}}
    yield from after_the_alert(s, lambda: patch(s, label, "helm"), "HighErrorRate")
    yield lambda: s.shop.container["image"] == GOOD
