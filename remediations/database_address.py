"""Which database a rule means, and where its login stands: the params that all remediations of databases share."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from app.domain.database import DatabaseAddress, Tls
from app.domain.remediation import Params
from remediations.params import DataKey, ObjectName, host_in

ADDRESS: Final = frozenset(
    {"host", "service", "port", "database", "secret", "url_key", "user_key", "password_key", "ca_key", "tls"}
)
"""The names of these params, which no order may change."""


class DatabaseParams(Params):
    """Where the database is: `host`, or the name of a `service` in the target's namespace, `port`, `database`; what is empty or 0
    is the one of the URL in the Secret. The login stands in an existing `secret`: a URL under `url_key`, or, when that is empty,
    user and password under their keys."""

    host: ObjectName = ""
    service: ObjectName = ""
    port: int = Field(default=0, ge=0, le=65_535)
    database: Annotated[str, Field(max_length=63)] = ""
    secret: ObjectName = "langgraph-secrets"
    url_key: DataKey = "DATABASE_URL"
    user_key: DataKey = "username"
    password_key: DataKey = "password"
    ca_key: DataKey = ""
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"

    def address(self, namespace: str) -> DatabaseAddress:
        """Of the database, seen from a namespace."""
        host = host_in(namespace, self.host, self.service)
        return DatabaseAddress(
            namespace, host, self.port, self.database, self.secret, self.user_key, self.password_key, self.url_key,
            Tls(self.tls), self.ca_key,
        )  # fmt: skip
