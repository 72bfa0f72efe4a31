"""JSON Patch: each operation, each refusal, and that the input is never touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from app.domain.errors import ObjectChanged, ObjectInvalid
from app.sim.patch import apply_patch, clone

DOCUMENT: dict[str, Any] = {"a": {"b": [1, 2, 3], "c/d": "slash", "e~f": None}, "t": True}


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ({"op": "add", "path": "/a/x", "value": 1}, ("a", "x"), 1),
        ({"op": "add", "path": "/a/b/0", "value": 0}, ("a", "b"), [0, 1, 2, 3]),
        ({"op": "add", "path": "/a/b/3", "value": 4}, ("a", "b"), [1, 2, 3, 4]),
        ({"op": "add", "path": "/a/b/-", "value": 4}, ("a", "b"), [1, 2, 3, 4]),
        ({"op": "add", "path": "/t", "value": False}, ("t",), False),
        ({"op": "replace", "path": "/a/b/1", "value": 9}, ("a", "b"), [1, 9, 3]),
        ({"op": "replace", "path": "/a/c~1d", "value": "x"}, ("a", "c/d"), "x"),
        ({"op": "replace", "path": "/a/e~0f", "value": {"n": 1}}, ("a", "e~f"), {"n": 1}),
        ({"op": "replace", "path": "", "value": {"n": 1}}, ("n",), 1),
        ({"op": "remove", "path": "/a/b/0"}, ("a", "b"), [2, 3]),
        ({"op": "move", "from": "/a/b/0", "path": "/first"}, ("first",), 1),
        ({"op": "move", "from": "/a/b/0", "path": "/a/b/-"}, ("a", "b"), [2, 3, 1]),
        ({"op": "move", "from": "/a/b", "path": "/a/b"}, ("a", "b"), [1, 2, 3]),
        ({"op": "copy", "from": "/a/b", "path": "/b"}, ("b",), [1, 2, 3]),
        ({"op": "test", "path": "/a/b", "value": [1, 2, 3]}, ("t",), True),
        ({"op": "test", "path": "/none", "value": None}, ("t",), True),
    ],
    ids=lambda v: f"{v['op']} {v['path']}" if isinstance(v, dict) and "op" in v else None,
)
def test_an_operation_gives_what_the_rfc_says(
    operation: dict[str, Any], path: tuple[str, ...], expected: Any
) -> None:
    before = copy.deepcopy(DOCUMENT)
    found: Any = apply_patch(DOCUMENT, [operation])
    for part in path:
        found = found[part]
    assert found == expected
    assert before == DOCUMENT


def test_a_removed_member_is_gone() -> None:
    assert "b" not in apply_patch(DOCUMENT, [{"op": "remove", "path": "/a/b"}])["a"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a/b/0", "value": 2},
        {"op": "test", "path": "/t", "value": 1},
        {"op": "test", "path": "/a/b", "value": [1, 2]},
        {"op": "test", "path": "/a", "value": {"b": [1, 2, 3]}},
        {"op": "test", "path": "/none", "value": 1},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "remove", "path": "/a/none"},
        {"op": "remove", "path": "/a/b/3"},
        {"op": "add", "path": "/a/b/4", "value": 1},
        {"op": "add", "path": "/a/b/01", "value": 1},
        {"op": "add", "path": "/a/b/x", "value": 1},
        {"op": "add", "path": "/none/x", "value": 1},
        {"op": "add", "path": "/t/x", "value": 1},
        {"op": "replace", "path": "/t/x/y", "value": 1},
        {"op": "copy", "from": "/none", "path": "/x"},
        {"op": "move", "from": "/none", "path": "/x"},
        {"op": "move", "from": "/a", "path": "/a/b"},
    ],
    ids=lambda o: f"{o['op']} {o['path']}",
)
def test_a_patch_that_does_not_fit_finds_the_document_changed(operation: dict[str, Any]) -> None:
    with pytest.raises(ObjectChanged) as caught:
        apply_patch(DOCUMENT, [{"op": "add", "path": "/ok", "value": 1}, operation])
    assert caught.value.where == "patch[1]"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "merge", "path": "/a", "value": 1},
        {"path": "/a", "value": 1},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "test", "path": "/a"},
        {"op": "copy", "path": "/a"},
        {"op": "move", "from": 3, "path": "/a"},
        {"op": "add", "path": "a/b", "value": 1},
        {"op": "replace", "path": "/a/b/-", "value": 1},
        {"op": "remove", "path": ""},
    ],
    ids=str,
)
def test_a_malformed_operation_is_invalid(operation: dict[str, Any]) -> None:
    with pytest.raises(ObjectInvalid):
        apply_patch(DOCUMENT, [operation])


def test_a_patch_applies_whole_or_not_at_all() -> None:
    document = {"n": 1}
    with pytest.raises(ObjectChanged):
        apply_patch(
            document, [{"op": "replace", "path": "/n", "value": 2}, {"op": "test", "path": "/n", "value": 1}]
        )
    assert document == {"n": 1}


def test_a_value_put_in_is_not_shared_with_the_patch() -> None:
    value = {"list": [1]}
    result = apply_patch(
        {}, [{"op": "add", "path": "/v", "value": value}, {"op": "copy", "from": "/v", "path": "/w"}]
    )
    value["list"].append(2)
    result["w"]["list"].append(3)
    assert result == {"v": {"list": [1]}, "w": {"list": [1, 3]}}


def test_a_clone_shares_nothing() -> None:
    copied = clone(DOCUMENT)
    assert copied == DOCUMENT
    copied["a"]["b"].append(4)
    assert DOCUMENT["a"]["b"] == [1, 2, 3]
