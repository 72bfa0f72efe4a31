"""The contract's two sides as one parametrised fixture; the real one belongs to the live tier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from app.kube.client import KubeCluster
from tests.contract.cluster.certmanager import Authority
from tests.contract.cluster.sides import RealSide, Side, SimSide
from tests.live.conftest import cert_manager, control_plane
from tests.live.stack import ControlPlane

__all__ = ["cert_manager", "control_plane"]


@pytest.fixture(
    params=[
        pytest.param("sim"),
        pytest.param("real", marks=pytest.mark.live),
    ]
)
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """One implementation of the port, with a namespace of its own."""
    if request.param == "sim":
        yield SimSide()
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    cluster = await KubeCluster.from_kubeconfig(str(plane.kubeconfig()))
    yield RealSide(plane, cluster)
    await cluster.close()


@pytest.fixture
def authority(request: pytest.FixtureRequest, side: Side) -> Iterator[Authority]:
    """The cert-manager of the side; it works again when the test is over."""
    real = request.getfixturevalue("cert_manager") if isinstance(side, RealSide) else None
    found = Authority(side, real)
    yield found
    found.go_on()
