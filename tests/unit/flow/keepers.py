"""A keeper of the policy on files of its own and on a store in memory, that several of them share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from app.domain.errors import StoreUnavailable
from app.flow.upkeep.policies import PolicyKeeper
from app.observe.metrics import Metrics
from app.store import last_policy, people, work
from app.store.database import Store
from app.store.last_policy import Before, LastPolicy, Own
from remediations import CATALOGUE

AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
SHIPPED = Path(__file__).resolve().parents[3] / "policies"
HALF = """version: 1
rules:
  - name: half a list of keys
    when: alertname="A"
    target: {name: {label: deployment}}
    remediation: api-rate-limits
    params: {secret: s1}
"""
"""A file that is refused for what it lacks."""
BROKEN = "version: 1\nrules: {not: [a, list\n"
"""One that is no YAML."""


class Trail:
    """A store that keeps what is audited, and can be away."""

    def __init__(self) -> None:
        self.away = False
        self.kept: list[tuple[str, Mapping[str, str]]] = []
        self.texts: Mapping[str, str] = {}
        self.braked = False
        self.own: dict[str, Own] = {}
        self.gone: set[str] = set()
        self.scopes: set[str] = set()
        self.vault = SimpleNamespace(key=None)

    def keep(self, texts: Mapping[str, str], braked: bool) -> None:
        self.texts, self.braked = dict(texts), braked

    def braking(self, but: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, own in self.own.items() if own.braked and name != but))

    def row(self) -> str | None:
        return json.dumps([self.texts, self.braked], sort_keys=True) if self.texts else None

    async def read(self, fn: Callable[[Any], Any]) -> Any:
        if fn is last_policy.row:
            return self.row()
        return fn(self) if fn.__qualname__.startswith("PolicyKeeper._hear_brakes") else self.scopes

    async def write(self, fn: Callable[[Any], Any]) -> None:
        if self.away:
            raise StoreUnavailable("10000 writes are waiting")
        fn(SimpleNamespace(audit=lambda kind, data: self.kept.append((kind.value, data)), trail=self))


def without_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a keeper asks of a transaction, `Trail` answers."""
    monkeypatch.setattr(work, "wake_resting", lambda _tx, **_how: None)
    monkeypatch.setattr(people, "know_rules", lambda _tx, _rules: [])
    monkeypatch.setattr(last_policy, "read", _read)
    monkeypatch.setattr(last_policy, "braked_by", lambda trail, but: trail.braking(but))
    monkeypatch.setattr(last_policy, "tell", lambda tx, name, own: tx.trail.own.__setitem__(name, own))
    monkeypatch.setattr(last_policy, "keep", lambda tx, texts, braked=False: tx.trail.keep(texts, braked))


def _read(row: str | None, _key: object) -> LastPolicy | None:
    if row is None:
        return None
    texts, braked = json.loads(row)
    return LastPolicy(texts, AT, braked)


class Kept:
    """A keeper over a copy of the shipped policy."""

    def __init__(self, folder: Path, trail: Trail | None = None, name: str = "replica-0") -> None:
        for file in SHIPPED.glob("*.yaml"):
            shutil.copy(file, folder)
        self.folder, self.trail = folder, trail or Trail()
        self.metrics = Metrics(CollectorRegistry())
        self.name = name
        self.keeper = PolicyKeeper(folder, CATALOGUE, self.metrics, Before(name))
        self.file = next(f for f in sorted(folder.glob("*.yaml")) if "rules:" in f.read_text())

    async def look(self) -> int:
        return await self.keeper.look(cast("Store", self.trail), lambda: None, self.absent)

    async def absent(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.trail.gone)

    def edit(self, before: str, after: str) -> None:
        text = self.file.read_text()
        assert before in text
        self.file.write_text(text.replace(before, after))

    def restart(self) -> None:
        """Another process on the same files and the same store."""
        last = LastPolicy(self.trail.texts, AT, self.trail.braked) if self.trail.texts else None
        self.metrics = Metrics(CollectorRegistry())
        own = self.trail.own.get(self.name)
        before = Before(self.name, last, own, self.trail.braking(self.name))
        self.keeper = PolicyKeeper(self.folder, CATALOGUE, self.metrics, before)

    @property
    def reload_ok(self) -> float | None:
        return self.metrics.registry.get_sample_value("remediator_policy_reload_ok")
