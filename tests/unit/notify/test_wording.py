"""Gates in words: which are tight, which stand against it, and every result has its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum

import pytest

from app.domain.decision import Code, Decision, GateResult, Verdict
from app.domain.outcome import ActionResult, IncidentState, Result, UndoResult
from app.notify import wording
from app.notify.text import plain
from tests.unit.notify import timelines


def _gate(value: str, threshold: str, verdict: Verdict = Verdict.ALLOW, gate: str = "g") -> GateResult:
    return GateResult(gate, verdict, Code.ALLOWED, value, threshold)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("1 of 3 per 1h (cluster)", ["g 1 of 3 per 1h"]),
        (
            "0 of 3 ready pods at risk, 1 allowed, 0 broken; 1 target in flight",
            ["g 0 of 3 ready pods at risk"],
        ),
        ("2 of 5", ["g 2 of 5"]),
        ("0 of 0 ready pods at risk", []),
        ("1 target in flight", []),
        ("last action 4 of ours ago", []),
        ("", []),
    ],
)
def test_only_gates_that_count_towards_a_threshold_can_be_tight(value: str, told: list[str]) -> None:
    assert wording.tightest([_gate(value, "t")]) == told


def test_the_three_nearest_to_their_threshold_are_named_first() -> None:
    gates = [_gate(f"{n} of 10", "", gate=name) for name, n in (("a", 1), ("b", 9), ("c", 5), ("d", 7))]
    assert wording.tightest(gates) == ["b 9 of 10", "d 7 of 10", "c 5 of 10"]


def test_a_gate_that_does_not_allow_is_never_called_tight() -> None:
    assert wording.tightest([_gate("1 of 3", "3", Verdict.DENY)]) == []


def test_the_deciding_gate_comes_first_among_those_against() -> None:
    gates = (
        _gate("a", "", Verdict.ASK, "ask"),
        _gate("b", "", Verdict.DENY, "deny"),
        _gate("c", "", gate="fine"),
    )
    decision: Decision = replace(timelines.DENIED, gates=gates)
    assert [g.gate for g in wording.against(decision)] == ["deny", "ask"]


def test_a_gate_line_always_has_a_value() -> None:
    assert plain(wording.gate_line(_gate("", "3", Verdict.DENY))) == "NO  g: nothing measured · allowed: 3"
    assert plain(wording.gate_line(_gate("1", ""))) == "ok  g: 1"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (wording.GATE_WORDS, Verdict),
        (wording.RESULT_WORDS, Result),
        (wording.ACTION_WORDS, ActionResult),
        (wording.UNDO_WORDS, UndoResult),
        (wording.STATE_WORDS, IncidentState),
    ],
)
def test_every_value_has_words(words: Mapping[Enum, str], kind: type[Enum]) -> None:
    assert set(words) == set(kind)


def test_only_a_verification_that_found_it_fixed_reads_like_a_repair() -> None:
    assert [r for r, words in wording.RESULT_WORDS.items() if words == "fixed"] == [Result.FIXED]


def test_an_action_without_an_undo_says_so_once() -> None:
    """The words of an action begin so themselves."""
    own = "nothing to undo: a restart makes equal pods from the same template"
    told = "Nothing to undo: a restart makes equal pods from the same template"
    assert wording.undo_line(own, reversible=False) == told
    assert wording.undo_line("it only waits", reversible=False) == "Nothing to undo: it only waits"
    assert wording.undo_line("put revision 2 back", reversible=True) == "Undo: put revision 2 back"
