"""Can the last rollout have brought a cause? A recent deployment is a suspect and no verdict. Pure.

It can when only pods of its own revision show the cause, when the template before would not show it, when the trouble is as old as
the revision, and when nothing that fits better changed later. Everything else acquits it, with the reason. What is not known (since
when the trouble is there, with which configuration an older revision ran, whether something else is down) is no guilt: a person
is asked, unless the error's own words name what the revision changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.known_good import of_revision
from app.kube.lineage import template_written_at, written_by_us
from app.kube.manifest import Difference, differences
from remediations.causes.alike import said_else
from remediations.causes.changes import CONFIGURATION, Change, changes_of, telling
from remediations.causes.creation import beware, picked_up
from remediations.causes.edits import came_with
from remediations.causes.exits import (
    ailing_before,
    beside,
    dated,
    last_words_of,
    ran_before,
    runs_well,
    set_aside,
    slight,
    told_to_end,
    unsaid,
)
from remediations.causes.model import STARTING, Cause, CauseCode, Snapshot, never_ready
from remediations.causes.outgrown import filled_before, fills_since, short_node, shows_kills_too
from remediations.causes.repaired import perhaps_repaired
from remediations.causes.restarted import (
    completed,
    made_by_a_restart,
    of_another_image,
    on_new_nodes,
    read_at_start,
    run_from_before,
)
from remediations.causes.suspects import Suspects, broken_beside, named_in, suspects, why_it
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.usage import count, span

_RAN_WELL = timedelta(minutes=10)
"""A revision whose pods ran for so long before the trouble began did not bring it by itself."""
_SERVED = timedelta(minutes=1)
"""Pods that served for so long have shown that their revision can."""
_BRIEFLY = timedelta(seconds=30)
"""A container that ran for so long had what it reads when it starts."""
_HOUR = timedelta(hours=1)
_BEFORE_RUNNING = frozenset(
    {CauseCode.QUOTA, CauseCode.LIMIT_RANGE, CauseCode.POD_SECURITY, CauseCode.WEBHOOK, CauseCode.SERVICE_ACCOUNT,
     CauseCode.PRIORITY_CLASS, CauseCode.CREATE_REFUSED, CauseCode.UNSCHEDULABLE, CauseCode.VOLUME,
     CauseCode.CONFIG_MISSING, CauseCode.PULL_SECRET, CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING,
     CauseCode.REGISTRY, CauseCode.ARCHITECTURE, CauseCode.SANDBOX, CauseCode.REJECTED, CauseCode.IMAGE_PULL}
)  # fmt: skip
"""What keeps a pod from running at all: a revision that was rolled out completely did not have it."""
_PULLS = frozenset(
    {CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING, CauseCode.IMAGE_PULL, CauseCode.REGISTRY, CauseCode.PULL_SECRET}
)  # fmt: skip
OF_A_CONTAINER = frozenset(
    {CauseCode.SECURITY_CONTEXT, CauseCode.CANNOT_START, CauseCode.OUT_OF_MEMORY, CauseCode.DEPENDENCY, CauseCode.RIGHT,
     CauseCode.STARTUP_PROBE, CauseCode.LIVENESS_PROBE, CauseCode.CRASH, CauseCode.ENDS, CauseCode.INIT_WAITS,
     CauseCode.READINESS_PROBE, CauseCode.NOT_READY}
)  # fmt: skip
"""What a container of a pod shows."""
_BY_CONFIGURATION = OF_A_CONTAINER - {CauseCode.SECURITY_CONTEXT}
"""What a change of a ConfigMap or Secret can bring as well, and of which the container's last words tell; a user is in an image and a template."""
_BY_PLACE = frozenset(
    {CauseCode.UNSCHEDULABLE, CauseCode.QUOTA, CauseCode.VOLUME, CauseCode.ARCHITECTURE, CauseCode.SANDBOX, CauseCode.REJECTED,
     CauseCode.PREEMPTED, CauseCode.EVICTED, CauseCode.RESIZE, CauseCode.NODE}
)  # fmt: skip
"""Where the first pods may have had the room, the volume or the node that the next ones do not get: that these run acquits nobody."""
_FILLS = frozenset({CauseCode.OUT_OF_MEMORY, CauseCode.EVICTED})
"""What takes its time also where the release gave too little."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Whether the last rollout can have brought the cause, why or why not, and the change that fits better, if one does. `asks`:
    what is not known of it, so that only a person may say so; empty when nothing is. `named`: the part of the template that it
    changed and that the error's own words name. `look`: where a person looks first. `beware`: what is told of going back also where that is right."""

    rollout: bool
    why: str
    instead: Change | None = None
    asks: str = ""
    named: str = ""
    look: str = ""
    beware: str = ""


