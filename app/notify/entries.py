"""Thread entries: one message for each thing that happened, with all of its details.

Called by `app.flow.notifying.deliver` with the topic and fact of an outbox row and the timeline of its incident. Pure.
"""

from __future__ import annotations

from app.domain.decision import Code, Decision, Verdict
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.outcome import ActionResult, UndoResult
from app.domain.units import counted, duration
from app.notify.escalation import Acknowledged, LetGo, NotPaged, StepAsked, Unanswered
from app.notify.escalation import entry as escalation_entry
from app.notify.message import Context, Message, Part, Section
from app.notify.text import Line, Ref, When, bold, code, line
from app.notify.timeline import (
    ActionDone,
    AlertLine,
    ApprovalAnswer,
    ApprovalAsked,
    Escalation,
    Fact,
    TemporaryChange,
    Timeline,
    Topic,
    TrustChange,
    UndoDone,
    UndoHeld,
    Verification,
)
from app.notify.wording import (
    NEEDED,
    RESULT_WORDS,
    UNDO_WORDS,
    Written,
    above,
    action_word,
    against,
    allowed,
    gate_lines,
    held_lines,
    looks_again,
    measured,
    promote_command,
    standing_lines,
    to_look_at,
    undo_command,
    undo_line,
    written,
)

_AGAIN = "Looks again in 5 min, later each time, and at once when another run ends, a pause is lifted or the policy changes"
_ALERTS_SHOWN = 10
_VERDICT_WORDS = {
    Verdict.ALLOW: "Allowed",
    Verdict.ASK: "Allowed after an approval",
    Verdict.OBSERVE: "Only looking",
    Verdict.DENY: "Not allowed",
}


def thread_entry(topic: Topic, timeline: Timeline, fact: Fact | None = None) -> Message | None:
    """The entry for one outbox row; None for a topic that only edits the parent, or whose fact is missing."""
    if topic is Topic.FIRED:
        return _fired(timeline)
    match fact:
        case Diagnosis():
            return _evidence(timeline, fact)
        case Decision():
            return _refusal(timeline, fact) if fact.verdict is Verdict.DENY else _decision(timeline, fact)
        case ApprovalAsked():
            return _asked(timeline, fact)
        case ApprovalAnswer():
            return _answer(timeline, fact)
        case ActionDone():
            return _action(timeline, fact)
        case Verification():
            return _verified(timeline, fact)
        case UndoDone():
            return _undone(timeline, fact)
        case UndoHeld():
            head = line(bold("The undo waits"), f": {fact.held}")
            return _entry(timeline, head, Section(tuple(held_lines(fact))))
        case TemporaryChange():
            return _temporary(timeline, fact)
        case TrustChange():
            return _trust_level(timeline, fact)
        case Escalation():
            return _escalated(timeline, fact)
        case StepAsked() | Acknowledged() | Unanswered() | LetGo() | NotPaged():
            return escalation_entry(timeline.incident_id, fact)
        case None:
            return None


def _temporary(timeline: Timeline, fact: TemporaryChange) -> Message:
    keep = [line("Keep it: ", code(f"remediator keep {fact.run_id}"))]
    if fact.change == "kept":
        why = f" ({fact.why})" if fact.why else ""
        return _entry(timeline, line(bold("Kept"), f" by {fact.by}: the change stays{why}"))
    if fact.change == "keep_asked":
        text = f": {fact.by} wants it kept. It stays where nothing of it was taken back yet"
        return _entry(timeline, line(bold("To be kept"), text))
    if fact.change == "not_kept":
        return _entry(timeline, line(bold("Not kept"), f", as {fact.by} wanted: {fact.why}"))
    if fact.change == "ended":
        return _entry(timeline, line(bold("Temporary change over"), ": taking it back"))
    if fact.change == "extended":
        head = line(bold("Still needed"), f": {fact.why}. It stays until ", When(fact.until))
        back = [line("Take it back now: ", code(f"remediator undo {fact.run_id}"))]
        return _entry(timeline, head, Section(tuple(back)), Section(tuple(keep)))
    head = line(bold("Temporary until "), When(fact.until), ": then it is taken back")
    done = [line(f"- {text}") for text in fact.actions]
    permanent = [
        line("To make it permanent, apply this to its source:"),
        *_patch(fact.patch),
    ]
    return _entry(timeline, head, Section(tuple(done)), Section(tuple(permanent)), Section(tuple(keep)))


def _patch(patch: str) -> list[Line]:
    return [line(code(text)) for text in patch.splitlines()]


