"""The login of a simulated server, from a Secret as the real clients read it. Called by the simulated databases and caches."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.secret import text_of
from app.domain.target import Kind


async def login_values(
    cluster: Cluster, namespace: str, secret: str, keys: Iterable[str], where: str
) -> dict[str, str]:
    """The text under each of these keys. Raises ProbeUnavailable (`no_login`)."""
    try:
        manifest = await cluster.get(Kind.SECRET, namespace, secret)
    except RemediatorError as error:
        text = f"Secret {namespace}/{secret} cannot be read ({error.code})"
        raise ProbeUnavailable(text, code="no_login", where=where) from error
    values = {key: text_of(manifest, key) or "" for key in keys}
    for key, value in values.items():
        if not value:
            text = f"Secret {namespace}/{secret} has no key {key}"
            raise ProbeUnavailable(text, code="no_login", where=where)
    return values
