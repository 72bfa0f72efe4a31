"""Entries of an incident's timeline: every audit record in words, in the words that messages have where there are any.

Called by `app.page.incident`. Pure. A record of a kind that is new here is told by its kind, so nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.change import HIDDEN, FieldChange, is_hidden
from app.domain.decision import Decision, GateResult, Verdict
from app.domain.events import EventKind
from app.domain.plan import LEFT_OUT, Action, Step
from app.domain.units import counted
from app.kube.look import show
from app.notify.entries import thread_entry
from app.notify.text import Line, Ref, bold, code, line, plain
from app.notify.timeline import Timeline, Topic, fact_from_json
from app.policy.explain import gates_line
from app.store.audit import AuditEvent

QUIET = timedelta(minutes=1)
"""A span without a record from which on it is told that nothing happened."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field that a plan changes, before and after as they may be shown."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One action of a plan: what it does, what of the object it changes, and how it is taken back."""

    summary: str
    object: str
    fields: tuple[Field, ...]
    pods: int
    reversible: bool
    undo: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the timeline. `quiet` is how long nothing had happened before; `folded` holds the lines that are read on
    demand; `count` is how many records it stands for."""

    seq: int
    at: datetime
    kind: str
    actor: str
    head: Line
    lines: tuple[Line, ...] = ()
    folded: tuple[Line, ...] = ()
    gates: tuple[GateResult, ...] = ()
    deeds: tuple[Deed, ...] = ()
    quiet: timedelta | None = None
    count: int = 1


_TOPICS: Mapping[EventKind, Topic] = {
    EventKind.DIAGNOSED: Topic.EVIDENCE,
    EventKind.APPROVAL_ASKED: Topic.APPROVAL_ASKED,
    EventKind.ACTION_ENDED: Topic.ACTION,
    EventKind.VERIFIED: Topic.VERIFIED,
    EventKind.UNDO_ENDED: Topic.UNDO,
    EventKind.TEMPORARY_GRANTED: Topic.TEMPORARY,
    EventKind.TEMPORARY_EXTENDED: Topic.TEMPORARY,
    EventKind.TEMPORARY_KEPT: Topic.TEMPORARY,
    EventKind.TEMPORARY_ENDED: Topic.TEMPORARY,
    EventKind.TEMPORARY_KEEP_ASKED: Topic.TEMPORARY,
    EventKind.TEMPORARY_NOT_KEPT: Topic.TEMPORARY,
    EventKind.TRUST_CHANGED: Topic.TRUST,
    EventKind.ESCALATED: Topic.ESCALATED,
    EventKind.STEP_ASKED: Topic.ASKED,
    EventKind.ACKNOWLEDGED: Topic.ACKNOWLEDGED,
    EventKind.UNANSWERED: Topic.UNANSWERED,
}
_NOT_OF_THE_FACT = ("plan", "ladder", "plan_hash")  # what the trail keeps beside some facts
_GROUPED = {EventKind.MEASURED.value: "measurement", EventKind.NOTIFIED.value: "message"}


def entries(records: Sequence[AuditEvent], timeline: Timeline) -> list[Entry]:
    """All records as entries, oldest first; measurements and messages that follow each other are one."""
    found: list[Entry] = []
    for record in records:
        one = entry(record, timeline)
        last = found[-1] if found else None
        if last is not None and last.kind == one.kind and one.kind in _GROUPED:
            found[-1] = _grouped(last, one)
            continue
        gap = one.at - last.at if last else timedelta()
        found.append(replace(one, quiet=gap) if gap >= QUIET else one)
    return found


def entry(record: AuditEvent, timeline: Timeline) -> Entry:
    """One record."""
    bare = Entry(record.seq, record.at, record.kind.value, record.actor, line(record.kind.value))
    if (topic := _TOPICS.get(record.kind)) is not None:
        return _told(bare, record, timeline, topic)
    if record.kind is EventKind.DECIDED:
        return _decided(bare, Decision.from_json(record.data))
    if (words := _WORDS.get(record.kind)) is not None:
        return words(bare, record.data)
    return bare


