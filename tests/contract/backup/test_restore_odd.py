"""Restores of databases that are not plain: of another role, with settings, with what only a superuser makes, with rows that an error quotes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.backup.restore_order import Phase
from tests import containers
from tests.contract.backup.pod import PodRun
from tests.contract.backup.recovery import COPY, URL, Recovery, backed_up
from tests.contract.postgres import Postgres, PostgresMissingError, find_programs
from tests.contract.stores import missing

Make = Callable[..., Recovery]
STOCK = ("CREATE TABLE stock (a int PRIMARY KEY)", "INSERT INTO stock VALUES (1), (2)")
CANARY = "canary-row-4712 jane@example.org"


@pytest.fixture
def make(server: Postgres, tmp_path: Path) -> Make:
    """A backup of what these statements of the owner, and then of the superuser, made."""
    url = server.new_database()
    return lambda *statements, admin=(): backed_up(url, tmp_path, statements, admin)


def tablespace(server: Postgres, name: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute("SET allow_in_place_tablespaces = on")
        conn.execute(sql.SQL("CREATE TABLESPACE {} LOCATION ''").format(sql.Identifier(name)))


def test_the_copy_is_in_the_tablespace_of_the_database_with_statistics_for_the_planner(
    server: Postgres, tmp_path: Path
) -> None:
    """On another disk nobody looked for the room; and without statistics an application comes back to slow plans."""
    tablespace(server, "fast")
    url = server.new_database()
    live = url.rpartition("/")[2]
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE fast").format(sql.Identifier(live)))
    made = backed_up(url, tmp_path, ["CREATE TABLE t AS SELECT generate_series(1, 100) a"])
    for phase in Phase:
        code, words = made.run(phase)
        assert (code, f"{live} is in the tablespace fast, where the login may make nothing" in words) == (
            1,
            True,
        )
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute("GRANT CREATE ON TABLESPACE fast TO PUBLIC")
    assert [made.run(phase)[0] for phase in (Phase.REHEARSE, Phase.RESTORE)] == [0, 0]
    where = (
        "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace "
        f"WHERE datname = '{live}_{COPY}'"
    )
    assert made.ask(where, "postgres") == [("fast",)]
    assert made.ask("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'", f"{live}_{COPY}") == [(1,)]


@pytest.mark.parametrize("who", ["a member of the owning role", "a superuser"])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_login_that_does_not_own_the_database_is_refused_for_it_would_lock_the_owner_out(
    make: Make, who: str, phase: Phase
) -> None:
    made = make(*STOCK, "REVOKE CONNECT ON DATABASE {live} FROM PUBLIC")
    login = "tester"
    if who.startswith("a member"):
        login = f"dba_{made.live}"
        with psycopg.connect(made.url, autocommit=True) as conn:
            words = sql.SQL("CREATE ROLE {} LOGIN CREATEDB NOSUPERUSER IN ROLE {}")
            conn.execute(words.format(sql.Identifier(login), sql.Identifier(made.owner)))
    code, words_said = made.run(phase, secrets={"db": {URL: made.url.replace("tester@", f"{login}:pw@")}})
    assert (code, made.copies) == (1, [])
    assert f"{made.live} belongs to {made.owner}, and the login is {login}" in words_said


def test_a_table_of_a_name_that_nobody_sees_in_full_is_restored_as_it_was_backed_up(make: Make) -> None:
    """A joiner of Persian words, a soft hyphen, an emoji's selector, a line feed: the manifest holds them in escapes."""
    names = ("mi\u200ckhaham", "a\u00adb", "sun\u2600\ufe0f", "a\nb")
    made = make(*(f'CREATE TABLE "{name}" AS SELECT 1 AS a' for name in names))
    assert len(made.manifest["rows"]) == len(names)
    for phase in Phase:
        code, words_said = made.run(phase)
        assert code == 0, words_said


def test_a_database_without_an_encoding_is_backed_up_and_restored(
    request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres], tmp_path: Path
) -> None:
    try:
        url = postgres_server().new_database("SQL_ASCII")
    except PostgresMissingError as error:
        missing(str(error), request)
        raise
    made = backed_up(url, tmp_path, STOCK)
    assert made.manifest["rows"] == {"public.stock": 2}
    assert made.manifest["locale"][0] == "SQL_ASCII"
    for phase in Phase:
        code, words_said = made.run(phase)
        assert code == 0, words_said


