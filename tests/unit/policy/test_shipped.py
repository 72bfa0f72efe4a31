"""The policy that is shipped: it loads, covers the runbook's incidents with the runbook's values, and its schema is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.target import Kind
from app.policy.load import load_policy, read_dir
from app.policy.match import Hint, match_rule, target_hint
from app.policy.model import Policy
from app.policy.source import read_source
from app.policytools.schema import json_schema
from remediations import CATALOGUE

FOLDER = Path(__file__).parents[3] / "policies"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(read_dir(FOLDER), CATALOGUE)


@pytest.mark.parametrize(
    ("alertname", "remediation", "params"),
    [
        (
            "HighErrorRate",
            "high-error-rate",
            {"scale_to": 5, "recent_deployment": "1h", "dependencies": ["postgres", "redis"]},
        ),
        ("HighLatency", "high-latency", {"scale_to": 8, "dependencies": ["postgres"]}),
        ("PodRestarting", "pod-restarting", {"recent_deployment": "1h"}),
        ("KubePodCrashLooping", "pod-restarting", {"recent_deployment": "1h"}),
        ("OOMKilled", "out-of-memory", {"scale_to": 6, "factor": 1.5, "max_memory": "4Gi"}),
    ],
)
def test_each_incident_of_the_runbook_has_its_remediation_and_values(
    policy: Policy, alertname: str, remediation: str, params: dict[str, Any]
) -> None:
    matched = match_rule(policy, {"alertname": alertname, "severity": "critical"})
    assert matched is not None
    assert (matched.rule.remediation, dict(matched.rule.params), matched.rule.mode) == (
        remediation,
        params,
        Mode.AUTO,
    )
    hint = target_hint(matched.rule, {"alertname": alertname})
    assert isinstance(hint, Hint)
    assert (hint.namespace, hint.kind, hint.name) == ("rag7", Kind.DEPLOYMENT, "langgraph")


def test_sessions_of_the_database_are_ended_after_a_yes_and_its_pods_never(policy: Policy) -> None:
    matched = match_rule(policy, {"alertname": "DatabaseConnectionIssues"})
    assert matched is not None
    assert (matched.rule.remediation, matched.rule.mode) == ("database-connections", Mode.APPROVE)
    hint = target_hint(matched.rule, {"alertname": "DatabaseConnectionIssues"})
    assert isinstance(hint, Hint)
    assert (hint.kind, hint.name) == (Kind.STATEFUL_SET, "postgres")
    assert Kind.STATEFUL_SET in policy.scope.protected_kinds


def test_every_remediation_of_the_catalogue_has_a_rule(policy: Policy) -> None:
    """A procedure needs none: its orders stand under the defaults."""
    named = {rule.remediation for rule in policy.rules}
    assert {name for name, r in CATALOGUE.items() if r.procedure is None} <= named <= set(CATALOGUE)


def test_acting_by_itself_is_bounded_for_every_rule(policy: Policy) -> None:
    assert policy.scope.namespaces == ("rag7",)
    assert {budget.per.value for budget in policy.budgets} == {"cluster", "namespace", "target"}
    for rule in policy.rules:
        assert rule.cooldown
        assert rule.limits.per_target
        assert rule.approval.expires
        assert rule.otherwise[-1].value == "escalate"


def test_the_committed_schema_is_the_model_s() -> None:
    assert json.loads((FOLDER / "schema.json").read_text("utf-8")) == json_schema()


def test_the_schema_names_every_key_of_the_shipped_files() -> None:
    schema = json_schema()
    for name, text in read_dir(FOLDER).items():
        _check(read_source(name, text).value, schema, schema["$defs"])


def _check(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    """The part of JSON Schema that our schema uses for structure: references, keys, items, enumerations."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema and isinstance(value, dict | list):
        schema = next(
            s
            for s in [inner for one in schema["anyOf"] for inner in one.get("anyOf", [one])]
            if "$ref" in s or s.get("type") == ("array" if isinstance(value, list) else "object")
        )
        _check(value, schema, definitions)
    elif isinstance(value, dict) and "properties" in schema:
        assert schema["additionalProperties"] is False
        assert value.keys() <= schema["properties"].keys()
        assert set(schema.get("required", [])) <= value.keys()
        for key, inner in value.items():
            _check(inner, schema["properties"][key], definitions)
    elif isinstance(value, list):
        assert schema["type"] == "array"
        for inner in value:
            _check(inner, schema["items"], definitions)
    elif "enum" in schema:
        assert value in schema["enum"]


def test_a_folder_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    """The library's own text begins with a number, and repeats the path."""
    with pytest.raises(BadInput) as missing:
        read_dir(tmp_path / "nowhere")
    assert missing.value.message == "cannot read the policy folder: No such file or directory"
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(BadInput) as latin:
        read_dir(tmp_path)
    assert latin.value.message == "cannot read the policy folder: it is not UTF-8"
