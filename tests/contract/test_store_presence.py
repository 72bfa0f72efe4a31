"""Replicas on one Postgres: who lives is told by locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from app.domain.errors import StoreUnavailable
from app.store.presence import Presence
from tests.contract import postgres
from tests.contract.stores import missing

Join = Callable[[str], Presence]


@pytest.fixture
def database(request: pytest.FixtureRequest, postgres_server: Callable[[], postgres.Postgres]) -> str:
    """An empty database."""
    try:
        return postgres_server().new_database()
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def join(database: str) -> Iterator[Join]:
    """Has a replica of this name join."""
    with ExitStack() as stack:

        def make(name: str) -> Presence:
            presence = Presence(_driver(database), name)
            stack.callback(presence.close)
            return presence

        yield make


def _cut(database: str) -> None:
    """The sessions of all replicas break."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'alert-remediator-presence'"
        )


def test_a_name_is_held_once(join: Join) -> None:
    first, second = join("replica-0"), join("replica-0")
    assert [first.hold(), second.hold(), first.hold()] == [True, False, True]
    first.close()
    assert second.hold()


def test_a_replica_is_gone_when_nobody_holds_its_lock_at_two_looks(join: Join) -> None:
    first, second = join("replica-0"), join("replica-1")
    assert first.hold()
    assert second.hold()
    others = ("replica-0", "replica-9")
    assert [second.gone(others), second.gone(others)] == [(), ("replica-9",)]
    first.close()
    assert [second.gone(others), second.gone(others)] == [("replica-9",), ("replica-0", "replica-9")]


def test_a_replica_that_comes_back_between_two_looks_was_not_gone(join: Join) -> None:
    first, second = join("replica-0"), join("replica-1")
    assert second.hold()
    assert second.gone(["replica-0"]) == ()
    assert first.hold()
    assert [second.gone(["replica-0"]), second.gone(["replica-0"])] == [(), ()]


def test_nobody_is_gone_for_itself_or_unasked(join: Join) -> None:
    presence = join("replica-1")
    assert presence.hold()
    assert [presence.gone(["replica-1"]), presence.gone(["replica-1"]), presence.gone([])] == [(), (), ()]


def test_who_is_away_at_one_look_is_told_and_is_nobodys_death(join: Join) -> None:
    first, second = join("replica-0"), join("replica-1")
    assert first.hold()
    assert second.hold()
    assert second.absent(["replica-0", "replica-9"]) == {"replica-9"}
    first.close()
    assert second.absent(["replica-0"]) == second.absent(["replica-0"]) == {"replica-0"}
    assert second.gone(["replica-0"]) == ()


def test_what_one_loop_asks_about_one_replica_is_not_forgotten_for_another_ones_question(join: Join) -> None:
    presence = join("replica-1")
    assert presence.hold()
    assert [presence.gone(["replica-0"]), presence.gone(["replica-9"])] == [(), ()]
    assert presence.gone(["replica-0"]) == ("replica-0",)


def test_a_broken_session_is_replaced(database: str, join: Join) -> None:
    first, second = join("replica-0"), join("replica-0")
    assert first.hold()
    _cut(database)
    with pytest.raises(StoreUnavailable):
        first.gone([])
    assert first.hold()
    assert not second.hold()
    assert first.gone([]) == ()


def test_a_database_that_is_away_is_ours_to_name() -> None:
    presence = Presence("postgresql+psycopg://tester@127.0.0.1:1/nothing", "replica-0")
    with pytest.raises(StoreUnavailable, match="which replicas live"):
        presence.hold()
    assert presence.gone(["replica-1"]) == ()
    presence.close()