def _entry(timeline: Timeline, head: Line, *parts: Part) -> Message:
    return Message(timeline.incident_id, head, tuple(p for p in parts if p.lines))


def _fired(timeline: Timeline) -> Message:
    shown = timeline.alert_lines[:_ALERTS_SHOWN]
    lines = [li for alert in shown for li in _alert(alert)]
    if timeline.alerts > len(shown) and shown:
        lines.append(line(f"… and {counted(timeline.alerts - len(shown), 'more alert')}"))
    if timeline.requested_by:
        head = line(bold("Requested"), f" by {timeline.requested_by}")
    else:
        head = line(bold("Fired"), f": {counted(timeline.alerts, 'alert')}, ", When(timeline.opened_at))
    links = [line(Ref(li.label, li.url)) for li in timeline.links]
    return _entry(timeline, head, Section(tuple(lines)), Context(tuple(links)))


def _alert(alert: AlertLine) -> list[Line]:
    labels = ", ".join(f'{k}="{v}"' for k, v in sorted(alert.labels.items()))
    since = line(" since ", When(alert.starts_at)) if alert.starts_at else ()
    return [line(f"{{{labels}}}", *since), *([line(f"The alert says: {alert.text}")] if alert.text else [])]


def _evidence(timeline: Timeline, diagnosis: Diagnosis) -> Message:
    unknown = sum(f.certainty is Certainty.UNKNOWN for f in diagnosis.findings)
    gaps = f", {unknown} could not be read" if unknown else ""
    head = line(
        bold("Evidence"), f": {diagnosis.summary} ({counted(len(diagnosis.findings), 'finding')}{gaps})"
    )
    return _entry(timeline, head, *(Section(tuple(_finding(f))) for f in diagnosis.findings))


def _finding(finding: Finding) -> list[Line]:
    mark = "?" if finding.certainty is Certainty.UNKNOWN else "•"
    return [line(f"{mark} {finding.text}"), *(line("    ", code(d)) for d in finding.details)]


def _decision(timeline: Timeline, decision: Decision) -> Message:
    changes = [
        line(f"What would have to change: {g.gate}: {g.remedy}") for g in against(decision) if g.remedy
    ]
    return _entry(timeline, _word(decision), Section(tuple(changes)), *_trace(decision))


def _word(decision: Decision) -> Line:
    return line(bold(decision.text or _VERDICT_WORDS[decision.verdict]))


def _refusal(timeline: Timeline, decision: Decision) -> Message:
    lines = []
    for gate in against(decision):
        lines.append(line(bold(gate.gate), f": {measured(gate)}"))
        if gate.remedy:
            lines.append(line(f"    What would have to change: {gate.remedy}"))
    if decision.code not in (Code.PERSON_NEEDED, Code.NO_STEP):  # those are a person's now
        lines += _again(timeline, decision)
    return _entry(timeline, _word(decision), Section(tuple(lines)), *_trace(decision))


def _again(timeline: Timeline, decision: Decision) -> list[Line]:
    """When it is looked at again: an alert is, an order has ended with its refusal."""
    if timeline.requested_by:
        return (
            [line("Order it again once that has changed: nothing waits for it")]
            if timeline.state.closed
            else []
        )
    return looks_again(decision.retry_at) or [line(_AGAIN)]


def _trace(decision: Decision) -> list[Part]:
    facts = [
        f'rule "{decision.rule}"' if decision.rule else "no rule",
        f"remediation {decision.remediation}" if decision.remediation else "",
        f"step {decision.step}" if decision.step else "",
        f"reason {decision.code}" if decision.verdict is not Verdict.ALLOW else "",
        f"policy {decision.policy_version}" if decision.policy_version else "",
    ]
    total = f"{allowed(decision.gates)} of {counted(len(decision.gates), 'gate')} allow"
    return [
        Section((line(total), *gate_lines(decision)) if decision.gates else ()),
        Context((line(" · ".join(f for f in facts if f)),)),
    ]


