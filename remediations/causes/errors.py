"""Can the last rollout have brought the errors in the logs? The same question as `blame`, for pods that run and fail. Pure.

Errors are new with a revision when its pods have had them for as long as the logs reach, and pods of an older one have not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from app.domain.evidence import Finding
from app.domain.json import JsonValue
from app.domain.target import Kind
from app.kube.lineage import template_written_at
from remediations.causes.blame import Blame
from remediations.causes.changes import changes_of
from remediations.causes.model import Snapshot
from remediations.causes.template_diff import differences
from remediations.evidence.error_lines import Nature
from remediations.evidence.logs import ErrorLog
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.units import joined, span

ORIGIN = "errors.origin"
_CLEAN = timedelta(seconds=60)
"""A stretch of logs without the error that is long enough to say that it began later."""
_NEW = timedelta(minutes=10)
"""What begins so long after a rollout is not new with it."""
_CAN_BRING = frozenset({Kind.CONFIG_MAP, Kind.SECRET, Kind.NETWORK_POLICY, Kind.SERVICE})


def settled_at(seen: Snapshot) -> datetime | None:
    """The first moment after the last rollout at which errors that begin are not new with it; None without a rollout to suspect."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return None
    return seen.now - timedelta(seconds=last.age) + _NEW


def errors_acquit(seen: Snapshot, log: ErrorLog) -> Blame | None:
    """Why the errors do not come from the last rollout; None when they can."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None or log.top is None:
        return None
    deployed = seen.now - timedelta(seconds=last.age)
    return next((b for b in _reasons(seen, log, last, deployed) if b is not None), None)


def _reasons(seen: Snapshot, log: ErrorLog, last: Deployment, deployed: datetime) -> Iterator[Blame | None]:
    began = _began(log)
    for change in changes_of(seen):
        fits = change.kind in _CAN_BRING and change.at > deployed
        if fits and (began is None or began >= change.at - _CLEAN):
            told = change.told(seen.now)
            yield Blame(False, f"something that fits better changed after the rollout: {told}", change)
    if began is not None and began - deployed >= _NEW:
        after = span((began - deployed).total_seconds())
        yield Blame(
            False, f"the errors began {after} after the rollout, and the logs before have none of them"
        )
    if log.clean_at is not None and log.clean_at - deployed >= _NEW:
        after = span((log.clean_at - deployed).total_seconds())
        yield Blame(
            False,
            f"the errors began later than {after} after the rollout: the logs of then have none of them",
        )
    yield _everywhere(seen, log)
    yield _untouched(last)


def _began(log: ErrorLog) -> datetime | None:
    """When the most frequent error began, when the logs reach back to before it."""
    if log.top is None or log.top.first_seen is None or log.begins is None:
        return None
    return log.top.first_seen if log.top.first_seen - log.begins >= _CLEAN else None


def _everywhere(seen: Snapshot, log: ErrorLog) -> Blame | None:
    older = sorted(p.name for p in seen.alive if log.top and p.name in log.top.names and not seen.newest(p))
    if not older:
        return None
    return Blame(
        False, f"not the newest revision alone has the errors: pod {older[0]} of an older one has them too"
    )


def _untouched(last: Deployment) -> Blame | None:
    if last.previous is None:
        return None
    paths = [d.path for d in differences(last.previous.template, last.revision.template)]
    if any(not p.startswith("metadata.") for p in paths):
        return None
    what = joined(paths) or "nothing that a pod has"
    return Blame(False, f"revision {last.revision.number} changed {what} only, which does not bring errors")


def origin_finding(seen: Snapshot, log: ErrorLog) -> Finding | None:
    """The finding `errors.origin`; None without errors. Data: `rollout` (the last rollout can have brought them), `instead`
    (the change that fits better), `only_newest` (pods of an older revision run beside without them), `dependency` (they
    speak of something else that does not answer)."""
    if log.top is None:
        return None
    word = errors_acquit(seen, log)
    data: dict[str, JsonValue] = {
        "rollout": word is None,
        "instead": word.instead.told(seen.now) if word and word.instead else "",
        "only_newest": only_newest_has_them(seen, log),
        "dependency": log.share(Nature.DEPENDENCY) >= 0.5,
    }
    text = "The last rollout can have brought the errors"
    if word is not None:
        text = f"The last rollout did not bring the errors: {word.why}"
    return Finding(ORIGIN, text, data=data)


def only_newest_has_them(seen: Snapshot, log: ErrorLog) -> bool:
    """Pods of an older revision run beside, were read, and do not have the most frequent error."""
    older = {p.name for p in seen.alive if p.ready and not seen.newest(p)} & log.read
    return log.top is not None and bool(older) and not older & log.top.names
