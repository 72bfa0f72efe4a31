"""Orders of procedures on a real cluster: each is one write by the API server's own log, under the rights that the roles print."""

from __future__ import annotations

import pytest

from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.shop import BAD, GOOD
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

HPA = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/web"


def ordered(s: Scene, name: str, *params: str) -> Script:
    """The order as a person gives it, and its run until it is fixed."""
    target = f"{s.shop.namespace}/Deployment/web"
    given = [word for param in params for word in ("--param", param)]
    code, said = yield from s.ask("trigger", name, "--target", target, "--reason", "as agreed", *given)
    assert code == 0, said
    yield s.ended("fixed")


@scene()
def test_a_release_is_one_write(s: Scene) -> Script:
    yield from s.opens()
    yield from ordered(s, "deploy", "image=:v2")
    assert s.shop.container["image"] == BAD
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")]


@scene()
def test_a_rollback_to_a_revision_is_one_write(s: Scene) -> Script:
    yield from s.opens()
    s.shop.deploy()
    yield s.shop.settled
    yield from ordered(s, "rollback", "revision=1")
    assert s.shop.container["image"] == GOOD
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")]


@scene()
def test_a_smaller_size_is_one_write(s: Scene) -> Script:
    yield from s.opens()
    yield from ordered(s, "scale", "replicas=1")
    assert s.shop.get()["spec"]["replicas"] == 1
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")]


@scene()
def test_an_autoscaler_is_adjusted_by_one_write(s: Scene) -> Script:
    yield from s.opens()
    s.shop.add_autoscaler()
    yield from ordered(s, "adjust-hpa", "min=3", "max=12")
    spec = s.shop.get(HPA.format(s.shop.namespace))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 12)
    assert [(m.verb, m.target) for m in s.written] == [("patch", "horizontalpodautoscalers")]


@scene(first=True)
def test_a_release_whose_health_check_does_not_answer_is_taken_back_by_one_write(s: Scene) -> Script:
    """The Service's cluster IP leads nowhere here, as nothing programs it: the pods are ready and nobody can reach them."""
    yield from s.opens()
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    s.shop.plane.create(f"/api/v1/namespaces/{s.shop.namespace}/services", manifest)
    target = f"{s.shop.namespace}/Deployment/web"
    order = ("trigger", "deploy", "--target", target, "--reason", "as agreed", "--param", "image=:v2")
    code, said = yield from s.ask(*order, "--param", "service=web")
    assert code == 0, said
    yield lambda: s.shop.container["image"] == BAD
    yield s.ended("not_fixed")
    yield lambda: s.state == "escalated"
    assert s.shop.container["image"] == GOOD
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")] * 2
    assert "(wanted 2xx)" in s.thread
