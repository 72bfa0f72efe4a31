"""The parent message of an incident: state first, then what, where, how long, why, and by which right.

Called by `app.flow.notifying.deliver` for every posting and edit; it tells the present state only, history is in the thread. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain.decision import Code, Decision, Verdict
from app.domain.outcome import ActionResult, IncidentState, RunState
from app.domain.units import counted, duration
from app.notify.buttons import buttons
from app.notify.escalation import now
from app.notify.message import Context, Message, Part, Section
from app.notify.text import Line, Piece, Ref, When, Who, bold, code, joined, line
from app.notify.timeline import ApprovalAnswer, Timeline
from app.notify.wording import (
    CHECKED_WORDS,
    NEEDED,
    NOTHING_DONE,
    RESULT_WORDS,
    UNDO_WORDS,
    UNDONE_REASON,
    Written,
    above,
    action_line,
    against,
    gates_summary,
    held_lines,
    looks_again,
    may_undo,
    measured,
    person_word,
    promote_command,
    standing_lines,
    state_word,
    to_look_at,
    undo_command,
    undo_line,
    went_away,
    written,
)

_LOOK_AT = 5


def headline(timeline: Timeline) -> Line:
    """`FIXED in 3m12s · HighErrorRate · rag7/langgraph`."""
    ordered = bool(timeline.requested_by) and written(timeline) is Written.NOTHING
    word = state_word(timeline.state, ordered=ordered)
    took = timeline.duration
    if timeline.run_state is RunState.UNDONE and (
        timeline.state in (IncidentState.FIXED, IncidentState.CONTAINED)  # of an earlier version
        or (timeline.state is IncidentState.RESOLVED and timeline.reason.startswith(UNDONE_REASON))
    ):
        word = "UNDONE"  # a person took back what had helped: nobody may read that it stands
    elif took is not None and timeline.state in (IncidentState.FIXED, IncidentState.CONTAINED):
        word += f" in {duration(took)}"
    elif took is not None and timeline.state is IncidentState.RESOLVED and not ordered:
        word += f" after {duration(took)}"
    if timeline.dry_run:
        # Nothing was changed, so whatever the state says, it must not read like a repair.
        ended = timeline.state in (IncidentState.FIXED, IncidentState.CONTAINED) or word == NOTHING_DONE
        word = "DRY RUN" if ended else f"DRY RUN · {word}"
    return line(bold(word), f" · {timeline.alertname or 'no alertname'} · {timeline.place}")


def parent(timeline: Timeline) -> Message:
    """The whole parent message."""
    body: list[Line] = [
        *_what(timeline),
        *_chosen(timeline),
        *_check(timeline),
        *_then(timeline),
        *_undo(timeline),
        *([line(bold("Waits"), f": {timeline.waits}")] if timeline.waits else []),
        *_person(timeline),
        *_trust_levels(timeline),
        *_paused(timeline),
    ]
    parts: list[Part] = [Section(tuple(body)), Context(tuple(_small_print(timeline)))]
    return Message(timeline.incident_id, headline(timeline), tuple(parts), buttons(timeline))


def _what(timeline: Timeline) -> list[Line]:
    done = [action_line(a) for a in timeline.actions]
    match timeline.state:
        case IncidentState.OPEN:
            return [line("Gathering evidence, nothing decided yet")]
        case IncidentState.WAITING:
            return [*done, *_waiting(timeline)]
        case IncidentState.ACTING:
            reached = [line(bold("So far"), f": {timeline.progress}")] if timeline.progress else []
            return [*done, line(f"Acting now: {_plan(timeline)}"), *reached]
        case IncidentState.REFUSED:
            return [*done, *(_reason(timeline) or [line("Did nothing more" if done else "Did nothing")])]
        case IncidentState.OBSERVED:
            return [*done, *_reason(timeline), *_would(timeline)]
        case IncidentState.RESOLVED if timeline.requested_by:
            stands = written(timeline) is not Written.NOTHING
            return [*done, *([line(timeline.reason)] if stands else [*_reason(timeline), *_would(timeline)])]
        case IncidentState.RESOLVED:
            return [*done, line(went_away(timeline))]
        case IncidentState.MERGED:
            return [
                line(
                    "Goes on in incident ",
                    code(timeline.merged_into),
                    f": {timeline.reason or 'same target'}",
                )
            ]
        case _:
            return done or [line("Did nothing")]


def _plan(timeline: Timeline) -> str:
    return (
        joined([a.summary for a in timeline.plan.actions])
        if timeline.plan and timeline.plan.actions
        else "plan not told"
    )


def _reason(timeline: Timeline) -> list[Line]:
    """The decision's own sentence, or that of the move, also where the run that the decision began has ended; a gate that refused is told in
    full further down."""
    decision = timeline.decision
    if decision and decision.verdict is Verdict.DENY and against(decision):
        return []
    over = timeline.state is IncidentState.REFUSED and decision and decision.verdict is not Verdict.DENY
    text = (timeline.reason if over else "") or (decision.text if decision else "") or timeline.reason
    return [line(text or "Did nothing; no reason was recorded")]


def _would(timeline: Timeline) -> list[Line]:
    return [line(f"Would have: {_plan(timeline)}")] if timeline.plan and timeline.plan.actions else []


def _waiting(timeline: Timeline) -> list[Line]:
    lines = [line(f"Would do: {_plan(timeline)}")]
    if timeline.answer and timeline.answer.answer == "approved":
        told = timeline.answer.text or "it is checked again and then begins"
        back = code(f"remediator reject {timeline.run_id}")
        return [*lines, line(f"Approved: {told}"), line("Until it begins it can be taken back: ", back)]
    if timeline.approval:
        lines.extend(line(bold("Changed since it was approved"), f": {t}") for t in timeline.approval.changed)
        lines.extend(line(f"To know: {text}") for text in timeline.approval.known)
        lines.extend(_so_far(timeline, timeline.approval.approvals))
        lines.append(line("Good until ", When(timeline.approval.expires_at), "; then nothing is done"))
    if timeline.run_id:
        yes, no = code(f"remediator approve {timeline.run_id}"), code(f"remediator reject {timeline.run_id}")
        lines.append(line("Answer: ", yes, " or ", no))
    return lines


def _so_far(timeline: Timeline, wanted: int) -> list[Line]:
    """How many of several people agreed; nothing when one is enough."""
    if wanted == 1:
        return []
    given = [piece for a in timeline.approvals for piece in (", ", *_by(a))][1:]
    return [line(f"{len(timeline.approvals)} of {wanted} approvals", *((": ", *given) if given else ()))]


def _by(answer: ApprovalAnswer) -> tuple[Piece | str, ...]:
    return (Who(answer.by or "nobody"), *((" ", When(answer.at)) if answer.at else ()))


_LEFT = frozenset({IncidentState.ESCALATED, IncidentState.STUCK})


def _first(timeline: Timeline) -> Timeline | None:
    """As it was when the step that was carried out was chosen; None unless a later one that did not come about was decided since."""
    done, decision = timeline.taken, timeline.decision
    if done is None or done.decision is None or decision is None or timeline.state not in _LEFT:
        return None
    return replace(timeline, **done._asdict()) if done.decision.step != decision.step else None


def _chosen(timeline: Timeline) -> list[Line]:
    """Why the step was chosen and by which right."""
    shown = _first(timeline) or timeline
    return [*_why(shown), *_right(shown)]


def _then(timeline: Timeline) -> list[Line]:
    """What became of a later step that was not taken."""
    if timeline.decision is None or _first(timeline) is None:
        return []
    first, *rest = _right(timeline) or [line("not taken")]
    return [line(bold(f"Then {timeline.decision.step or 'a further step'}"), ": ", *first), *rest]


def _why(timeline: Timeline) -> list[Line]:
    """Why this step was chosen; without one, what was found."""
    step = timeline.plan.why if timeline.plan and timeline.plan.actions else ""
    text = step or (timeline.diagnosis.summary if timeline.diagnosis else "")
    return [line(f"Why: {text}")] if text else []


def _right(timeline: Timeline) -> list[Line]:
    """By which right it acted, or which gate stands against it and what would have to change."""
    decision = timeline.decision
    if decision is None:
        return [line(f"Requested by {timeline.requested_by}")] if timeline.requested_by else []
    if decision.verdict is Verdict.DENY:
        return _stopped(decision, again=timeline.state is IncidentState.REFUSED)
    if decision.verdict is Verdict.OBSERVE:
        return [line(f'Rule: "{decision.rule}", {gates_summary(decision)}')] if decision.rule else []
    who = f"; requested by {timeline.requested_by}" if timeline.requested_by else ""
    if decision.verdict is Verdict.ASK:
        return [
            line(*_answered(timeline), f': "{decision.rule}", {gates_summary(decision)}{who}'),
            *(_asks_because(decision) if _asks(timeline) else []),
        ]
    return [line(f'Allowed by: "{decision.rule}", {gates_summary(decision)}{who}')]


def _asks_because(decision: Decision) -> list[Line]:
    """What made it ask, where that is more than the rule's mode."""
    gates = [g for g in against(decision) if g.code is not Code.APPROVAL_NEEDED]
    return [line("Asks because of: ", bold(gate.gate), f": {gate.value}") for gate in gates]


