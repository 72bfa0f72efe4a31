"""What the service depends on: each package that is declared is used, each that is used is declared, and what a kept library does is not
done again by hand."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("app", "remediations")
WITH_ANOTHER = {
    "httpcore": "httpx",
    "jsonpointer": "jsonpatch",
    "markupsafe": "jinja2",
    "pydantic-core": "pydantic",
    "starlette": "fastapi",
}
"""Packages that are a part of what another one gives: they come with it and fit its version."""
UNSEEN = {"httptools": "uvicorn's parser, under app.web.connections", "uvloop": "uvicorn's event loop"}
"""Packages that are used without an import of ours."""
CHOSEN = {
    "a matcher is Alertmanager's own engine": ("app/policy/matchers.py", "re2"),
    "redaction is linear": ("app/domain/redact.py", "re2"),
    "PromQL is read by Prometheus' grammar": ("app/policytools/lint_promql.py", "promql_parser"),
    "a leak is a line through its readings": (
        "remediations/evidence/growth.py",
        "statistics.linear_regression",
    ),
    "quantities of manifests": ("app/kube/manifest.py", "kubernetes.utils"),
    "quantities of the simulated cluster": (
        "app/sim/quantity.py",
        "kubernetes.utils",
    ),
    "JSON patches of the simulated cluster": ("app/sim/patch.py", "jsonpatch"),
    "cron with daylight saving": ("app/policy/schedule.py", "cronsim.CronSim"),
    "age's encryption": ("app/backup/configuration/sealed.py", "pyrage"),
    "object stores": ("app/backup/bucket.py", "obstore"),
    "retries of HTTP": ("app/observe/http_json.py", "tenacity"),
}
"""What a kept library does, and where: none of it is written by hand."""


@cache
def _imports() -> Mapping[str, frozenset[str]]:
    """Of each module's path the top-level names that it imports, those of Python and our own aside."""
    found = {}
    for path in (path for folder in OWN for path in (ROOT / folder).rglob("*.py")):
        names = set(_names(ast.parse(path.read_text(encoding="utf-8"))))
        found[path.relative_to(ROOT).as_posix()] = frozenset(names - sys.stdlib_module_names - set(OWN))
    return found


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _package(requirement: str) -> str:
    return re.split(r"[\[<>=!~;, ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@cache
def _declared() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (one for extra in project["optional-dependencies"].values() for one in extra)
    return frozenset(map(_package, (*project["dependencies"], *extras)))


@cache
def _used() -> Mapping[str, frozenset[str]]:
    """The packages that may have brought each imported name."""
    brought = packages_distributions()
    names = {name for imported in _imports().values() for name in imported}
    return {name: frozenset(p.lower().replace("_", "-") for p in brought[name]) for name in names}


def test_no_package_is_declared_that_nothing_uses() -> None:
    used = {package for packages in _used().values() for package in packages}
    assert _declared() - used == set(UNSEEN)


def test_every_package_that_is_imported_is_declared() -> None:
    """Else an update of another one may take it away."""
    come_along = {name for name, other in WITH_ANOTHER.items() if other in _declared()}
    assert {n: sorted(p) for n, p in _used().items() if not p & (_declared() | come_along)} == {}


@pytest.mark.parametrize("what", CHOSEN)
def test_what_a_kept_library_does_is_left_to_it(what: str) -> None:
    module, name = CHOSEN[what]
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    whole = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    parts = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = whole | parts | called
    assert any(one == name or one.startswith(f"{name}.") for one in found), sorted(found)
