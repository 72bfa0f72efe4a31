"""Texts of a server: strict where they are names, with replacements where strangers wrote them, and never made of another type."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.adapt import Transformer

from app.database.connect import kind
from app.database.texts import ADAPTERS, foreign, text


@pytest.mark.parametrize("value", [b"idle in transaction", 7, ["a"], memoryview(b"a")])
def test_a_value_that_is_no_text_is_refused_and_not_shown_as_one(value: Any) -> None:
    with pytest.raises(psycopg.DataError) as refused:
        text(value)
    assert "idle" not in str(refused.value)
    assert text("idle") == "idle"
    assert text(None) == ""


def test_a_strangers_bytes_are_decoded_with_replacements_and_nothing_else_is() -> None:
    assert foreign(b"caf\xe9") == "caf\ufffd"
    with pytest.raises(psycopg.DataError):
        foreign("a text")


@pytest.mark.parametrize("type_", ["text", "name", "varchar", "bpchar", '"char"'])
def test_what_is_text_is_utf_8_or_refused_without_its_bytes(type_: str) -> None:
    loader = Transformer(ADAPTERS).get_loader(psycopg.adapters.types[type_].oid, psycopg.pq.Format.TEXT)
    assert loader.load("né".encode()) == "né"
    with pytest.raises(psycopg.DataError) as refused:
        loader.load(b"secret \xe9")
    assert "secret" not in str(refused.value)


REFUSALS: dict[type[psycopg.Error], str] = {
    psycopg.errors.InsufficientPrivilege: "GRANT",
    psycopg.errors.ObjectNotInPrerequisiteState: "state that this needs",
    psycopg.errors.ReadOnlySqlTransaction: "name the primary",
    psycopg.errors.LockNotAvailable: "who holds it",
    psycopg.errors.DuplicateDatabase: "drop or rename it",
    psycopg.errors.InvalidCatalogName: "no such database",
    psycopg.errors.CharacterNotInRepertoire: "UTF-8",
    psycopg.errors.UntranslatableCharacter: "UTF-8",
    psycopg.errors.AdminShutdown: "try again",
    psycopg.errors.DiskFull: "no space left",
    psycopg.errors.UndefinedTable: "not on the search path",
    psycopg.errors.DataCorrupted: "its log",
    psycopg.errors.QueryCanceled: "no answer within 3 s",
    psycopg.OperationalError: "the connection was lost",
    psycopg.DataError: "UTF-8",
}


@pytest.mark.parametrize("error", REFUSALS)
def test_what_a_server_refuses_is_told_in_words_with_what_to_do(error: type[psycopg.Error]) -> None:
    told = kind(error("it repeats 'a value'"), 3)
    assert REFUSALS[error] in told
    assert error.__name__ not in told
    assert "a value" not in told


def test_a_refusal_that_nobody_foresaw_is_told_by_its_number() -> None:
    told = kind(psycopg.errors.InvalidGrantor("'a value'"))
    assert "SQLSTATE 0L000" in told
    assert "a value" not in told
