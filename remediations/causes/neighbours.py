"""The neighbour that failed first, for errors in the logs: a Service which they name and behind which no pod is ready.

Called by the handlers. Cause before victim: what our pods ask for is looked at before our pods are changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Finding
from app.domain.remediation import Scene
from remediations.causes.nearby import neighbours_in


async def neighbour_findings(scene: Scene, errors: Iterable[str]) -> list[Finding]:
    """One finding `dependency.NAME` for each named Service without a ready pod; data has `healthy` False."""
    try:
        found = await neighbours_in(scene, errors)
    except (ClusterRefused, TryLater):
        return []  # optional: without it nothing is known of neighbours
    return [
        Finding(
            f"dependency.{n.name}",
            f"{n.name}: Service {n.name} has no ready pod ({n.state})",
            data={"name": n.name, "kind": "service", "healthy": False},
        )
        for n in found
    ]
