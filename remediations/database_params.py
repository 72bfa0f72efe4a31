"""Where a rule's database is: the parameters that all remediations share which look into one.

Used as the base of their `Params`. No order may change one of them: else it could send the login elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from app.domain.database import DatabaseAddress, Tls
from app.domain.remediation import Params

_Name = Annotated[str, Field(max_length=253, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")]
_Key = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")]


class DatabaseParams(Params):
    """Where the database is: `host`, or the name of a `service` in the target's namespace, `port`, `database`; what is empty or 0
    is the one of the URL in the Secret. The login stands in an existing `secret`: a URL under `url_key`, or, when that is empty,
    user and password under their keys."""

    host: _Name = ""
    service: _Name = ""
    port: int = Field(default=0, ge=0, le=65_535)
    database: Annotated[str, Field(max_length=63)] = ""
    secret: _Name = "langgraph-secrets"
    url_key: _Key = "DATABASE_URL"
    user_key: _Key = "username"
    password_key: _Key = "password"
    ca_key: _Key = ""
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"

    def address(self, namespace: str) -> DatabaseAddress:
        """Of the database, seen from a namespace."""
        host = f"{self.service}.{namespace}.svc" if self.service and not self.host else self.host
        return DatabaseAddress(
            namespace, host, self.port, self.database, self.secret, self.user_key, self.password_key, self.url_key,
            Tls(self.tls), self.ca_key,
        )  # fmt: skip


WHERE: Final = frozenset(DatabaseParams.model_fields)
"""Their names."""
