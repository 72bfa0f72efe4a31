"""Promise 10: what stands behind a database is found by its name, whatever its spelling, and what cannot be told is not left out."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.copies import service_of
from app.domain.plan import SERVERS, Action, ActionKind, Step, touched
from app.domain.target import Kind, ObjectRef, Target
from app.flow.deciding.marks import with_servers
from app.policy.gates.people import covers
from app.policy.model import Scope
from app.sim import SimCluster
from app.sim.clock import VirtualClock
from tests.births import scenario_of

WEB = Target("rag7", Kind.DEPLOYMENT, "web")
SERVER = "rag7/StatefulSet/postgres"


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("db", ("rag7", "db")),
        ("db.data", ("data", "db")),
        ("DB.data.svc", ("data", "db")),
        ("db.data.svc.cluster.local.", ("data", "db")),
        ("db-0.db.data.svc.cluster.local", ("data", "db")),
        ("db.eu.example.com", None),
        ("10.1.2.3", None),
        ("::1", None),
        ("", None),
    ],
)
def test_a_host_of_the_cluster_is_a_service(host: str, found: tuple[str, str] | None) -> None:
    assert service_of(host, "rag7") == found


def action(host: str, **part: Any) -> Action:
    written = {"namespace": "rag7", "host": host, "port": 0, "database": "", "secret": "s", "tls": "prefer"}
    ref = ObjectRef(Kind.DEPLOYMENT, "rag7", "web", "u1", "1")
    parts = {"database": written, **part} if host else part
    return Action(ActionKind.VACUUM, ref, WEB, (), "vacuum", 0, False, "", part=parts)


async def servers(cluster: SimCluster, host: str, scope: Scope | None = None) -> list[str]:
    step = Step("vacuum", "", (action(host),))
    (found,) = await with_servers(cluster, scope or Scope(namespaces=("rag7",)), None, (step,))
    return [str(key) for key in found.actions[0].params.get(SERVERS, ())]  # type: ignore[union-attr]


def cluster() -> SimCluster:
    return SimCluster(VirtualClock(), scenario_of("database-vacuum"))


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "rag7"},
        "spec": {"ports": [{"port": 5432}], **spec},
    }


@pytest.mark.parametrize(
    "host", ["postgres", "postgres.rag7.svc", "postgres-0.postgres.rag7.svc.cluster.local"]
)
async def test_the_stateful_set_behind_a_host_is_written_too(host: str) -> None:
    assert await servers(cluster(), host) == [SERVER]


async def test_the_owner_of_the_pods_that_a_service_chooses_is_written_too() -> None:
    sim = cluster()
    sim.create(service("primary", selector={"app": "postgres"}))
    assert await servers(sim, "primary") == [SERVER]


async def test_a_service_that_leads_out_of_the_cluster_has_no_workload() -> None:
    sim = cluster()
    sim.create(service("away", type="ExternalName", externalName="db.example.com"))
    assert await servers(sim, "away") == []


async def test_what_is_behind_a_service_that_nobody_may_read_may_be_anything_there() -> None:
    sim = cluster()
    sim.deny("list", Kind.SERVICE)
    assert await servers(sim, "primary") == ["rag7/Service/primary"]
    assert await servers(sim, "db.data") == ["data/Service/db"], "and nothing is read of what is not ours"
    unknown = (Target("data", Kind.SERVICE, "db"),)
    assert covers("target:data/StatefulSet/db", unknown, ("r",), "m")
    assert covers("namespace:data", unknown, ("r",), "m")
    assert not covers("target:rag7/StatefulSet/db", unknown, ("r",), "m")


def test_a_certificate_and_its_secret_are_written_with_the_workload() -> None:
    found = touched([action("", certificate="tls", secret="tls")])
    assert {one.key for one in found} == {WEB.key, "rag7/Certificate/tls", "rag7/Secret/tls"}
