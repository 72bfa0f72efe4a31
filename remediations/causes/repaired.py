"""What was written or came back once the trouble was there, and may have repaired it: what it is, and whether the pods have tried it.

One rule for errors of pods that run and for pods that crash, for every handler: who has tried it is told by when a run *began*, of the
container that shows the cause, for that is when a program reads its configuration; and a run that goes on with it tells that it works. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj
from app.domain.target import Kind
from app.domain.workload import ContainerState, Terminated
from remediations.causes.changes import CONFIGURATION, Change, changes_of, telling
from remediations.causes.demands import configured_by
from remediations.causes.edits import of_something_else
from remediations.causes.exits import last_words_of, names_any, speaks_of_else
from remediations.causes.model import Cause, CauseCode, Snapshot
from remediations.causes.writers import by_hand, may_end, unsure_hand
from remediations.evidence.error_words import Nature
from remediations.evidence.natures import judged
from remediations.evidence.usage import span

CHANGED = "config.changed"
RUNS_AGAIN = frozenset(
    {CauseCode.CRASH, CauseCode.ENDS, CauseCode.CANNOT_START, CauseCode.STARTUP_PROBE, CauseCode.LIVENESS_PROBE,
     CauseCode.CONFIG_MISSING}
)  # fmt: skip
"""What repaired configuration can end, once a container begins anew."""
_SAME = timedelta(seconds=1)
"""Times are told in whole seconds: what was written in the second in which a run began it may not have read."""
_SYNCED = timedelta(minutes=2)
"""The kubelet brings what was written into a volume of a pod that is there as late as that."""
_STAYS = timedelta(seconds=30)
"""A run that is shorter shows nothing."""
_LONGER = 1.5
"""So much longer than those that failed a run goes on that this one does not."""
_MAX_BACK_OFF = timedelta(minutes=5, seconds=30)
"""So long after it was written each container that waits has begun with it."""
_MAX_TRIAL = timedelta(minutes=10)
"""What is not ready after so long with it was not repaired by it."""


class Trial(StrEnum):
    """What is known of a repair: no pod has begun with it, one has and nobody can tell yet, one runs with it for longer than without, or one has
    begun long ago and is not ready."""

    NONE = "none"
    BEGUN = "begun"
    WORKS = "works"
    FAILED = "failed"


def unread(seen: Snapshot) -> str:
    """Why the configuration of the pods is not known; empty when it is."""
    return next((seen.unread[what] for what in ("ConfigMaps", "Secrets") if what in seen.unread), "")


def changed_finding(seen: Snapshot, cause: Cause | None = None) -> Finding:
    """The finding `config.changed`: the newest write of data that any ConfigMap or Secret which the pods use tells of; data has `at`, `last_run`, when the
    last run that failed began, `repaired`: what was written since that may end the `cause`, `other`: why that is not sure, `trial` and `tried`: what its
    pods have shown of it so far, and `later`: when they will have."""
    failed = _failed_run(seen, cause)
    data: dict[str, JsonValue] = {
        "at": None, "last_run": failed.isoformat() if failed else None, "repaired": "", "other": "", "trial": Trial.NONE.value, "tried": "", "later": None
    }  # fmt: skip
    if why := unread(seen):
        return Finding(CHANGED, f"When configuration changed is not known: {why}", Certainty.UNKNOWN)
    if cause is not None and cause.code is CauseCode.CONFIG_MISSING and cause.objects and not cause.needs:
        return Finding(CHANGED, "What was missing is there now", data={**data, **_there_now(seen, cause)})
    if (back := _back(seen, cause, failed)) is not None:
        return Finding(CHANGED, f"{back['repaired']}", data={**data, **back})
    used = {(ref.kind, ref.name) for c in seen.workload.containers for ref in c.config}
    if not used:
        return Finding(CHANGED, "The pods use no ConfigMap or Secret", data=data)
    written = [c for c in changes_of(seen) if (c.kind, c.name) in used]
    if not written:
        return Finding(CHANGED, "No write to the pods' configuration is recorded", data=data)
    said = [words.text for words in last_words_of(seen, cause)] if cause is not None else []
    begun = (failed - _SYNCED, _troubled(seen, cause)) if failed else ()
    since = repairs(seen, said, max(begun)) if begun else ()
    if failed and (
        found := [r for r in since if (r.kind, r.name) in used and _untried(seen, cause, r, failed)]
    ):
        data |= _of_repair(seen, cause, said, found)
        if found[0].at < failed:
            data |= {"last_run": None, "tried": data["tried"] or _LATE}
    last = written[0]
    data |= {"at": last.at.isoformat(), "kind": last.kind.value, "name": last.name, "by": last.by}
    return Finding(CHANGED, _written(seen, last), data=data)


_LATE = "files of a volume come to pods a minute or two later, so that the run that failed last may not have had it"


def _troubled(seen: Snapshot, cause: Cause | None) -> datetime:
    """What was there before the trouble began has perhaps brought it, and repaired nothing: when the cause began, or the earliest end that is known.
    Of a container that was restarted again and again only the last end is, so that it was there when the alert fired."""
    shown = [c for p in seen.alive for c in p.containers if _shows(cause, c)]
    known = [
        cause.since if cause is not None else None,
        *(t.finished_at for c in shown for t in _failed(cause, c)),
    ]
    if not any(known) or any(c.restarts > 1 for c in shown):
        known.append(seen.fired_at)
    return min(t for t in known if t is not None) - _SAME


def _untried(seen: Snapshot, cause: Cause | None, change: Change, failed: datetime) -> bool:
    """Whether the run that failed last, and began then, may have begun without it. A pod that was made since has its files from the first."""
    made = [c for p in seen.alive if p.created_at > change.at for c in p.containers if _shows(cause, c)]
    if any(_failed(cause, c) for c in made):
        return False
    template: Obj = seen.workload.manifest["spec"]["template"]
    bare = {"spec": {**(template.get("spec") or {}), "volumes": []}}
    by_files = (change.kind, change.name) not in configured_by(bare)
    return change.at > failed - (_SYNCED if by_files else _SAME)


def _there_now(seen: Snapshot, cause: Cause) -> dict[str, JsonValue]:
    kind, name = cause.objects[0]
    tried = "the kubelet starts the containers with it by itself"
    later = (seen.now + _STAYS).isoformat()
    return {
        "repaired": f"{kind} {name} is there now",
        "last_run": None,
        "trial": Trial.BEGUN.value,
        "tried": tried,
        "later": later,
    }


def _back(seen: Snapshot, cause: Cause | None, failed: datetime | None) -> dict[str, JsonValue] | None:
    """What is known of a Service that the last words could not reach, and that has had a ready pod again since the last run began that failed."""
    if cause is None or failed is None or cause.code not in RUNS_AGAIN:
        return None
    said = [w.text for w in last_words_of(seen, cause) if judged([w.text])[1] is Nature.DEPENDENCY]
    again = [n for n in seen.neighbours if n.ready and any(map(n.named_in, said)) and n.since is not None]
    found = max(again, key=lambda n: n.since or failed, default=None)
    if found is None or found.since is None or found.since <= failed:
        return None
    tried = _trial(seen, cause, found.since)
    ran = seen.now - found.since
    if tried.word is Trial.FAILED:
        return None
    if tried.word is Trial.NONE and ran < _STAYS:
        tried = _Tried(
            Trial.BEGUN, "which is too early to tell whether it stays so", found.since + _STAYS + _SAME
        )
    return {
        "repaired": f"Service {found.name}, which the last words name, has had a ready pod again for {span(ran.total_seconds())}",
        "trial": tried.word.value,
        "tried": tried.told,
        "later": tried.later.isoformat() if tried.later else None,
        "elsewhere": True,
    }


def _of_repair(
    seen: Snapshot, cause: Cause | None, said: Sequence[str], found: Sequence[Change]
) -> dict[str, JsonValue]:
    sure = next((r for r in found if by_hand(seen, r)), None)
    change = sure or found[0]
    else_ = speaks_of_else(seen, cause, held=_is_about(seen, change, said)) if cause else ""
    doubts = [unsure_hand(seen, change), else_]
    tried = _trial(seen, cause, change.at)
    if tried.word is Trial.FAILED:
        return {}
    return {
        "repaired": _written(seen, change),
        "other": "; ".join(filter(None, doubts)),
        "trial": tried.word.value,
        "tried": tried.told,
        "later": tried.later.isoformat() if tried.later else None,
    }


def _written(seen: Snapshot, change: Change) -> str:
    ago, by = span((seen.now - change.at).total_seconds()), f" by {change.by}" if change.by else ""
    return f"{change.kind} {change.name} was last written, as far as it tells, {ago} ago{by}"


# Who has tried it.


def _shows(cause: Cause | None, state: ContainerState) -> bool:
    return cause is None or not cause.container or state.name == cause.container


def _failed(cause: Cause | None, state: ContainerState) -> list[Terminated]:
    """The ends of this container that are trouble: also one without an error, where that is the cause."""
    ends = [t for t in (state.terminated, state.last_terminated) if t is not None]
    by_itself = cause is not None and cause.code is CauseCode.ENDS
    return [t for t in ends if by_itself or t.exit_code or t.reason != "Completed"]


def _failed_run(seen: Snapshot, cause: Cause | None) -> datetime | None:
    """When the last run began that failed, of the containers that show the cause; where none has ended yet, the first that goes on without being ready.
    One whose end alone is told was short: it did not start."""
    states = [c for p in seen.alive for c in p.containers if _shows(cause, c)]
    began = [t.started_at or t.finished_at for c in states for t in _failed(cause, c)]
    ended = max((t for t in began if t is not None), default=None)
    return ended or min((c.running_since for c in states if c.running_since and not c.ready), default=None)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What was shown of a repair, in words, and when it will have been."""

    word: Trial = Trial.NONE
    told: str = ""
    later: datetime | None = None


