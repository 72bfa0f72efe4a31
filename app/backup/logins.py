"""The login in a pod: from the variables that it came in, and to the other container of the pod.

Called by `app.backup.upload` and `app.backup.restore`. Errors name keys, never values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.backup.failure import BackupFailed
from app.backup.order import AUTHORITY, PASSWORD, URL, USER
from app.backup.pipes import OF_THEIR_OWN
from app.database.login import Options, login_of
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable

_VERSION: Final = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_OLDER_LIBPQ, _SHORT_LINE, _LINE = (
    13,
    250,
    1_000,
)  # bytes of a line in a file of services, and up to which version the short one holds
KNOWS_AUTHENTICATION: Final = 16
"""From this major version on libpq knows require_auth and the certificates of the system."""


def client_version(said: str) -> tuple[int, str]:
    """Major version and the whole one, from what `pg_dump --version` said. Raises BackupFailed for an image without."""
    found = _VERSION.search(said)
    if found is None:
        raise BackupFailed("the image has no pg_dump", code="no_client")
    return int(found[2]), found[1]


def pod_login(at: DatabaseAddress, given: Mapping[str, str]) -> tuple[Options, str]:
    """Connection options and certificates to trust, from the variables that the Secret's keys came in. Raises BackupFailed."""
    by_key = {at.url_key: URL} if at.url_key else {at.user_key: USER, at.password_key: PASSWORD}
    values = {key: given.get(variable, "").strip() for key, variable in by_key.items()}
    try:
        return login_of(values, at), given.get(AUTHORITY, "")
    except ProbeUnavailable as error:
        raise BackupFailed(error.message, code=error.code) from None


@dataclass(frozen=True, slots=True)
class Logins:
    """The login for the other container, in a folder of memory that both share, so that it stands in no argument and in no variable of that
    container. libpq reads a file of services there, whose lines are short and lose blanks at their end; password and name of the database
    are files of their own, which the variables of one process are made from. `major` is the version of its libpq."""

    folder: Path
    authority: str
    major: int

    def write(self, services: Mapping[str, Options]) -> None:
        """These services, by name. Raises BackupFailed for what that libpq cannot do."""
        text = ""
        for name, options in services.items():
            told = dict(options)
            if self.authority and "sslrootcert" in told:
                (self.folder / "authority.pem").write_text(self.authority, encoding="utf-8")
                told["sslrootcert"] = str(self.folder / "authority.pem")
            if self.major < KNOWS_AUTHENTICATION:
                told.pop("require_auth", None)
                if told.get("sslrootcert") == "system":
                    text = f"pg_dump {self.major} knows no certificates of the system: name a ca_key"
                    raise BackupFailed(text, code="no_authority")
            for key in OF_THEIR_OWN:
                (self.folder / f"{name}.{key}").write_text(told.pop(key), encoding="utf-8")
            for key, value in told.items():
                _refuse_untold(key, value, _SHORT_LINE if self.major <= _OLDER_LIBPQ else _LINE)
            text += f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in told.items())
        (self.folder / "services").write_text(text, encoding="utf-8")


def _refuse_untold(key: str, value: str, longest: int) -> None:
    why = ""
    if value != value.rstrip():
        why = "ends with a blank"
    elif "\n" in value or "\r" in value:
        why = "has a line break in it"
    elif len(f"{key}={value}".encode()) > longest:
        why = f"has more than {longest - len(key) - 1} bytes"
    if why:
        raise BackupFailed(f"the login's {key} {why}, so pg_dump cannot be told it", code="no_login")
