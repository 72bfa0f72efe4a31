"""The one request that looks like the creation of a pod: a server-side dry run, and never anything else."""

from __future__ import annotations

import pytest

from app.domain.errors import AccessDenied, ClusterUnavailable, ObjectInvalid, RemediatorError
from tests.unit.kube.test_client import Server

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}, "spec": {}}


async def test_a_pod_is_only_ever_created_as_a_dry_run() -> None:
    server = Server((201, POD))
    async with server.cluster() as cluster:
        assert await cluster.dry_run_pod("rag7", POD) == POD
    (request,) = server.seen
    assert (request.method, request.path) == ("POST", "/api/v1/namespaces/rag7/pods")
    assert (request.query["dryRun"], request.query["fieldManager"]) == ("All", "alert-remediator")
    assert server.bodies == [POD]


def _status(code: int, message: str) -> tuple[int, dict[str, object]]:
    return code, {"kind": "Status", "code": code, "message": message}


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (403, 'pods "web-" is forbidden: violates PodSecurity "restricted:latest"', ObjectInvalid),
        (403, 'pods is forbidden: User "u" cannot create resource "pods" in API group ""', AccessDenied),
        (422, "Pod is invalid", ObjectInvalid),
        (500, 'failed calling webhook "w": no route', ClusterUnavailable),
        (504, "the request timed out", ClusterUnavailable),  # nothing was stored, so nothing is unclear
    ],
)
async def test_its_refusals_are_told_apart(code: int, message: str, kind: type[RemediatorError]) -> None:
    server = Server(_status(code, message))
    async with server.cluster() as cluster:
        with pytest.raises(kind):
            await cluster.dry_run_pod("rag7", POD)
