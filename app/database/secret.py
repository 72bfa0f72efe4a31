"""The values of one Secret that a login is made of: read by name, and never shown.

Called by the clients of this package. An error names the Secret and the key, never a value.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.secret import text_of
from app.domain.target import Kind


async def values_of(
    cluster: Cluster, namespace: str, secret: str, keys: Iterable[str], where: str
) -> dict[str, str]:
    """The text under each of these keys, without space around it. The Secret is read once, so that all are of one version of it.
    Raises ProbeUnavailable (`no_login`)."""
    try:
        manifest = await cluster.get(Kind.SECRET, namespace, secret)
    except RemediatorError as error:
        raise missing(namespace, secret, f"cannot be read ({error.code})", where) from error
    found = {}
    for key in keys:
        if key not in (manifest.get("data") or {}):
            raise missing(namespace, secret, f"has no key {key}", where)
        text = text_of(manifest, key)
        if text is None:
            raise missing(namespace, secret, f"has no text under {key}", where)
        if not text:
            raise missing(namespace, secret, f"has nothing under {key}", where)
        found[key] = text
    return found


def missing(namespace: str, secret: str, what: str, where: str) -> ProbeUnavailable:
    """The error that no login is to be had from this Secret, and why."""
    return ProbeUnavailable(f"Secret {namespace}/{secret} {what}", code="no_login", where=where)
