"""The habits of the house, as tests: sizes, module docstrings, broad excepts, and the promises' tests.

Each test walks all files once and names all offenders at once.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.domain.outcome import RunState
from tests.long import LONG, outside

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for d in ("app", "remediations") for p in (ROOT / d).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_MODULES = 400, 50, 6, 8

# Broad excepts live at the step boundary and the HTTP boundary; each place is named here with its reason.
BROAD = {
    "app/engine/memory.py": "a workflow's death is kept for the test that asks",
    "app/flow/deciding/investigate.py": "step boundary: a handler's defect becomes an unknown fact",
    "app/flow/deciding/decide.py": "step boundary: a defect on the way becomes a decision that is told and tried again",
    "app/flow/running/advance.py": "step boundary: an error costs a retry, at last a person",
    "app/flow/each.py": "step boundary: what fails is raised at the end, and skips nothing of the round",
    "app/flow/upkeep/loops.py": "step boundary: one bad decision is made again later, and told",
    "app/flow/upkeep/policies.py": "whatever a file makes the parser do, it is refused",
    "app/flow/upkeep/supervisor.py": "task boundary: one bad round does not end a task",
    "app/web/problems.py": "HTTP boundary",
}
_MODULE = re.compile(r"`((?:app|remediations|tests)(?:[./]\w+)+(?:\.py)?)`")
_BROADEST = ("Exception", "BaseException")
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
    10: "one_rule_for_every_write",
    11: "a_new_pod_could_start",
}


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _functions_of(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return ((f"{_named(path)}:{f.lineno} {f.name}", f) for f in _functions(_tree(path)))


def test_files_stay_small() -> None:
    """At most 400 lines."""
    lengths = {_named(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES + TESTS}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_rooms_of_the_flow_stay_small() -> None:
    """At most eight modules each, beside the line that says what the room is for."""
    rooms = [path for path in (ROOT / "app" / "flow").iterdir() if (path / "__init__.py").is_file()]
    sizes = {_named(room): len(list(room.glob("*.py"))) - 1 for room in rooms}
    assert len(rooms) > 1
    assert {room: n for room, n in sizes.items() if n > MAX_MODULES} == {}


def test_functions_stay_small() -> None:
    """At most 50 lines; a migration is a list and may be longer."""
    found = [one for p in SOURCES + TESTS if "migrations" not in p.parts for one in _functions_of(p)]
    lengths = {where: (f.end_lineno or 0) - f.lineno + 1 for where, f in found}
    assert {where: n for where, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_functions_take_few_parameters() -> None:
    """At most 6, self and cls aside; a command's options are its parameters."""
    found = [one for p in SOURCES if not {"cli", "migrations"} & set(p.parts) for one in _functions_of(p)]
    assert {where: names for where, f in found if len(names := _parameters(f)) > MAX_PARAMETERS} == {}


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    a = function.args
    return [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs) if x.arg not in ("self", "cls")]


def test_every_module_says_what_it_owns() -> None:
    """A module without a docstring has no owner."""
    assert [_named(p) for p in SOURCES if _tree(p).body and not ast.get_docstring(_tree(p))] == []


def test_broad_excepts_stand_only_at_the_named_boundaries() -> None:
    """`except Exception` hides defects; the list above is complete, and each place on it still needs it."""
    nodes = ((_named(path), node) for path in SOURCES for node in ast.walk(_tree(path)))
    assert {where for where, node in nodes if isinstance(node, ast.ExceptHandler) and _hides(node)} == set(
        BROAD
    )