def test_a_login_whose_sessions_write_nothing_is_told_by_the_rehearsal(make: Make) -> None:
    """Else the restore found it, after two people had agreed to it."""
    made = make(*STOCK, admin=("ALTER ROLE {owner} SET default_transaction_read_only = on",))
    for phase in Phase:
        code, words = made.run(phase)
        assert (code, "SET default_transaction_read_only = off" in words, made.copies) == (1, True, [])


REFUSED = {
    "a table of another role": (
        ("CREATE TABLE others (a int)", "GRANT SELECT ON others TO {owner}"),
        "what belongs to tester (TABLE public others; ALTER ... OWNER TO the login)",
    ),
    "the schema public of another role": (
        (
            "CREATE ROLE pub_{live}",
            "ALTER SCHEMA public OWNER TO pub_{live}",
            "GRANT ALL ON SCHEMA public TO {owner}",
        ),
        "(SCHEMA public; ALTER ... OWNER TO pg_database_owner)",
    ),
    "an event trigger": (
        (
            "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION et()",
        ),
        "event trigger watch",
    ),
    "a publication of all tables": (("CREATE PUBLICATION pub FOR ALL TABLES",), "publication pub"),
    "an extension that is not trusted": (
        ("CREATE EXTENSION pg_stat_statements",),
        "extension pg_stat_statements",
    ),
    "default privileges of another role": (
        (
            "CREATE ROLE dp_{live}",
            "ALTER DEFAULT PRIVILEGES FOR ROLE dp_{live} GRANT SELECT ON TABLES TO PUBLIC",
        ),
        "default privileges of dp_",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_rehearsal_names_what_the_owner_cannot_put_back(make: Make, what: str) -> None:
    statements, named = REFUSED[what]
    made = make(*STOCK, admin=statements)
    code, words = made.run(Phase.REHEARSE)
    assert (code, made.copies) == (1, [])
    assert "cannot put back as it was: " in words
    assert named in words
    assert (named in made.told, "a restore would refuse it as it is: " in made.told) == (True, True)


def test_a_schema_public_of_a_superuser_is_restored_as_it_is_given_to_every_new_database(make: Make) -> None:
    """As in each database that was made before PostgreSQL 15, and that pg_upgrade took along."""
    made = make(
        *STOCK, admin=("ALTER SCHEMA public OWNER TO tester", "GRANT ALL ON SCHEMA public TO {owner}")
    )
    assert "would refuse" not in made.told
    for phase in Phase:
        code, words = made.run(phase)
        assert code == 0, words


def test_what_the_owner_can_put_back_is_not_refused(make: Make) -> None:
    made = make(
        *STOCK,
        "CREATE EXTENSION hstore",
        "CREATE PUBLICATION pub FOR TABLE stock",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        admin=(
            "CREATE ROLE a_{live}",
            "CREATE ROLE b_{live}",
            "GRANT CONNECT ON DATABASE {live} TO a_{live} WITH GRANT OPTION",
            "SET ROLE a_{live}",
            "GRANT CONNECT ON DATABASE {live} TO b_{live}",
        ),
    )
    assert made.run(Phase.REHEARSE)[0] == 0
    code, words = made.run(Phase.RESTORE)
    assert code == 0, words


@pytest.mark.parametrize(
    "name", ['Or"ders', "o'r; --", '"; DROP TABLE stock; --', "ünï 表 x", "two  blanks ", "Select"]
)
def test_roles_schemas_and_settings_of_whatever_name_are_put_back_as_they_were(make: Make, name: str) -> None:
    quoted = name.replace('"', '""')
    role = f'"{quoted}_{{live}}"'
    made = make(
        f'CREATE SCHEMA "{quoted}"',
        f'CREATE TABLE "{quoted}"."{quoted}" (a int)',
        f'ALTER DATABASE {{live}} SET search_path TO public, "{quoted}"',
        admin=(
            f"CREATE ROLE {role} NOLOGIN",
            "SET ROLE {owner}",
            f'GRANT SELECT ON "{quoted}"."{quoted}" TO {role}',
            f"GRANT CONNECT ON DATABASE {{live}} TO {role} WITH GRANT OPTION",
        ),
    )
    for phase in Phase:
        code, words = made.run(phase)
        assert code == 0, words
    (copy,) = made.copies
    for statement in (
        "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname <> 'public' ORDER BY 1",
        "SELECT relname, relacl::text FROM pg_class WHERE relkind = 'r' AND relnamespace > 16384 ORDER BY 1",
        "SHOW search_path",
    ):
        assert made.ask(statement, copy) == made.ask(statement)
    acl = "SELECT array_agg(a::text ORDER BY a::text) FROM pg_database, unnest(datacl) a WHERE datname = current_database()"
    assert made.ask(acl, copy) == made.ask(acl)


def test_what_is_restored_belongs_to_the_login_whatever_role_a_setting_gives_it(make: Make) -> None:
    made = make(
        *STOCK,
        admin=(
            "CREATE ROLE other_{live} NOLOGIN",
            "GRANT other_{live} TO {owner}",
            "ALTER ROLE {owner} SET role = other_{live}",
        ),
    )
    for phase in Phase:
        code, words = made.run(phase)
        assert code == 0, words
    (copy,) = made.copies
    assert made.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'stock'", copy) == [(made.owner,)]


def test_settings_that_hinder_a_session_are_carried_over_and_do_not_hinder_the_restore(make: Make) -> None:
    """The time limits hit every session of the database, ours too, unless it lifts them; what only a superuser sets is named."""
    made = make("CREATE SCHEMA app", "CREATE TABLE app.stock AS SELECT generate_series(1, 3) AS a")
    mine = (
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "idle_session_timeout = '50ms'",
        "default_transaction_read_only = on",
        'search_path = "$user", app, "odd ""name"',
        "application_name = 'O''Neil, x'",
        "datestyle = 'ISO, DMY'",
    )
    with psycopg.connect(make_conninfo(made.url, dbname="postgres"), autocommit=True) as conn:
        for setting in (*mine, "log_min_duration_statement = 500", "app.tenant = 'x'"):
            conn.execute(f"ALTER DATABASE {made.live} SET {setting}".encode())
        conn.execute(f"ALTER DATABASE {made.live} CONNECTION LIMIT 7".encode())
    left_out = "without the settings log_min_duration_statement, app.tenant, which the login may not give"
    code, words = made.run(Phase.REHEARSE)
    assert (code, left_out in words) == (0, True), words
    code, words = made.run(Phase.RESTORE, checks=("SELECT count(*) = 3 FROM stock",))
    assert (code, left_out in words) == (0, True), words
    told = """SELECT unnest(s.setconfig), d.datconnlimit FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = '{}' ORDER BY 1"""
    of_live, of_copy = (made.ask(told.format(name), "postgres") for name in (made.live, made.copies[0]))
    assert len(of_copy) == len(mine)
    assert of_copy == [one for one in of_live if not str(one[0]).startswith(("log_", "app."))]


def test_rows_of_the_database_are_in_no_word_of_a_restore(make: Make) -> None:
    """pg_restore repeats the row that a constraint refuses; a check's answer may be anybody's."""
    made = make(
        *STOCK,
        "CREATE FUNCTION fits(text) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT 1 FROM public.stock)'",
        "CREATE TABLE aaa (t text CHECK (public.fits(t)))",
        f"INSERT INTO aaa VALUES ('{CANARY}')",
    )
    code, words = made.run(Phase.RESTORE)
    assert (code, made.copies) == (1, [])
    assert 'violates check constraint "aaa_t_check"' in words
    assert "canary" not in words


ANSWERS = {
    f"SELECT '{CANARY}'": "answers a value of the type str, not true",
    "SELECT a = 1 FROM stock ORDER BY a": "answers several values, not one",
    "SELECT true, true": "answers several values, not one",
    "SELECT true WHERE false": "answers nothing, not true",
}


def test_of_the_answer_of_a_check_only_its_kind_is_told(make: Make) -> None:
    made = make(*STOCK)
    for query, told in ANSWERS.items():
        code, words = made.run(Phase.RESTORE, checks=(query,))
        assert (code, told in words, "canary" in words) == (1, True, False), words


def test_two_restores_of_one_database_do_not_run_at_once(make: Make) -> None:
    made = make(*STOCK)
    with psycopg.connect(make_conninfo(made.owner_url, dbname="postgres"), autocommit=True) as other:
        held = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
        other.execute(held, [f"alert-remediator restores {made.live}"])
        code, words = made.run(Phase.RESTORE)
        assert (code, made.copies) == (1, [])
        assert f"another restore of {made.live} is at work" in words
    code, words = made.run(Phase.RESTORE)
    assert code == 0, words


def test_a_copy_of_another_run_is_never_dropped(make: Make) -> None:
    made = make(*STOCK)
    name = sql.Identifier(f"{made.live}_{COPY}")
    with psycopg.connect(make_conninfo(made.owner_url, dbname="postgres"), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
        conn.execute(sql.SQL("COMMENT ON DATABASE {} IS 'alert-remediator: of another run'").format(name))
    code, words = made.run(Phase.RESTORE)
    assert (code, len(made.copies)) == (1, 1)
    assert "of somebody else" in words


def test_tables_whose_names_have_dots_are_told_apart(make: Make) -> None:
    made = make(
        "CREATE SCHEMA a",
        'CREATE SCHEMA "a.b"',
        'CREATE TABLE a."b.c" AS SELECT 1',
        'CREATE TABLE "a.b".c AS SELECT generate_series(1, 2)',
    )
    assert made.manifest["rows"] == {'a."b.c"': 1, '"a.b".c': 2}
    code, words = made.run(Phase.RESTORE)
    assert code == 0, words


def test_the_other_container_does_not_wait_for_one_that_died_before_it_made_the_pipes(make: Make) -> None:
    """Else the Job would be at work until its deadline."""
    made = make(*STOCK)
    code, words = made.run(Phase.REHEARSE, secrets={"db": {URL: "nonsense"}})
    assert (code, "has no postgresql:// URL" in words) == (1, True), words


def test_the_first_error_is_told_when_the_copy_cannot_be_dropped_either(make: Make, tmp_path: Path) -> None:
    """A superuser's session, which the login may not end, keeps the copy there."""
    made, programs = make(*STOCK), tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").symlink_to(find_programs() / "pg_dump")
    waits = f"touch {tmp_path}/began; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    (programs / "pg_restore").write_text(f"#!/bin/sh\n{waits}; exit 3\n", "utf-8")
    (programs / "pg_restore").chmod(0o755)
    pod = PodRun(tmp_path / "pod", made.backup, made.secrets, programs, made.order(Phase.RESTORE))
    processes = pod.start()
    while not (tmp_path / "began").exists():
        assert processes["upload"].poll() is None
        time.sleep(0.02)
    with psycopg.connect(make_conninfo(made.url, dbname=f"{made.live}_{COPY}")):
        (tmp_path / "go").touch()
        printed = {name: p.communicate(timeout=30)[0].decode() for name, p in processes.items()}
    said = containers.words_of(pod.folder, "upload").read_text("utf-8")
    assert said.startswith("pg_restore ended with exit code 3")
    for words in (printed["upload"], said):  # the last words reach the result, the thread and the page
        assert (
            f'could not be dropped and takes room: DROP DATABASE "{made.live}_{COPY}" WITH (FORCE)' in words
        )


POWERS = {
    "programs": (("GRANT pg_execute_server_program TO {owner}",), "pg_execute_server_program"),
    "files, through another role": (
        (
            "CREATE ROLE through_{live}",
            "GRANT pg_write_server_files TO through_{live}",
            "GRANT through_{live} TO {owner}",
        ),
        "pg_write_server_files",
    ),
    "a superuser's role, by SET ROLE": (
        ("CREATE ROLE boss_{live} SUPERUSER", "GRANT boss_{live} TO {owner}"),
        "the rights of the superuser boss_",
    ),
    "CREATEROLE": (("ALTER ROLE {owner} CREATEROLE",), "CREATEROLE of owner_"),
}


@pytest.mark.parametrize("what", POWERS)
def test_a_login_that_may_do_as_much_as_a_superuser_restores_only_where_the_rule_allows_it(
    make: Make, what: str
) -> None:
    statements, named = POWERS[what]
    made = make(*STOCK, admin=statements)
    for phase in Phase:
        code, words = made.run(phase)
        assert (code, named in words, made.copies) == (1, True, []), words
    assert made.run(Phase.RESTORE, superuser=True)[0] == 0
