"""Our own database keeps every name that a sender may say, or is refused before anything is written into it."""

from __future__ import annotations

import psycopg
import pytest

from app.domain.errors import BadInput
from app.store import incidents
from app.store.connection import parse, writer_engine
from app.store.migrate import require_current, upgrade
from tests.contract.postgres import Postgres
from tests.contract.stores import HandClock, Stores, delivery, firing

NAMES = ["Ä😀", "日本", "caf\xe9", "a\x00b", "\uffff", "\U0010ffff"]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_database_that_keeps_not_every_name_is_refused(server: Postgres, encoding: str) -> None:
    url = server.new_database(encoding)
    for refused in (lambda: upgrade(url), lambda: require_current(writer_engine(parse(url)))):
        with pytest.raises(BadInput, match=f"the database has the encoding {encoding}") as error:
            refused()
        assert error.value.where == "DATABASE_URL"


async def test_every_name_is_kept_whatever_the_role_says_of_encodings(server: Postgres) -> None:
    url = server.new_migrated_database()
    database = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{database}" SET client_encoding = LATIN1'.encode())
    stores = Stores(url, HandClock())
    store = stores()
    for number, name in enumerate(NAMES):
        receipt = await store.ingest(delivery(firing(f"f{number}", name=name), body=f"b{number}"))
        assert len(receipt.incident_ids) == 1
    kept = await store.read(lambda conn: [one.alertname for one in incidents.page(conn, None, 50)])
    assert sorted(kept) == sorted(name.replace("\0", "\N{REPLACEMENT CHARACTER}") for name in NAMES)
    stores.close()
