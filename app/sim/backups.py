"""Backups in a simulated object store: keys, sizes and manifests, and no dumps.

Implements the port `app.domain.backups` for demo, rehearsal and tests. One store stands behind every URL; the Secret with its login has to
be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.domain.backups import Shelf, Stored
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.target import Kind
from app.sim.asking import Asking
from app.sim.faults import Request
from app.sim.units import Strict


class StoredBackup(Strict):
    """One backup. `bytes` are those under its key; None when only its manifest is left."""

    key: str
    bytes: int | None
    manifest: dict[str, Any]


class SimBackups:
    """The port, for the backups of a scenario."""

    def __init__(self, stored: Sequence[StoredBackup], ask: Asking) -> None:
        self._stored, self._ask = stored, ask

    async def find(self, cluster: Cluster, shelf: Shelf, key: str, now: datetime) -> Stored | None:
        """See the port. No clock of a scenario is ahead."""
        del now
        try:
            await cluster.get(Kind.SECRET, shelf.namespace, shelf.secret)
        except RemediatorError as error:
            text = f"Secret {shelf.namespace}/{shelf.secret} cannot be read ({error.code})"
            raise ProbeUnavailable(text, code="no_login", where=shelf.url) from error
        try:
            return await self._ask(
                Request("info", None, shelf.namespace, shelf.url), lambda: self._find(shelf, key)
            )
        except RemediatorError as error:
            raise ProbeUnavailable("the store failed", code="store_failed", where=shelf.url) from error

    def _find(self, shelf: Shelf, key: str) -> Stored | None:
        named = [s for s in self._stored if s.key == key]
        listed = [s for s in self._stored if s.key.startswith(f"{shelf.folder}/")]
        listed = [s for s in listed if shelf.holds(s.manifest)] or listed
        listed = [s for s in listed if s.manifest.get("form") != "plain"] or listed
        found = max(named if key else listed, key=lambda s: s.key, default=None)
        return None if found is None else Stored(found.key, found.manifest, found.bytes)
