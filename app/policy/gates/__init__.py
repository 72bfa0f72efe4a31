"""The gates, in the order in which they are evaluated and shown. All of them, every time.

Each is a pure function of a `Case`; each answers with what it measured and the policy's threshold, under the name of its
`Voice`. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from app.domain.decision import GateResult
from app.policy.gates.approval import approval
from app.policy.gates.blast_radius import blast_radius
from app.policy.gates.blocking import blocking, blocking_matchers
from app.policy.gates.busy import busy
from app.policy.gates.case import Case, Gate, name_of
from app.policy.gates.cooldown import cooldown
from app.policy.gates.flapping import flapping
from app.policy.gates.freshness import freshness
from app.policy.gates.hands import hands
from app.policy.gates.kill_switch import kill_switch
from app.policy.gates.new_pods import new_pods
from app.policy.gates.ownership import ownership
from app.policy.gates.scope import scope
from app.policy.gates.spending import budget, rate_limit
from app.policy.gates.storm import storm
from app.policy.gates.trust import trust
from app.policy.gates.window import window

GATES: tuple[Gate, ...] = (
    kill_switch,  # people first: whatever else holds, a pause stops it
    scope,
    freshness,
    hands,  # who is at it already comes before who owns it in general
    ownership,
    window,
    blocking,
    cooldown,
    rate_limit,
    budget,
    new_pods,  # before the blast radius: what cannot come back is worse than what is at risk for a while
    blast_radius,
    busy,
    flapping,
    storm,  # before the two that a person can open, so that a storm is the reason that is shown
    trust,
    approval,
)
GATE_NAMES: tuple[str, ...] = tuple(name_of(gate) for gate in GATES)
"""The names with which they answer, in the same order."""


def evaluate(case: Case) -> tuple[GateResult, ...]:
    """Every gate's answer, in order."""
    return tuple(gate(case) for gate in GATES)


__all__ = ["GATES", "GATE_NAMES", "Case", "Gate", "blocking_matchers", "evaluate"]
