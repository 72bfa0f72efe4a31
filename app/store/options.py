"""Owns which options a database URL may have. Connects to nothing."""

from __future__ import annotations

from psycopg.pq import Conninfo
from sqlalchemy import URL

from app.domain.errors import BadInput
from app.domain.free_text import one_line


def known(url: URL) -> URL:
    """The URL of a Postgres store, each option of which the client library knows. Raises BadInput for another one: by the time it is connected
    with, nobody could tell it from a fault of the store."""
    names = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if wrong := sorted(set(url.query) - names):
        told = f"Postgres has no connection option {one_line(wrong[0], 40)!r}"
        raise BadInput(told, code="bad_setting", where="DATABASE_URL")
    return url
