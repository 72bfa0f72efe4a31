"""Rights that `rbac.roles` gives: those that the command prints are taken, what the chart promises against is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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


# --- what the notes say of them ---


def _told(helm: Helm, *arguments: str) -> dict[str, set[str]]:
    """By namespace, the lines of the notes that tell what may be done there."""
    ended = helm("install", "x", str(CHART), "--dry-run=client", "--namespace", "ops", *arguments)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.partition("What it may do:\n")[2].partition("- nothing cluster-wide")[0]
    parts = re.split(r"^- in (\S+):$", said, flags=re.MULTILINE)[1:]
    return {
        n: {line.strip() for line in text.splitlines()}
        for n, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _granted(helm: Helm, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    ended = helm("template", "x", str(CHART), "--namespace", "ops", *arguments)
    roles = [o for o in yaml.safe_load_all(ended.stdout) if o and o["kind"] == "Role"]
    return {o["metadata"]["namespace"]: o["rules"] for o in roles}


def _install_of_the_readme(folder: Path) -> tuple[str, ...]:
    del folder
    files = [
        f"policy.files.{f.stem}\\.yaml={f}" for f in (POLICIES / "rag7.yaml", POLICIES / "00-default.yaml")
    ]
    return (*(word for f in files for word in ("--set-file", f)), "--set", "secret.name=s")


def _every_policy(folder: Path) -> tuple[str, ...]:
    del folder
    files = [f for f in sorted(POLICIES.glob("*.yaml")) if not f.name.endswith(".test.yaml")]
    words = (f"policy.files.{f.stem}\\.yaml={f}" for f in files)
    return (*(word for f in words for word in ("--set-file", f)), "--set", "secret.name=s")


def _by_values(folder: Path) -> tuple[str, ...]:
    rules = [
        _rule("secrets", "delete", resourceNames=["tls"]),
        _rule("secrets", "get", resourceNames=["a", "tls"]),
    ]
    return (*_roles(folder, rules), "--set", "secret.name=s,policy.existingConfigMap=p")


def _everything(folder: Path) -> tuple[str, ...]:
    del folder
    return "--values", str(CHART / "ci" / "everything-values.yaml")


def _only_looking(folder: Path) -> tuple[str, ...]:
    return (*_install_of_the_readme(folder), "--set", "settings.MODE=observe")


@pytest.mark.parametrize(
    "way",
    [_install_of_the_readme, _only_looking, _every_policy, _by_values, _everything],
    ids=lambda w: w.__name__[1:],
)
def test_the_notes_tell_each_right_that_the_role_gives_and_no_other(
    helm: Helm, tmp_path: Path, way: Callable[[Path], tuple[str, ...]]
) -> None:
    granted = _granted(helm, *way(tmp_path))
    told = _told(helm, *way(tmp_path))
    assert told.keys() == granted.keys()
    for namespace, rules in granted.items():
        secrets: dict[str, set[str]] = {}
        others: dict[str, set[str]] = {}
        for rule in rules:
            for verb in rule["verbs"]:
                if rule["resources"] == ["secrets"]:
                    for name in rule["resourceNames"]:
                        secrets.setdefault(name, set()).add(verb)
                else:
                    word = "read" if verb in ("get", "list") else verb
                    others.setdefault(word, set()).update(rule["resources"])
        lines = {f"{', '.join(sorted(verbs))} the Secret {name}" for name, verbs in secrets.items()}
        assert {line for line in told[namespace] if " the Secret " in line} == lines
        assert lines or "no Secret by this role, and none is listed" in told[namespace]
        changes = {f"{verb} {', '.join(sorted(what))}" for verb, what in others.items() if verb != "read"}
        assert changes <= told[namespace]
        assert changes or "change nothing" in told[namespace]
        assert f"read {', '.join(sorted(others.get('read', set())))}".strip() in told[namespace]


def test_no_text_beside_the_generated_rules_says_which_secrets_are_read() -> None:
    root = CHART.parents[1]
    files = [
        root / "README.md",
        *root.glob("policies/*"),
        *root.glob("docs/*.md"),
        *CHART.rglob("*.yaml"),
        *CHART.rglob("*.md"),
    ]
    claims = re.compile(r"no other Secret|only those are read|reads? no Secret|may read no", re.IGNORECASE)
    found = [f"{f.name}: {m[0]}" for f in files if (m := claims.search(f.read_text("utf-8")))]
    assert found == ["configuration-backup.md: may read no"], (
        "that one is the account of a Job, whose role stands below it"
    )
