"""Can the last rollout have brought it that requests fail, while no program writes an error? Only what was measured tells since when, and
nothing accuses anybody. And what was measured says of errors whose logs do not reach back to their beginning, and which errors tell less of the
rollout than they seem to: of what pods share or hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.evidence import Finding
from app.domain.onset import Since
from remediations.causes.blame import Blame
from remediations.causes.changes import CLEAN, NEW, Change, Measured, served_from, telling
from remediations.causes.creation import met_first, picked_up
from remediations.causes.model import Snapshot
from remediations.causes.suspects import brings_no_errors
from remediations.evidence.error_words import Nature
from remediations.evidence.logs import ErrorLog, errors_finding
from remediations.evidence.pods import Errors
from remediations.evidence.rollouts import Deployment
from remediations.evidence.usage import span


def without_lines(seen: Snapshot, log: ErrorLog, measured: Measured, last: Deployment) -> Blame:
    """The word on the last rollout, for whoever has measured since when requests fail."""
    deployed, said = seen.now - timedelta(seconds=last.age), errors_finding(log).text
    if measured.since is Since.OLDER:
        return Blame(False, measured.said, brought(seen, measured.began))
    change = _after(seen, measured, deployed)
    if change is not None and _served_without(seen, measured, change, deployed):
        why = f"something that fits better changed after the rollout: {change.told(seen.now)}"
        return Blame(False, why, change)
    if untouched := brings_no_errors(last):
        return only_configuration(seen, untouched, last)
    if late := came_later(seen, log, measured, deployed):
        return Blame(False, late)
    unsure = f"{measured.said}, and nothing tells whether that is its fault: {said}"
    unsure = "; ".join(filter(None, (_both(seen, change, deployed), picked_up(seen, last, deployed), unsure)))
    return Blame(True, unsure, asks=unsure)


def came_later(seen: Snapshot, log: ErrorLog, measured: Measured, deployed: datetime) -> str:
    """That the rollout's pods served well for so long that what fails now is not new with them, as measured; empty where the logs have the errors
    from earlier on."""
    if measured.since is not Since.LATER or measured.began is None:
        return ""
    served = served_from([p for p in seen.alive if seen.newest(p)], deployed)
    known = min(filter(None, (measured.began, log.beginning.by)))
    return f"{measured.said}, and they served well until then" if known - served >= NEW else ""


def _after(seen: Snapshot, measured: Measured, deployed: datetime) -> Change | None:
    """The newest change between the rollout and the beginning; a share of failing requests climbs, so that it began before it shows."""
    if measured.began is None:
        return None
    return next((c for c in telling(seen, ()) if deployed < c.at <= measured.began + CLEAN), None)


def _served_without(seen: Snapshot, measured: Measured, change: Change, deployed: datetime) -> bool:
    """Whether the rollout's pods served well for a while before that change."""
    served = served_from([p for p in seen.alive if seen.newest(p)], deployed)
    began = measured.began
    return began is not None and change.at >= served + CLEAN and began >= change.at


def _both(seen: Snapshot, change: Change | None, deployed: datetime) -> str:
    """That something else changed so soon after the rollout that nobody can tell them apart."""
    if change is None:
        return ""
    after = span((change.at - deployed).total_seconds())
    return f"{change.told(seen.now)}, {after} after the rollout, and going back does not undo that"


def only_configuration(seen: Snapshot, untouched: str, last: Deployment, said: Sequence[str] = ()) -> Blame:
    """The word on a rollout that brings no errors by itself (`untouched`), with the configuration that changed right before it and that its pods were the
    first to start with: many charts change an annotation for no other reason."""
    deployed = seen.now - timedelta(seconds=last.age)
    met, change = met_first(seen, last, deployed, said), brought(seen, deployed, said)
    return Blame(False, f"{untouched}: {met}" if met else untouched, change if met else None)


def brought(seen: Snapshot, began: datetime | None, said: Sequence[str] = ()) -> Change | None:
    """What changed right before errors began that are older than the rollout."""
    known = telling(seen, said) if began is not None else ()
    return next((c for c in known if began and began - NEW <= c.at <= began), None)


_HELD = (Nature.LOGIN, Nature.PLACE, Nature.RATE_LIMIT)


def only_held(errors: Errors) -> str:
    """That older pods without the errors prove nothing: they hold a connection, a login or a place that only new ones have to get. Empty
    when the errors are about something else."""
    of_others = errors.share(Nature.CODE) < 0.5
    if not (errors.used_up and of_others) and sum(errors.share(nature) for nature in _HELD) < 0.5:
        return ""
    return f"pods of the older revision may only hold what new ones do not get: {errors.used_up or errors.of(_HELD)}"


def used_up_since(errors: Errors, origin: Finding | None) -> str:
    """That a pool or connections are used up by what may be the last rollout's own doing, as it holds more of them or does not give them back,
    or by somebody else's: a person says which. Empty where most errors are about something else, or the rollout did not bring them."""
    if origin is None or origin.data["rollout"] is not True or errors.used_up != errors.top:
        return ""
    with_it = (
        f"came with the rollout ({origin.data['measured']})"
        if origin.data["before"] == Since.WITH
        else "may have come with the rollout"
    )
    return (
        f"what is used up {with_it}, which may hold more of it or not give it back, or somebody else takes it"
        if errors.top
        else ""
    )
