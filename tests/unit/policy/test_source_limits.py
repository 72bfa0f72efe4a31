"""No text is too much for the loader: what is too long, too deep or no plain value is refused with its place, fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml.scanner import Scanner

from app.policy.faults import PolicyInvalid
from app.policy.load import load_dir, load_policy
from app.policy.source import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_TEXT, read_source
from tests.unit.policy.cases import CATALOGUE, text_of

TOO_MUCH = {
    "bytes": ("#" * (MAX_BYTES + 1), "a.yaml:1:1: longer than 256 KB"),
    "bytes, not characters": ("# " + "ä" * (MAX_BYTES // 2), "a.yaml:1:1: longer than 256 KB"),
    "values": ("\n".join(f"k{n}: 1" for n in range(MAX_NODES)), "more than 20000 values"),
    "values by aliases": ("a: &a [1, 2, 3, 4]\n" + "b: [" + "*a, " * 5_000 + "]", "more than 20000 values"),
    "open brackets": ("x: " + "[" * 100_000, "nested too deep"),
    "indentation": ("\n".join(" " * n + "a:" for n in range(MAX_DEPTH + 2)), "nested too deep"),
    "text": (f"x: {'a' * (MAX_TEXT + 1)}", "a.yaml:1:4: a text of more than 8192 characters"),
    "a key": (f"? {'a' * (MAX_TEXT + 1)}\n: 1", "a.yaml:1:3: a text of more than 8192 characters"),
    "a number that nobody can print": (f"x: 0x{'f' * 5_000}", "a.yaml:1:4: a number of more than 40 characters"),
    "digits": (f"x: 1.{'0' * 5_000}", "a.yaml:1:4: a number of more than 40 characters"),
    "half a character": ('x: "\\ud800"', "a.yaml:1:4: half of a surrogate pair is no text"),
    "half a character as a key": ('"\\udfff": 1', "a.yaml:1:1: half of a surrogate pair is no text"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy({"a.yaml": text}, CATALOGUE)
    assert any(message in str(fault) for fault in caught.value.faults), caught.value


def test_a_number_beyond_all_bounds_is_not_taken_for_infinity() -> None:
    assert read_source("a.yaml", "x: 1e999").value == {"x": "1e999"}


def test_what_stands_behind_a_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = 0
    scan = Scanner.fetch_more_tokens

    def counting(self: Scanner) -> object:
        nonlocal scanned
        scanned += 1
        return scan(self)

    monkeypatch.setattr(Scanner, "fetch_more_tokens", counting)
    read_source("a.yaml", "[" * 100_000)
    assert 0 < scanned < 5_000
    scanned = 0
    read_source("a.yaml", "[" + "1, " * 80_000 + "]")
    assert 0 < scanned < 3 * MAX_NODES
    scanned = 0
    read_source("a.yaml", "a: 1\n" * MAX_BYTES)
    assert scanned == 0


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as sparse:
        sparse.truncate(1 << 33)
    with pytest.raises(PolicyInvalid, match="longer than 256 KB"):
        load_dir(tmp_path, CATALOGUE)


def test_an_error_text_stays_readable_however_much_is_wrong() -> None:
    wrong = text_of("".join(f"k{n}: {'x' * 1_000}\n" for n in range(200)))
    with pytest.raises(PolicyInvalid) as caught:
        load_policy({"a.yaml": wrong}, CATALOGUE)
    assert len(caught.value.faults) == 200
    assert str(caught.value).endswith("and 150 more faults")
    with pytest.raises(PolicyInvalid) as caught:
        load_policy({"a.yaml": text_of(f"cooldown: [{'1, ' * 9_000}]\n")}, CATALOGUE)
    assert len(str(caught.value)) < 2_000


pieces = st.sampled_from(
    [
        *("a", "rules", "scope", "when", "version", "1", "0x", "1e9", ".nan", "~", "true", "2026-01-01"),
        *("- ", ": ", ", ", "\n", "  ", "{", "}", "[", "]", '"', "'", "|", ">", "&x ", "*x", "!!int ", "!x "),
        *(
            "? ",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "<<: ",
            "\\ud800",
            "\\x00",
            "\t",
            "#",
            "\ufeff",
            "ä",
            "\x85",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=30).map("".join))
def test_any_text_is_a_policy_or_refused_as_one(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        load_policy({"a.yaml": text}, CATALOGUE)


@pytest.mark.parametrize("directive", ["%YAML 1.9", "%YAML 3.1", "%YAML 1.11", "%YAML x", "%TAG ! x", "%ODD"])
def test_a_directive_that_yaml_does_not_know_is_a_fault_of_the_file(directive: str) -> None:
    with pytest.raises(PolicyInvalid):
        load_policy({"a.yaml": f"{directive}\n---\nversion: 1\n"}, CATALOGUE)


@pytest.mark.parametrize("text", ["a: &x [&x b]", "a: &x 1\nb: &x 2\nc: *x", "&x a: &x b"])
def test_an_anchor_that_is_given_twice_is_a_fault_of_the_file(text: str) -> None:
    """Which of the two an alias means is a guess; the parser would only warn on standard error."""
    with pytest.raises(PolicyInvalid, match="the anchor &x stands here twice"):
        load_policy({"a.yaml": text}, CATALOGUE)