def blame(seen: Snapshot, cause: Cause, causes: Sequence[Cause]) -> Blame:
    """The word on the last rollout. `causes` are all that were found."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return Blame(False, "no older revision is known that it could be compared with", _before(seen, cause))
    deployed = seen.now - timedelta(seconds=last.age)
    if written_by_us(seen.workload, deployed):
        return Blame(
            False, f"{_name(last)} is this service's own write, and no release", _before(seen, cause)
        )
    own = suspects(cause, last.previous.template, last.revision.template)
    found = (
        _other_pods(seen, cause, causes)
        or _untouched(seen, last, cause, own)
        or _changed_later(seen, cause, deployed)
        or _run_from_before(seen, cause, last)
        or _ran_well(seen, cause, last)
    )
    if found is not None:
        return found
    named = _named(seen, cause, own)
    case = _Case(seen, cause, last, deployed, own)
    held = [d for d in DOUBTS if cause.code in d.causes and (named is None or d.always)]
    beside_it = broken_beside(seen, causes)
    asks = "; ".join(filter(None, (beside_it, *(d.of(case) for d in held))))
    told = why_it(last, own, named, alone=not beside_it and not ailing_before(seen, cause, last, deployed))
    by_configuration = cause.code in _BY_CONFIGURATION and not (cause.code in _FILLS and own.worse)
    mind = beware(seen, last, deployed, _said(seen, cause)) if by_configuration else ""
    return Blame(True, told, asks=asks, named=named.path if named else "", beware=mind)


def _name(last: Deployment) -> str:
    return f"revision {last.revision.number} ({last.change})"


def _other_pods(seen: Snapshot, cause: Cause, causes: Sequence[Cause]) -> Blame | None:
    """Pods of older revisions that show the same acquit the newest."""
    by_name = {p.name: p for p in seen.pods}
    alike = (c for c in causes if c.code is cause.code and c.container == cause.container)
    same = {n for c in alike for n in c.pods if not said_else(seen, c, cause.pods, {n})}
    older = sorted(n for n in same if n in by_name and not seen.newest(by_name[n]))
    if cause.code is CauseCode.OUT_OF_MEMORY and (killed := shows_kills_too(seen, (cause.container,))):
        older.append(killed.name)
    current = seen.current
    family = {r.name for r in seen.revisions if current and r.fingerprint == current.fingerprint}
    who = f"pod {older[0]}" if older else ", ".join(sorted(set(cause.revisions) - family))
    text = f"not the newest revision alone is broken: {who} of an older one shows the same"
    return Blame(False, text) if who else None


def _untouched(seen: Snapshot, last: Deployment, cause: Cause, own: Suspects) -> Blame | None:
    """The rollout changed nothing that this can come from, or the template before would show it as well. Its pods were the first to
    start with configuration that changed before it, if some did."""
    if not cause.fields and not cause.demands:
        return Blame(False, f"no change of the pod template brings that, so {_name(last)} is not the cause")
    if own.all or last.previous is None:
        return None
    found = differences(last.previous.template, last.revision.template)
    changed = ", ".join(d.path for d in found[:3]) or "nothing that a pod has"
    text = f"{_name(last)} changed {changed}, which does not bring that"
    text = f"{text}: {own.acquits}" if own.acquits else text
    pushed = of_another_image(seen, cause, older=True) if cause.code in OF_A_CONTAINER else None
    if pushed is not None:
        return Blame(False, f"{text}; {pushed.told}", look=pushed.look)
    return Blame(False, text, _before(seen, cause))


def _changed_later(seen: Snapshot, cause: Cause, deployed: datetime) -> Blame | None:
    """Something that this can come from was changed after the rollout, and the trouble is not known to be older."""
    own = set(cause.objects)
    by_words = [*telling(seen, _said(seen, cause))] if cause.code in _BY_CONFIGURATION else []
    for change in changes_of(seen):
        fits = (change.kind, change.name) in own or (change in by_words and change.kind is not Kind.SERVICE)
        older = cause.since is not None and cause.since < change.at
        if fits and not came_with(seen, change.at, change.by, deployed) and not older:
            told = change.told(seen.now)
            return Blame(False, f"something that fits better changed after the rollout: {told}", change)
    return _perhaps_configuration(seen, cause, deployed)


def _run_from_before(seen: Snapshot, cause: Cause, last: Deployment) -> Blame | None:
    """Its own template acquits it: for what its image can bring, and, but for what takes its time, for what configuration can."""
    found = of_another_image(seen, cause) if cause.code in OF_A_CONTAINER else None
    if found is None and cause.code in _BY_CONFIGURATION - _FILLS:
        found = run_from_before(seen, cause)
    return (
        Blame(False, f"{found.told}, so {_name(last)} is not the cause", look=found.look) if found else None
    )


def _before(seen: Snapshot, cause: Cause) -> Change | None:
    """The newest change of configuration of the last hour that is not younger than the trouble, where it can bring that."""
    if cause.code not in _BY_CONFIGURATION:
        return None
    known = [
        c for c in telling(seen, _said(seen, cause)) if c.kind in CONFIGURATION and seen.now - c.at <= _HOUR
    ]
    return next((c for c in known if cause.since is None or c.at <= cause.since + STARTING), None)


def _said(seen: Snapshot, cause: Cause) -> list[str]:
    return [words.text for words in last_words_of(seen, cause)]


def _named(seen: Snapshot, cause: Cause, own: Suspects) -> Difference | None:
    """What of the rollout's changes the words name that tell of this cause."""
    for said in last_words_of(seen, cause):
        for line in said.telling:
            if found := named_in(line, own.all):
                return found
    return (
        named_in(cause.said or cause.text, own.all, by_server=True)
        if cause.doubt and not cause.container
        else None
    )


