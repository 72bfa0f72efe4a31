"""Every gate at its boundaries, as `remediator explain` and as Slack tell it: one golden file a gate.

The files are rewritten with UPDATE_GOLDEN=1 and then read like code.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.domain.decision import Code, Decision, GateResult, Verdict
from app.notify.entries import thread_entry
from app.notify.timeline import Topic
from app.policy.decide import GATES, decide
from app.policy.explain import explain_lines, gates_line
from tests.unit.docs.tables import gates as documented
from tests.unit.explain.boundaries import BOUNDARIES, Row
from tests.unit.notify import timelines
from tests.unit.policy.cases import facts_of, policy_of

FOLDER = Path(__file__).parents[2] / "golden" / "gates"
NAMES = tuple(BOUNDARIES)
ROWS = [
    pytest.param(gate, row, id=f"{gate}: {row.says}") for gate, rows in BOUNDARIES.items() for row in rows
]


def _decided(row: Row) -> Decision:
    policy = policy_of(row.head, row.rule)
    return decide(policy, policy.rules[0], row.step, facts_of(policy, **row.facts))


def _of(gate: str, decision: Decision) -> GateResult:
    return next(g for g in decision.gates if g.gate == gate)


@pytest.mark.parametrize(("gate", "row"), ROWS)
def test_each_side_of_a_boundary_has_its_word(gate: str, row: Row) -> None:
    found = _of(gate, _decided(row))
    assert (found.verdict, found.code) == (row.verdict, row.code)
    assert found.value, "a gate says what it measured"
    assert found.threshold, "a gate says what is allowed"
    assert bool(found.remedy) is (found.verdict is not Verdict.ALLOW), (
        "what is closed says what would open it"
    )


def test_every_gate_has_its_rows_in_the_order_of_the_gates() -> None:
    """A new gate without boundaries fails here."""
    quiet = _decided(BOUNDARIES["scope"][0])
    assert [g.gate for g in quiet.gates] == list(NAMES)
    assert len(GATES) == len(NAMES)


@pytest.mark.parametrize("gate", NAMES)
def test_each_gate_is_seen_open_and_closed_for_every_reason_it_has(gate: str) -> None:
    """The reasons are those that the reference lists, which are read from the gate's own source."""
    told = {row.code for row in BOUNDARIES[gate] if row.code is not Code.ALLOWED}
    (reasons,) = [cells[2] for cells in documented() if cells[0] == f"`{gate}`"]
    assert told == {Code(word.strip("` ")) for word in reasons.split(",")}
    assert {row.verdict for row in BOUNDARIES[gate]} > {Verdict.ALLOW}


def _cli(gate: str, decision: Decision) -> list[str]:
    """The lines of the explanation that are about this gate: the word, its line, and what would have to change."""
    lines = explain_lines(decision)
    about = lines.index(gates_line(decision.gates)) + 1 + [g.gate for g in decision.gates].index(gate)
    rest = lines[lines.index("What would have to change:") :] if "What would have to change:" in lines else []
    return [lines[0], lines[about], *rest]


def _slack(gate: str, decision: Decision) -> list[str]:
    """The thread entry without the lines of the gates that allow, this one aside, and without the small print."""
    entry = thread_entry(Topic.DECIDED, timelines.DECIDED, decision)
    assert entry is not None
    others = [f"  {g.gate}: " for g in decision.gates if g.gate != gate and g.verdict is Verdict.ALLOW]
    lines = entry.readable().splitlines()
    return [line for line in lines[:-1] if not (line.startswith("ok") and any(o in line for o in others))]


def _page(gate: str) -> str:
    blocks = []
    for row in BOUNDARIES[gate]:
        decision = _decided(row)
        blocks += [f"## {row.says}", "", "explain", *(f"    {t}" for t in _cli(gate, decision)), "", "Slack"]
        blocks += [*(f"    {t}" for t in _slack(gate, decision)), ""]
    return "\n".join([f"# {gate}", "", *blocks])


@pytest.mark.parametrize("gate", NAMES)
def test_the_explanation_reads_as_its_golden_file(gate: str) -> None:
    path = FOLDER / f"{gate.replace(' ', '-')}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(_page(gate), encoding="utf-8")
    assert path.is_file(), f"no golden file {path.name}; make it with UPDATE_GOLDEN=1 and read it"
    assert _page(gate) == path.read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_its_gate() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {gate.replace(" ", "-") for gate in NAMES}
