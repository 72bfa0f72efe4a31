"""Explaining an alert that nobody raised: rule, target, all gates, and what was assumed. Golden text."""

from __future__ import annotations

import json

import pytest
from inline_snapshot import snapshot

from app.domain.errors import BadInput
from app.policy.decide import GATES
from app.policy.matchers import labels_of
from app.policytools.assumed import World
from app.policytools.hypothetical import explain_alert
from tests.unit.policy.cases import CATALOGUE, NOW, policy_of

WORLD = World(
    policy_of(
        more_rules='\n- {name: b, when: alertname=~"High.*", remediation: restart, target: {name: {default: x}}}\n'
    ),
    CATALOGUE,
)


def test_the_whole_explanation() -> None:
    lines, _ = explain_alert(WORLD, {"alertname": "HighErrorRate", "pod": "worker-5d9c7b8f6d-x2x4z"}, NOW)
    assert "\n".join([lines[0], *lines[lines.index("") + 16 :]]) == snapshot("""\
Allowed by rule "errors": 17 of 17 gates
ok    storm            1 target with new alerts within 5m                            allowed: fewer than 10 targets with new alerts within 5m
ok    trust            not in use                                                    allowed: mode auto needs no trust level
ok    approval         acts by itself                                                allowed: mode auto

Target: rag7/Deployment/worker (name by label "pod", namespace by the rule's default)
Later rules that match too: b

Assumed:
- it is 2026-03-04 03:00:00 UTC; the alert fires and was heard 20s ago
- nothing was done before, no other run is live, nobody paused anything, no other alert fires
- the target exists: 3 of 3 pods ready, 0 taken down at once; nobody else writes the object; a new pod could start
- the diagnosis takes the step roll-back\
""")
    assert sum(line.startswith("ok") for line in lines) == len(GATES)


@pytest.mark.parametrize(
    ("labels", "first", "target"),
    [
        ({"alertname": "Other"}, "Only observing: no rule matches alert Other", "Target: none"),
        (
            {"alertname": "HighErrorRate", "namespace": "NO"},
            "Not acting: 'NO' cannot be the namespace",
            "Target: none (",
        ),
        (
            {"alertname": "HighErrorRate", "namespace": "prod"},
            "Not acting: scope",
            "Target: prod/Deployment/langgraph (",
        ),
    ],
)
def test_what_is_refused_is_explained_as_well(labels: dict[str, str], first: str, target: str) -> None:
    lines, data = explain_alert(WORLD, labels, NOW)
    assert lines[0].startswith(first)
    assert any(line.startswith(target) for line in lines)
    assert json.loads(json.dumps(data))["assumed"]


def test_labels_are_written_as_pairs() -> None:
    assert labels_of('alertname=A,namespace="a, b"', "--alert") == {"alertname": "A", "namespace": "a, b"}


@pytest.mark.parametrize("text", ["", "alertname", 'a=~"b"', "a!=b", "a=b,a=c"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        labels_of(text, "--alert")
