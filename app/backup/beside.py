"""The copy beside a database: made empty with its locale and grants, given its settings, validated, marked or dropped.

Called by `app.backup.restore`. Connects to another database of the same server, anew for each piece of work: a restore takes long. Never
touches the database that is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from app.backup.comparing import differences
from app.backup.contents import Rights
from app.backup.failure import BackupFailed
from app.backup.giving import alike, grant, limit, set_of
from app.backup.restore_order import Phase, RestoreOrder
from app.backup.source import (
    LOCALE,
    Connection,
    connection_of,
    create,
    drop,
    locale_of,
    place_of,
    worded,
)
from app.database.copies import POWERS, WRITES, no_writes, powers_of
from app.database.texts import foreign, raw, text

_MARK = "SELECT COALESCE(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
_OWNER = "SELECT pg_get_userbyid(datdba), current_user FROM pg_database WHERE datname = %s"
_ROLES = f"SELECT {raw('rolname')}, pg_has_role(oid, 'MEMBER'), rolsuper FROM pg_roles"
_HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


class Beside:
    """The copy that an order names, seen from another database, to which `options` lead."""

    def __init__(self, options: Mapping[str, str], order: RestoreOrder) -> None:
        self._options, self._order = options, order
        self._made = False

    @property
    def version(self) -> tuple[int, str]:
        """Major version of the server, and the whole one as it says it."""
        with self._connected() as connection:
            return connection.info.server_version // 10_000, text(_one(connection, "SHOW server_version"))

    @property
    def may_create(self) -> bool:
        """Whether the login may make a database."""
        with self._connected() as connection:
            return bool(
                _one(connection, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
            )

    @property
    def rights(self) -> Rights:
        """What the login may."""
        with self._connected() as connection:
            return rights_of(connection)

    def refuse_no_writes(self) -> None:
        """Both the server and sessions of the login, as pg_restore's will be, have to take writes. Raises BackupFailed."""
        with self._connected() as connection, worded():
            row = connection.execute(WRITES.encode()).fetchone()
        if row and (why := no_writes(*row)):
            raise BackupFailed(why, code="read_only")

    def refuse_powers(self) -> None:
        """What is restored is code, and this login's SQL may not do what only a superuser's should, unless the rule allows it. Raises
        BackupFailed."""
        if self._order.superuser:
            return
        if self.rights.superuser:
            raise BackupFailed("the login is a superuser, which the rule does not allow", code="no_right")
        with self._connected() as connection, worded():
            powers = powers_of(connection.execute(POWERS.encode()).fetchall())
        if powers:
            text = f"the login may do what only a superuser should ({', '.join(powers)}), which the rule does not allow"
            raise BackupFailed(text, code="no_right")

    @property
    def mark(self) -> str | None:
        """The mark of the copy, empty for one that is not validated; None when there is none."""
        with self._connected() as connection, worded():
            row = connection.execute(_MARK.encode(), [self._order.copy]).fetchone()
        return None if row is None else text(row[0])

    def refuse_foreign(self) -> None:
        """The database has to be the login's own, or its copy would lock out whose it is. Raises BackupFailed."""
        with self._connected() as connection, worded():
            row = connection.execute(_OWNER.encode(), [self._order.live]).fetchone()
        if row is not None and row[0] != row[1]:
            text = f"{self._order.live} belongs to {row[0]}, and the login is {row[1]}: its copy would belong to the login"
            raise BackupFailed(text, code="foreign")

    def refuse_place(self) -> None:
        """The copy has to be on the same disk as the database, where the room for it was looked after. Raises BackupFailed."""
        live = self._order.live
        with self._connected() as connection:
            place, allowed = place_of(connection, live)
        if not allowed:
            text = f"{live} is in the tablespace {place}, where the login may make nothing (GRANT CREATE ON TABLESPACE)"
            raise BackupFailed(text, code="no_right")

    def analyze(self) -> str:
        """Have the server make the statistics of its planner for the copy, which no dump holds: why it could not, or empty."""
        try:
            with (
                connection_of({**self._options, "dbname": self._order.copy}, autocommit=True) as connection,
                worded(),
            ):
                connection.execute("ANALYZE")
        except BackupFailed as error:
            return f"; without statistics for the planner ({error.message}): run ANALYZE in it"
        return ""

    def make(self, locale: Sequence[Any] | None) -> None:
        """The empty copy: with the locale, tablespace and grants of the database that it is to replace, or with this locale."""
        live, copy = self._order.live, self._order.copy
        with self._connected() as connection:
            of_live = locale_of(connection, live)
            create(connection, copy, of_live or locale, place_of(connection, live)[0])
            self._made = True
            if of_live:
                refuse_other_locale(of_live, locale_of(connection, copy))
                with worded(f"the grants of {live} could not be given to its copy"):
                    grant(connection, live, copy)

    def refused_settings(self) -> list[str]:
        """Names of the settings of the database that this login may not give: they are tried on it, and all is taken back. Raises
        BackupFailed."""
        with self._connected() as connection, worded(), connection.transaction(force_rollback=True):
            return set_of(connection, self._order.live, self._order.live)

    def configure(self) -> list[str]:
        """Give the copy the settings of the database; the names of those that the login may not give."""
        with self._connected() as connection:
            return set_of(connection, self._order.live, self._order.copy)

    def approve(self) -> None:
        """Give it the limit of connections, which its validation may have needed, and write the mark: from now on it may take the database's
        place. Raises BackupFailed when owner or grants are not the same."""
        live, copy = self._order.live, self._order.copy
        words = sql.SQL("COMMENT ON DATABASE {} IS {}")
        with self._connected() as connection, worded():
            if not alike(connection, live, copy):
                text = f"{copy} has not the owner and grants of {live}"
                raise BackupFailed(text, code="differs")
            limit(connection, live, copy)
            connection.execute(words.format(sql.Identifier(copy), sql.Literal(self._order.mark)))

    def drop(self) -> None:
        """Drop it if it is there; one that bears a comment is not what a restore has left behind, unless this one made it: then what was
        restored wrote the comment. Raises BackupFailed."""
        if not self._made and self.mark:
            raise BackupFailed(f"there is a database {self._order.copy} of somebody else", code="foreign")
        with self._connected() as connection:
            drop(connection, self._order.copy, self._options)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with connection_of(self._options, autocommit=True) as connection:
            yield connection