def _hides(handler: ast.ExceptHandler) -> bool:
    """It catches everything, alone or in a tuple, and does not raise it again."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(t is None or (isinstance(t, ast.Name) and t.id in _BROADEST) for t in caught)
    last = handler.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_each_promise_has_tests_named_after_it() -> None:
    """tests/**/test_promise_N_name.py exists and has tests."""
    tested = {p.name for p in TESTS if any(f.name.startswith("test_") for f in _functions(_tree(p)))}
    assert {f"test_promise_{n}_{name}.py" for n, name in PROMISES.items()} - tested == set()


RUN_ENDS = "app/flow/running/ending.py"
MOVES_RUNS = {"app/flow/notifying/record.py", "app/flow/running/advance.py"}
"""Where a run gets whatever state it is told: one that has ended is written by `end_run`, for `ending` alone."""
STARTS_NOTHING = "app/flow/deciding/settle.py"
"""An order that starts nothing leaves a row that tells so: there was no run, so nothing follows from its end."""


def test_a_run_ends_in_one_place() -> None:
    """What follows from an end stands in one table, and whoever wrote an end past it would leave some of it out."""
    ended, moved, asked = set(), set(), set()
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.endswith("end_run"):
                ended.add(_named(path))
            elif called == "ending.end":
                asked.add(_named(path))
            elif called == "runs.move":
                state = ast.unparse(node.args[2])
                literal = state.removeprefix("RunState.") if state.startswith("RunState.") else ""
                if literal and RunState[literal].ended:
                    ended.add(_named(path))
                elif not literal:
                    moved.add(_named(path))
    assert ended == {RUN_ENDS, STARTS_NOTHING}
    assert moved == MOVES_RUNS
    assert asked == {"app/flow/running/advance.py"}


ENGINE = "app/engine/durable.py"
_TABLES_OF_THE_ENGINE = re.compile(r"workflow_(status|input|output|events|schedules)|operation_outputs")


def test_the_workflow_library_is_used_by_its_public_names_alone() -> None:
    """No private function and no SQL on its tables: both change with any of its versions, and the truth of a run is in its own row."""
    wrong = []
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(m.partition(".")[0] == "dbos" for m in modules) and (_named(path), modules) != (
                ENGINE,
                ["dbos"],
            ):
                wrong.append(f"{_named(path)}:{node.lineno}")  # type: ignore[attr-defined]
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("DBOS._", "dbos_error._")):
                wrong.append(f"{_named(path)}:{node.lineno}")
            if isinstance(node, ast.Constant) and _TABLES_OF_THE_ENGINE.search(str(node.value)):
                wrong.append(f"{_named(path)}:{node.lineno}")
    assert wrong == []
    assert "DBOS.workflow" in (ROOT / ENGINE).read_text(encoding="utf-8")


CALLED_ELSEWHERE = {
    "app/cli/__init__.py list_commands": "the library of the commands calls it",
}


def test_every_function_of_the_service_is_named_where_it_is_needed() -> None:
    """What only its own test calls is no part of the service. The simulated cluster is driven by tests, and decorators register."""
    templates = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "app").rglob("*.html"))
    texts = [
        *(p.read_text(encoding="utf-8") for p in SOURCES),
        templates,
        (ROOT / "pyproject.toml").read_text("utf-8"),
    ]
    used = Counter(word for text in texts for word in re.findall(r"\w+", text))
    functions = [
        (_named(path), f)
        for path in SOURCES
        if not {"sim", "migrations"} & set(path.relative_to(ROOT).parts)
        for f in _functions(_tree(path))
        if not f.decorator_list and not f.name.startswith("__")
    ]
    assert {f"{where} {f.name}" for where, f in functions if used[f.name] < 2} == set(CALLED_ELSEWHERE)


def test_no_kind_of_action_is_named_in_the_flow() -> None:
    """It asks what holds for a kind (`app/domain/plan.py`) or its actuator, so that a new kind is added without it."""
    named = re.compile(r"\bActionKind\.[A-Z]")
    assert [str(p) for p in (ROOT / "app" / "flow").rglob("*.py") if named.search(p.read_text("utf-8"))] == []


def test_no_project_file_names_this_machine() -> None:
    """Paths of a developer's machine have no place in the project."""
    others = [p for p in SOURCES + TESTS if p != Path(__file__)]
    assert [_named(p) for p in others if "/work/" in p.read_text(encoding="utf-8")] == []


