"""Can the last rollout have brought a cause? A recent deployment is a suspect and no verdict. Pure.

It can when only pods of its own revision show the cause, when the template before would not show it, when the trouble is as old as
the revision, and when nothing that fits better changed later. Everything else acquits it, with the reason. What is not known (since
when the trouble is there, with which configuration an older revision ran, whether something else is down) is no guilt: a person
is asked, unless the error's own words name what the revision changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.target import Kind
from app.domain.workload import Pod, Terminated
from app.kube.lineage import template_written_at
from remediations.causes.changes import CONFIGURATION, Change, Difference, changes_of, differences, picked_up
from remediations.causes.exits import OF_THE_PROGRAM, TOLD_TO_END, ending
from remediations.causes.model import RECENT, STARTING, Cause, CauseCode, Snapshot, log_of, maker_of
from remediations.causes.suspects import Suspects, below, is_slight, named_in, suspects
from remediations.evidence.last_words import LastWords, heard
from remediations.evidence.logs import short_of_both
from remediations.evidence.natures import Sign
from remediations.evidence.pods import of_revision
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.usage import count, span

_RAN_WELL = timedelta(minutes=10)
"""A revision whose pods ran for so long before the trouble began did not bring it by itself."""
_BY_CONFIGURATION = frozenset(
    {CauseCode.CRASH, CauseCode.ENDS, CauseCode.CANNOT_START, CauseCode.STARTUP_PROBE, CauseCode.LIVENESS_PROBE,
     CauseCode.READINESS_PROBE, CauseCode.NOT_READY, CauseCode.INIT_WAITS}
)  # fmt: skip
"""What a change of a ConfigMap or Secret can bring as well."""
_HOUR = timedelta(hours=1)
_MEMORY = re.compile(r"memory|heap|\balloc", re.IGNORECASE)
_BY_WORDS = _BY_CONFIGURATION | {CauseCode.DEPENDENCY, CauseCode.RIGHT}
"""Where the last words of a container tell what it is about."""
_BEFORE_RUNNING = frozenset(
    {CauseCode.QUOTA, CauseCode.LIMIT_RANGE, CauseCode.POD_SECURITY, CauseCode.WEBHOOK, CauseCode.SERVICE_ACCOUNT,
     CauseCode.PRIORITY_CLASS, CauseCode.CREATE_REFUSED, CauseCode.UNSCHEDULABLE, CauseCode.VOLUME,
     CauseCode.CONFIG_MISSING, CauseCode.PULL_SECRET, CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING,
     CauseCode.REGISTRY, CauseCode.ARCHITECTURE, CauseCode.SANDBOX, CauseCode.REJECTED, CauseCode.IMAGE_PULL}
)  # fmt: skip
"""What keeps a pod from running at all: a revision that was rolled out completely did not have it."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Whether the last rollout can have brought the cause, why or why not, and the change that fits better, if one does. `asks`:
    what is not known of it, so that only a person may say so; empty when nothing is. `named`: the part of the template that it
    changed and that the error's own words name."""

    rollout: bool
    why: str
    instead: Change | None = None
    asks: str = ""
    named: str = ""


