"""What an investigation says: its causes as findings, and whether the last rollout can have brought the errors in the logs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.accusing import Sign
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.onset import Since
from app.domain.target import Kind
from app.kube.lineage import template_written_at
from app.kube.manifest import differences
from remediations.causes.blame import Blame
from remediations.causes.bystanders import Whose, whose_errors
from remediations.causes.changes import (
    CLEAN,
    NEW,
    Change,
    Measured,
    began_at_once,
    changes_of,
    deployed_at,
    fits_better,
    said_of,
    telling,
    told,
)
from remediations.causes.compared import as_often, fewer_in_older, made_at, only_newest_has_them, only_some
from remediations.causes.creation import beware, missing_finding, picked_up
from remediations.causes.investigate import Investigation
from remediations.causes.model import STARTING, CauseCode, Snapshot, Sureness
from remediations.causes.pods import revision_finding
from remediations.causes.repaired import Repair, changed_finding, perhaps_repaired
from remediations.causes.silent import brought, came_later, only_configuration, without_lines
from remediations.causes.suspects import SOON, brings_no_errors, in_untouched, named_by, unaccused
from remediations.evidence.error_words import Nature
from remediations.evidence.logs import ErrorLog
from remediations.evidence.rollouts import Deployment, labels_only, last_deployment
from remediations.evidence.usage import count, span

# Can the last rollout have brought the errors in the logs? The same question as `blame`, for pods that run and fail. Pure.
#
# Errors are new with a revision when its pods have had them for as long as the logs reach, and pods of an older one have not. Where these
# are gone, only what was measured tells of the time before: logs that begin with the release do not.

ORIGIN = "errors.origin"


def errors_acquit(found: Investigation, log: ErrorLog, measured: Measured) -> Blame | None:
    """Why the errors do not come from the last rollout, or why a person is to be asked (`asks`); None when they can."""
    seen = found.seen
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return None
    if log.top is None:
        return None if measured.since is Since.UNKNOWN else without_lines(seen, log, measured, last)
    if measured.since is Since.OLDER and not only_newest_has_them(seen, log):
        return Blame(False, measured.said, brought(seen, measured.began, said_of(log)))
    no = next((b for b in _reasons(seen, log, measured, last) if b is not None), None)
    if no is not None:
        return no
    unsure = "; ".join(filter(None, _doubts(found, log, measured, last)))
    return Blame(True, unsure, asks=unsure) if unsure else None


def _reasons(seen: Snapshot, log: ErrorLog, measured: Measured, last: Deployment) -> Iterator[Blame | None]:
    deployed, began = seen.now - timedelta(seconds=last.age), log.beginning.after
    if change := fits_better(seen, log, measured, deployed):
        told_of = change.told(seen.now)
        yield Blame(False, f"something that fits better changed after the rollout: {told_of}", change)
    if told(log.beginning, deployed) and began is not None:
        after = span((began - deployed).total_seconds())
        by = log.beginning.by
        when = "began" if by is not None and by - began < CLEAN else "began later than"
        why = f"the errors {when} {after} after the rollout, and the logs before have none of them"
        yield Blame(False, why)
    yield _everywhere(seen, log)
    if measured.since is Since.LATER and not only_newest_has_them(seen, log) and not named_by(last, log):
        yield Blame(False, late) if (late := came_later(seen, log, measured, deployed)) else None
    if not _new_image(last, log) and (untouched := brings_no_errors(last)):
        yield only_configuration(seen, untouched, last, said_of(log))


def _doubts(found: Investigation, log: ErrorLog, measured: Measured, last: Deployment) -> Iterator[str]:
    """Why a person is to be asked, although nothing acquits the rollout."""
    seen = found.seen
    words, deployed = said_of(log), seen.now - timedelta(seconds=last.age)
    yield picked_up(seen, last, deployed, words)
    if any(c.at > seen.fired_at for c in telling(seen, words)):
        yield perhaps_repaired(seen, words, deployed)
    yield only_some(seen, log)
    yield fewer_in_older(seen, log)
    if only_newest_has_them(seen, log):
        # Pods of an older revision run beside without them: that tells more than their beginning and their words.
        yield measured.said if measured.since is Since.OLDER else ""
        return
    yield (when := _when(seen, log, measured, deployed))
    have, new_image = log.top.containers if log.top else frozenset[str](), _new_image(last, log)
    if not new_image and (alone := in_untouched(last, have)):
        yield f"revision {last.revision.number} did not touch {alone}, which alone has the errors"
    # A fault of the program accuses its new image, where no volume of its own may be in the words.
    accuses = new_image and log.accuse is Sign.OWN and not any(map(seen.mounts, have))
    if not accuses and (said := unaccused(seen, last, log, new_image=new_image)):
        ago = span((seen.now - deployed).total_seconds())
        yield said if when else f"the logs have the errors since the rollout {ago} ago, and {said}"
    elif not when:
        yield _before(found, log, measured, last)


def _before(found: Investigation, log: ErrorLog, measured: Measured, last: Deployment) -> str:
    """That nobody knows whether the errors were there before the rollout; empty where it was measured, where they name what it changed,
    and where its pods are broken by it whatever was before."""
    if measured.since is Since.WITH or named_by(last, log) or _broken(found):
        return ""
    after = last.age - (found.seen.now - found.seen.fired_at).total_seconds()
    # How long its rule waits is not known: what fires so soon may have begun before.
    alert = f", and the alert fired only {span(after)} after it" if 0 <= after < NEW.total_seconds() else ""
    why = f"the logs begin with its pods, and {measured.said}{alert}"
    return f"whether the errors came with the rollout {span(last.age)} ago is not known: {why}"


def _broken(found: Investigation) -> str:
    """The cause of why pods of the last rollout do not run, where it alone can have brought it; empty without one."""
    word, first = found.blame, found.causes[0] if found.causes else None
    sure = first is not None and first.sureness is not Sureness.POSSIBLE and bool(first.pods)
    brought = sure and word is not None and word.rollout and not word.asks
    return first.text if first is not None and brought else ""


def _new_image(last: Deployment, log: ErrorLog) -> bool:
    """Has a container with the errors a new image? It can bring any error."""
    images = {f"containers[{c}].image" for c in (log.top.containers if log.top else ())}
    found = differences(last.previous.template, last.revision.template) if last.previous else []
    return any(d.path in images for d in found)


def _when(seen: Snapshot, log: ErrorLog, measured: Measured, deployed: datetime) -> str:
    """That the errors are not known to be as old as the pods of the rollout; empty when they are."""
    newest = [p for p in seen.alive if seen.newest(p)]
    if began_at_once(log, newest, deployed, seen.now):
        return ""
    ago = span((seen.now - deployed).total_seconds())
    if log.beginning.after is not None and log.beginning.after > deployed:
        after = span((log.beginning.after - deployed).total_seconds())
        return f"the errors began {after} or more after the rollout {ago} ago, and the logs before have none of them"
    if measured.since is Since.WITH:
        return ""
    if measured.since is Since.LATER and came_later(seen, log, measured, deployed):
        return f"the rollout was {ago} ago, {measured.said}, and the errors name what it changed"
    if measured.since is Since.LATER:
        return f"the rollout was {ago} ago, and {measured.said}, which is soon enough for it to have brought them: the logs do not tell when they began"
    told_of = "" if measured.since is Since.UNKNOWN else f", and {measured.said}"
    return f"whether the errors are as old as the rollout {ago} ago is not known: the logs do not tell when they began{told_of}"


def _everywhere(seen: Snapshot, log: ErrorLog) -> Blame | None:
    older = sorted(p.name for p in as_often(seen, log, log.top)) if log.top else []
    if not older:
        return None
    told = f"not the newest revision alone has the errors: pod {older[0]} of an older one has them too"
    return Blame(False, told)


def origin_finding(found: Investigation, log: ErrorLog, measured: Measured) -> Finding | None:
    """The finding `errors.origin`; None where neither the logs nor what was measured tell of errors. Data: `rollout` (the last rollout can have brought them), `asks` (why a
    person has to say so), `instead` (the change that fits better), `beware` (what is told of going back also where that is right), `only_newest` (pods of an older revision run beside without
    them), `dependency` (they speak of something else that does not answer), `named` (what of the release they name), `before` (what was
    measured of the time before it), `measured` (the same in words) and `containers` (those that have them, where they accuse the program)."""
    seen, word = found.seen, errors_acquit(found, log, measured)
    if log.top is None and word is None:
        return None
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    named = named_by(last, log) if last is not None and log.accuse is not Sign.OWN else ""
    data: dict[str, JsonValue] = {
        "rollout": word is None or word.rollout,
        "asks": word.asks if word else "",
        "instead": word.instead.told(seen.now) if word and word.instead else "",
        "beware": beware(seen, last, at, said_of(log)) if last and (at := deployed_at(seen)) else "",
        "only_newest": only_newest_has_them(seen, log),
        "dependency": log.share(Nature.DEPENDENCY) >= 0.5,
        "named": named,
        "before": measured.since.value,
        "containers": sorted(log.top.containers) if log.top and log.accuse is Sign.OWN else [],
        "measured": "" if measured.since is Since.UNKNOWN else measured.said,
    }
    text = "The last rollout can have brought the errors"
    if last is not None and last.previous is None and (word is None or word.rollout):
        text = f"No version is known before the one that has the errors, which is {span(last.age)} old"
    elif word is not None and word.rollout:
        text += f", which is not sure: {word.asks}"
    elif word is None and last is not None:
        text += f": {_why(found, log, measured, last)}"
    elif word is not None:
        text = f"The last rollout did not bring the errors: {word.why}"
    shown = () if measured.since is Since.UNKNOWN else (f"measured: {measured.said}",)
    return Finding(ORIGIN, text, data=data, details=() if shown and measured.said in text else shown)


def _why(found: Investigation, log: ErrorLog, measured: Measured, last: Deployment) -> str:
    """Why nobody has to be asked."""
    if only_newest_has_them(found.seen, log):
        return "pods of an older revision run beside and do not have the most frequent one"
    own = log.accuse is Sign.OWN and measured.since is Since.WITH
    named = "a fault of the program" if own else named_by(last, log)
    before = measured.said if measured.since is Since.WITH else "the logs of its pods have them"
    return f"{before}, and {f'they name {named}' if named else _broken(found)}"


# Findings of an investigation, and what handlers ask of them. Pure.
# A handler decides from these findings alone, so that people see why. Data of `cause.first`: `code`, `object`,
# `sureness`, `text`, `advice`, `rollout` (can the last rollout have brought it), `rollout_why`, `asks` (what of that only
# a person may say), `held` (what was written that has to show first whether it ends it), `instead` (the change that fits better), `rest` (why nothing is to be done now).

CAUSE, CHANGES = "cause.first", "changes.recent"
_SHOWN = 6
_WINDOW = timedelta(days=1)
_WORDS = {Sureness.CERTAIN: "", Sureness.LIKELY: "likely: ", Sureness.POSSIBLE: "possibly: "}


def findings_of(found: Investigation, log: ErrorLog | None = None) -> tuple[Finding, ...]:
    """All of them, the cause first. A finding that says nothing is left out. `log`: the errors that the cause may only stand beside."""
    revision = revision_finding(found.seen, found.causes)
    changed = changed_finding(found.seen, found.causes[0] if found.causes else None)
    made = (_cause(found, changed, log), _changes(found.seen), *((revision,) if revision else ()))
    return (*made, missing_finding(found.seen), changed)


def first_findings(found: Investigation, log: ErrorLog | None = None) -> tuple[Finding, Finding]:
    """The cause, and what changed lately: all that is told beside an alert of which pods are not the whole."""
    changed = changed_finding(found.seen, found.causes[0]) if found.causes else None
    return _cause(found, changed, log), _changes(found.seen)


def _cause(found: Investigation, changed: Finding | None, log: ErrorLog | None) -> Finding:
    seen = found.seen
    gaps = tuple(f"not known: {what}: {why}" for what, why in sorted(seen.unread.items()))
    if not found.causes or found.blame is None:
        if "pods" in seen.unread:
            text = f"The pods could not be read: {seen.unread['pods']}"
            return Finding(CAUSE, text, Certainty.UNKNOWN, {"code": None, "rest": ""}, gaps)
        none = f"no cause was found: {seen.ready} of {count(seen.workload.desired, 'pod')} ready"
        text = found.rest or none
        return Finding(CAUSE, _capital(text), data={"code": None, "rest": found.rest}, details=gaps)
    first, word = found.causes[0], found.blame
    repair = Repair(changed, first.code, seen.now)
    data: dict[str, JsonValue] = {
        "code": first.code.value,
        "object": first.object,
        "sureness": first.sureness.value,
        "text": first.text,
        "advice": repair.advice if repair.holds else _advice(found),
        "held": repair.holds,
        "pods": len(first.pods),
        "newest_ready": any(p.ready and seen.newest(p) for p in seen.alive),
        "containers": [first.container] if first.container else [],
        "since": first.since.isoformat() if first.since else None,
        "rollout": word.rollout,
        "rollout_why": word.why,
        "asks": "; ".join(filter(None, (word.asks, repair.told if repair.other else ""))),
        "instead": word.instead.told(seen.now) if word.instead else "",
        "beware": word.beware,
        "rest": found.rest,
        "by_design": found.nothing_to_do if found.by_design else "",
        "errors": whose_errors(seen, first, log).value if log is not None else "",
    }
    others = tuple(f"{_WORDS[c.sureness]}{c.text}" for c in found.causes[1:_SHOWN])
    return Finding(CAUSE, _capital(_WORDS[first.sureness] + first.text), data=data, details=(*others, *gaps))


def _advice(found: Investigation) -> str:
    """What a person does about the first cause; what changed in between comes first, where that fits better than a rollout."""
    first, word = found.causes[0], found.blame
    if word is not None and word.named:
        return f"correct {word.named} of the pod template, which the error names; or {first.advice}"
    look = word.look if word is not None else ""
    at = deployed_at(found.seen)
    suspect = word is not None and word.rollout and at is not None and at <= found.seen.fired_at
    if suspect and first.code is CauseCode.OUT_OF_MEMORY:
        look = "find out why the last release needs more memory, or roll it back"
    if word is not None and word.instead is not None:
        look = f"look at what changed {word.instead.told(found.seen.now)}"
    return "; ".join(filter(None, (look, first.advice)))


def _capital(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text if "/" in first or "." in first else text[:1].upper() + text[1:]


def _changes(seen: Snapshot) -> Finding:
    lately = [c for c in changes_of(seen) if seen.now - c.at <= _WINDOW]
    rows = tuple(c.told(seen.now) for c in lately[:_SHOWN])
    if not rows:
        text = "Nothing that the pods use changed in 24 h, as far as it could be read"
        return Finding(CHANGES, text, data={"changes": 0})
    data: dict[str, JsonValue] = {"changes": len(lately), **lately_of(seen, lately)}
    return Finding(CHANGES, f"Last known change {rows[0]}", data=data, details=rows)


_OF_SIZE = frozenset({CauseCode.AUTOSCALER, CauseCode.DISRUPTION_BUDGET})
"""Why there are not more pods, or why they cannot be moved."""


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
        self.by_design: str = data.get("by_design", "")
        """The same, where it is meant to have no pods."""
        latent = self.code is CauseCode.CONFIG_MISSING and not data.get("pods")
        self.sure = self.code is not None and not latent and data.get("sureness") != Sureness.POSSIBLE.value
        """A cause was found, it is more than possible, and it is not only what new pods would wait for."""
        possible = self.code is not None and not latent and not self.sure and self.code not in _OF_SIZE
        self.perhaps: str = self.text if possible else ""
        """A cause that is only possible, and that more pods would not end; empty without one."""
        self.of_size: str = self.text if self.code in _OF_SIZE and not self.sure else ""
        """Why there are not more pods, or why they cannot be moved, where it is only possible that this is the cause."""
        self.by_rollout: bool = data.get("rollout") is True
        """The last rollout can have brought it, and nothing fits better."""
        self.rollout_why: str = data.get("rollout_why", "")
        self.asks: str = data.get("asks", "")
        """What is not known of it, so that only a person may say that the rollout brought it."""
        self.newest_ready: bool = data.get("newest_ready") is True
        """A pod of the present template is ready: others can be."""
        self.advice: str = data.get("advice", "")
        self.held: str = data.get("held", "")
        """What was written since that may end it, and has to show first whether it does: nobody goes back to another version before."""
        self.instead: str = data.get("instead", "")
        self.beside = self.sure and data.get("errors") == Whose.ELSEWHERE
        """The errors in the logs come from elsewhere."""
        self.says_them = data.get("errors") == Whose.ITS_OWN
        self.cure = "" if self.beside else self.advice

    @property
    def acquits(self) -> str:
        """Why the last rollout did not bring it, or is not the one to be taken back now; empty when it is, when no sure cause is known, or
        when that brought no error."""
        why = self.held or ("" if self.by_rollout else self.rollout_why)
        acquitted = self.sure and not self.beside and (self.held or not self.by_rollout)
        return f"{self.text}; {why}" if acquitted else ""


def beware_of(diagnosis: Diagnosis) -> str:
    """What is told of going back also where that is right."""
    found = (diagnosis.finding(code) for code in (ORIGIN, CAUSE))
    return next((str(f.data["beware"]) for f in found if f is not None and f.data.get("beware")), "")


_COUNTED_OVER = timedelta(minutes=5)
"""What handlers ask of requests: for so long pods that are gone still count."""


def stands_by_design(diagnosis: Diagnosis, now: datetime, value: float | None, bad: float) -> str:
    """Why nothing is to be done about an alert on requests: the workload is meant to have no pods, and no request is measured that
    fails (`value` from `bad` on) since those of its former pods are not counted any more. Empty otherwise."""
    since = diagnosis.moment(CAUSE, "since")
    fails = value is not None and value >= bad and (since is None or now - since > _COUNTED_OVER)
    return "" if fails else FirstCause(diagnosis).by_design


def lately_of(seen: Snapshot, changes: Sequence[Change]) -> dict[str, JsonValue]:
    """The newest changes within the hour before the alert, or since, that pods which run can feel: `released`, of the workload itself, `lately`, of anything
    else, and `scaled`, of its replicas to fewer; empty without one. What was made together with the workload is no change of it, nor is a release of labels;
    whose hand was on it or on its autoscaler since the alert is a gate's to judge."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    made = seen.now - timedelta(seconds=last.age) if last is not None and last.previous is None else None
    found = {"released": "", "lately": "", "scaled": ""}
    for change in changes:
        own, labels = change.kind is seen.workload.target.kind, labels_only(last)
        felt = change.kind not in (Kind.RESOURCE_QUOTA, Kind.LIMIT_RANGE, Kind.PVC, Kind.NODE)
        felt = (
            felt
            and not (own and labels and change.what.startswith("revision "))
            and (change.at <= seen.fired_at or not (own or change.kind is Kind.HPA))
        )
        if felt and change.at >= seen.fired_at - SOON and (made is None or change.at > made + STARTING):
            which = "released" if own else "lately"
            found[which] = found[which] or change.told(seen.now)
            if own and change.what.startswith("replicas of ") and not made_at(seen, change.at):
                found["scaled"] = found["scaled"] or change.told(seen.now)
    return {**found}
