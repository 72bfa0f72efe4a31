"""Findings of an investigation, and what handlers ask of them. Pure.

A handler decides from these findings alone, so that people see why. Data of `cause.first`: `code`, `object`, `sureness`, `text`,
`advice`, `rollout` (can the last rollout have brought it), `rollout_why`, `instead` (the change that fits better), `rest` (why
nothing is to be done now).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.target import Kind
from app.domain.workload import Pod
from remediations.causes.changes import changes_of
from remediations.causes.investigate import Investigation
from remediations.causes.model import CauseCode, Snapshot, Sureness
from remediations.causes.references import missing_references
from remediations.evidence.units import count, span

CAUSE, CHANGES, REVISION = "cause.first", "changes.recent", "pods.revision"
MISSING, CHANGED = "config.missing", "config.changed"
_SHOWN = 6
_WINDOW = timedelta(days=1)
_WORDS = {Sureness.CERTAIN: "", Sureness.LIKELY: "likely: ", Sureness.POSSIBLE: "possibly: "}


def findings_of(found: Investigation) -> tuple[Finding, ...]:
    """All of them, the cause first. A finding that says nothing is left out."""
    revision = _revision(found)
    made = (_cause(found), _changes(found.seen), *((revision,) if revision else ()))
    return (*made, _missing(found.seen), _changed(found.seen))


def _cause(found: Investigation) -> Finding:
    seen = found.seen
    gaps = tuple(f"not known: {what}: {why}" for what, why in sorted(seen.unread.items()))
    if not found.causes or found.blame is None:
        if "pods" in seen.unread:
            text = f"The pods could not be read: {seen.unread['pods']}"
            return Finding(CAUSE, text, Certainty.UNKNOWN, {"code": None, "rest": ""}, gaps)
        text = (
            found.rest or f"no cause was found: {seen.ready} of {count(seen.workload.desired, 'pod')} ready"
        )
        return Finding(CAUSE, _capital(text), data={"code": None, "rest": found.rest}, details=gaps)
    first, word = found.causes[0], found.blame
    data: dict[str, JsonValue] = {
        "code": first.code.value,
        "object": first.object,
        "sureness": first.sureness.value,
        "text": first.text,
        "advice": _advice(found),
        "pods": len(first.pods),
        "since": first.since.isoformat() if first.since else None,
        "rollout": word.rollout,
        "rollout_why": word.why,
        "instead": word.instead.told(seen.now) if word.instead else "",
        "rest": found.rest,
    }
    others = tuple(f"{_WORDS[c.sureness]}{c.text}" for c in found.causes[1:_SHOWN])
    return Finding(CAUSE, _capital(_WORDS[first.sureness] + first.text), data=data, details=(*others, *gaps))


def _advice(found: Investigation) -> str:
    """What a person does about the first cause; what changed in between comes first, where that fits better than a rollout."""
    first, word = found.causes[0], found.blame
    if word is None or word.instead is None:
        return first.advice
    return "; ".join(
        filter(None, (f"look at what changed {word.instead.told(found.seen.now)}", first.advice))
    )


def _capital(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text if "/" in first or "." in first else text[:1].upper() + text[1:]


def _changes(seen: Snapshot) -> Finding:
    lately = [c for c in changes_of(seen) if seen.now - c.at <= _WINDOW]
    rows = tuple(c.told(seen.now) for c in lately[:_SHOWN])
    if not rows:
        text = "Nothing that the pods use changed in 24 h, as far as it could be read"
        return Finding(CHANGES, text, data={"changes": 0})
    return Finding(CHANGES, f"Last change {rows[0]}", data={"changes": len(lately)}, details=rows)


def _revision(found: Investigation) -> Finding | None:
    """Do the pods of the present template do worse than those of an older one? None when revisions are not known."""
    seen, current = found.seen, found.seen.current
    if current is None:
        return None
    shown = {n for c in found.causes if c.sureness is not Sureness.POSSIBLE for n in c.pods}
    broken = [p for p in seen.alive if p.name in shown]

    def split(pods: list[Pod]) -> tuple[int, int]:
        newest = sum(seen.newest(p) for p in pods)
        return newest, len(pods) - newest

    (new_broken, old_broken), (new_ready, old_ready) = (
        split(broken),
        split([p for p in seen.alive if p.ready]),
    )
    data: dict[str, JsonValue] = {
        "only_newest": bool(broken) and old_broken == 0,
        "older_ready": old_ready,
        "newest_ready": new_ready,
    }
    text = (
        f"{count(new_broken, 'pod')} of revision {current.number} broken and {new_ready} ready; "
        f"of older revisions {old_broken} broken and {old_ready} ready"
    )
    return Finding(REVISION, text, data=data)


def _unread(seen: Snapshot) -> str:
    return next((seen.unread[what] for what in ("ConfigMaps", "Secrets") if what in seen.unread), "")


def _missing(seen: Snapshot) -> Finding:
    if why := _unread(seen):
        return Finding(MISSING, f"Whether configuration is missing is not known: {why}", Certainty.UNKNOWN)
    found = missing_references(seen)
    rows: list[JsonValue] = [{"kind": r.kind.value, "name": r.name, "key": r.key} for r, _ in found]
    if not found:
        return Finding(
            MISSING, "All ConfigMaps, Secrets and keys that the pods need exist", data={"missing": rows}
        )
    texts = [f"container {who} needs {r.kind} {r.name}{f' key {r.key}' if r.key else ''}" for r, who in found]
    return Finding(MISSING, f"Missing: {'; '.join(texts)}", data={"missing": rows}, details=tuple(texts))


def _changed(seen: Snapshot) -> Finding:
    """The newest write to any ConfigMap or Secret that the pods use; data has `at`, and `last_end`, when a container of theirs
    last ended in trouble."""
    ends = [
        t.finished_at
        for p in seen.alive
        for c in p.containers
        for t in (c.terminated, c.last_terminated)
        if t is not None and t.finished_at is not None and (t.exit_code or t.reason != "Completed")
    ]
    last_end = max(ends).isoformat() if ends else None
    if why := _unread(seen):
        return Finding(CHANGED, f"When configuration changed is not known: {why}", Certainty.UNKNOWN)
    used = {(ref.kind, ref.name) for c in seen.workload.containers for ref in c.config}
    if not used:
        return Finding(
            CHANGED, "The pods use no ConfigMap or Secret", data={"at": None, "last_end": last_end}
        )
    kept = [(k.changed_at, k) for place, k in seen.kept.items() if place in used and k.changed_at is not None]
    if not kept:
        text = "No write to the pods' configuration is recorded"
        return Finding(CHANGED, text, data={"at": None, "last_end": last_end})
    at, last = max(kept, key=lambda pair: pair[0])
    by = f" by {last.by}" if last.by else ""
    text = f"{last.kind} {last.name} was last changed {span((seen.now - at).total_seconds())} ago{by}"
    data: dict[str, JsonValue] = {
        "at": at.isoformat(),
        "kind": last.kind.value,
        "name": last.name,
        "by": last.by,
    }
    return Finding(CHANGED, text, data={**data, "last_end": last_end})


class FirstCause:
    """What the finding `cause.first` says, for decisions."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        finding = diagnosis.finding(CAUSE)
        data: Any = finding.data if finding is not None else {}
        self.text: str = finding.text if finding is not None else "nobody looked for the cause"
        self.unknown = finding is None or finding.certainty is Certainty.UNKNOWN
        """The pods could not be read."""
        self.code = CauseCode(data["code"]) if data.get("code") else None
        self.rest: str = data.get("rest", "")
        """Why nothing is to be done now."""
        latent = self.code is CauseCode.CONFIG_MISSING and not data.get("pods")
        self.sure = self.code is not None and not latent and data.get("sureness") != Sureness.POSSIBLE.value
        """A cause was found, it is more than possible, and it is not only what new pods would wait for."""
        self.by_rollout: bool = data.get("rollout") is True
        """The last rollout can have brought it, and nothing fits better."""
        self.rollout_why: str = data.get("rollout_why", "")
        self.advice: str = data.get("advice", "")
        self.instead: str = data.get("instead", "")

    @property
    def acquits(self) -> str:
        """Why the last rollout did not bring it; empty when it can have, or when no sure cause is known."""
        return f"{self.text}; {self.rollout_why}" if self.sure and not self.by_rollout else ""


def time_of(diagnosis: Diagnosis, code: str, field: str) -> datetime | None:
    """A moment that a finding tells."""
    finding = diagnosis.finding(code)
    text = finding.data.get(field) if finding is not None else None
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def is_missing(diagnosis: Diagnosis, kinds: tuple[Kind, ...] = (Kind.CONFIG_MAP, Kind.SECRET)) -> bool:
    """Is any configuration of these kinds missing?"""
    finding = diagnosis.finding(MISSING)
    rows: Any = finding.data.get("missing", ()) if finding is not None else ()
    return any(r["kind"] in kinds for r in rows)
