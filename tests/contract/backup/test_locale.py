"""A copy sorts as the database does, also where the server's template has another provider of collations."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from app.backup.beside import refuse_other_locale
from app.backup.failure import BackupFailed
from app.backup.source import connection_of, create, locale_of
from tests.contract.postgres import Postgres

OF_ICU = b"UPDATE pg_database SET datlocprovider = 'i', daticulocale = 'en' WHERE datname = 'template0'"
OF_LIBC = b"UPDATE pg_database SET datlocprovider = 'c', daticulocale = NULL WHERE datname = 'template0'"


def test_the_provider_is_carried_over_from_the_database_and_not_from_the_template(
    postgres_server: Callable[[], Postgres],
) -> None:
    server = postgres_server()
    options = {"host": "127.0.0.1", "port": str(server.port), "user": "tester", "dbname": "postgres"}
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        if conn.info.server_version // 10_000 not in (15, 16):
            pytest.skip("the columns of the catalog have these names in PostgreSQL 15 and 16")
        conn.execute(
            "CREATE DATABASE of_libc TEMPLATE template0 LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        conn.execute("CREATE DATABASE of_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
        try:
            conn.execute(OF_ICU)
            with connection_of(options, autocommit=True) as connection:
                for name in ("of_libc", "of_icu"):
                    create(connection, f"{name}_copy", locale_of(connection, name))
                found = {
                    n: locale_of(connection, n) for n in ("of_libc", "of_libc_copy", "of_icu", "of_icu_copy")
                }
        finally:
            conn.execute(OF_LIBC)
            for name in ("of_libc", "of_libc_copy", "of_icu", "of_icu_copy"):
                conn.execute(f"DROP DATABASE IF EXISTS {name}".encode())
    assert found["of_libc"] == found["of_libc_copy"]
    assert found["of_icu"] == found["of_icu_copy"]
    assert found["of_libc"] is not None
    with pytest.raises(
        BackupFailed, match=r"another locale than the database .*provider: c, and of the copy i"
    ):
        refuse_other_locale(found["of_libc"], found["of_icu"])
