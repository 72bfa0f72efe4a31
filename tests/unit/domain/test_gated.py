"""Patterns behind a gate: what is found is what the pattern finds, and the gate opens for little else."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.gated import Gated, gate, wider
from remediations.evidence import error_signs, error_words, used_up

TESTS = Path(__file__).resolve().parents[2]
_LONGEST = 4_000


def _tables(*modules: ModuleType) -> Iterator[tuple[str, Gated]]:
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, Gated):
                yield f"{module.__name__}.{name}", value


TABLES = dict(_tables(error_signs, error_words, used_up))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The lines of the texts in these tests: logs of all languages, sentences, manifests."""
    found = set[str]()
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(line[:_LONGEST] for line in node.value.splitlines())
    assert len(found) > 10_000
    return sorted(found)


@pytest.fixture(scope="module")
def lines(texts: list[str]) -> list[str]:
    """Each third of them."""
    return texts[::3]


@pytest.mark.parametrize("name", TABLES)
def test_what_is_found_behind_the_gate_is_what_the_pattern_finds(
    name: str, lines: list[str], texts: list[str]
) -> None:
    table = TABLES[name]
    for line in lines:
        behind, plain = table.search(line), table.regex.search(line)
        assert (behind and behind.span()) == (plain and plain.span()), line
    about = (line for line in texts if table.regex.search(line))
    told = next(about, None)
    assert told is not None, "no line of any test speaks of this table"
    assert table.search(told), told


@pytest.mark.parametrize("name", TABLES)
def test_few_lines_open_a_gate_that_say_nothing_of_it(name: str, lines: list[str]) -> None:
    """A gate that is open costs the pattern too."""
    table, opens = TABLES[name], gate(TABLES[name].pattern)
    plain = [line for line in lines if line.isascii()]
    for_nothing = sum(opens.search(line) is not None and table.search(line) is None for line in plain)
    assert for_nothing < len(plain) / 50


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"\bfull\b", "(?:)full(?:)"),
        (r"(?<!thread )pool(?!-\d+(?:-x|[)]))x", "(?:)pool(?:)x"),
        (r"(?P<status>4\d\d)$", r"(?:4\d\d)(?:)"),
        (r"[$^(]\$\(", r"[$^(]\$\("),
        (r"[]$]x", r"[]$]x"),
        (r"a.{0,90}b\S{1,120}c\w{0,2}d[0-9]{8}", r"a.*b\S+c\w{0,2}d[0-9]{8}"),
        (r"a{3,}", "a+"),
        (r"(?=\{:error, )x(?-i:Y)", "(?:)x(?-i:Y)"),
    ],
)
def test_a_wider_pattern_asks_nothing_of_what_is_around_it_and_counts_little(
    pattern: str, expected: str
) -> None:
    assert wider(pattern) == expected
    assert gate(pattern)


_WORDS = (
    "timeout",
    "pool",
    "é",
    "\x0b",
    "\x1c",
    "\u017f",
    "\u212a",
    " ",
    "\n",
    "4",
    "$",
    "thread ",
    "\ud800",
)


@given(st.lists(st.sampled_from([*_WORDS, *string.ascii_letters]), max_size=12).map("".join))
@example("\u212a")
@example("pool\x0btimeout")
@example("timeout\n")
def test_texts_that_the_engines_read_otherwise_do_not_meet_the_gate(text: str) -> None:
    for pattern in (
        r"\bpool\s+timeout\b", r"^timeout$", r"(?<!thread )pool\w?", r"\bk\b", r"\W\w\W", r"[^a]s\S"
    ):  # fmt: skip
        behind, plain = Gated(pattern).search(text), re.compile(pattern, re.IGNORECASE).search(text)
        assert (behind and behind.span()) == (plain and plain.span())


def test_a_text_that_says_nothing_never_meets_the_pattern_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Gated(r"\b(?:pool|queue) (?:is )?full\b")

    class Never:
        def search(self, text: str) -> None:
            raise AssertionError(text)

    monkeypatch.setattr(table, "regex", Never())
    assert table.search("GET /healthz 200 " * 200) is None
    with pytest.raises(AssertionError, match="queue full"):
        table.search("the queue full of work")
