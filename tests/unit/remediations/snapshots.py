"""Snapshots of pods, revisions and workloads with sensible defaults, for tests of what is concluded from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.target import Kind, ObjectRef, Target
from app.domain.workload import ContainerSpec, ContainerState, Pod, Revision, Terminated, Workload

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
MIB = 1024**2


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def ended(reason: str = "Error", code: int = 1, at: datetime | None = None, message: str = "") -> Terminated:
    return Terminated(reason, code, at or ago(minutes=1), message)


def state(name: str = "app", **fields: Any) -> ContainerState:
    return ContainerState(**{"name": name, "init": False, "ready": True, "restarts": 0, **fields})


def pod(name: str, *containers: ContainerState, **fields: Any) -> Pod:
    states = containers or (state(),)
    specs = tuple(
        ContainerSpec(s.name, "registry/app:v2", memory_limit=512 * MIB, cpu_limit=500) for s in states
    )
    values: dict[str, Any] = {
        "ref": ObjectRef(Kind.POD, "rag7", name, f"uid-{name}", "1"),
        "phase": "Running",
        "ready": all(s.ready for s in states),
        "node": "node-1",
        "created_at": ago(hours=1),
        "labels": {},
        "containers": states,
        "specs": specs,
        **fields,
    }
    return Pod(**values)


def revision(number: int, image: str = "registry/app:v1", **fields: Any) -> Revision:
    template = fields.pop("template", {"spec": {"containers": [{"name": "app", "image": image}]}})
    values: dict[str, Any] = {
        "number": number,
        "name": f"app-{number}",
        "created_at": ago(minutes=14),
        "images": (image,),
        "template": template,
        "fingerprint": image,
        **fields,
    }
    return Revision(**values)


def workload(desired: int = 2, containers: Sequence[ContainerSpec] = (), **fields: Any) -> Workload:
    ref = ObjectRef(Kind.DEPLOYMENT, "rag7", "app", "uid-app", "1", 2)
    values: dict[str, Any] = {
        "target": Target("rag7", Kind.DEPLOYMENT, "app"),
        "ref": ref,
        "paused": False,
        "desired": desired,
        "ready": desired,
        "updated": desired,
        "available": desired,
        "observed_generation": 2,
        "labels": {},
        "annotations": {},
        "selector": "app=app",
        "containers": tuple(containers)
        or (ContainerSpec("app", "registry/app:v2", memory_limit=512 * MIB, cpu_limit=500),),
        "manifest": {"metadata": {}, "spec": {"replicas": desired, "template": {"spec": {}}}},
        **fields,
    }
    return Workload(**values)
