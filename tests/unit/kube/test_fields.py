"""Paths into manifests, and the JSON patches made of field changes."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.change import tokens
from app.domain.errors import BadInput, ObjectChanged
from app.domain.plan import FieldChange
from app.kube.manifest import annotation_path, operations, pointer, same, value_at
from tests.unit.kube.manifests import container, deployment, template

_MEMORY = "/spec/template/spec/containers/[name=side]/resources/limits/memory"
_RESTART = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"


def _two() -> dict[str, Any]:
    return deployment(template(container("app"), container("side")))


def test_a_named_element_becomes_its_index() -> None:
    assert pointer(_two(), _MEMORY) == "/spec/template/spec/containers/1/resources/limits/memory"
    assert value_at(_two(), _MEMORY) == "512Mi"


def test_an_element_that_left_is_told_by_name() -> None:
    with pytest.raises(ObjectChanged, match="no element named side any more"):
        pointer(deployment(), _MEMORY)
    assert value_at(deployment(), _MEMORY) is None


def test_escaped_names_stay_escaped_in_the_pointer() -> None:
    assert pointer(deployment(), _RESTART) == _RESTART
    assert tokens(_RESTART)[-1] == "kubectl.kubernetes.io/restartedAt"
    assert tokens(annotation_path("a~b/c")) == ("metadata", "annotations", "a~b/c")


def test_list_elements_can_be_named_by_number_too() -> None:
    assert value_at(_two(), "/spec/template/spec/containers/1/name") == "side"
    assert value_at(_two(), "/spec/template/spec/containers/7/name") is None
    assert value_at(_two(), "/spec/replicas/deeper") is None


def test_a_path_starts_with_a_slash() -> None:
    with pytest.raises(BadInput, match="starts with /"):
        tokens("spec")


@pytest.mark.parametrize(
    ("path", "one", "other", "equal"),
    [
        ("/spec/replicas", 3, 3, True),
        ("/spec/replicas", 3, 4, False),
        ("/spec/replicas", 0, None, False),
        ("/spec/paused", False, None, False),
        (_MEMORY, "1024Mi", "1Gi", True),
        (_MEMORY, "1G", "1Gi", False),
        ("/metadata/annotations/limits", "1024Mi", "1Gi", True),
        ("/metadata/annotations/size", "1024Mi", "1Gi", False),
        ("/spec/template", {"a": None, "b": {}}, {}, True),
        ("/spec/template", {"a": []}, {"a": [1]}, False),
        (
            "/spec/template",
            {"resources": {"limits": {"memory": "1024Mi"}}},
            {"resources": {"limits": {"memory": "1Gi"}}},
            True,
        ),
        ("/spec/template", {"annotations": {"limits": "none"}}, {"annotations": {"limits": "none"}}, True),
        (
            "/spec/template",
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "2"}]},
            False,
        ),
    ],
)
def test_values_are_compared_as_the_api_server_means_them(
    path: str, one: Any, other: Any, equal: bool
) -> None:
    assert same(path, one, other) is equal
    assert same(path, other, one) is equal


def _ops(manifest: dict[str, Any], *changes: FieldChange) -> list[tuple[str, str, Any]]:
    made = operations(manifest, changes, "run_1/0.0")
    assert made[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "100"}
    return [(op["op"], op["path"], op.get("value")) for op in made[1:]]


def test_a_patch_is_bound_to_the_version_and_carries_the_marker() -> None:
    assert _ops(deployment(), FieldChange("/spec/replicas", 3, 5)) == [
        ("replace", "/spec/replicas", 5),
        ("add", "/metadata/annotations", {}),
        ("add", "/metadata/annotations/alert-remediator.io~1action", "run_1/0.0"),
    ]


def test_existing_annotations_are_kept() -> None:
    manifest = deployment()
    manifest["metadata"]["annotations"] = {"alert-remediator.io/action": "run_0/0.0", "team": "rag"}
    assert _ops(manifest) == [("replace", "/metadata/annotations/alert-remediator.io~1action", "run_1/0.0")]


def test_missing_parents_are_made_once() -> None:
    bare = deployment(template(container("side", resources={})))
    base = "/spec/template/spec/containers/0/resources"
    requests = _MEMORY.replace("limits", "requests")
    changes = (FieldChange(_MEMORY, None, "1Gi"), FieldChange(_MEMORY.replace("memory", "cpu"), None, "1"))
    made = _ops(bare, *changes, FieldChange(requests, None, "1Gi"))
    assert made[:5] == [
        ("add", f"{base}/limits", {}),
        ("add", f"{base}/limits/memory", "1Gi"),
        ("add", f"{base}/limits/cpu", "1"),
        ("add", f"{base}/requests", {}),
        ("add", f"{base}/requests/memory", "1Gi"),
    ]


def test_none_removes_what_is_there_and_leaves_alone_what_is_not() -> None:
    restarted = deployment(
        template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"})
    )
    assert ("remove", _RESTART, None) in _ops(restarted, FieldChange(_RESTART, "2026-01-01T00:00:00Z", None))
    assert not [op for op in _ops(deployment(), FieldChange(_RESTART, "x", None)) if "restartedAt" in op[1]]


def test_a_list_element_is_never_invented() -> None:
    with pytest.raises(ObjectChanged):
        _ops(deployment(), FieldChange(_MEMORY, None, "1Gi"))
