"""Explain: a decision for people, as lines, text and JSON. Reads the decision alone, so it works from the audit trail.

Used by the command line, the web page and messages. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.decision import Decision, GateResult, Verdict
from app.domain.json import JsonValue
from app.domain.units import utc

_MARKS = {Verdict.ALLOW: "ok", Verdict.DENY: "NO", Verdict.ASK: "ASK", Verdict.OBSERVE: "LOOK"}


def explain_lines(decision: Decision) -> list[str]:
    """The word, where it comes from, the table of gates, and what would have to change."""
    lines = [decision.text, _origin(decision)]
    if decision.gates:
        lines += ["", gates_line(decision.gates), *gate_table(decision.gates)]
    changes = change_lines(decision)
    if changes:
        lines += ["", "What would have to change:", *(f"- {line}" for line in changes)]
    return lines


def explain_json(decision: Decision) -> dict[str, JsonValue]:
    """The decision with its summary and what would have to change, for `--json` and the API."""
    return {
        **decision.to_json(),
        "allowed_gates": sum(g.verdict is Verdict.ALLOW for g in decision.gates),
        "changes": change_lines(decision),
        "retry_at": decision.retry_at.isoformat() if decision.retry_at else None,
    }


def gates_line(gates: Sequence[GateResult]) -> str:
    """`13 of 16 gates allow it`."""
    allowed = sum(g.verdict is Verdict.ALLOW for g in gates)
    return f"{allowed} of {len(gates)} gates allow it"


def gate_table(gates: Sequence[GateResult]) -> list[str]:
    """One line a gate, readable without colour: mark, gate, measured value, the policy's threshold."""
    if not gates:
        return []
    name, value = max(len(g.gate) for g in gates), min(60, max(len(g.value) for g in gates))
    return [
        f"{_MARKS[g.verdict]:<4}  {g.gate:<{name}}  {g.value:<{value}}  allowed: {g.threshold}" for g in gates
    ]


def change_lines(decision: Decision) -> list[str]:
    """For each gate that stands against it, what opens it; and when it is looked at again by itself."""
    lines = [f"{g.gate}: {g.remedy}" for g in decision.gates if g.verdict is not Verdict.ALLOW and g.remedy]
    if decision.retry_at:
        lines.append(f"by itself at the earliest: {utc(decision.retry_at)}")
    return lines


def _origin(decision: Decision) -> str:
    parts = [
        f'rule "{decision.rule}"' if decision.rule else "no rule",
        f"remediation {decision.remediation}" if decision.remediation else "",
        f"step {decision.step}" if decision.step else "",
        f"reason {decision.code}",
        f"policy {decision.policy_version}" if decision.policy_version else "",
    ]
    return " · ".join(p for p in parts if p)
