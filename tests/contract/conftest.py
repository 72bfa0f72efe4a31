"""Fixtures of the contract tests: one Postgres per process, one empty database and one store maker per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.store.database import Store
from tests.contract import postgres
from tests.contract.stores import HandClock, Stores, missing
from tests.empty_store import put_empty_store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[], postgres.Postgres]]:
    """Starts the server at the first call, for all tests of this process."""
    with ExitStack() as stack:
        started: list[postgres.Postgres] = []

        def server() -> postgres.Postgres:
            if not started:
                started.append(stack.enter_context(postgres.running()))
            return started[0]

        yield server


@pytest.fixture
def server(
    request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres]
) -> postgres.Postgres:
    """The server of the contract tests; what is missing for it is said."""
    return _server(request, postgres_server)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: Callable[[], postgres.Postgres]
) -> str:
    """The URL of an empty database, on both backends."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return _server(request, postgres_server).new_database()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: Callable[[], postgres.Postgres]
) -> str:
    """The URL of a database with the schema of this version and no row, on both backends."""
    if request.param == "sqlite":
        return put_empty_store(tmp_path / "store.db")
    return _server(request, postgres_server).new_migrated_database()


def _server(
    request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres]
) -> postgres.Postgres:
    try:
        return postgres_server()
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise


@pytest.fixture
def clock() -> HandClock:
    """The clock of the test's stores."""
    return HandClock()


@pytest.fixture
def make_store(store_url: str, clock: HandClock) -> Iterator[Stores]:
    """Opens stores on the test's database and closes them."""
    stores = Stores(store_url, clock)
    yield stores
    stores.close()


@pytest.fixture
def store(make_store: Stores) -> Store:
    """One store on the test's database."""
    return make_store()


@pytest.fixture
def postgres_stores(
    request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres], clock: HandClock
) -> Iterator[Stores]:
    """`make_store` on Postgres only, for what SQLite cannot do."""
    stores = Stores(_server(request, postgres_server).new_migrated_database(), clock)
    yield stores
    stores.close()


@pytest.fixture
def empty_postgres(request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres]) -> str:
    """The URL of an empty database on Postgres."""
    return _server(request, postgres_server).new_database()


@pytest.fixture
def sqlite_stores(tmp_path: Path, clock: HandClock) -> Iterator[Stores]:
    """`make_store` on a SQLite file only, which gives up a lock after 50 ms."""
    stores = Stores(f"{put_empty_store(tmp_path / 'only.db')}?timeout=0.05", clock)
    yield stores
    stores.close()