def _asks(timeline: Timeline) -> bool:
    """The question stands: nobody has answered it, and the run waits for that."""
    waits = timeline.run_state in (None, RunState.REQUESTED, RunState.WAITING)
    return timeline.answer is None and waits


def _answered(timeline: Timeline) -> tuple[Piece | str, ...]:
    answer = timeline.answer
    if answer is None:
        return ("Needs an approval" if _asks(timeline) else "An approval was asked for",)
    before = (
        [p for a in timeline.approvals for p in (*_by(a), " and ")] if answer.answer == "approved" else []
    )
    return (f"{answer.answer.capitalize()} by ", *before, *_by(answer))


def _stopped(decision: Decision, *, again: bool) -> list[Line]:
    gates = against(decision)
    if not gates:
        return []
    first = gates[0]
    others = f"; also {joined([g.gate for g in gates[1:]])}" if len(gates) > 1 else ""
    lines = [line("Stopped by: ", bold(first.gate), f": {measured(first)}{others}")]
    lines.extend(line(f"What would have to change: {g.remedy}") for g in gates if g.remedy)
    return [*lines, *(looks_again(decision.retry_at) if again else [])]


def _check(timeline: Timeline) -> list[Line]:
    if timeline.state is IncidentState.VERIFYING:
        return [line("Checking now whether it helped")]
    check = timeline.verification
    return [line(f"Checked: {RESULT_WORDS[check.result]}: {check.text}")] if check else []