def _trial(seen: Snapshot, cause: Cause | None, since: datetime) -> _Tried:
    """What the pods have shown of what was repaired then. Pods of another template than those that show the cause show nothing of it."""
    newest = {seen.newest(p) for p in seen.alive if cause is None or p.name in cause.pods}
    runs = [
        (p, c, c.running_since)
        for p in seen.alive
        if seen.newest(p) in newest
        for c in p.containers
        if _shows(cause, c) and c.running_since is not None and c.running_since > since
    ]
    if not runs:
        return _Tried()
    least = max([_STAYS, *(_LONGER * run for run in _lengths(seen, cause))])
    waits, began, name = min((not (p.ready and c.ready), began, p.name) for p, c, began in runs)
    ready = not waits
    ran = seen.now - began
    told = f"pod {name} began with it {span(ran.total_seconds())} ago"
    if ready and ran >= least:
        return _Tried(Trial.WORKS, f"{told} and is ready, so it works", since + _MAX_BACK_OFF)
    if ran >= max(least, _MAX_TRIAL):
        return _Tried(Trial.FAILED)
    state = "is ready, which is too early to tell whether it stays so" if ready else "is not ready yet"
    return _Tried(Trial.BEGUN, f"{told} and {state}", max(began + least, seen.now + _STAYS))