def mentions(one: Entry, letters: str) -> bool:
    """Whether the entry has these letters anywhere in it, in whichever case; folded lines, gates and plans too."""
    if not letters:
        return True
    lines = (one.head, *one.lines, *one.folded)
    gates = (part for g in one.gates for part in (g.gate, g.value, g.threshold, g.remedy))
    plans = (
        part
        for deed in one.deeds
        for part in (
            deed.summary,
            deed.object,
            deed.undo,
            *(text for f in deed.fields for text in (f.path, f.before, f.after)),
        )
    )
    text = "\n".join((one.kind, one.actor, *map(plain, lines), *gates, *plans))
    return letters.casefold() in " ".join(text.split()).casefold()


def deeds(step: Step) -> tuple[Deed, ...]:
    """The actions of a plan, each with only the fields that it changes."""
    return tuple(_deed(action) for action in step.actions)


def _deed(action: Action) -> Deed:
    fields = tuple(Field(c.path, _value(c.before), _value(c.after)) for c in _parts(action.changes))
    if left_out := action.params.get(LEFT_OUT):
        fields = (*fields, Field(f"and {left_out} fields more", HIDDEN, HIDDEN))
    return Deed(
        action.summary,
        f"{action.object.kind} {action.object.namespace}/{action.object.name}",
        fields,
        action.pods_affected,
        action.reversible,
        action.undo,
    )


def _parts(changes: Sequence[FieldChange]) -> Iterator[FieldChange]:
    """Without the row of a whole object that shows neither value, where rows of its fields stand beside it."""
    for change in changes:
        below = f"{change.path}/"
        dark = is_hidden(change.before) and is_hidden(change.after)
        if not (dark and any(other.path.startswith(below) for other in changes)):
            yield change


def _value(value: Any) -> str:
    return HIDDEN if is_hidden(value) else show(value)


def _told(bare: Entry, record: AuditEvent, timeline: Timeline, topic: Topic) -> Entry:
    data = {
        k: v
        for k, v in record.data.items()
        if k not in _NOT_OF_THE_FACT or topic in (Topic.APPROVAL_ASKED, Topic.EVIDENCE)
    }
    message = thread_entry(topic, timeline, fact_from_json(topic, data))
    if message is None:
        return bare
    lines = tuple(li for part in message.parts for li in part.lines)
    if topic is Topic.EVIDENCE:
        return replace(bare, head=message.headline, folded=lines)
    return replace(bare, head=message.headline, lines=lines)


def _decided(bare: Entry, decision: Decision) -> Entry:
    facts = [
        f'rule "{decision.rule}"' if decision.rule else "no rule",
        f"remediation {decision.remediation}" if decision.remediation else "",
        f"step {decision.step}" if decision.step else "",
        f"reason {decision.code}",
        f"policy {decision.policy_version}" if decision.policy_version else "",
    ]
    lines = [line(" · ".join(f for f in facts if f))]
    if decision.gates:
        lines.append(line(gates_line(decision.gates)))
    return replace(
        bare,
        head=line(bold("Decided"), f": {decision.text or decision.verdict.value}"),
        lines=tuple(lines),
        gates=decision.gates,
    )


def gate_word(gate: GateResult) -> str:
    """A gate's answer, told without colour too."""
    return {Verdict.ALLOW: "ok", Verdict.DENY: "NO", Verdict.ASK: "ASK", Verdict.OBSERVE: "LOOK"}[
        gate.verdict
    ]


def _grouped(last: Entry, one: Entry) -> Entry:
    count = last.count + 1
    before = last.folded or (last.head,)
    head = line(bold(counted(count, _GROUPED[one.kind]).capitalize()), ", the last: ", *one.head)
    return replace(last, head=head, folded=(*before, one.head), count=count)


def _fired(bare: Entry, data: Mapping[str, Any]) -> Entry:
    labels, notes = dict(data.get("labels") or {}), dict(data.get("annotations") or {})
    lines = [line(bold(str(k)), f": {v}") for k, v in sorted(notes.items())]
    if cut := data.get("annotations_cut"):
        lines.append(
            line(f"{counted(cut, 'long annotation')} not whole or not at all here; the alert has all")
        )
    if url := data.get("generator_url"):
        lines.append(line(Ref("Where it came from", str(url))))
    labelled = tuple(line(code(str(k)), f" = {v}") for k, v in sorted(labels.items()))
    head = line(bold("Alert fired"), f": {labels.get('alertname', 'without a name')}")
    head = (*head, *line(f", from {data['source']}")) if data.get("source") else head
    return replace(bare, head=head, lines=tuple(lines), folded=labelled)