def _asked(timeline: Timeline, asked: ApprovalAsked) -> Message:
    lines = [line(f"{i}. {text}") for i, text in enumerate(asked.actions, start=1)]
    lines.extend(line(bold("Changed since it was approved"), f": {text}") for text in asked.changed)
    if asked.why:
        lines.append(line(f"Why: {asked.why}"))
    if asked.approvals > 1:
        lines.append(line(f"Approvals needed: {asked.approvals}, of different people"))
    lines.append(line(f"Pods affected at worst: {asked.pods_affected}"))
    lines.extend(line(f"To know: {text}") for text in asked.known)
    lines.extend(line(f"Undo: {text}") for text in asked.undo)
    approvals = (
        line("Yes: ", code(f"remediator approve {asked.run_id}")),
        line("No: ", code(f"remediator reject {asked.run_id}")),
    )
    bound = line(
        "The answer is for plan ", code(asked.plan_hash[:12]), " only, once, until ", When(asked.expires_at)
    )
    head = line(bold("Approval needed"), f": {counted(len(asked.actions), 'action')} on {timeline.place}")
    source = [line("Its source would set it back. To change it there instead:"), *_patch(asked.patch)]
    git = Section(tuple(source)) if asked.patch else Section(())
    return _entry(timeline, head, Section(tuple(lines)), git, Section(approvals), Context((bound,)))


def _answer(timeline: Timeline, answer: ApprovalAnswer) -> Message:
    by = f" by {answer.by}" if answer.by else ""
    text = f": {answer.text}" if answer.text else ""
    return _entry(timeline, line(bold(answer.answer.capitalize()), f"{by}{text}"))


def _action(timeline: Timeline, action: ActionDone) -> Message:
    told = action_word(action)
    word = told.capitalize()
    if action.dry_run:
        passed = action.result is ActionResult.APPLIED
        word = "Dry run, nothing was changed" if passed else f"Dry run: {told}"
    lines = [line(action.text)] if action.text else []
    small = [line("Action ", code(action.id), *((" at ", When(action.at)) if action.at else ()))]
    if action.result is ActionResult.APPLIED and not action.dry_run:
        lines.append(line(undo_line(action.undo, reversible=action.reversible)))
        if action.reversible and timeline.run_id:
            small.append(undo_command(timeline.run_id))
    return _entry(
        timeline, line(bold(word), f": {action.summary}"), Section(tuple(lines)), Context(tuple(small))
    )


def _verified(timeline: Timeline, check: Verification) -> Message:
    took = f", {duration(check.took)}" if check.took is not None else ""
    measured = line(f"{counted(check.measurements, 'measurement')}{took}")
    head = line(bold("Checked"), f": {RESULT_WORDS[check.result]}")
    return _entry(timeline, head, Section((line(check.text),)), Context((measured,)))


def _undone(timeline: Timeline, undo: UndoDone) -> Message:
    why = f", asked by {undo.by}" if undo.by else ""
    head = line(bold(UNDO_WORDS[undo.result].capitalize()), f": {undo.summary}{why}")
    lines = [line(undo.text)] if undo.text else []
    if undo.result in (UndoResult.CONFLICT, UndoResult.FAILED):
        lines.append(line(f"Compare {timeline.place} with the evidence before you change it"))
    return _entry(timeline, head, Section(tuple(lines)))


def _trust_level(timeline: Timeline, changed: TrustChange) -> Message:
    heads = {
        "asked": ("Promotion waits", f"level {above(changed.level)} for {changed.key}"),
        "agreed": ("Agreed", f"level {above(changed.level)} for {changed.key}"),
        "promoted": ("Promoted", f"{changed.key} from {changed.before} to {changed.level}"),
        "demoted": ("Demoted", f"{changed.key} from {changed.before} to {changed.level}"),
    }
    word, text = heads.get(
        changed.change, ("Counted from the start", f"{changed.key} stays at {changed.level}")
    )
    lines = [line(f"Why: {changed.why}"), line(f"Now: {changed.text}")]
    if changed.next and not changed.mark:
        lines.append(line(f"Next: {changed.next}"))
    if changed.mark:
        lines.append(promote_command(changed.key))
    return _entry(timeline, line(bold(word), f": {text}"), Section(tuple(lines)))


def _escalated(timeline: Timeline, escalation: Escalation) -> Message:
    word = "Stuck, a person must look" if escalation.stuck else "Escalated, a person is needed"
    tried = [line(f"Tried: {t}") for t in escalation.tried]
    if not tried and not escalation.done and written(timeline) is Written.NOTHING:
        tried = [line("Nothing was changed")]
    tried += [line(f"Not taken: {t}") for t in escalation.not_taken]
    tried += [line(text) for text in standing_lines(escalation)]
    look = [line(f"Look at: {t}") for t in to_look_at(escalation)]
    reason = escalation.reason.removeprefix(NEEDED)
    return _entry(timeline, line(bold(word), f": {reason}"), Section(tuple(tried)), Section(tuple(look)))