def blame(seen: Snapshot, cause: Cause, causes: Sequence[Cause]) -> Blame:
    """The word on the last rollout. `causes` are all that were found."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return Blame(False, "no older revision is known that it could be compared with", _before(seen, cause))
    deployed = seen.now - timedelta(seconds=last.age)
    own = suspects(cause, last.previous.template, last.revision.template)
    found = (
        _other_pods(seen, cause, causes)
        or _untouched(seen, last, cause, own)
        or _changed_later(seen, cause, deployed)
        or _ran_well(seen, cause, last)
    )
    if found is not None:
        return found
    named = _named(seen, cause, own)
    doubts = [_undated(seen, cause), _ran_first(seen, cause, last), _ailing_before(seen, cause, deployed)]
    if named is None:
        doubts += [
            _configuration(seen, cause, last, deployed),
            "" if own.worse else cause.doubt,
            _unsaid(seen, cause) or _beside(seen, cause) or _told_to_end(seen, cause, own),
            _slight(seen, cause, last, own),
        ]
    return Blame(
        True, _why(last, own, named), asks="; ".join(filter(None, doubts)), named=named.path if named else ""
    )


def _name(last: Deployment) -> str:
    return f"revision {last.revision.number} ({last.change})"


def _why(last: Deployment, own: Suspects, named: Difference | None) -> str:
    first = [named] if named else []
    paths = ", ".join(list(dict.fromkeys(d.path for d in (*first, *own.all)))[:3])
    says = f", and the error names {named.path}" if named else ""
    return f"only pods of revision {last.revision.number} show it, which changed {paths}{says}"


def _other_pods(seen: Snapshot, cause: Cause, causes: Sequence[Cause]) -> Blame | None:
    """Pods of older revisions that show the same acquit the newest."""
    by_name = {p.name: p for p in seen.pods}
    same = {n for c in causes if c.code is cause.code and c.container == cause.container for n in c.pods}
    older = sorted(n for n in same if n in by_name and not seen.newest(by_name[n]))
    if older:
        return Blame(
            False, f"not the newest revision alone is broken: pod {older[0]} of an older one shows the same"
        )
    current = seen.current
    family = {r.name for r in seen.revisions if current and r.fingerprint == current.fingerprint}
    if cause.revisions and not set(cause.revisions) <= family:
        names = ", ".join(sorted(set(cause.revisions) - family))
        return Blame(
            False, f"not the newest revision alone is broken: {names} of an older one shows the same"
        )
    return None


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
    return Blame(False, f"{text}: {own.acquits}" if own.acquits else text, _before(seen, cause))


def _changed_later(seen: Snapshot, cause: Cause, deployed: datetime) -> Blame | None:
    """Something that this can come from was changed after the rollout, and the trouble is not known to be older."""
    own = set(cause.objects)
    for change in changes_of(seen):
        fits = (change.kind, change.name) in own
        if cause.code in _BY_CONFIGURATION:
            fits = fits or change.kind in (Kind.CONFIG_MAP, Kind.SECRET, Kind.NETWORK_POLICY)
        older = cause.since is not None and cause.since < change.at
        if fits and change.at > deployed and not older:
            told = change.told(seen.now)
            return Blame(False, f"something that fits better changed after the rollout: {told}", change)
    return _perhaps_configuration(seen, cause, deployed)


def _before(seen: Snapshot, cause: Cause) -> Change | None:
    """The newest change of configuration of the last hour that is not younger than the trouble, where it can bring that."""
    if cause.code not in _BY_CONFIGURATION:
        return None
    known = [c for c in changes_of(seen) if c.kind in CONFIGURATION and seen.now - c.at <= _HOUR]
    return next((c for c in known if cause.since is None or c.at <= cause.since + STARTING), None)


def _configuration(seen: Snapshot, cause: Cause, last: Deployment, deployed: datetime) -> str:
    """That configuration changed together with the rollout or before it, or may have."""
    if cause.code not in _BY_CONFIGURATION:
        return ""
    return picked_up(seen, last, deployed)


def _named(seen: Snapshot, cause: Cause, own: Suspects) -> Difference | None:
    """What of the rollout's changes the words name that tell of this cause."""
    for said in _last_words(seen, cause):
        for line in said.telling:
            if found := named_in(line, own.all):
                return found
    return (
        named_in(cause.said or cause.text, own.all, by_server=True)
        if cause.doubt and not cause.container
        else None
    )


def _last_words(seen: Snapshot, cause: Cause) -> list[LastWords]:
    """What the cause's container said last, in its log or as it ended."""
    if not cause.container:
        return []
    said = [words for (_, name), words in seen.words.items() if name == cause.container]
    return said + [words for ended in _ends(seen, cause) if (words := heard(ended.message))]


def _ends(seen: Snapshot, cause: Cause) -> list[Terminated]:
    """How the cause's container last ended in its pods."""
    return [
        ended
        for p in seen.alive
        for c in p.containers
        if p.name in cause.pods and c.name == cause.container and (ended := c.terminated or c.last_terminated)
    ]


