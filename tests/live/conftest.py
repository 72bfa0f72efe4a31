"""Owns the fixtures of the live tier; what is missing skips its tests loudly, or fails with --require-live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.kube.client import KubeCluster
from tests.live import build, controlplane
from tests.live.certmanager import CertManager
from tests.live.chart.helm import Helm
from tests.live.objectstore import PART, ObjectStore
from tests.live.stack import (
    Alertmanager,
    AlertmanagerFactory,
    ControlPlane,
    MetricsServer,
    Postgres,
    Redis,
    Timing,
)
from tests.live.workload import Shop

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tier."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


def _need(request: pytest.FixtureRequest, *parts: str) -> None:
    absent = build.missing(parts)
    if not absent:
        return
    reason = f"LIVE STACK MISSING: {', '.join(absent)}; run: python -m tests.live.build"
    if request.config.getoption("--require-live", default=False):
        pytest.fail(reason)
    pytest.skip(reason)


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Where a server logs to; pytest keeps the folders of the last runs."""
    return factory.mktemp(name)


@pytest.fixture(scope="session")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A control plane for all tests; a test works in a namespace of its own."""
    _need(request, *controlplane.PARTS)
    with ControlPlane(_folder(tmp_path_factory, "control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def metrics_api(request: pytest.FixtureRequest, control_plane: ControlPlane) -> Iterator[MetricsServer]:
    """The metrics API of the control plane; a new pod's numbers take up to half a minute."""
    _need(request, "metrics-server")
    with MetricsServer(control_plane) as server:
        yield server


@pytest.fixture(scope="session")
def cert_manager(request: pytest.FixtureRequest, control_plane: ControlPlane) -> Iterator[CertManager]:
    """cert-manager on the control plane: its kinds, and its controllers for SelfSigned and CA issuers."""
    _need(request, build.CERT_MANAGER)
    with CertManager(control_plane) as running:
        yield running


@pytest.fixture(scope="session")
def alertmanager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AlertmanagerFactory]:
    """Starts Alertmanagers for a receiver; they end with the tests, or by stop()."""
    _need(request, "alertmanager")
    with ExitStack() as stack:

        def start(
            receiver_url: str, bearer_token: str = "", *, count: int = 1, timing: Timing | None = None
        ) -> Alertmanager:
            folder = _folder(tmp_path_factory, "alertmanager")
            cluster = Alertmanager(receiver_url, bearer_token, count=count, timing=timing, folder=folder)
            return stack.enter_context(cluster)

        yield start


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL server; a test takes a fresh_database()."""
    _need(request, "postgres")
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def object_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """A real S3 server with one bucket; a test writes under a prefix of its own."""
    _need(request, PART)
    with ObjectStore(_folder(tmp_path_factory, "object-store")) as server:
        yield server


@pytest.fixture(scope="session")
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis server; a test takes a fresh_database()."""
    _need(request, "redis")
    with Redis(_folder(tmp_path_factory, "redis")) as server:
        yield server


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest) -> Helm:
    """The real helm."""
    _need(request, "helm")
    return Helm(build.binary("helm"))


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    """The service's own client of the control plane."""
    client = await KubeCluster.from_kubeconfig(str(control_plane.kubeconfig()))
    yield client
    await client.close()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A fresh namespace."""
    return control_plane.create_namespace()


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str) -> Shop:
    """What acts on the one workload of a fresh namespace."""
    return Shop(control_plane, namespace)
