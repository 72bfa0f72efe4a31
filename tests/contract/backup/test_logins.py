"""Names and passwords that a file of services cannot hold reach pg_dump all the same, and are printed nowhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.backup.failure import BackupFailed
from app.backup.logins import Logins
from app.backup.restore_order import Phase
from tests.contract.backup.pod import PodRun
from tests.contract.backup.recovery import URL, Recovery, backed_up
from tests.contract.backup.test_backup import order_for
from tests.contract.postgres import Postgres, find_programs


def _renamed(url: str, to: str) -> str:
    """The URL of the database under another name."""
    name = str(conninfo_to_dict(url)["dbname"])
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as conn:
        renamed = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        conn.execute(renamed.format(sql.Identifier(name), sql.Identifier(to)))
    return url.replace(f"/{name}", f"/{quote(to, safe='')}")


@pytest.mark.parametrize("name", ["trail ", "two\nlines", "line break\n", "service=scratch", "$(id)'\"."])
def test_a_database_of_whatever_name_is_backed_up_and_restored(
    server: Postgres, tmp_path: Path, name: str
) -> None:
    made: Recovery = backed_up(
        _renamed(server.new_database(), name),
        tmp_path,
        ("CREATE TABLE stock (a int PRIMARY KEY)", "INSERT INTO stock VALUES (1), (2)"),
    )
    for phase in Phase:
        code, words = made.run(phase)
        assert code == 0, words
    assert made.ask("SELECT count(*) FROM stock", made.copies[0]) == [(2,)]
    for database in (made.live, *made.copies):
        with psycopg.connect(make_conninfo(made.url, dbname="postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)))


PASSWORDS = ("trail  ", "c4nary" * 250, " lead", "a\nb", "#[x]=$(id)`'\"")


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_of_whatever_form_is_what_pg_dump_is_given(
    server: Postgres, tmp_path: Path, password: str
) -> None:
    programs, url = tmp_path / "bin", server.new_database()
    programs.mkdir()
    real = find_programs()
    (programs / "pg_restore").symlink_to(real / "pg_restore")
    fake = f'printf %s "$PGPASSWORD" >{tmp_path}/given; exec {real}/pg_dump "$@"'
    (programs / "pg_dump").write_text(f"#!/bin/sh\n{fake}\n", "utf-8")
    (programs / "pg_dump").chmod(0o755)
    secret = url.replace("tester@", f"tester:{quote(password, safe='')}@")
    order = order_for(url, tmp_path / "bucket")
    (tmp_path / "bucket").mkdir()
    ended = PodRun(tmp_path / "pod", order, {"db": {URL: secret}}, programs).run()
    assert ended.codes == {"upload": 0, "dump": 0}, ended.printed
    assert (tmp_path / "given").read_text("utf-8") == password
    assert password not in ended.printed + ended.words


@pytest.mark.parametrize(
    ("user", "major", "why"),
    [
        ("trail ", 16, "the login's user ends with a blank"),
        ("two\nlines", 16, "the login's user has a line break in it"),
        ("x" * 300, 13, "the login's user has more than 245 bytes"),
        ("x" * 300, 14, ""),
    ],
)
def test_a_user_that_pg_dump_cannot_be_told_is_refused_in_words(
    tmp_path: Path, user: str, major: int, why: str
) -> None:
    logins, told = Logins(tmp_path, "", major), {"user": user, "password": "c4nary", "dbname": "db"}
    if not why:
        logins.write({"backup": told})
        return
    with pytest.raises(BackupFailed) as refused:
        logins.write({"backup": told})
    assert why in refused.value.message
    assert user not in refused.value.message
