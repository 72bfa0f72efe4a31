"""What a manifest holds is stored many times over: in decisions, the audit, messages, calls. However long its texts are and however many
parts it has, what is stored of one incident stays small. What an undo puts back is kept whole, once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection, select

from app.domain.decision import Mode
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import SimCluster
from app.store.schema import metadata
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import policy

LONG, MANY = 240_000, 800
MOST = 200_000
"""Characters of all tables but the undo's; some 54,000 for an ordinary workload."""


class Changed(SimCluster):
    """Its workload has something that the API server takes in any length or number."""

    what: ClassVar[str] = ""

    def _of(self, found: Obj, kind: Kind) -> Obj:
        manifest: dict[str, Any] = copy.deepcopy(dict(found))
        if kind is Kind.DEPLOYMENT and self.what == "owners":
            manifest["metadata"]["ownerReferences"] = [
                {"apiVersion": f"{'g' * 200}/v1", "kind": f"K{n}", "name": "n" * 200, "uid": f"u{n}"}
                for n in range(3_000)
            ]
        if kind is Kind.DEPLOYMENT and self.what == "group":
            owner = {"apiVersion": f"{'g' * LONG}/v1", "kind": "K", "name": "n", "uid": "u"}
            manifest["metadata"]["ownerReferences"] = [owner]
        if kind is Kind.DEPLOYMENT and self.what == "condition":
            manifest["status"]["conditions"] = [
                {"type": "Progressing", "status": "False", "reason": "r " * LONG, "message": "m " * LONG}
            ]
        if kind in (Kind.DEPLOYMENT, Kind.REPLICA_SET, Kind.POD):
            self._change(
                (manifest["spec"] if kind is Kind.POD else manifest["spec"]["template"]["spec"]), kind
            )
        return manifest

    def _change(self, spec: dict[str, Any], kind: Kind) -> None:
        first = spec["containers"][0]
        match self.what:
            case "image" if kind is Kind.DEPLOYMENT:
                first["image"] = f"ghcr.io/{'a' * LONG}:1"
            case "image of a revision" if kind is Kind.REPLICA_SET:
                first["image"] = f"ghcr.io/{'a' * LONG}:{first['image'][-5:]}"
            case "containers" if kind is Kind.DEPLOYMENT:
                spec["containers"] += [
                    {**first, "name": f"c{n}", "image": f"{'i' * 100}:{n}"} for n in range(MANY)
                ]
            case "configuration":
                first.setdefault("envFrom", []).append({"configMapRef": {"name": "n" * LONG}})
            case "configurations":
                refs = [{"configMapRef": {"name": f"n{n}"}} for n in range(3 * MANY)]
                first.setdefault("envFrom", []).extend(refs)
            case "pull secret":
                spec["imagePullSecrets"] = [{"name": "n" * LONG}]
            case "claim":
                volume = {"name": "v", "persistentVolumeClaim": {"claimName": "n" * LONG}}
                spec.setdefault("volumes", []).append(volume)

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        return self._of(await super().get(kind, namespace, name), kind)

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        return [self._of(o, kind) for o in await super().list_objects(kind, namespace, selector, fields)]


def _sizes(conn: Connection) -> dict[str, int]:
    return {
        name: sum(len(json.dumps(list(row), default=str)) for row in conn.execute(select(table)))
        for name, table in metadata.tables.items()
        if name != "pre_images"
    }


@pytest.mark.parametrize(
    "what",
    [
        "owners",
        "group",
        "condition",
        "image",
        "image of a revision",
        "containers",
        "configuration",
        "configurations",
        "pull secret",
        "claim",
    ],
)
async def test_what_is_stored_of_one_incident_stays_small(tmp_path: Path, what: str) -> None:
    rig = Rig(
        tmp_path / "rig.sqlite",
        world=scenario_of("high-error-rate"),
        cluster_type=type("Cluster", (Changed,), {"what": what}),
    )
    rig.policy = policy(mode=Mode.AUTO)
    await rig.born()
    await rig.run(120)
    sizes = await rig.store.read(_sizes)
    told = len(rig.notebook.text)
    await rig.close()
    assert sizes["decisions"]
    assert sum(sizes.values()) + told < MOST, {k: v for k, v in sizes.items() if v > 10_000}
