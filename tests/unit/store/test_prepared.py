"""Precompiled statements: their order of parameters is checked once, their text serves every batch size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy import bindparam as bind

from app.store.connection import Prepared, among, members

_metadata = MetaData()
_things = Table("things", _metadata, Column("name", Text, primary_key=True), Column("size", Integer))

INSERT = Prepared(insert(_things), ("name", "size"))
FIND = Prepared(
    select(_things.c.name).where(among(_things.c.name, "names")).order_by(_things.c.name), ("names",)
)
GROW = Prepared(
    update(_things).where(_things.c.name == bind("thing")).values(size=_things.c.size + bind("more")),
    ("more", "thing"),
)


@pytest.fixture
def conn() -> Iterator[Connection]:
    """An empty table in memory."""
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        _metadata.create_all(conn)
        yield conn
    engine.dispose()


def test_many_rows_go_in_by_one_call_and_none_by_no_call(conn: Connection) -> None:
    INSERT.many(conn, [])
    INSERT.many(conn, [("a", 1), ("b", 2), ("c", 3)])
    GROW.many(conn, [(10, "a"), (20, "b")])
    assert conn.execute(select(_things).order_by(_things.c.name)).all() == [
        ("a", 11),
        ("b", 22),
        ("c", 3),
    ]


@pytest.mark.parametrize(
    "wanted", [[], ["a"], ["a", "b", "nobody", 'quote"d'], [f"n{n}" for n in range(5_000)] + ["c"]]
)
def test_any_number_of_members_is_one_parameter(conn: Connection, wanted: list[str]) -> None:
    INSERT.many(conn, [("a", 1), ("b", 2), ("c", 3), ('quote"d', 4)])
    found = [name for (name,) in FIND.one(conn, members(wanted))]
    assert found == sorted({"a", "b", "c", 'quote"d'} & set(wanted))


def test_parameters_in_another_order_than_declared_are_a_defect_found_at_import() -> None:
    with pytest.raises(ValueError, match="expected"):
        Prepared(insert(_things), ("size", "name"))


def test_the_text_for_postgres_has_positional_parameters() -> None:
    assert "jsonb_array_elements_text(CAST(%s" in FIND._text["postgresql"]
