"""The newest changes that may have brought what an alert tells of: of the workload itself, of anything else, of its replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.json import JsonValue
from app.domain.target import Kind
from app.kube.lineage import template_written_at
from remediations.causes.changes import Change
from remediations.causes.model import STARTING, Snapshot
from remediations.causes.suspects import SOON, labels_only
from remediations.evidence.rollouts import last_deployment


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


def made_at(seen: Snapshot, at: datetime) -> bool:
    """Were pods made then? Who sets the replicas higher has them made, and nothing else tells how many there were."""
    return any(at - STARTING <= p.created_at <= at + STARTING for p in seen.pods)
