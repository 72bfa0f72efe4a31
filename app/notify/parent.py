"""The parent message of an incident: state first, then what, where, how long, why, and by which right.

Called by `app.flow.deliver` for every posting and edit; it tells the present state only, history is in the thread. Pure.
"""

from __future__ import annotations

from app.domain.decision import Decision, Verdict
from app.domain.outcome import ActionResult, IncidentState, RunState
from app.notify.buttons import buttons
from app.notify.message import Context, Message, Part, Section
from app.notify.story import ApprovalAnswer, IncidentStory
from app.notify.text import Line, Piece, Ref, When, Who, bold, code, count, duration, joined, line
from app.notify.wording import (
    RESULT_WORDS,
    STATE_WORDS,
    UNDO_WORDS,
    above,
    action_line,
    against,
    gates_summary,
    looks_again,
    may_undo,
    measured,
    promote_command,
    undo_command,
)

_LOOK_AT = 5


def headline(story: IncidentStory) -> Line:
    """`FIXED in 3m12s · HighErrorRate · rag7/langgraph`."""
    word = STATE_WORDS[story.state]
    took = story.duration
    if took is not None and story.state is IncidentState.FIXED:
        word += f" in {duration(took)}"
    elif took is not None and story.state is IncidentState.RESOLVED:
        word += f" after {duration(took)}"
    if story.dry_run:
        # Nothing was changed, so whatever the state says, it must not read like a repair.
        word = "DRY RUN" if story.state is IncidentState.FIXED else f"DRY RUN · {word}"
    return line(bold(word), f" · {story.alertname or 'no alertname'} · {story.place}")


def parent(story: IncidentStory) -> Message:
    """The whole parent message."""
    body: list[Line] = [
        *_what(story),
        *_why(story),
        *_right(story),
        *_check(story),
        *_undo(story),
        *_person(story),
        *_standings(story),
        *_paused(story),
    ]
    parts: list[Part] = [Section(tuple(body)), Context(tuple(_small_print(story)))]
    return Message(story.incident_id, headline(story), tuple(parts), buttons(story))


def _what(story: IncidentStory) -> list[Line]:
    done = [action_line(a) for a in story.actions]
    match story.state:
        case IncidentState.OPEN:
            return [line("Gathering evidence, nothing decided yet")]
        case IncidentState.WAITING:
            return [*done, *_waiting(story)]
        case IncidentState.ACTING:
            return [*done, line(f"Acting now: {_plan(story)}")]
        case IncidentState.REFUSED:
            return [*done, *(_reason(story) or [line("Did nothing more" if done else "Did nothing")])]
        case IncidentState.OBSERVED:
            return [*done, *_reason(story), *_would(story)]
        case IncidentState.RESOLVED:
            return [
                *done,
                line("The alert went away without our doing", f": {story.reason}" if story.reason else ""),
            ]
        case IncidentState.MERGED:
            return [
                line("Goes on in incident ", code(story.merged_into), f": {story.reason or 'same target'}")
            ]
        case _:
            return done or [line("Did nothing")]


def _plan(story: IncidentStory) -> str:
    return (
        joined([a.summary for a in story.plan.actions])
        if story.plan and story.plan.actions
        else "plan not told"
    )


def _reason(story: IncidentStory) -> list[Line]:
    """The decision's own sentence, or that of the move; a gate that refused is told in full further down."""
    decision = story.decision
    if decision and decision.verdict is Verdict.DENY and against(decision):
        return []
    text = (decision.text if decision else "") or story.reason
    return [line(text or "Did nothing; no reason was recorded")]


def _would(story: IncidentStory) -> list[Line]:
    return [line(f"Would have: {_plan(story)}")] if story.plan and story.plan.actions else []


def _waiting(story: IncidentStory) -> list[Line]:
    lines = [line(f"Would do: {_plan(story)}")]
    if story.approval:
        lines.extend(line(bold("Changed since it was approved"), f": {t}") for t in story.approval.changed)
        lines.extend(_so_far(story, story.approval.approvals))
        lines.append(line("Good until ", When(story.approval.expires_at), "; then nothing is done"))
    if story.run_id:
        yes, no = code(f"remediator approve {story.run_id}"), code(f"remediator reject {story.run_id}")
        lines.append(line("Answer: ", yes, " or ", no))
    return lines


def _so_far(story: IncidentStory, wanted: int) -> list[Line]:
    """How many of several people agreed; nothing when one is enough."""
    if wanted == 1:
        return []
    given = [piece for a in story.approvals for piece in (", ", *_by(a))][1:]
    return [line(f"{len(story.approvals)} of {wanted} approvals", *((": ", *given) if given else ()))]


def _by(answer: ApprovalAnswer) -> tuple[Piece | str, ...]:
    return (Who(answer.by or "nobody"), *((" ", When(answer.at)) if answer.at else ()))


