"""The contract's two sides as one parametrised fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.contract.database.sides import RealSide, Side, SimSide
from tests.contract.postgres import Postgres, PostgresMissingError
from tests.contract.stores import missing


def _real(request: pytest.FixtureRequest, server: Callable[[], Postgres]) -> RealSide:
    try:
        return RealSide(server())
    except PostgresMissingError as error:
        missing(str(error), request)
        raise


@pytest.fixture(params=["sim", "real"])
async def side(
    request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres]
) -> AsyncIterator[Side]:
    """One implementation of the port, with a database of its own."""
    made: Side = SimSide() if request.param == "sim" else _real(request, postgres_server)
    yield made
    await made.close()


@pytest.fixture
async def real(
    request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres]
) -> AsyncIterator[RealSide]:
    """The real one alone, for what the simulation does not have."""
    made = _real(request, postgres_server)
    yield made
    await made.close()
