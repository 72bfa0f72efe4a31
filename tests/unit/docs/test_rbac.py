"""The README's roles allow what the service does, and no more: compared with the list of permissions and with requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import yaml

from app.domain.plan import ActionKind
from app.domain.target import Kind
from app.kube.paths import POD_METRICS, RESOURCES
from app.kube.verbs import CONFIG_READS, DRY_RUN_POD, EVENTS, OPTIONAL, READS, permissions_for
from app.sim.faults import Request
from tests.scenario.rig import Rig
from tests.unit.docs.fences import blocks
from tests.unit.served import TIMELINES, Served

Rule = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""


def _documents() -> list[dict[str, Any]]:
    (block,) = [b for b in blocks("yaml") if b.title == "rbac.yaml"]
    return list(yaml.safe_load_all(block.text))


def granted() -> set[Rule]:
    """What the README's roles allow."""
    return {
        (verb, group, resource)
        for document in _documents()
        for rule in document.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def wanted() -> set[Rule]:
    """What the code says it needs, and the metrics API, whose resource is no kind of ours."""
    needed = {*READS, *CONFIG_READS, *EVENTS, *OPTIONAL}
    for kind in ActionKind:
        needed |= {p for on in Kind for p in permissions_for(kind, on)}
    rules = {(p.verb, p.rule[1], "/".join(filter(None, p.rule[2:]))) for p in needed}
    return rules | {("list", POD_METRICS.group, POD_METRICS.plural)}


def test_the_roles_allow_exactly_what_is_needed() -> None:
    assert granted() == wanted()


def test_the_strong_right_stands_in_the_threat_model_alone() -> None:
    (block,) = [
        b for b in blocks("yaml", documents=("docs/security.md",)) if b.title == "dry-run-of-pods.yaml"
    ]
    rules = yaml.safe_load(block.text)["rules"]
    found = {
        (v, g, r)
        for rule in rules
        for g in rule["apiGroups"]
        for r in rule["resources"]
        for v in rule["verbs"]
    }
    assert found == {(p.verb, p.rule[1], p.rule[2]) for p in DRY_RUN_POD}
    assert not found & granted()


def test_what_has_no_namespace_is_read_by_the_cluster_role_and_everything_else_by_the_namespaced_one() -> (
    None
):
    kinds = {d["kind"]: d for d in _documents()}
    of_cluster = {k for k in Kind if not RESOURCES[k].namespaced}
    found = {resource for r in kinds["ClusterRole"]["rules"] for resource in r["resources"]}
    assert found == {RESOURCES[k].plural for k in of_cluster}
    assert not any(found & set(r["resources"]) for r in kinds["Role"]["rules"])


def test_the_bindings_bind_these_roles_to_the_service_account() -> None:
    kinds = {d["kind"]: d for d in _documents()}
    account = kinds["ServiceAccount"]["metadata"]
    for binding, role in (("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")):
        reference = kinds[binding]["roleRef"]
        assert (reference["kind"], reference["name"]) == (role, kinds[role]["metadata"]["name"])
        assert kinds[binding]["subjects"] == [{"kind": "ServiceAccount", **account}]


def _rule(request: Request) -> Rule | None:
    """What a real API server would check for this request; access reviews are open to everybody."""
    match request.verb:
        case "can_i":
            return None
        case "usage":
            return ("list", POD_METRICS.group, POD_METRICS.plural)
        case "logs":
            return ("get", "", "pods/log")
        case "evict":
            return ("create", "", "pods/eviction")
    kind = request.kind or Kind.POD
    return (request.verb, RESOURCES[kind].group, RESOURCES[kind].plural)


async def test_all_four_stories_need_no_other_right(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "store.sqlite", scenarios=TIMELINES)
    for permission in DRY_RUN_POD:
        rig.cluster.deny(permission.verb, permission.kind)
    asked: set[Rule] = set()
    rig.cluster.on_request(lambda request, _when: asked.update(filter(None, [_rule(request)])))
    await rig.born()
    await rig.run(900)
    await rig.close()
    assert {r[0] for r in asked} >= {"get", "list", "patch"}
    assert asked - granted() == set()


def test_being_ready_needs_no_other_right(service: Served) -> None:
    asked: set[Rule] = set()
    service.cluster.on_request(lambda request, _when: asked.update(filter(None, [_rule(request)])))
    assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200
    assert asked - granted() == set()