def _unsaid(seen: Snapshot, cause: Cause) -> str:
    """That the container's last words do not accuse the release: they speak of something else (a version with a wrong address says the
    same, and so does a right one while the other is down), they name nothing, or they could not be read. Who says nothing at all
    names nothing else either; a probe's failure and an end without an error need no words."""
    if cause.code not in _BY_WORDS or not cause.container:
        return ""
    said, who = _last_words(seen, cause), f"container {cause.container}"
    if words := next((w for w in said if w.sign is Sign.OTHERS), None):
        unread = (
            f" (Services could not be read: {seen.unread['services']})" if "services" in seen.unread else ""
        )
        return f'what {who} said last speaks of something else: "{short_of_both(words.shown, 160)}"{unread}'
    own = [w for w in said if w.sign is Sign.OWN]
    mounts = seen.mounts(cause.container)
    if found := next((m for w in own if (m := below(w.telling[0], mounts))), ""):
        return f'what {who} said last is about {found}, which is a volume of its own: "{short_of_both(own[0].shown, 160)}"'
    if own or any(e.exit_code in OF_THE_PROGRAM for e in _ends(seen, cause)):
        return ""
    if not said and (why := seen.unread.get(log_of(cause.container))):
        return f"what {who} said last could not be read: {why}"
    crashed = cause.code is CauseCode.CRASH
    if words := next((w for w in said if w.errors or (crashed and not w.routine)), None):
        return f'what {who} said last names neither a fault of the program nor what changed: "{short_of_both(words.shown, 160)}"'
    return ""


def _beside(seen: Snapshot, cause: Cause) -> str:
    """That something else is down beside it, from which its last words can follow although they do not name it."""
    own = [w for w in _last_words(seen, cause) if w.sign is Sign.OWN]
    if not seen.down or not own or not all(w.follows for w in own):
        return ""
    down = seen.down[0]
    return f'Service {down.name} is down as well ({down.state} ready), and from that may follow what it said last: "{short_of_both(own[0].shown, 160)}"'


def _told_to_end(seen: Snapshot, cause: Cause, own: Suspects) -> str:
    """That something else ended the container, and neither its words nor a change of its sizes tell why."""
    ends = _ends(seen, cause)
    told = cause.code is CauseCode.CRASH and ends and all(e.exit_code in TOLD_TO_END for e in ends)
    if not told or own.worse or any(not w.routine for w in _last_words(seen, cause)):
        return ""
    return (
        f"container {cause.container} did not end by itself, and nothing says who ended it: {ending(ends[0])}"
    )


def _slight(seen: Snapshot, cause: Cause, last: Deployment, own: Suspects) -> str:
    """That the rollout changed only what hardly makes a program fail."""
    ends = _ends(seen, cause)
    killed = any(e.exit_code in TOLD_TO_END or e.exit_code in OF_THE_PROGRAM for e in ends)
    of_memory = any(_MEMORY.search(w.text) for w in _last_words(seen, cause))
    if cause.code is not CauseCode.CRASH or killed or of_memory or not all(map(is_slight, own.all)):
        return ""
    changed = ", ".join(d.path for d in own.all[:3])
    return f"{_name(last)} changed {changed} only, which hardly makes a program fail"


def _ran_first(seen: Snapshot, cause: Cause, last: Deployment) -> str:
    """That its pods did well before, or others of them do: with the release alone they would fail from the start, and all of them."""
    if cause.code not in (CauseCode.CRASH, CauseCode.ENDS):
        return ""
    pods = [p for p in seen.alive if p.name in cause.pods]
    dated = bool(pods) and cause.since is not None and all(_dated(seen, p, cause) for p in pods)
    if (
        dated
        and cause.since is not None
        and (ran := min(cause.since - p.created_at for p in pods)) >= STARTING
    ):
        return f"{_name(last)} ran for {span(ran.total_seconds())} before that began"
    well = [p for p in seen.alive if seen.newest(p) and p.name not in cause.pods and _runs_well(seen, p)]
    if not well or not all(seen.newest(p) for p in pods):
        return ""
    return (
        f"{count(len(well), 'other pod')} of {_name(last)} {'runs' if len(well) == 1 else 'run'} without it"
    )


def _runs_well(seen: Snapshot, pod: Pod) -> bool:
    """Ready for a while, without a restart."""
    ready = pod.condition("Ready")
    since = ready.since if pod.ready and ready is not None else None
    return since is not None and seen.now - since >= STARTING and not any(c.restarts for c in pod.containers)


