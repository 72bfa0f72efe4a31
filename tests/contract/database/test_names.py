"""Names of whatever form, on a real server: what statements are made of is quoted, and what people are told to type does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.domain.copies import Exchange, Found, drop_command
from app.domain.errors import ProbeUnavailable
from app.domain.target import Kind
from app.domain.text import sql_name, sql_value
from remediations.evidence.restores import rights_obstacle
from tests.contract.database.sides import secret
from tests.contract.database.test_copies import MARK, PASSWORD, Place, real
from tests.contract.postgres import Postgres, PostgresMissingError
from tests.contract.stores import missing

NAMES = (
    'Or"ders',
    "o'r; DROP TABLE which",
    '"; DROP TABLE which; --',
    "ünï 表 x",
    "two  blanks ",
    "a\ttab\nand a line",
    "back\\slash",
    "zero\u200bwidth",
    "select",
)


@pytest.fixture
def place(request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres]) -> Place:
    try:
        return real(postgres_server().new_database())
    except PostgresMissingError as error:
        missing(str(error), request)
        raise


@contextmanager
def _admin(place: Place, database: str = "") -> Iterator[psycopg.Connection]:
    told = make_conninfo(place.url, dbname=database) if database else place.url
    with psycopg.connect(told, autocommit=True) as conn:
        yield conn


async def _live(place: Place) -> Found:
    seen = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
    assert seen.live is not None
    return seen.live


def _typed(words: str) -> list[str]:
    """The statements in a text for people."""
    return re.findall(
        r"""(?:ALTER|DROP|COMMIT|ROLLBACK|SELECT|GRANT) (?:[^"',()]|(?:"(?:[^"]|"")*")|(?:'(?:[^']|'')*')|\([^()]*\))+?"""
        r"(?= DISABLE stops| or ROLLBACK| ends it|, then|, once|\)|\Z)",
        words,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_and_a_text_of_whatever_form_are_one_token_on_one_line(place: Place, name: str) -> None:
    assert " ".join(sql_name(name).split()) == sql_name(name)
    with _admin(place) as conn:
        conn.execute(f"CREATE TABLE {sql_name(name)} AS SELECT {sql_value(name)} AS a".encode())
        found = conn.execute("SELECT relname FROM pg_class WHERE relname = %s", [name]).fetchall()
        assert found == [(name,)]
        row = conn.execute(sql.SQL("SELECT a FROM {}").format(sql.Identifier(name))).fetchall()
        assert row == [(name,)]
        assert conn.execute("SELECT to_regclass('which') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("name", NAMES)
async def test_what_ends_a_prepared_transaction_is_told_as_it_is_typed(place: Place, name: str) -> None:
    with psycopg.connect(place.url) as conn:
        conn.execute("INSERT INTO which VALUES ('prepared')")
        conn.execute(f"PREPARE TRANSACTION {sql_value(name)}".encode())
    with _admin(place) as conn:
        try:
            (told,) = (await _live(place)).in_the_way
            commit, roll_back = _typed(told)
            assert roll_back.startswith("ROLLBACK PREPARED ")
            assert conn.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == [(name,)]
            conn.execute(commit.encode())
            assert (await _live(place)).in_the_way == ()
            assert conn.execute("SELECT count(*) FROM which").fetchone() == (2,)
        finally:
            for (gid,) in conn.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
                conn.execute(f"ROLLBACK PREPARED {sql_value(gid)}".encode())


@pytest.mark.parametrize("name", NAMES)
async def test_a_subscription_goes_by_what_is_told_and_its_database_after_it(place: Place, name: str) -> None:
    """Also one that is disabled keeps its database from being dropped."""
    kept = place.exchange.kept
    with _admin(place) as conn:
        made = "CREATE SUBSCRIPTION {} CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'x')"
        conn.execute(sql.SQL(made).format(sql.Identifier(name)))
        conn.execute("UPDATE pg_subscription SET subenabled = true WHERE subname = %s", [name])
        (told,) = (await _live(place)).in_the_way
        (disable,) = _typed(told)
        conn.execute(f"{disable} DISABLE".encode())
        (told,) = (await _live(place)).left_behind
    await place.rename(place.exchange.forth, kept)
    with _admin(place, "postgres") as conn:
        with pytest.raises(psycopg.errors.ObjectInUse):
            conn.execute(drop_command(kept).encode())
        conn.execute(f"ALTER DATABASE {sql_name(kept)} ALLOW_CONNECTIONS true".encode())
        with _admin(place, kept) as inside:
            statements = _typed(told)
            assert len(statements) == 2
            for statement in statements:
                inside.execute(statement.encode())
        conn.execute(drop_command(kept).encode())


@pytest.mark.parametrize("name", NAMES)
async def test_databases_of_whatever_name_are_exchanged_and_the_former_one_is_dropped_by_what_is_told(
    place: Place, name: str
) -> None:
    """All three have such names, and so has the role that owns them."""
    before, owner = place.exchange, f"{name}{place.exchange.live}"
    live, copy, kept = (f"{name}{n}{before.live}" for n in "lck")
    with _admin(place, "postgres") as conn:
        for old, new in ((before.live, live), (before.copy, copy)):
            names = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            conn.execute(names.format(sql.Identifier(old), sql.Identifier(new)))
        role = sql.SQL("ALTER ROLE {} RENAME TO {}")
        conn.execute(role.format(sql.Identifier(f"owner_{before.live}"), sql.Identifier(owner)))
        again = sql.SQL("ALTER ROLE {} PASSWORD {}")
        conn.execute(again.format(sql.Identifier(owner), sql.Literal(PASSWORD)))
    place.exchange = Exchange(replace(before.at, database=live), "postgres", live, copy, kept, MARK)
    _login_is(place, owner)
    seen = await place.copies.look(place.cluster, place.exchange.at, "postgres")
    assert (seen.login, seen.database, seen.live and seen.live.owner) == (owner, live, owner)
    await place.rename(place.exchange.forth, kept)
    assert await place.names() == {"live": (MARK, True), "kept": ("", False)}
    with psycopg.connect(make_conninfo(place.url, dbname="postgres", user=owner), autocommit=True) as conn:
        conn.execute(drop_command(kept).encode())
    assert await place.names() == {"live": (MARK, True)}
    with _admin(place, live) as conn, pytest.raises(ProbeUnavailable) as refused:
        await place.rename(((live, kept),), kept)
    assert "may not be ended" in refused.value.message


def _login_is(place: Place, user: str) -> None:
    place.cluster.delete(Kind.SECRET, "rag7", "db")
    place.cluster.create(secret({"username": user, "password": PASSWORD}))


@pytest.mark.parametrize("name", NAMES)
async def test_a_grant_to_the_login_is_told_as_it_is_typed(place: Place, name: str) -> None:
    with _admin(place) as conn:
        owner = f"{name}{place.exchange.live}"
        role = sql.SQL("ALTER ROLE {} RENAME TO {}")
        conn.execute(role.format(sql.Identifier(f"owner_{place.exchange.live}"), sql.Identifier(owner)))
        again = sql.SQL("ALTER ROLE {} PASSWORD {}")
        conn.execute(again.format(sql.Identifier(owner), sql.Literal(PASSWORD)))
        _login_is(place, owner)
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"other_{place.exchange.live}")))
    with psycopg.connect(make_conninfo(place.url, user=f"other_{place.exchange.live}")):
        seen = await place.copies.look(place.cluster, place.exchange.at, "postgres")
        (grant,) = _typed(rights_obstacle(seen, superuser=False))
        with _admin(place) as conn:
            conn.execute(grant.encode())
        seen = await place.copies.look(place.cluster, place.exchange.at, "postgres")
        assert rights_obstacle(seen, superuser=False) == ""