def test_no_link_is_committed() -> None:
    """One that a developer has set to a folder of their own leads to nothing in any other checkout, or to itself."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT TESTED: this is no checkout of git")
    told = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert [line for line in told.stdout.splitlines() if line.startswith("120000")] == []


def test_docstrings_and_documents_name_modules_that_exist() -> None:
    """A sentence about a module that has moved or gone is false."""
    texts = [(_named(p), doc) for p in SOURCES + TESTS for doc in _docstrings(_tree(p))]
    texts += [
        (_named(p), p.read_text(encoding="utf-8")) for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
    ]
    named = {(where, name) for where, text in texts for name in _MODULE.findall(text)}
    assert {one for one in named if "my_" not in one[1] and not _exists(one[1])} == set()


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _exists(name: str) -> bool:
    """A file, a folder, a module, or a name that stands in a module."""
    path = ROOT / (name if "/" in name else name.replace(".", "/"))
    if path.exists() or path.with_suffix(".py").exists():
        return True
    inside = [p for p in (path.parent.with_suffix(".py"), path.parent / "__init__.py") if p.exists()]
    return any(re.search(rf"\b{path.name}\b", p.read_text(encoding="utf-8")) for p in inside)


RETIRED = frozenset(
    [
        "climb",
        "climbs",
        "rung",
        "rungs",
        "lane",
        "lanes",
        "voter",
        "voters",
        "reread",
        "gist",
        "hiccup",
        "hiccups",
        "door",
        "doors",
        "nap",
        "naps",
        "ring",
        "press",
        "presses",
    ]
)
"""Words of ours for which the field has one: step, commit queue, approver, click, ids, dedup key, transient error, client,
sleep, wake."""
_BOUND = re.compile(r"_?MOST(_|$)")


def test_names_use_the_words_of_the_field() -> None:
    """Modules, functions, classes, parameters and variables of the service; one word a thing."""
    used = []
    for path in SOURCES:
        names = {path.stem}
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
        parts = ((name, part.lower()) for name in names for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))
        used += [f"{_named(path)}: {name}" for name, part in parts if part in RETIRED]
        used += [f"{_named(path)}: {name} is a bound: MAX_" for name in names if _BOUND.match(name)]
    assert used == []


def test_what_is_left_to_make_long_is_there_and_run_by_ci() -> None:
    """Else a test that got another name would be in `make test` again, unseen."""
    gone = []
    for entry in LONG:
        file, _, name = entry.partition("::")
        names = {f.name for f in _functions(_tree(ROOT / file))} if (ROOT / file).is_file() else set()
        if not names or (name and name.partition("[")[0] not in names):
            gone.append(entry)
    assert gone == []
    assert 'make long PART="$((state % 12 + 1))/12"\n' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_parts_of_the_long_tests_are_all_of_them_once() -> None:
    tests = [f"tests/a.py::test[{number}]" for number in range(27)]
    parts = [set(tests) - outside(f"{number}/8", tests) for number in range(1, 9)]
    assert sorted(test for part in parts for test in part) == sorted(tests)
    assert outside("1/1", tests) == set()
    for odd in ("0/8", "9/8", "8", "a/8", "1/0", ""):
        with pytest.raises(ValueError, match="a part is K/N"):
            outside(odd, tests)


def test_servers_of_a_few_lines_are_all_ended_in_one_place() -> None:
    """A connection that its server forgot is found in whatever test runs when the garbage is collected."""
    own = re.compile(r"\b(?:asyncio|loop|get_running_loop\(\))\.(?:start|start_unix)_server\(")
    assert [_named(p) for p in TESTS if own.search(p.read_text(encoding="utf-8"))] == []


def test_work_is_bounded_in_units_and_in_no_seconds_of_this_machine() -> None:
    """The processor's time of one run is compared with that of another run beside it: `tests.unit.work`, or twice the input."""
    seconds = re.compile(r"assert .*(?:process_time|thread_time)\(\) - \w+\)? *<")
    assert [_named(p) for p in TESTS if seconds.search(p.read_text(encoding="utf-8"))] == []


def test_live_tests_stand_where_make_live_looks_for_them() -> None:
    rooms = ("tests/live/", "tests/contract/")
    marked = [_named(path) for path in TESTS if re.search(r"mark\.live\b", path.read_text(encoding="utf-8"))]
    assert len(marked) > 10
    assert [name for name in marked if not name.startswith(rooms) and name != _named(Path(__file__))] == []
    tier = (
        (ROOT / "Makefile").read_text(encoding="utf-8").partition("define live_tier")[2].partition("endef")[0]
    )
    assert all(f" {room.rstrip('/')} " in tier for room in rooms)


_ERRORS = frozenset({"e", "error", "lost", "fault", "refusal", "refused", "unread", "why", "again", "wait", "requests", "raised"})  # fmt: skip
"""Names of our own errors, whose messages are made by us."""


def _is_foreign_message(node: ast.expr) -> bool:
    """`event.message`, `status.get("message")`: what a cluster's object says, as it says it."""
    if isinstance(node, ast.BoolOp):
        return any(map(_is_foreign_message, node.values))
    if isinstance(node, ast.Attribute) and node.attr in ("message", "waiting_message"):
        return not (isinstance(node.value, ast.Name) and node.value.id in _ERRORS)
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
    return called and bool(node.args) and getattr(node.args[0], "value", "") == "message"  # type: ignore[attr-defined]


def test_no_message_of_a_cluster_s_object_becomes_a_part_of_a_sentence_as_it_is() -> None:
    """It quotes values: it is made one line, bounded and without secrets first. The sections of a diagnosis are so as a whole."""
    found = [
        f"{_named(path)}:{node.lineno}"
        for path in SOURCES
        if _named(path).startswith(("app/kube/", "remediations/"))
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FormattedValue | ast.BinOp)
        for part in ((node.value,) if isinstance(node, ast.FormattedValue) else (node.left, node.right))
        if _is_foreign_message(part)
    ]
    assert found == []