def _undo(timeline: Timeline) -> list[Line]:
    latest = {
        undo.action_id: undo for undo in timeline.undos
    }  # an earlier attempt that failed is no news any more
    several = len(latest) > 1 or len(timeline.actions) > 1
    lines = []
    for undo in latest.values():
        what = f": {undo.summary}" if several else ""
        word = UNDO_WORDS[undo.result]
        text = undo.text.removeprefix(f"{word}: ")
        lines.append(line(bold(word.capitalize()), what, f" ({text})" if text else ""))
    if timeline.undo_asked and timeline.run_state is RunState.UNDOING:
        lines.append(line("Undoing, ordered by ", *_by(timeline.undo_asked)))
    if timeline.undo_held and timeline.run_state is RunState.UNDOING:
        return [
            *lines,
            line(bold("The undo waits"), f": {timeline.undo_held.held}"),
            *held_lines(timeline.undo_held),
        ]
    if timeline.undo_asked and timeline.run_state is RunState.UNDOING:
        return lines
    if may_undo(timeline):
        return [*lines, undo_command(timeline.run_id)]
    if lines:
        return lines
    applied = [a for a in timeline.actions if a.result is ActionResult.APPLIED and not a.dry_run and a.undo]
    return [line(undo_line(a.undo, reversible=False)) for a in applied[-1:]]


def _person(timeline: Timeline) -> list[Line]:
    """Why one is needed, who was asked, and who has it; of what is over why one was, and who had it."""
    over, escalation = timeline.state.closed, timeline.escalation
    called = [*now(timeline.acknowledged), *([] if over else now(timeline.called))]
    if escalation is None:
        theirs = timeline.state in (IncidentState.ESCALATED, IncidentState.STUCK) and timeline.reason
        return [*([line(bold("Left to a person"), f": {timeline.reason}")] if theirs else []), *called]
    reason = _said_once(timeline, escalation.reason.removeprefix(NEEDED))
    lines = [line(bold(person_word(timeline.state)), f": {reason}")]
    if written(timeline) is Written.UNDONE:  # what it says to stand does not any more
        escalation = replace(escalation, in_place=(), commands=())
    look = [line(f"Look at: {text}") for text in to_look_at(escalation)[: 0 if over else _LOOK_AT]]
    stands = [line(text) for text in standing_lines(replace(escalation, done=(), not_done=()))]
    return [*lines, *stands, *called, *look]


def _said_once(timeline: Timeline, reason: str) -> str:
    """The reason without the words of the check, which stand right above it."""
    check = timeline.verification
    if check is None or timeline.state is IncidentState.VERIFYING or check.text not in reason:
        return reason
    return reason.replace(check.text, CHECKED_WORDS[check.result], 1)


def _trust_levels(timeline: Timeline) -> list[Line]:
    """How far it may go from now on, where this incident changed that."""
    lines = []
    for s in timeline.trust_levels:
        if s.mark:
            lines.append(line(bold(f"Level {above(s.level)} waits for a person"), f": {s.key}: {s.text}"))
            lines.append(promote_command(s.key))
        elif s.change in ("promoted", "demoted"):
            lines.append(line(f"{s.change.capitalize()} from {s.before} to {s.level}: {s.key}: {s.why}"))
    return lines


def _paused(timeline: Timeline) -> list[Line]:
    return [line(f"{timeline.paused.text}, by ", *_by(timeline.paused))] if timeline.paused else []


def _small_print(timeline: Timeline) -> list[Line]:
    ordered = timeline.requested_by and not timeline.alerts
    facts = [f"ordered by {timeline.requested_by}"] if ordered else []
    facts = facts or [timeline.severity or "no severity", counted(timeline.alerts, "alert")]
    if timeline.firing != timeline.alerts and timeline.ended_at is None:
        facts.append(f"{timeline.firing:,} still firing")
    if timeline.mode and not ordered:  # an order is its own yes
        facts.append(f"mode {timeline.mode}")
    run = (" · run ", code(timeline.run_id)) if timeline.run_id else ()
    lines = [
        line(" · ".join(facts), " · since ", When(timeline.opened_at)),
        line("Details: ", code(f"remediator explain {timeline.incident_id}"), *run),
    ]
    if timeline.links:
        lines.append(line(*_spread([Ref(li.label, li.url) for li in timeline.links])))
    return lines


def _spread(refs: list[Ref]) -> list[Ref | str]:
    return [piece for i, ref in enumerate(refs) for piece in ((" · ", ref) if i else (ref,))]
