"""Gate: how far may the rule go by itself? The last one, because it is the one a person can open."""

from __future__ import annotations

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.policy.gates.case import Case, Voice

_SAY = Voice("approval")


@_SAY.of
def approval(case: Case) -> GateResult:
    """Observe in mode observe, ask in mode approve until a person agreed; mode earned is left to the gate trust. A dry run
    changes nothing and needs nobody. A step of which something is not known asks in every mode that acts."""
    mode, threshold = case.mode, f"mode {case.mode}"
    if mode is not case.own_mode:
        threshold += f" (rule {case.rule.mode}, lowered by a ceiling)"
    if case.facts.dry_run:
        return _SAY.allow("dry run: nothing is changed", threshold, Code.DRY_RUN)
    unsure = case.step.asks if case.step else ""
    if unsure and mode is not Mode.OBSERVE and not case.approved_by:
        return _SAY.hold(
            case.question, Code.UNSURE, unsure, "known to be safe without asking", case.approvers
        )
    if case.rule.mode is Mode.EARNED and mode is case.own_mode and not case.facts.ordered_by:
        return _SAY.allow("left to the gate trust", "mode earned")
    if mode is Mode.OBSERVE:
        remedy = "the mode is raised to approve or auto"
        return _SAY.hold(Verdict.OBSERVE, Code.MODE_OBSERVE, "only looks", threshold, remedy)
    if mode is Mode.AUTO and not (case.facts.ordered_by and case.wants_another_word):
        return _SAY.allow("acts by itself", threshold)
    if case.approved_by:
        return _SAY.allow(case.approved_by, threshold)
    four_eyes = case.rule.approval.four_eyes and case.somebody
    ordered = f", not {case.somebody} who ordered it" if four_eyes else ""
    return _SAY.hold(
        case.question, Code.APPROVAL_NEEDED, "nobody approved yet", threshold, f"{case.approvers}{ordered}"
    )
