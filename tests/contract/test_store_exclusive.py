"""One process per store, and what its files are open to."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from app.domain.errors import BadInput
from app.store.exclusive import only_process
from app.store.presence import Presence
from tests.contract.stores import Stores, open_incident


def test_a_second_process_on_the_same_store_is_refused_until_the_first_is_gone(database_url: str) -> None:
    with only_process(database_url, "pod-0"):
        with pytest.raises(BadInput) as refused, only_process(database_url, "pod-0"):
            raise AssertionError("both serve")
        assert refused.value.code == "already_running"
    with only_process(database_url, "pod-0"):
        pass


def test_replicas_of_other_names_share_a_database_and_their_presence(postgres_stores: Stores) -> None:
    url = postgres_stores.url
    with only_process(url, "pod-0"), only_process(url, "pod-1"):
        presence = Presence(url.replace("postgresql://", "postgresql+psycopg://"), "pod-0")
        assert presence.hold()
        presence.close()


def test_the_lock_of_a_name_is_taken_anew_after_the_database_restarted(postgres_stores: Stores) -> None:
    """Else a second process of this name would be let in for as long as the first one lives."""
    url = postgres_stores.url
    with only_process(url, "pod-0") as hold:
        _cut(url)
        assert hold()
        with pytest.raises(BadInput), only_process(url, "pod-0"):
            raise AssertionError("both serve")


def test_who_lost_the_lock_to_another_process_hears_of_it(postgres_stores: Stores) -> None:
    url = postgres_stores.url
    with only_process(url, "pod-0") as hold:
        _cut(url)
        with only_process(url, "pod-0") as other:
            assert (hold(), other()) == (False, True)


def _cut(url: str) -> None:
    """All sessions of these locks end, as with a restart of the server."""
    name = "alert-remediator-exclusive"
    with psycopg.connect(url, autocommit=True) as conn:
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        conn.execute(ended, (name,))


def test_a_store_that_cannot_be_reached_is_no_second_process() -> None:
    url = "postgresql://nobody:hush-hush@127.0.0.1:1/none"
    with pytest.raises(BadInput) as refused, only_process(url, "pod-0"):
        raise AssertionError("there is no database")
    assert (refused.value.code, refused.value.where) == ("bad_setting", "REMEDIATOR_DATABASE_URL")
    assert "the database none at 127.0.0.1:1 could not be opened as nobody: " in refused.value.message
    assert "refused" in refused.value.message
    assert "hush" not in refused.value.message


def modes(folder: Path) -> dict[str, int]:
    """The rights of the files in a folder."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_the_files_of_a_store_are_its_users_only(sqlite_stores: Stores, tmp_path: Path) -> None:
    path = tmp_path / "only.db"
    path.touch(0o644)
    await open_incident(sqlite_stores())
    assert modes(tmp_path) == dict.fromkeys(("only.db", "only.db-wal", "only.db-shm"), 0o600)
    other = Stores(f"sqlite:///{tmp_path / 'new' / 'store.db'}", sqlite_stores._clock)
    other()
    other.close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