def _why(story: IncidentStory) -> list[Line]:
    return [line(f"Why: {story.diagnosis.summary}")] if story.diagnosis and story.diagnosis.summary else []


def _right(story: IncidentStory) -> list[Line]:
    """By which right it acted, or which gate stands against it and what would have to change."""
    decision = story.decision
    if decision is None:
        return [line(f"Requested by {story.requested_by}")] if story.requested_by else []
    if decision.verdict is Verdict.DENY:
        return _stopped(decision)
    if decision.verdict is Verdict.OBSERVE:
        return [line(f'Rule: "{decision.rule}", {gates_summary(decision)}')] if decision.rule else []
    who = f"; requested by {story.requested_by}" if story.requested_by else ""
    if decision.verdict is Verdict.ASK:
        return [line(*_answered(story), f': "{decision.rule}", {gates_summary(decision)}{who}')]
    return [line(f'Allowed by: "{decision.rule}", {gates_summary(decision)}{who}')]


def _answered(story: IncidentStory) -> tuple[Piece | str, ...]:
    answer = story.answer
    if answer is None:
        return ("Needs an approval",)
    before = [p for a in story.approvals for p in (*_by(a), " and ")] if answer.answer == "approved" else []
    return (f"{answer.answer.capitalize()} by ", *before, *_by(answer))


def _stopped(decision: Decision) -> list[Line]:
    gates = against(decision)
    if not gates:
        return []
    first = gates[0]
    others = f"; also {joined([g.gate for g in gates[1:]])}" if len(gates) > 1 else ""
    lines = [line("Stopped by: ", bold(first.gate), f": {measured(first)}{others}")]
    lines.extend(line(f"What would have to change: {g.remedy}") for g in gates if g.remedy)
    return [*lines, *looks_again(decision.retry_at)]


def _check(story: IncidentStory) -> list[Line]:
    if story.state is IncidentState.VERIFYING:
        return [line("Checking now whether it helped")]
    check = story.verification
    return [line(f"Checked: {RESULT_WORDS[check.result]}: {check.text}")] if check else []


def _undo(story: IncidentStory) -> list[Line]:
    several = len(story.undos) > 1 or len(story.actions) > 1
    lines = []
    for undo in story.undos:
        what = f": {undo.summary}" if several else ""
        lines.append(
            line(bold(UNDO_WORDS[undo.result].capitalize()), what, f" ({undo.text})" if undo.text else "")
        )
    if story.undo_asked and story.run_state is RunState.UNDOING:
        return [*lines, line("Undoing, ordered by ", *_by(story.undo_asked))]
    if may_undo(story):
        return [*lines, undo_command(story.run_id)]
    if lines:
        return lines
    applied = [a for a in story.actions if a.result is ActionResult.APPLIED and not a.dry_run and a.undo]
    return [line(f"Nothing to undo: {a.undo}") for a in applied[-1:]]


def _person(story: IncidentStory) -> list[Line]:
    escalation = story.escalation
    if escalation is None:
        return []
    lines = [line(bold("A person is needed"), f": {escalation.reason}")]
    look = [line(f"Look at: {text}") for text in escalation.look_at[:_LOOK_AT]]
    return [*lines, *look]


def _standings(story: IncidentStory) -> list[Line]:
    """How far it may go from now on, where this incident changed that."""
    lines = []
    for s in story.standings:
        if s.mark:
            lines.append(line(bold(f"Level {above(s.level)} waits for a person"), f": {s.key}: {s.text}"))
            lines.append(promote_command(s.key))
        elif s.change in ("promoted", "demoted"):
            lines.append(line(f"{s.change.capitalize()} from {s.before} to {s.level}: {s.key}: {s.why}"))
    return lines


def _paused(story: IncidentStory) -> list[Line]:
    return [line(f"{story.paused.text}, by ", *_by(story.paused))] if story.paused else []


def _small_print(story: IncidentStory) -> list[Line]:
    facts = [story.severity or "no severity", count(story.alerts, "alert")]
    if story.firing != story.alerts and story.ended_at is None:
        facts.append(f"{story.firing:,} still firing")
    if story.mode:
        facts.append(f"mode {story.mode}")
    run = (" · run ", code(story.run_id)) if story.run_id else ()
    lines = [
        line(" · ".join(facts), " · since ", When(story.opened_at)),
        line("Details: ", code(f"remediator explain {story.incident_id}"), *run),
    ]
    if story.links:
        lines.append(line(*_spread([Ref(li.label, li.url) for li in story.links])))
    return lines


def _spread(refs: list[Ref]) -> list[Ref | str]:
    return [piece for i, ref in enumerate(refs) for piece in ((" · ", ref) if i else (ref,))]