def _ailing_before(seen: Snapshot, cause: Cause, deployed: datetime) -> str:
    """That a pod of an older revision, which may be gone, was restarted again and again when this one was deployed."""
    current = seen.current
    if cause.code not in _BY_WORDS or not cause.container or current is None:
        return ""
    older = {r.name for r in seen.revisions if r.fingerprint != current.fingerprint}
    for e in seen.events:
        kind, _, name = e.about.partition("/")
        mine = kind == Kind.POD and maker_of(name) in older and e.container in ("", cause.container)
        again = e.reason == "BackOff" and "restarting failed" in e.message
        last = e.last_seen or e.first_seen
        if mine and again and e.first_seen and last and e.first_seen < deployed <= last + RECENT:
            ago = span((deployed - e.first_seen).total_seconds())
            return f"pod {name} of an older revision was restarted again and again already {ago} before the rollout"
    return ""


def _undated(seen: Snapshot, cause: Cause) -> str:
    """That nobody knows since when the trouble is there, of pods that are older than what is new with a rollout."""
    pods = [p for p in seen.alive if p.name in cause.pods and seen.now - p.created_at >= _RAN_WELL]
    unknown = [p for p in pods if cause.since is None or not _dated(seen, p, cause)]
    if not unknown:
        return ""
    why = f": the events could not be read ({seen.unread['events']})" if "events" in seen.unread else ""
    age = span((seen.now - unknown[0].created_at).total_seconds())
    return f"since when pod {unknown[0].name}, made {age} ago, is in trouble is not known{why}"


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
        return Blame(False, f"{name} had its pods running before, so it did not bring that")
    pods = [p for p in seen.alive if p.name in cause.pods]
    if made_late := _made_late(seen, pods, last):
        return made_late
    if not pods or cause.since is None or not all(_dated(seen, p, cause) for p in pods):
        return None
    before = min(cause.since - p.created_at for p in pods)
    if before < _RAN_WELL:
        return None
    return Blame(
        False,
        f"{name} ran well for {span(before.total_seconds())} before that began, so it is not new with it",
    )


def _made_late(seen: Snapshot, pods: Sequence[Pod], last: Deployment) -> Blame | None:
    """The rollout came to its end, and what fails are pods that were made long after: others of the same template ran till then."""
    if not pods or not completed(seen):
        return None
    late = min(p.created_at for p in pods) - (seen.now - timedelta(seconds=last.age))
    if late < _RAN_WELL:
        return None
    text = f"{_name(last)} had all its pods available, and the pods that fail were made {span(late.total_seconds())} after it"
    return Blame(False, text)


def _dated(seen: Snapshot, pod: Pod, cause: Cause) -> bool:
    """Is the beginning known? After several restarts the states tell the last end only, and then events have to."""
    restarts = max((c.restarts for c in pod.containers if c.name == cause.container), default=0)
    return restarts <= 1 or bool(seen.about("Pod", pod.name, "BackOff", "Unhealthy"))


def _others_ready(seen: Snapshot, cause: Cause) -> bool:
    """For images: another pod of the same revision has it."""
    pulls = (
        CauseCode.IMAGE_DENIED,
        CauseCode.IMAGE_MISSING,
        CauseCode.IMAGE_PULL,
        CauseCode.REGISTRY,
        CauseCode.PULL_SECRET,
    )
    current = seen.current
    if cause.code not in pulls or current is None:
        return False
    return any(p.ready and of_revision(p, current) for p in seen.alive if p.name not in cause.pods)


def completed(seen: Snapshot) -> bool:
    """The present revision had all its pods available once, as its controller says."""
    manifest = seen.workload.manifest
    status = manifest.get("status") or {}
    if seen.workload.observed_generation < seen.workload.ref.generation:
        return False
    if seen.workload.target.kind is Kind.DEPLOYMENT:
        conditions = status.get("conditions") or ()
        return any(
            c.get("type") == "Progressing" and c.get("reason") == "NewReplicaSetAvailable" for c in conditions
        )
    if seen.workload.target.kind is Kind.STATEFUL_SET:
        update = status.get("updateRevision")
        return bool(update) and status.get("currentRevision") == update
    return False