def _perhaps_configuration(seen: Snapshot, cause: Cause, deployed: datetime) -> Blame | None:
    """Configuration that may not be read can have changed since, unless the trouble is as old as the rollout."""
    as_old = cause.since is not None and cause.since - deployed <= STARTING
    why = next((seen.unread[kind] for kind in ("ConfigMaps", "Secrets") if kind in seen.unread), "")
    if not why or as_old or cause.code not in _BY_CONFIGURATION:
        return None
    return Blame(False, f"whether the pods' configuration changed after the rollout is not known: {why}")


def _ran_well(seen: Snapshot, cause: Cause, last: Deployment) -> Blame | None:
    """The revision was rolled out completely, or ran for long, before the trouble began."""
    name = _name(last)
    if cause.code in _BEFORE_RUNNING and (completed(seen) or _others_ready(seen, cause)):
        where = on_new_nodes(seen, [p for p in seen.alive if p.name in cause.pods])
        return Blame(False, f"{name} had its pods running before, so it did not bring that{where}")
    pods = [p for p in seen.alive if p.name in cause.pods]
    if made_late := _made_late(seen, pods, last, fills=cause.code in _FILLS):
        return made_late
    if not pods or cause.since is None or not all(dated(seen, p, cause) for p in pods):
        return None
    before = min(cause.since - p.created_at for p in pods)
    if before < _RAN_WELL or (cause.code in _FILLS and fills_since(seen, last, cause.since, cause.pods)):
        return None
    return Blame(
        False,
        f"{name} ran well for {span(before.total_seconds())} before that began, so it is not new with it",
    )


def _made_late(seen: Snapshot, pods: Sequence[Pod], last: Deployment, *, fills: bool) -> Blame | None:
    """The rollout came to its end, and what fails are pods that were made long after: others of the same template ran till then. Of what `fills`
    the others may only not have been full, but for those that still run."""
    if not pods or not completed(seen):
        return None
    made = min(p.created_at for p in pods)
    late = made - (seen.now - timedelta(seconds=last.age))
    if late < _RAN_WELL or (
        fills and not any(p.created_at < made and runs_well(seen, p) for p in seen.alive)
    ):
        return None
    text = f"{_name(last)} had all its pods available, and the pods that fail were made {span(late.total_seconds())} after it{on_new_nodes(seen, pods)}"
    return Blame(False, text)


def _others_ready(seen: Snapshot, cause: Cause) -> bool:
    """For images: another pod of the same revision has it."""
    current = seen.current
    if cause.code not in _PULLS or current is None:
        return False
    return any(p.ready and of_revision(p, current) for p in seen.alive if p.name not in cause.pods)


# What is not known of a release, as one table: each doubt holds for every cause for which it makes sense.


@dataclass(frozen=True, slots=True)
class _Case:
    """One cause, and the release that can have brought it."""

    seen: Snapshot
    cause: Cause
    last: Deployment
    deployed: datetime
    own: Suspects


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why only a person may say that the release brought a cause: `of` gives the sentence, empty when it does not hold. `causes`: for which
    it makes sense; `always`: also where the error's own words name what the release changed."""

    of: Callable[[_Case], str]
    causes: frozenset[CauseCode]
    always: bool = False


def _undated(case: _Case) -> str:
    """That nobody knows since when the trouble is there, of pods that are older than what is new with a rollout, or may have served first."""
    seen, cause = case.seen, case.cause
    pods = [p for p in seen.alive if p.name in cause.pods and _may_be_older(case, p)]
    unknown = [p for p in pods if cause.since is None or not dated(seen, p, cause)]
    if not unknown:
        return ""
    why = f": the events could not be read ({seen.unread['events']})" if "events" in seen.unread else ""
    age = span((seen.now - unknown[0].created_at).total_seconds())
    return f"since when pod {unknown[0].name}, made {age} ago, is in trouble is not known{why}"


