"""The neighbour that failed first: a Service which the errors name and behind which no pod is ready.

Called by the handlers. Cause before victim: what our pods ask for is looked at before our pods are changed. Reads at most
three Services' pods of the same namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.kube.parse import parse_pod, selector_text
from remediations.evidence.units import count, short

_MOST = 3
_NAME = re.compile(r"(?<![\w.-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?=[.:/\s,;'\")\]]|$)")


async def neighbour_findings(scene: Scene, errors: Iterable[str]) -> list[Finding]:
    """One finding `dependency.NAME` for each named Service without a ready pod; data has `healthy` False. Nothing is said of
    a Service that has one, because that does not prove that it answers."""
    words = {w for text in errors for w in _NAME.findall(text.lower())}
    namespace = scene.workload.target.namespace
    try:
        services = await scene.cluster.list_objects(Kind.SERVICE, namespace) if words else []
        named = [
            s for s in services if s["metadata"]["name"] in words and _selector(s) and not _own(scene, s)
        ]
        found = [await _finding(scene, service) for service in named[:_MOST]]
    except (ClusterRefused, TryLater):
        return []  # optional: without it nothing is known of neighbours
    return [f for f in found if f is not None]


def _selector(service: Obj) -> dict[str, str]:
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return selector


def _own(scene: Scene, service: Obj) -> bool:
    labels = (scene.workload.manifest["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return all(labels.get(k) == v for k, v in _selector(service).items())


async def _finding(scene: Scene, service: Obj) -> Finding | None:
    name = service["metadata"]["name"]
    text = selector_text({"matchLabels": _selector(service)})
    listed = await scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, text)
    pods = [p for p in map(parse_pod, listed) if not p.over]
    if any(p.ready for p in pods):
        return None
    waits = next((f", {p.name} {c.waiting}" for p in pods for c in p.containers if c.waiting), "")
    said = f"Service {name} has no ready pod (0 of {count(len(pods), 'pod')}{short(waits, 120)})"
    data = {"name": name, "kind": "service", "healthy": False}
    return Finding(f"dependency.{name}", f"{name}: {said}", data=data)
