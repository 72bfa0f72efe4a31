"""Services and NetworkPolicies in front of a workload whose labels or ports moved with its release."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.new_pods import Finding, NewPods, Part
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube import actions, read
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.newpods import looked, named, world

WEB = {"app": "langgraph"}


def template(
    labels: dict[str, str], *ports: tuple[str, int], image: str = "registry.test/langgraph:v2"
) -> Obj:
    container: Obj = {
        "name": "langgraph",
        "image": image,
        "ports": [{"name": name, "containerPort": port} for name, port in ports],
    }
    return {"metadata": {"labels": {**WEB, **labels}}, "spec": {"containers": [container]}}


def service(selector: dict[str, str], target: Any = "http", name: str = "web") -> Obj:
    return named("Service", name, spec={"selector": selector, "ports": [{"port": 80, "targetPort": target}]})


def policy(name: str, selector: dict[str, str], **spec: Any) -> Obj:
    return named("NetworkPolicy", name, spec={"podSelector": {"matchLabels": selector}, **spec})


def scene(now: Obj, before: Obj, *more: Obj) -> FakeCluster:
    """A release, and what stands in front of its pods."""
    deployment = m.deployment(now)
    deployment["spec"]["selector"] = {"matchLabels": WEB}
    cluster = world(*more, deployment=deployment)
    cluster.put(m.replica_set(1, before, cause="v1"))
    return cluster


async def rolled_back(cluster: FakeCluster) -> NewPods:
    workload = m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph"))
    action = actions.roll_back(workload, await read.revisions(cluster, workload))
    assert isinstance(action, Action), action
    return await looked(cluster, workload, [action])


V1, V2 = {"version": "v1"}, {"version": "v2"}
OLD = template(V1, ("http", 8080), image="registry.test/langgraph:v1")
DENY = policy("default-deny", {}, policyTypes=["Ingress", "Egress"])


def probed(port: int, **env: str) -> Obj:
    """A template that declares no port, and tells of one by what asks whether it is ready."""
    made = template(V1, image="registry.test/langgraph:v2")
    (container,) = made["spec"]["containers"]
    del container["ports"]
    container["readinessProbe"] = {"httpGet": {"port": port, "path": "/"}}
    container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    return made


@pytest.mark.parametrize(
    ("now", "front", "told"),
    [
        (template(V2, ("http", 8080)), [service({**WEB, **V2})], "Service web would choose none of the new pods: it selects version=v2"),
        (template(V2, ("http", 8080)), [service({**WEB, **V2, "statefulset.kubernetes.io/pod-name": "web-0"})], "Service web would choose none of the new pods: it selects version=v2"),
        (template(V1, ("http", 9090)), [service(WEB, 9090)], "Service web sends port 80 to 9090, which the new pods do not have"),
        (template(V1, ("web", 8080)), [service(WEB, "web")], "Service web sends port 80 to web, which the new pods do not have"),
        (template(V2, ("http", 8080)), [DENY, policy("allow-v2", V2, ingress=[{"from": [{}]}])], "NetworkPolicy allow-v2 lets through what the new pods need, and selects others"),
        (template(V2, ("http", 8080)), [policy("closed-v1", V1)], "NetworkPolicy closed-v1 selects the new pods and not those of now"),
        (template(V1, ("http", 9090)), [policy("web", WEB, ingress=[{"ports": [{"port": 9090}]}])], "NetworkPolicy web lets in no port that the new pods have"),
        (template(V1, ("web", 8080)), [policy("web", WEB, ingress=[{"ports": [{"port": "web"}]}])], "NetworkPolicy web lets in no port that the new pods have"),
        (template(V2, ("http", 8080)), [policy("db", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": V2}}]}])], "NetworkPolicy db lets in, or out to, the pods of now and not the new ones"),
    ],
    ids=["selector", "selector and pod", "number", "name", "allow", "deny", "policy's number", "policy's name", "peer"],
)  # fmt: skip
async def test_a_rollback_that_the_way_to_its_pods_may_not_fit_is_a_question(
    now: Obj, front: list[Obj], told: str
) -> None:
    found = (await rolled_back(scene(now, OLD, *front))).found(Finding.UNKNOWN)
    assert [c.part for c in found] == [Part.TRAFFIC]
    assert found[0].text.startswith(told)
    assert "is set to fit the pods of the template that comes back" in found[0].remedy


@pytest.mark.parametrize("env", [{}, {"PORT": "9090"}])
async def test_a_port_that_only_a_probe_or_an_environment_tells_of_moves_too(env: dict[str, str]) -> None:
    now, old = probed(9090, **env), probed(8080, **({"PORT": "8080"} if env else {}))
    found = (await rolled_back(scene(now, old, service(WEB, 9090)))).found(Finding.UNKNOWN)
    assert [c.text for c in found] == ["Service web sends port 80 to 9090, which the new pods do not have"]


ALLOW = {"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}


@pytest.mark.parametrize(
    ("now", "front"),
    [
        (template(V2, ("http", 8080)), [service(WEB), service({**WEB, **V1}, name="old"), service({"app": "other"}, name="other")]),
        (template(V1, ("http", 9090)), [service(WEB, "http")]),
        (template(V1, ("http", 9090)), [service(WEB, 9000)]),
        (template(V1, ("http", 8080), ("metrics", 9100)), [service(WEB), service(WEB, "metrics", name="web-metrics")]),
        (template(V2, ("http", 8080)), [service(WEB), service({**WEB, **V1}, name="web-v1"), service({**WEB, **V2}, name="web-v2")]),
        (template(V2, ("http", 8080)), [{**service({**WEB, **V2}), "spec": {"type": "ExternalName", "selector": V2}}]),
        (template(V2, ("http", 8080)), [policy("allow-v2", V2, ingress=[{}])]),
        (template(V2, ("http", 8080)), [DENY, policy("allow", WEB, ingress=[{}], egress=[{}], policyTypes=["Ingress", "Egress"])]),
        (template(V2, ("http", 8080)), [DENY, policy("allow-v1", V1, ingress=[ALLOW]), policy("allow-v2", V2, ingress=[ALLOW])]),
        (template(V2, ("http", 8080)), [DENY, policy("allow", WEB, ingress=[ALLOW]), policy("allow-v1", V1, ingress=[{"ports": [{"port": 8080}]}])]),
        (template(V2, ("http", 8080)), [policy("out", WEB, policyTypes=["Egress"], egress=[{}]), policy("allow-v2", V2, ingress=[{}])]),
        (template(V1, ("http", 9090)), [policy("web", WEB, ingress=[{"ports": [{"port": 9090}, {"port": 8080}]}])]),
        (template(V2, ("http", 8080)), [policy("db", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": WEB}}]}])]),
    ],
    ids=["by the app", "by name", "declared by neither", "a port more", "subsets", "no selector counts", "nothing cuts off", "allowed by the app",
         "each version allowed alike", "one that only adds", "another direction", "both ports", "peer by the app"],
)  # fmt: skip
async def test_what_fits_both_stands_in_nobodys_way(now: Obj, front: list[Obj]) -> None:
    checks = (await rolled_back(scene(now, OLD, *front))).checks
    assert [(c.finding, c.text) for c in checks if c.part is Part.TRAFFIC] == [(Finding.OK, "")]


async def test_a_release_that_only_declares_its_port_is_no_move() -> None:
    old = template(V1, image="registry.test/langgraph:v1")
    checks = (await rolled_back(scene(template(V1, ("http", 8080)), old, service(WEB, 8080)))).checks
    assert [c.text for c in checks if c.part is Part.TRAFFIC] == [""]


async def test_where_nothing_moved_nothing_in_front_is_read() -> None:
    cluster = scene(template(V1, ("http", 8080)), OLD, service({**WEB, **V2}))
    cluster.denied.add(("list", Kind.SERVICE))
    assert not [c for c in (await rolled_back(cluster)).checks if c.part is Part.TRAFFIC]


async def test_where_labels_moved_and_services_may_not_be_listed_it_is_not_proven() -> None:
    cluster = scene(template(V2, ("http", 8080)), OLD)
    cluster.denied.add(("list", Kind.SERVICE))
    (check,) = [c for c in (await rolled_back(cluster)).checks if c.part is Part.TRAFFIC]
    assert (check.finding, check.text) == (Finding.UNKNOWN, "services may not be listed")
