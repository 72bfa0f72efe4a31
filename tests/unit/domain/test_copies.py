"""What a run holds beside its target: a database, however its address is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.copies import HeldDatabase, databases_of
from app.domain.database import DatabaseAddress
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target


def _held(kind: ActionKind = ActionKind.VACUUM, **written: Any) -> HeldDatabase:
    at = DatabaseAddress(
        **{"namespace": "rag7", "host": "", "port": 0, "database": "", "secret": "s", **written}
    )
    part: dict[str, Any] = {"database": at.to_json()}
    if kind is ActionKind.EXCHANGE_DATABASE:
        part |= {"live": "threads"}
    target = Target("rag7", Kind.STATEFUL_SET, "postgres")
    (held,) = databases_of(
        [
            Action(
                kind,
                ObjectRef(Kind.STATEFUL_SET, "rag7", "postgres", "", ""),
                target,
                (),
                "",
                0,
                False,
                "",
                part=part,
            )
        ]
    )
    return held


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"host": "postgres"}, {"host": "postgres.rag7.svc"}, True),
        ({"host": "postgres.rag7"}, {"host": "Postgres.rag7.svc.cluster.local."}, True),
        ({"host": "postgres"}, {"host": "postgres", "namespace": "other"}, False),
        ({"host": "db.example.com"}, {"host": "db.example.com", "namespace": "other"}, True),
        ({"host": "postgres", "database": "threads"}, {"host": "postgres"}, True),
        ({"host": "postgres", "database": "threads"}, {"host": "postgres", "database": "orders"}, False),
        ({"host": "postgres", "port": 5433}, {"host": "postgres", "port": 5432}, False),
        ({"host": "postgres", "port": 5432}, {"host": "postgres"}, True),
        ({}, {"host": "postgres"}, True),
        ({}, {"secret": "other"}, True),
        ({}, {"namespace": "other"}, False),
        ({"database": "threads"}, {"database": "orders"}, False),
    ],
)
def test_a_database_is_the_same_however_its_address_is_spelled(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    """What stands in a Secret's URL alone is not known: it may be any in its namespace."""
    assert _held(**one).may_be(_held(**other)) is same
    assert _held(**other).may_be(_held(**one)) is same


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"namespace": "other"}, True),
        ({"namespace": "other", "database": "orders"}, False),
        ({"namespace": "other", "host": "db.example.com"}, False),
        ({"host": "postgres"}, True),
    ],
)
def test_an_exchange_may_concern_any_database_that_is_not_known(other: dict[str, Any], same: bool) -> None:
    exchange = _held(ActionKind.EXCHANGE_DATABASE, host="postgres.rag7.svc")
    assert exchange.may_be(_held(**other)) is same
    assert _held(**other).may_be(exchange) is same
