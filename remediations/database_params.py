"""Where a rule's database is: the parameters that all remediations share which look into one.

Used as the base of their `Params`. No order may change one of them: else it could send the login elsewhere.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from app.domain.database import DatabaseAddress, Tls
from app.domain.remediation import Params
from remediations.shared import DataKey, ObjectName, host_in


class DatabaseParams(Params):
    """Where the database is: `host`, or the name of a `service` in the target's namespace, `port`, `database`; what is empty or 0
    is the one of the URL in the Secret. The login stands in an existing `secret`: a URL under `url_key`, or, when that is empty,
    user and password under their keys."""

    host: ObjectName = Field(default="", description="Name or address; empty: by `service`, else the URL's")
    service: ObjectName = Field(default="", description="Service in the target's namespace")
    port: int = Field(default=0, ge=0, le=65_535, description="0: the URL's, else 5432")
    database: str = Field(default="", max_length=63, description="Empty: the URL's, else the user's name")
    secret: ObjectName = Field(default="langgraph-secrets", description="Existing Secret with the login")
    url_key: DataKey = Field(
        default="DATABASE_URL", description="Its key with a URL; empty: user and password"
    )
    user_key: DataKey = Field(default="username", description="Its key with the user")
    password_key: DataKey = Field(default="password", description="Its key with the password")
    ca_key: DataKey = Field(default="", description="Its key with certificates to trust")
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="How the connection is encrypted, at least: libpq's sslmode"
    )

    def address(self, namespace: str) -> DatabaseAddress:
        """Of the database, seen from a namespace."""
        host = host_in(namespace, self.host, self.service)
        return DatabaseAddress(
            namespace, host, self.port, self.database, self.secret, self.user_key, self.password_key, self.url_key,
            Tls(self.tls), self.ca_key,
        )  # fmt: skip


WHERE: Final = frozenset(DatabaseParams.model_fields)
"""Their names."""
