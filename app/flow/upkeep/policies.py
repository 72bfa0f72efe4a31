"""The policy in force: loaded at the start, reloaded when its files change, never replaced by a bad one.

A refused reload is loud: audit record, metric at 0, log line with file, line and column; the last good policy stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.ports import Clock
from app.domain.remediation import AnyRemediation
from app.observe.metrics import Metrics
from app.policy.load import load_policy, read_dir
from app.policy.model import Policy
from app.store import facts
from app.store.database import Store, Tx

log = structlog.get_logger(__name__)

_LOOK = 2.0  # seconds between looks at the files


class PolicyKeeper:
    """Holds the policy; call it to get the one in force."""

    def __init__(self, folder: Path, catalogue: Mapping[str, AnyRemediation], metrics: Metrics) -> None:
        self._folder, self._catalogue, self._metrics = folder, catalogue, metrics
        self._texts = read_dir(folder)
        self._policy = load_policy(self._texts, catalogue)
        self._refused: dict[str, str] | None = None
        metrics.policy_reload_ok.set(1)

    def __call__(self) -> Policy:
        """The policy in force."""
        return self._policy

    async def watch(self, store: Store, clock: Clock, nudge: Callable[[], None]) -> None:
        """Look at the files for ever; tell the audit trail about each change."""
        await store.write(
            lambda tx: tx.audit(EventKind.POLICY_LOADED, data={"version": self._policy.version})
        )
        while True:
            await clock.sleep(_LOOK)
            if await self.reload(store):
                nudge()

    async def reload(self, store: Store) -> bool:
        """Look once; True when another policy is in force now."""
        try:
            texts = await asyncio.to_thread(read_dir, self._folder)
            if texts in (self._texts, self._refused):
                return False
            policy = load_policy(texts, self._catalogue)
        except BadInput as error:
            await self._refuse(store, error)
            return False
        before, self._policy, self._texts, self._refused = self._policy.version, policy, texts, None
        self._metrics.policy_reload_ok.set(1)
        self._metrics.policy_reloads.labels("loaded").inc()
        log.info("policy_loaded", version=policy.version, before=before)
        data = {"version": policy.version, "before": before}
        await store.write(lambda tx: _loaded(tx, data))
        return True

    async def _refuse(self, store: Store, error: BadInput) -> None:
        try:
            self._refused = await asyncio.to_thread(read_dir, self._folder)
        except BadInput:
            self._refused = {}
        self._metrics.policy_reload_ok.set(0)
        self._metrics.policy_reloads.labels("refused").inc()
        log.error("policy_refused", code=error.code, error=str(error), kept=self._policy.version)
        data = {"error": str(error), "kept": self._policy.version}
        await store.write(lambda tx: tx.audit(EventKind.POLICY_REFUSED, data=data))


def _loaded(tx: Tx, data: Mapping[str, str]) -> None:
    tx.audit(EventKind.POLICY_LOADED, data=data)
    facts.wake_resting(tx, observed=True)
