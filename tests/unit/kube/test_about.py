"""What is asked about the API server itself: version, clock, API groups, and the right to read one namespace."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.errors import AccessDenied, ClusterUnavailable
from app.domain.target import Kind
from app.kube.about import Server as About
from tests.unit.kube.test_client import Server


async def test_version_and_clock_come_from_the_answer() -> None:
    server = Server((200, {"gitVersion": "v1.37.2"}), (403, {}), (200, {"no": "version"}))
    async with server.cluster() as cluster:
        found = await cluster.server()
        assert found.version == "v1.37.2"
        assert found.date is not None
        assert abs((found.date - datetime.now(UTC)).total_seconds()) < 60
        with pytest.raises(AccessDenied):
            await cluster.server()
        with pytest.raises(ClusterUnavailable):
            await cluster.server()


def test_a_date_that_is_none_is_not_known() -> None:
    assert About.read({"Date": "yesterday"}, b'{"gitVersion": "v1"}') == About("v1", None)


async def test_the_api_groups_are_those_that_the_cluster_serves() -> None:
    server = Server((200, {"groups": [{"name": "apps"}, {"name": "keda.sh"}]}))
    async with server.cluster() as cluster:
        assert await cluster.api_groups() == {"apps", "keda.sh"}


async def test_the_right_to_read_one_namespace_is_asked_for_by_its_name() -> None:
    """A role may let it be read by its name alone, which a question without a name takes for a refusal."""
    server = Server((201, {"status": {"allowed": True}}))
    async with server.cluster() as cluster:
        assert await cluster.can_i("get", Kind.NAMESPACE, "rag7")
    asked = server.bodies[0]["spec"]["resourceAttributes"]
    assert (asked["name"], asked["namespace"]) == ("rag7", "rag7")