def _may_be_older(case: _Case, pod: Pod) -> bool:
    """Is this pod so old that its trouble may be older than what is new with a rollout, or was it ready and restarted, so that it may have
    served for a while?"""
    seen, cause = case.seen, case.cause
    if seen.now - pod.created_at >= _RAN_WELL:
        return True
    if never_ready(pod) or (cause.code in _FILLS and case.own.worse):
        return False
    again = any(c.name == cause.container and c.restarts for c in pod.containers)
    return again and (cause.since or seen.now) - pod.created_at >= _SERVED


def _ran_first(case: _Case) -> str:
    """That its pods did well before: with the release alone they would fail from the start."""
    seen, cause = case.seen, case.cause
    if cause.code in _FILLS and case.own.worse:
        return ""
    ran = [ran_before(seen, p, cause) for p in seen.alive if p.name in cause.pods]
    least = STARTING if cause.code in (CauseCode.CRASH, CauseCode.ENDS) else _SERVED
    known = [r for r in ran if r is not None and r >= least]
    if not known or len(known) < len(ran):
        return ""
    return f"{_name(case.last)} ran for {span(min(known).total_seconds())} before that began"


def _others_well(case: _Case) -> str:
    """That other pods of it do well: with the release alone all of them would fail. Of what no pod shows, such as a Service's fault, none is another."""
    seen, cause = case.seen, case.cause
    well = [p for p in seen.alive if seen.newest(p) and p.name not in cause.pods and runs_well(seen, p)]
    if (
        not well
        or not (cause.pods or cause.revisions)
        or not all(seen.newest(p) for p in seen.alive if p.name in cause.pods)
    ):
        return ""
    runs = "runs" if len(well) == 1 else "run"
    return f"{count(len(well), 'other pod')} of {_name(case.last)} {runs} without it"


def _words(case: _Case) -> str:
    """What the container's last words tell, and who ended it."""
    seen, cause = case.seen, case.cause
    if cause.code in _FILLS and case.own.worse:
        return ""
    told = told_to_end(seen, cause, case.own) if cause.code is CauseCode.CRASH else ""
    return unsaid(seen, cause, case.own) or beside(seen, cause) or told


def _configuration(case: _Case) -> str:
    """That configuration changed together with the rollout or before it, or may have since."""
    if case.cause.code in _FILLS and case.own.worse:
        return ""
    return picked_up(case.seen, case.last, case.deployed, _said(case.seen, case.cause)) or _taken_away(case)


def _taken_away(case: _Case) -> str:
    """That pods which ran for a while may miss what their configuration had then: a key that is only taken out leaves no time and no
    name, so that nobody can tell that none was."""
    seen, cause = case.seen, case.cause
    known = [ran_before(seen, p, cause) for p in seen.alive if p.name in cause.pods]
    ran = max((r for r in known if r is not None), default=timedelta())
    if ran < _BRIEFLY:
        return ""
    names = read_at_start(seen, case.last.revision.template)
    if not names:
        return ""
    return (
        f"{_name(case.last)} ran for {span(ran.total_seconds())} before that began, and whether a key was taken out of {names} since is "
        "not known: that leaves no trace"
    )


_ALL = frozenset(CauseCode)
_STARTS = frozenset({CauseCode.STARTUP_PROBE})
DOUBTS: Final = (
    Doubt(lambda case: perhaps_repaired(case.seen, _said(case.seen, case.cause), case.deployed), _BY_CONFIGURATION, always=True),
    Doubt(_undated, _ALL, always=True),
    Doubt(_ran_first, _ALL - _BEFORE_RUNNING, always=True),
    Doubt(lambda case: made_by_a_restart(case.seen, case.cause, case.deployed, _RAN_WELL), _BY_CONFIGURATION - _FILLS, always=True),
    Doubt(_others_well, _ALL - _BY_PLACE, always=True),
    Doubt(lambda case: filled_before(case.seen, case.cause, worse=bool(case.own.worse)), frozenset({CauseCode.EVICTED}), always=True),
    Doubt(lambda case: short_node(case.seen, case.cause.pods), frozenset({CauseCode.OUT_OF_MEMORY}), always=True),
    Doubt(lambda case: set_aside(case.seen, case.cause), _BY_CONFIGURATION, always=True),
    Doubt(lambda case: ailing_before(case.seen, case.cause, case.last, case.deployed), OF_A_CONTAINER, always=True),
    Doubt(lambda case: case.cause.doubt, _STARTS, always=True),
    Doubt(_configuration, _BY_CONFIGURATION),
    Doubt(lambda case: "" if case.own.worse else case.cause.doubt, _ALL - _STARTS),
    Doubt(_words, _BY_CONFIGURATION),
    Doubt(lambda case: slight(case.seen, case.cause, case.own, _name(case.last)), OF_A_CONTAINER),
)  # fmt: skip
"""All of them, in the order in which they are told."""