def _ordered(bare: Entry, data: Mapping[str, Any]) -> Entry:
    dry = "a dry run of " if data.get("dry_run") else ""
    text = f": {dry}{data.get('remediation', '')} on {data.get('target', '')}"
    return replace(
        bare, head=line(bold("Ordered"), text), lines=(_reason(data),) if data.get("reason") else ()
    )


def _requested(bare: Entry, data: Mapping[str, Any]) -> Entry:
    step = Step.from_json(data["step"])
    dry = ", as a dry run" if data.get("dry_run") else ""
    head = line(bold("Planned"), f": step {step.name} of {data.get('remediation', '')}{dry}")
    why = (line(step.why),) if step.why else ()
    return replace(bare, head=head, lines=why, deeds=deeds(step))


def _moved(word: str) -> Callable[[Entry, Mapping[str, Any]], Entry]:
    def words(bare: Entry, data: Mapping[str, Any]) -> Entry:
        why = str(data.get("reason") or data.get("result") or "")
        head = line(bold(word), f" {data.get('from', '')} → {data.get('to', '')}{f': {why}' if why else ''}")
        return replace(bare, head=head)

    return words


def _said(word: str, *fields: str) -> Callable[[Entry, Mapping[str, Any]], Entry]:
    """A word and those of these fields that say something; a person's reason follows."""

    def words(bare: Entry, data: Mapping[str, Any]) -> Entry:
        told = [str(data[f]) for f in fields if data.get(f)]
        by = f" by {bare.actor}" if bare.actor != "service" else ""
        head = line(bold(word), by, f": {', '.join(told)}" if told else "")
        reason = (_reason(data),) if data.get("reason") and "reason" not in fields else ()
        return replace(bare, head=head, lines=reason)

    return words


def _reason(data: Mapping[str, Any]) -> Line:
    return line(f"Reason: {data['reason']}")


def _intended(bare: Entry, data: Mapping[str, Any]) -> Entry:
    plan = data.get("plan")
    one = (_deed(Action.from_json(plan)),) if isinstance(plan, Mapping) else ()
    return replace(bare, head=line(bold("Begins"), f": {one[0].summary if one else ''}"), deeds=one)


_WORDS: Mapping[EventKind, Callable[[Entry, Mapping[str, Any]], Entry]] = {
    EventKind.ALERT_FIRED: _fired,
    EventKind.ALERT_ENRICHED: _said("Labels were added"),
    EventKind.ALERT_RESOLVED: _said("Alert resolved"),
    EventKind.MANUAL_REQUESTED: _ordered,
    EventKind.INCIDENT_OPENED: _said("Incident opened", "title"),
    EventKind.INCIDENT_TARGETED: _said("Target", "target"),
    EventKind.INCIDENT_MERGED: _said("Merged into", "into"),
    EventKind.INCIDENT_MOVED: _moved("Incident"),
    EventKind.RUN_REQUESTED: _requested,
    EventKind.RUN_MOVED: _moved("Run"),
    EventKind.RECHECKED: _said("Looked again before touching", "text"),
    EventKind.ACTION_INTENDED: _intended,
    EventKind.MEASURED: _said("Measured", "text"),
    EventKind.UNDO_REQUESTED: _said("Undo ordered"),
    EventKind.UNDO_INTENDED: _said("Begins", "summary"),
    EventKind.UNDO_HELD: _said("Undo waits", "held"),
    EventKind.UNDO_WITHDRAWN: _said("The order to undo was taken back", "reason"),
    EventKind.APPROVED: _said("Approved", "step"),
    EventKind.REJECTED: _said("Rejected", "step"),
    EventKind.APPROVAL_REFUSED: _said("An answer did not count", "answer", "text"),
    EventKind.APPROVAL_COUNTED: _said("An approval was counted", "step"),
    EventKind.APPROVAL_SNOOZED: _said("Put off", "until"),
    EventKind.APPROVAL_SHORTENED: _said("The rule gives less time to answer", "until"),
    EventKind.CLICKED: _said("Button", "paused"),
    EventKind.CLICK_IGNORED: _said("A button did not count", "reason"),
    EventKind.NOTIFIED: _said("Message sent", "kind"),
    EventKind.NOTIFY_FAILED: _said("A message could not be sent", "kind", "error"),
}
