"""Rights that `rbac.roles` gives: those that the command prints are taken, what the chart promises against is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.policy.load import load_dir, load_policy
from app.policytools.rbac import grants, namespaces_of
from remediations import CATALOGUE
from tests.live.chart.helm import CHART, Helm

pytestmark = pytest.mark.live
POLICIES = CHART.parents[1] / "policies"


def _rule(resource: str, verb: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": [verb], **more}


def _roles(folder: Path, rules: list[dict[str, Any]], namespace: str = "rag7") -> tuple[str, str]:
    file = folder / "roles.yaml"
    file.write_text(yaml.safe_dump({"rbac": {"roles": {namespace: rules}}}), "utf-8")
    return "--values", str(file)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (_rule("secrets", "list"), "rbac.roles.rag7: no remediation needs list on secrets"),
        (_rule("secrets", "get"), "rbac.roles.rag7: get on secrets needs resourceNames"),
        (_rule("secrets", "get", resourceNames=[""]), "rbac.roles.rag7: get on secrets needs resourceNames"),
        (_rule("namespaces", "get"), "get on namespaces needs resourceNames"),
        (_rule("pods/exec", "create"), "no remediation needs create on pods/exec"),
        (_rule("pods/*", "get"), "no remediation needs get on pods/*"),
        (_rule("configmaps", "patch"), "no remediation needs patch on configmaps"),
        (_rule("serviceaccounts/token", "create"), "no remediation needs create on serviceaccounts/token"),
        (
            _rule("rolebindings", "create", "rbac.authorization.k8s.io"),
            "take what remediator rbac --format helm prints",
        ),
    ],
    ids=lambda v: str(v)[:60],
)
def test_a_right_that_no_remediation_needs_is_refused_by_its_name(
    helm: Helm, tmp_path: Path, rule: dict[str, Any], told: str
) -> None:
    assert told in helm.refuses(*_roles(tmp_path, [rule]), values="upgrade")


def test_kube_system_gets_no_role(helm: Helm, tmp_path: Path) -> None:
    given = _roles(tmp_path, [_rule("pods", "get")], "kube-system")
    assert "rbac.roles.kube-system: nothing is done in kube-system" in helm.refuses(*given, values="upgrade")


def test_what_the_command_prints_for_the_shipped_policy_and_every_remediation_is_taken(
    helm: Helm, tmp_path: Path
) -> None:
    rules = "".join(
        f'  - {{name: {name}, when: alertname="{name}", target: {{name: {{label: deployment}}}}, '
        f"remediation: {name}, mode: approve, params: {json.dumps(_required(name))}}}\n"
        for name in CATALOGUE
    )
    every = load_policy({"p.yaml": f"version: 1\nscope: {{namespaces: [rag7]}}\nrules:\n{rules}"}, CATALOGUE)
    for policy in (load_dir(POLICIES, CATALOGUE), every):
        for namespace in namespaces_of(policy, []):
            printed = [grant.rule() for grant in grants(policy, CATALOGUE, namespace)]
            found = helm("template", "x", str(CHART), *_roles(tmp_path, printed, namespace), *_upgrade())
            assert found.returncode == 0, found.stderr


def _upgrade() -> tuple[str, ...]:
    return ("--set", "policy.existingConfigMap=p,secret.name=s")


def _required(name: str) -> dict[str, Any]:
    fields = CATALOGUE[name].params.model_fields
    return {
        n: ("x:1" if n == "image" else 1 if f.annotation is int else "x")
        for n, f in fields.items()
        if f.is_required()
    }
