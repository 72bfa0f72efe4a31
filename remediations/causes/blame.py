"""Can the last rollout have brought a cause? A recent deployment is a suspect and no verdict. Pure.

It can when only pods of its own revision show the cause, when what it changed is what fails, when the trouble is as old as the
revision, and when nothing that fits better changed later. Everything else acquits it, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Pod
from app.kube.lineage import template_written_at
from app.kube.podspec import containers_of
from remediations.causes.changes import Change, changes_of
from remediations.causes.model import STARTING, Cause, CauseCode, Snapshot
from remediations.causes.template_diff import differences, touching
from remediations.evidence.pods import of_revision
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.units import span

_RAN_WELL = timedelta(minutes=10)
"""A revision whose pods ran for so long before the trouble began did not bring it by itself."""
_BY_CONFIGURATION = frozenset(
    {CauseCode.CRASH, CauseCode.ENDS, CauseCode.CANNOT_START, CauseCode.STARTUP_PROBE, CauseCode.LIVENESS_PROBE,
     CauseCode.READINESS_PROBE, CauseCode.NOT_READY, CauseCode.INIT_WAITS}
)  # fmt: skip
"""What a change of a ConfigMap or Secret can bring as well."""
_BEFORE_RUNNING = frozenset(
    {CauseCode.QUOTA, CauseCode.LIMIT_RANGE, CauseCode.POD_SECURITY, CauseCode.WEBHOOK, CauseCode.SERVICE_ACCOUNT,
     CauseCode.PRIORITY_CLASS, CauseCode.CREATE_REFUSED, CauseCode.UNSCHEDULABLE, CauseCode.VOLUME,
     CauseCode.CONFIG_MISSING, CauseCode.PULL_SECRET, CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING,
     CauseCode.REGISTRY, CauseCode.ARCHITECTURE, CauseCode.SANDBOX}
)  # fmt: skip
"""What keeps a pod from running at all: a revision that was rolled out completely did not have it."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Whether the last rollout can have brought the cause, why or why not, and the change that fits better, if one does."""

    rollout: bool
    why: str
    instead: Change | None = None


def blame(seen: Snapshot, cause: Cause, causes: Sequence[Cause]) -> Blame:
    """The word on the last rollout. `causes` are all that were found."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return Blame(False, "no older revision is known that it could be compared with")
    deployed = seen.now - timedelta(seconds=last.age)
    return (
        _other_pods(seen, cause, causes)
        or _needed_before(seen, last, cause)
        or _untouched(last, cause)
        or _changed_later(seen, cause, deployed)
        or _ran_well(seen, cause, last)
        or Blame(True, _why(last, cause))
    )


def _name(last: Deployment) -> str:
    return f"revision {last.revision.number} ({last.change})"


def _why(last: Deployment, cause: Cause) -> str:
    if last.previous is None:
        return ""
    found = touching(differences(last.previous.template, last.revision.template), cause.fields)
    paths = ", ".join(dict.fromkeys(d.path for d in found[:3]))
    return f"only pods of revision {last.revision.number} show it, which changed {paths}"


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


def _untouched(last: Deployment, cause: Cause) -> Blame | None:
    """The rollout changed nothing that this can come from."""
    if not cause.fields:
        return Blame(False, f"no change of the pod template brings that, so {_name(last)} is not the cause")
    if last.previous is None:
        return None
    found = differences(last.previous.template, last.revision.template)
    if touching(found, cause.fields):
        return None
    changed = ", ".join(d.path for d in found[:3]) or "nothing that a pod has"
    return Blame(False, f"{_name(last)} changed {changed}, which does not bring that")


def _needed_before(seen: Snapshot, last: Deployment, cause: Cause) -> Blame | None:
    before = last.previous
    if before is None:
        return None
    for ref in cause.needs:
        kept = seen.kept.get((ref.kind, ref.name))
        gone = kept is not None and kept.keys is None
        if needs(before.template, replace(ref, key="") if gone else ref):
            return Blame(False, f"the revision before needs {ref.kind} {ref.name} as well")
    return None


def needs(template: Obj, ref: ConfigRef) -> bool:
    """Does this template need the reference, pull Secrets included? One without a key stands for the whole object."""
    spec = template.get("spec") or {}
    if ref.kind is Kind.SECRET and any(s.get("name") == ref.name for s in spec.get("imagePullSecrets") or ()):
        return True
    used = [c for container in containers_of(spec) for c in container.config if not c.optional]
    return any((c.kind, c.name) == (ref.kind, ref.name) and (not ref.key or c.key == ref.key) for c in used)


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
    pulls = (CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING, CauseCode.REGISTRY, CauseCode.PULL_SECRET)
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
