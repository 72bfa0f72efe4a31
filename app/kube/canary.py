"""Whether a Deployment is the target of a Flagger Canary: then `NAME-primary` serves, each change of the target's template is a new release to
Flagger, and it ends a bad one by itself. Reads through the port; never writes."""

from __future__ import annotations

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.owner import Owner, Relation
from app.domain.workload import Workload
from app.kube.parse import controller_of, referred

FLAGGER = "flagger"
"""Its field manager."""
_GROUP, _CANARY = "flagger.app", "Canary"


async def canary_of(cluster: Cluster, workload: Workload) -> tuple[Owner, ...]:
    """The Canary of a target that Flagger has written, as it sizes it. Its name stands on what it made of the target, else the target's is taken,
    which is the custom. Raises TryLater kinds."""
    target = workload.target
    try:
        primary = await cluster.get(target.kind, target.namespace, f"{target.name}-primary")
    except (AccessDenied, ObjectMissing):
        primary = {"metadata": {}}
    owner = controller_of(primary)
    kind, name, group = referred(owner) if owner is not None else ("", "", "")
    if (kind, group) != (_CANARY, _GROUP):
        name = target.name
    note = f"each change of its template is a new release to Flagger, and {target.name}-primary serves"
    return (Owner(Relation.CONTROLS, target.kind, _CANARY, _GROUP, target.namespace, name, "Flagger", note),)