async def test_a_role_that_a_setting_gives_the_login_changes_nothing(place: Place) -> None:
    """ALTER ROLE ... SET role: what is looked at, ended and renamed is so as the login."""
    owner, other = f"owner_{place.exchange.live}", f"other_{place.exchange.live}"
    with _admin(place) as conn:
        conn.execute(f'CREATE ROLE "{other}" NOLOGIN'.encode())
        conn.execute(f'GRANT "{other}" TO "{owner}"'.encode())
        conn.execute(f'ALTER ROLE "{owner}" SET role = "{other}"'.encode())
    with closing(psycopg.connect(make_conninfo(place.url, user=owner))) as conn:
        assert conn.execute("SELECT current_user").fetchone() == (other,)
        seen = await place.copies.look(place.cluster, place.exchange.at, "postgres")
        assert (seen.login, seen.may_create, rights_obstacle(seen, superuser=False)) == (owner, True, "")
        await place.rename(place.exchange.forth, place.exchange.kept)
    assert await place.names() == {"live": (MARK, True), "kept": ("", False)}


async def test_a_template_is_a_database_like_any_other_and_told_as_what_cannot_be_dropped(
    place: Place,
) -> None:
    """It was told that there is none, so nobody saved it first."""
    live = place.exchange.live
    with _admin(place, "postgres") as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(live)))
    (told,) = (await _live(place)).left_behind
    assert "that it is a template" in told
    await place.rename(place.exchange.forth, place.exchange.kept)
    assert await place.names() == {"live": (MARK, True), "kept": ("", False)}
    seen = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
    kept = seen.find(place.exchange.kept)
    assert kept is not None
    with _admin(place, "postgres") as conn:
        for statement in (*_typed(kept.left_behind[0]), drop_command(kept.name)):
            conn.execute(statement.encode())
    assert await place.names() == {"live": (MARK, True)}


async def test_a_database_that_was_closed_is_so_again_after_an_undo(place: Place) -> None:
    await place.rename(place.exchange.forth, place.exchange.kept)
    await place.rename(place.exchange.back, *replace(place.exchange, was_closed=True).closed_back)
    assert await place.names() == {"live": ("", False), "copy": (MARK, False)}
