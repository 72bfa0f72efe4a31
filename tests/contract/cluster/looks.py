"""Short reads and writes through the port, for the contract's tests of controllers."""

from __future__ import annotations

from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.sides import Side

IMAGE = "/spec/template/spec/containers/0/image"


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


async def patch_web(side: Side, *patch: dict[str, Any], kind: Kind = Kind.DEPLOYMENT) -> Obj:
    return await side.cluster.patch(kind, side.namespace, "web", patch)


async def listed(side: Side, kind: Kind, selector: str = "") -> list[Obj]:
    return await side.cluster.list_objects(kind, side.namespace, selector)


async def pods_of(side: Side) -> list[Obj]:
    """The pods of web that are not being deleted."""
    return [p for p in await listed(side, Kind.POD, "app=web") if "deletionTimestamp" not in p["metadata"]]


def condition_of(obj: Obj, kind: str) -> tuple[str, str]:
    found = {c["type"]: (c["status"], c["reason"]) for c in obj["status"].get("conditions", [])}
    return found.get(kind, ("", ""))
