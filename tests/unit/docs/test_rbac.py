"""The README's roles are the command's, and allow what the service does: compared with requests of all stories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import yaml

from app.domain.target import Kind
from app.kube.paths import POD_METRICS, RESOURCES
from app.kube.verbs import DRY_RUN_POD, OPTIONAL, rule_of
from app.sim.faults import Request
from tests.scenario.rig import Rig
from tests.unit.docs import tables
from tests.unit.docs.fences import blocks
from tests.unit.served import TIMELINES, Served

README = tables.README.read_text(encoding="utf-8")
Rule = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""


CLUSTER_WIDE = {(p.verb, rule_of(p)[1], rule_of(p)[2]) for p in OPTIONAL if not RESOURCES[p.kind].namespaced}
"""What tells more where somebody grants it, and what the printed roles leave out."""


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


def test_the_readme_shows_what_the_command_prints() -> None:
    assert tables.with_roles(README) == README


def test_no_role_has_a_wildcard_and_none_is_cluster_wide() -> None:
    assert {d["kind"] for d in _documents()} == {"ServiceAccount", "Role", "RoleBinding"}
    assert not [rule for rule in granted() if "*" in "".join(rule)]


def _told(title: str) -> set[Rule]:
    (block,) = [b for b in blocks("yaml", documents=("docs/security.md",)) if b.title == title]
    rules = yaml.safe_load(block.text)["rules"]
    return {
        (v, g, r)
        for rule in rules
        for g in rule["apiGroups"]
        for r in rule["resources"]
        for v in rule["verbs"]
    }


def test_the_strong_right_stands_in_the_threat_model_alone() -> None:
    found = _told("dry-run-of-pods.yaml")
    assert found == {rule_of(p)[:3] for p in DRY_RUN_POD}
    assert not found & granted()


def test_the_cluster_wide_reads_stand_in_the_threat_model_alone() -> None:
    found = _told("cluster-reads.yaml")
    assert found == CLUSTER_WIDE
    assert not found & granted()


def test_secrets_are_read_by_name_only() -> None:
    rules = [r for d in _documents() for r in d.get("rules", ()) if "secrets" in r["resources"]]
    assert rules
    assert all(r["resourceNames"] and set(r["verbs"]) <= {"get", "patch"} for r in rules)
    assert [r["resourceNames"] for r in rules if "patch" in r["verbs"]] == [["langgraph-api-keys"]]


def test_the_binding_binds_the_role_to_the_service_account() -> None:
    kinds = {d["kind"]: d for d in _documents()}
    account = kinds["ServiceAccount"]["metadata"]
    reference = kinds["RoleBinding"]["roleRef"]
    assert (reference["kind"], reference["name"]) == ("Role", kinds["Role"]["metadata"]["name"])
    assert kinds["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", **account}]


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
    for permission in (*DRY_RUN_POD, *(p for p in OPTIONAL if not RESOURCES[p.kind].namespaced)):
        rig.cluster.deny(permission.verb, permission.kind)
    asked: set[Rule] = set()
    rig.cluster.on_request(lambda request, _when: asked.update(filter(None, [_rule(request)])))
    await rig.born()
    await rig.run(900)
    await rig.close()
    assert {r[0] for r in asked} >= {"get", "list", "patch"}
    assert asked - granted() <= CLUSTER_WIDE  # tried, and refused


def test_being_ready_needs_no_other_right(service: Served) -> None:
    asked: set[Rule] = set()
    service.cluster.on_request(lambda request, _when: asked.update(filter(None, [_rule(request)])))
    assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200
    # The stories of the service go on meanwhile, and try what is used only where somebody grants it.
    assert asked - granted() <= CLUSTER_WIDE | {rule_of(p)[:3] for p in DRY_RUN_POD}
