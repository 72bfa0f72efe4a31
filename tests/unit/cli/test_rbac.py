"""The command `rbac`: forms, namespaces, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.cli.shell import Shell
from tests.unit.served import POLICIES


def test_the_forms_are_manifests_values_and_json(shell: Shell) -> None:
    given = ("rbac", "--policy", str(POLICIES), "--service-account", "ops/fixer")
    found = list(yaml.safe_load_all(shell.good(*given).out))
    assert [d["kind"] for d in found] == ["ServiceAccount", "Role", "RoleBinding"]
    assert found[2]["subjects"] == [{"kind": "ServiceAccount", "name": "fixer", "namespace": "ops"}]
    assert shell.good(*given, "--json").json == found
    values = yaml.safe_load(shell.good(*given, "--format", "helm").out)
    assert len(values["rbac"]["roles"]["rag7"]) == len(found[1]["rules"])


def test_who_only_observes_is_given_no_write(shell: Shell) -> None:
    rules = shell.good("rbac", "--policy", str(POLICIES), "--mode", "observe", "--json").json[1]["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--namespace", "payments"), "out_of_scope"), (("--service-account", "fixer"), "bad_account")],
)
def test_what_cannot_be_granted_is_a_usage_error(shell: Shell, arguments: tuple[str, ...], code: str) -> None:
    ended = shell("rbac", "--policy", str(POLICIES), *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"[{code}]" in ended.err


def test_a_faulty_policy_is_told_with_its_place(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nscope: {namespaces: [rag7]}\nstrom: {}\n")
    ended = shell("rbac", "--policy", str(tmp_path))
    assert ended.code == 1
    assert ended.out.startswith("a.yaml:3:1:")


@pytest.mark.parametrize("name", ["no", "y", "on", "1e3"])
def test_a_namespace_that_some_reader_takes_for_a_truth_or_a_number_is_quoted(
    shell: Shell, tmp_path: Path, name: str
) -> None:
    """Kubectl and helm read YAML 1.1, in which y and n are truth values as well."""
    (tmp_path / "a.yaml").write_text(f"version: 1\nscope: {{namespaces: ['{name}']}}\n")
    given = ("rbac", "--policy", str(tmp_path), "--service-account", f"{name}/fixer")
    assert f'metadata: {{name: fixer, namespace: "{name}"}}' in shell.good(*given).out
    assert f'    "{name}":\n' in shell.good(*given, "--format", "helm").out