def _lengths(seen: Snapshot, cause: Cause | None) -> Iterator[timedelta]:
    """How long the runs lasted that failed."""
    for pod in seen.alive:
        for state in pod.containers:
            for t in _failed(cause, state) if _shows(cause, state) else ():
                if t.started_at is not None and t.finished_at is not None:
                    yield t.finished_at - t.started_at


class Repair:
    """What the finding `config.changed` says of a repair, for decisions."""

    def __init__(self, finding: Finding | None, code: CauseCode | None, now: datetime) -> None:
        data: Any = finding.data if finding is not None and code in RUNS_AGAIN else {}
        written, began = data.get("repaired"), data.get("last_run")
        self.trial = Trial(data.get("trial", Trial.NONE))
        self.other: str = data.get("other", "")
        """Why no configuration is known to end it; empty where its words speak of that, or of nothing."""
        self.elsewhere: bool = data.get("elsewhere") is True
        """It is something that the pods need, and nothing that they read when they begin: who is ready has it."""
        later = data.get("later")
        self.later = datetime.fromisoformat(later) if later else None
        """When its trial will have shown something; None where none is under way."""
        self.told, self.advice = "", ""
        """What was written that may end the cause, and what was shown of it; empty where nothing was, or pods failed with it."""
        if not written:
            return
        ago = f", after the last run that failed began {_ago(now, began)}" if began else ""
        self.told = f"{written}{ago}: {data['tried'] or 'the pods have not tried it yet'}"
        self.advice = _ADVICE[self.trial]

    @property
    def holds(self) -> str:
        """Why nobody goes back to another version now: what was written has to show first whether it is enough. Empty where nothing was, or nobody
        knows whether it can end the cause."""
        return "" if self.other else self.told


def _ago(now: datetime, moment: str) -> str:
    return f"{span((now - datetime.fromisoformat(moment)).total_seconds())} ago"


_OTHERS = "the others begin with it at the end of their back-off, which is 5 min at most; who cannot wait deletes them"
_ADVICE = {
    Trial.NONE: "let the pods begin with it: they do at the end of their back-off, which is 5 min at most, or at a restart",
    Trial.BEGUN: "see whether it stays up with it",
    Trial.WORKS: _OTHERS,
}


# What may have repaired it: one rule for errors of pods that run and for pods that crash.


def repairs(seen: Snapshot, said: Sequence[str], since: datetime) -> Iterator[Change]:
    """What was written after `since` and may end what was `said`, newest first. What writes of its own accord, or renews a certificate, repairs nothing
    by that; but it is also the hand by which persons change a Secret, so that it counts where the words are about what it wrote."""
    for change in telling(seen, said):
        if change.at <= since:
            return
        if may_end(seen, change, said) or _is_about(seen, change, said):
            yield change


def _is_about(seen: Snapshot, change: Change, said: Sequence[str]) -> bool:
    """Whether the words are about what was written there: they name it, or are about a login or a certificate, as a Secret holds."""
    if change.kind not in CONFIGURATION:
        return False
    of_login = any(judged([line])[1] is Nature.LOGIN for line in said)
    held = change.kind is Kind.SECRET and (of_login or not of_something_else(said))
    return held or names_any(seen, [(change.kind, change.name)], said)


def perhaps_repaired(seen: Snapshot, said: Sequence[str], deployed: datetime) -> str:
    """That something was changed since the alert that may end what was `said`, perhaps to repair it; empty otherwise."""
    change = next(repairs(seen, said, max(deployed, seen.fired_at)), None)
    ago = span((seen.now - seen.fired_at).total_seconds())
    told = f"after the alert fired {ago} ago something was changed, perhaps to repair it"
    return f"{told}: {change.told(seen.now)}" if change is not None else ""
