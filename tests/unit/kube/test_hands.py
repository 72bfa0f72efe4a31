"""Finding D: who changed an object since our write or since an alert fired, told from managedFields alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.change import FieldChange
from app.domain.cluster import FIELD_MANAGER
from app.kube.hands import hand_after_ours, hand_since

T0 = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
TEMPLATE: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {}}}}
OURS = [FieldChange("/spec/replicas", 3, 8)]


def written(manager: str, seconds: int, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    at = (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry: dict[str, Any] = {"manager": manager, "time": at, "fieldsV1": fields}
    return {**entry, "subresource": subresource} if subresource else entry


def deployment(*entries: dict[str, Any], replicas: int = 8) -> dict[str, Any]:
    meta = {"name": "web", "uid": "u1", "managedFields": list(entries)}
    return {"metadata": meta, "spec": {"replicas": replicas, "template": {}}}


@pytest.mark.parametrize(
    ("entry", "who"),
    [
        (written("kubectl-edit", 5, TEMPLATE), "kubectl-edit"),
        (written("argocd-controller", 5, TEMPLATE), "argocd-controller"),
        (written("kubectl", 5, REPLICAS, "scale"), "kubectl"),  # kubectl scale
        (written("kubectl-edit", -5, TEMPLATE), ""),  # before the alert
        (written("kubectl-edit", 5, TEMPLATE, "status"), ""),
        (written("kubectl-annotate", 5, {"f:metadata": {"f:annotations": {}}}), ""),  # nothing of the spec
        (written("kube-controller-manager", 5, REPLICAS, "scale"), ""),  # an autoscaler is no hand
        (written(FIELD_MANAGER, 5, TEMPLATE), ""),
    ],
)
def test_d_a_change_after_the_alert_is_found_with_its_writer(entry: dict[str, Any], who: str) -> None:
    found = hand_since(deployment(entry), T0)
    assert (found.who if found else "") == who


def test_d_the_newest_hand_is_the_one_that_is_told() -> None:
    entries = (written("helm", 3, TEMPLATE), written("kubectl-scale", 9, REPLICAS))
    found = hand_since(deployment(*entries), T0)
    assert found is not None
    assert found.text == "kubectl-scale changed replicas at 03:00:09 UTC"


@pytest.mark.parametrize(
    ("entries", "replicas", "text"),
    [
        ((written(FIELD_MANAGER, 10, REPLICAS),), 8, ""),
        (
            (written(FIELD_MANAGER, 10, {"f:metadata": {}}), written("kubectl-edit", 30, REPLICAS)),
            3,
            (
                "our change was taken back by kubectl-edit at 03:00:30 UTC: /spec/replicas is 3, not 8 (last set by "
                "kubectl-edit at 2026-03-04 03:00:30 UTC)"
            ),
        ),
        (  # within the second of our write
            (written(FIELD_MANAGER, 10, {"f:metadata": {}}), written("keda-operator", 10, REPLICAS)),
            5,
            (
                "our change was taken back by keda-operator at 03:00:10 UTC: /spec/replicas is 5, not 8 (last set by "
                "keda-operator at 2026-03-04 03:00:10 UTC)"
            ),
        ),
        (  # another field: our value stands, and theirs may be what helps
            (written(FIELD_MANAGER, 10, REPLICAS), written("helm", 40, TEMPLATE)),
            8,
            "helm changed template at 03:00:40 UTC",
        ),
        ((written(FIELD_MANAGER, 10, REPLICAS), written("helm", 9, TEMPLATE)), 8, ""),  # before our write
        (  # an autoscaler that goes on from our value is named when the value is gone, and is no hand otherwise
            (
                written(FIELD_MANAGER, 10, {"f:metadata": {}}),
                written("kube-controller-manager", 20, REPLICAS),
            ),
            9,
            (
                "our change was taken back by kube-controller-manager at 03:00:20 UTC: /spec/replicas is 9, not 8 (last "
                "set by kube-controller-manager at 2026-03-04 03:00:20 UTC)"
            ),
        ),
    ],
)
def test_d_a_change_after_our_write_is_told_apart_from_one_that_takes_ours_back(
    entries: tuple[dict[str, Any], ...], replicas: int, text: str
) -> None:
    found = hand_after_ours(deployment(*entries, replicas=replicas), OURS, T0, "u1")
    assert (found.text if found else "") == text
    assert found is None or found.took_back == text.startswith("our change")


def test_d_an_object_that_was_created_anew_has_nothing_of_ours() -> None:
    found = hand_after_ours(deployment(), OURS, T0, "another")
    assert found is not None
    assert found.took_back
    assert "deleted and created again" in found.text


def test_d_hidden_and_whole_values_are_not_compared() -> None:
    """The server completes a template with defaults; a digest says nothing about a value in the cluster."""
    changes = [FieldChange("/spec/template", {}, {"spec": {}}), FieldChange("/spec/x", None, "[hidden]")]
    assert hand_after_ours(deployment(written(FIELD_MANAGER, 1, TEMPLATE)), changes, T0) is None


@pytest.mark.parametrize(
    ("manager", "by_hand"),
    [
        ("kubectl-rollout", True),
        ("k9s", True),
        ("Mozilla", True),
        ("argocd-controller", False),
        ("helm", False),
    ],
)
def test_d_a_persons_tool_is_told_from_a_pipeline(manager: str, by_hand: bool) -> None:
    found = hand_since(deployment(written(manager, 5, TEMPLATE)), T0)
    assert found is not None
    assert found.by_hand is by_hand
