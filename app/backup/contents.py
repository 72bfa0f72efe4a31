"""What an archive holds that this login cannot put back as it was, told from its table of contents when it is made and before anything is stopped.

Called by `app.backup.upload` and `app.backup.restore` with the list of `pg_restore --list`: number; oids; kind, schema, name, owner. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.domain.text import bounded

_LINE: Final = re.compile(r"\d+; \d+ \d+ (?P<rest>.*)\Z")
_SUPERUSERS: Final = ("EVENT TRIGGER", "FOREIGN DATA WRAPPER", "SUBSCRIPTION", "PROCEDURAL LANGUAGE")
_NOT_OWNED: Final = (
    "ACL ",
    "COMMENT ",
    "SECURITY LABEL ",
    "TABLE DATA ",
    "SEQUENCE SET ",
    "BLOBS ",
    "BLOB METADATA ",
)
_OF_ANY: Final = "pg_database_owner"
_PUBLIC: Final = "SCHEMA - public"
_SHOWN, _LONGEST, _SHORT = 5, 180, 60


@dataclass(frozen=True, slots=True)
class Rights:
    """What the login may. `member` are the roles whose rights it has, `roles` all of the server, `superusers` those that nobody locks out,
    `trusted` the extensions that an owner may make."""

    login: str
    superuser: bool
    member: frozenset[str]
    roles: frozenset[str]
    trusted: frozenset[str]
    superusers: frozenset[str] = frozenset()


def cannot(listing: str, rights: Rights, *, privileges: bool) -> str:
    """Why this archive is not restored, with names; empty when nothing is known against it."""
    entries = [m["rest"] for line in listing.splitlines() if (m := _LINE.match(line))]
    found = list(dict.fromkeys((*_not_made(entries, rights, privileges), *_of_others(entries, rights))))
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    named = ", ".join(bounded(one, _LONGEST) for one in found[:_SHOWN])
    return f"the login {rights.login} cannot put back as it was: {named}{more}"


def _not_made(entries: list[str], rights: Rights, privileges: bool) -> Iterator[str]:
    """What PostgreSQL lets only a superuser make, or a member of another role."""
    if rights.superuser:
        return
    with_tables = {rest.split(" ", 4)[3] for rest in entries if rest.startswith("PUBLICATION TABLE ")}
    for rest in entries:
        kind = next((one for one in _SUPERUSERS if rest.startswith(f"{one} ")), "")
        name, owner = _name_and_owner(rest.removeprefix(f"{kind} ").partition(" ")[2])
        if kind:
            yield f"{kind.lower()} {name}"
        elif rest.startswith("EXTENSION "):
            if (extension := rest.split(" ")[2]) not in rights.trusted:
                yield f"extension {extension}"
        elif rest.startswith("PUBLICATION - "):
            name, _ = _name_and_owner(rest.removeprefix("PUBLICATION - "))
            if name not in with_tables:
                yield f"publication {name} (for all tables, whole schemas, or none)"
        elif rest.startswith("DEFAULT ACL ") and privileges and owner not in rights.member:
            yield f"default privileges of {owner}"


def _of_others(entries: list[str], rights: Rights) -> Iterator[str]:
    """What belongs to another role of this server: it would be the login's, and that role be locked out. The schema `public` belongs to a superuser
    in each database that was made before PostgreSQL 15, and to the login in each new one."""
    found: dict[str, list[str]] = {}
    for rest in entries:
        name, owner = _name_and_owner(rest)
        if rest.startswith((*_NOT_OWNED, "DEFAULT ACL ", "EXTENSION ")) or owner == _OF_ANY:
            continue
        if name == _PUBLIC and owner in rights.superusers:
            continue
        if owner in rights.roles and owner != rights.login:
            found.setdefault(owner, []).append(name)
    for owner, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        to = _OF_ANY if names[0] == _PUBLIC else "the login"
        first = bounded(names[0].replace(" - ", " "), _SHORT)
        yield f"what belongs to {bounded(owner, _SHORT)} ({first}{more}; ALTER ... OWNER TO {to})"


def _name_and_owner(rest: str) -> tuple[str, str]:
    name, _, owner = rest.rpartition(" ")
    return name, owner