def rights_of(connection: Connection) -> Rights:
    """What the login of a connection may. Raises BackupFailed."""
    with worded():
        login = text(_one(connection, "SELECT current_user"))
        superuser = bool(_one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        roles = connection.execute(_ROLES.encode()).fetchall()
        trusted = connection.execute(
            "SELECT name FROM pg_available_extension_versions WHERE trusted"
        ).fetchall()
    return Rights(
        login,
        superuser,
        frozenset(foreign(name) for name, member, _ in roles if member),
        frozenset(foreign(name) for name, _, _ in roles),
        frozenset(text(name) for (name,) in trusted),
        frozenset(foreign(name) for name, _, super_ in roles if super_),
    )


def owners_rights(options: Mapping[str, str]) -> Rights | None:
    """What the login may, where the database that these options lead to is its own; None where it is another role's, who restores it.
    Raises BackupFailed."""
    with connection_of(options, autocommit=True) as connection:
        with worded():
            row = connection.execute(_OWNER.encode(), [options["dbname"]]).fetchone()
        return rights_of(connection) if row and row[0] == row[1] else None


def refuse_other_locale(live: Sequence[Any], copy: Sequence[Any] | None) -> None:
    """The copy has to sort and compare as the database does. Raises BackupFailed."""
    pairs = zip((*LOCALE, "rules of ICU"), live, copy or (), strict=False)
    if wrong := [
        f"{name}: {of_live}, and of the copy {of_copy}"
        for name, of_live, of_copy in pairs
        if of_live != of_copy
    ]:
        raise BackupFailed(
            f"the copy has another locale than the database ({'; '.join(wrong)})", code="differs"
        )


def _one(connection: Connection, statement: str) -> Any:
    with worded():
        row = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise BackupFailed("the database gave no answer", code="query_failed")
    return row[0]


@contextmanager
def beside(options: Mapping[str, str], order: RestoreOrder) -> Iterator[Beside]:
    """The copy, seen from the database that these options name. A restore holds the name of the database that is replaced, on its
    server, against every other restore, from whatever cluster. Raises BackupFailed."""
    with connection_of(options, autocommit=True) as connection:
        if order.phase is Phase.RESTORE:
            with worded():
                row = connection.execute(
                    _HOLD.encode(), [f"alert-remediator restores {order.live}"]
                ).fetchone()
            if not row or not row[0]:
                raise BackupFailed(f"another restore of {order.live} is at work", code="busy")
        yield Beside(options, order)


def validate(options: Mapping[str, str], order: RestoreOrder, rows: Mapping[str, int]) -> None:
    """Compare the rows of every table with those of the manifest, and ask the rule's queries, in a transaction that writes nothing. Raises
    BackupFailed."""
    with connection_of(options, autocommit=False) as connection:
        with worded():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if wrong := differences(connection, rows):
            first = wrong[0]
            text = f"{len(wrong)} tables differ from the manifest: {first.table} has {first.found} rows, not {first.wanted}"
            raise BackupFailed(text, code="differs")
        for number, query in enumerate(order.checks, 1):
            _check(connection, number, query, order.seconds)


def _check(connection: Connection, number: int, query: str, seconds: int) -> None:
    with worded(f"check {number} of the rule could not be answered"):
        connection.execute(f"SET LOCAL statement_timeout = '{seconds:d}s'".encode())
        # binary: by the protocol that takes one statement alone
        rows = connection.execute(query.encode(), binary=True).fetchmany(2)
    if len(rows) > 1 or (rows and len(rows[0]) > 1):
        text = f"check {number} of the rule answers several values, not one"
        raise BackupFailed(text, code="check_failed")
    if not rows or rows[0][0] is not True:
        raise BackupFailed(f"check {number} of the rule answers {_kind(rows)}, not true", code="check_failed")


def _kind(rows: Sequence[Sequence[Any]]) -> str:
    """Of a value that is no truth its type alone: it may be anybody's."""
    if not rows or rows[0][0] is None:
        return "nothing"
    return "false" if rows[0][0] is False else f"a value of the type {type(rows[0][0]).__name__}"
