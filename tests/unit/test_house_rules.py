"""The habits of the house, as tests: sizes, module docstrings, broad excepts, and the promises' tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for d in ("app", "remediations") for p in (ROOT / d).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 50, 6

# Broad excepts live at the step boundary and the HTTP boundary; each place is named here with its reason.
BROAD = {
    "app/engine/memory.py": "a workflow's death is kept for the test that asks",
    "app/flow/deciding/investigate.py": "step boundary: a handler's defect becomes an unknown fact",
    "app/flow/running/advance.py": "step boundary: an error costs a retry, at last a person",
    "app/flow/upkeep/loops.py": "step boundary: one bad turn does not end a loop",
    "app/web/problems.py": "HTTP boundary",
}
PROMISES = {
    1: "stored_before_answered",
    2: "once",
    3: "never_over_budget",
    4: "closed_when_unknown",
    5: "looked_again_before_touched",
    6: "verified",
    7: "undone_or_escalated",
    8: "explained",
    9: "audited",
}


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """400 lines a file, 50 a function, 6 parameters (self and cls aside)."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if "migrations" in path.parts:  # a migration is a list
        return
    for function in _functions(ast.parse(text)):
        assert (function.end_lineno or 0) - function.lineno < MAX_FUNCTION_LINES, function.name
        if path in SOURCES and "cli" not in path.parts:  # a command's options are its parameters
            a = function.args
            names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs) if x.arg not in ("self", "cls")]
            assert len(names) <= MAX_PARAMETERS, function.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    """A module without a docstring has no owner."""
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "add a module docstring"


def test_broad_excepts_stand_only_at_the_named_boundaries() -> None:
    """`except Exception` hides defects; the list above is complete."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            )
            if broad:
                body = node.body if isinstance(node, ast.ExceptHandler) else []
                if not (body and isinstance(body[-1], ast.Raise) and body[-1].exc is None):
                    found.add(str(path.relative_to(ROOT)))
    assert found <= set(BROAD), found - set(BROAD)


@pytest.mark.parametrize("number", PROMISES, ids=lambda n: PROMISES[n])
def test_each_promise_has_tests_named_after_it(number: int) -> None:
    """tests/**/test_promise_N_name.py exists and has tests."""
    name = f"test_promise_{number}_{PROMISES[number]}.py"
    files = [p for p in TESTS if p.name == name]
    assert files, f"no {name}"
    assert any(f.name.startswith("test_") for p in files for f in _functions(ast.parse(p.read_text())))


def test_no_project_file_names_this_machine() -> None:
    """Paths of a developer's machine have no place in the project."""
    for path in SOURCES + TESTS:
        if path != Path(__file__):
            assert "/work/" not in path.read_text(encoding="utf-8"), path
