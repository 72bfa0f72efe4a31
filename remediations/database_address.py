"""Which database a rule means, and where its login stands: the params that all remediations of databases share."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from app.domain.database import DatabaseAddress, Tls
from app.domain.remediation import Params

Name = Annotated[str, Field(max_length=253, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")]
"""The name of an object or a host; empty for none."""
Key = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")]
"""A key of a Secret; empty for none."""
ADDRESS: Final = frozenset(
    {"host", "service", "port", "database", "secret", "url_key", "user_key", "password_key", "ca_key", "tls"}
)
"""The names of these params, which no order may change."""


class DatabaseParams(Params):
    """Where the database is: `host`, or the name of a `service` in the target's namespace, `port`, `database`; what is empty or 0
    is the one of the URL in the Secret. The login stands in an existing `secret`: a URL under `url_key`, or, when that is empty,
    user and password under their keys."""

    host: Name = ""
    service: Name = ""
    port: int = Field(default=0, ge=0, le=65_535)
    database: Annotated[str, Field(max_length=63)] = ""
    secret: Name = "langgraph-secrets"
    url_key: Key = "DATABASE_URL"
    user_key: Key = "username"
    password_key: Key = "password"
    ca_key: Key = ""
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"

    def address(self, namespace: str) -> DatabaseAddress:
        """Of the database, seen from a namespace."""
        host = f"{self.service}.{namespace}.svc" if self.service and not self.host else self.host
        return DatabaseAddress(
            namespace, host, self.port, self.database, self.secret, self.user_key, self.password_key, self.url_key,
            Tls(self.tls), self.ca_key,
        )  # fmt: skip
