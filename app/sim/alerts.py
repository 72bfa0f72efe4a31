"""Alert rules of a scenario, evaluated like Prometheus does: a condition, a `for` duration, firing, resolved.

A step of the world. Knows nothing of notifications; `app.sim.alertmanager` sends what is found here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ConfigDict, Field

from app.sim.signals import Signal, Signals
from app.sim.units import Seconds, Strict
from app.sim.world import World

EVALUATION = 5.0
"""Seconds between two evaluations."""
_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


class AlertRule(Strict):
    """`signal` of `app` over `window` is above `above` for the duration `for`."""

    model_config = ConfigDict(populate_by_name=True)

    alert: str
    signal: Signal
    app: str
    above: float
    window: Seconds = 300.0
    wait: Seconds = Field(default=60.0, alias="for")
    per_pod: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    """Texts; `{value}` is the measured value, `{pod}` the pod of a per-pod alert."""


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One alert; times in seconds since 1970, `ends_at` None while it fires."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None

    @property
    def fingerprint(self) -> str:
        """Alertmanager's fingerprint of the labels."""
        return fingerprint(self.labels)


def fingerprint(labels: Mapping[str, str]) -> str:
    """FNV-1a 64 over the labels sorted by name, each part closed by 0xFF; 16 hex digits."""
    value = _FNV_OFFSET
    for name in sorted(labels, key=str.encode):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            value = ((value ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"


class Alerts:
    """All rules with what is pending, firing and recently resolved."""

    def __init__(self, world: World, signals: Signals, namespace: str, rules: Sequence[AlertRule]) -> None:
        self._world = world
        self._signals = signals
        self._namespace = namespace
        self._rules = tuple(rules)
        self._pending: dict[str, float] = {}
        self._firing: dict[str, ActiveAlert] = {}
        self._resolved: dict[str, ActiveAlert] = {}

    def firing(self) -> list[ActiveAlert]:
        """Alerts that fire now, oldest first."""
        return sorted(self._firing.values(), key=lambda a: (a.starts_at, a.fingerprint))

    def resolved(self) -> list[ActiveAlert]:
        """Alerts that have ended, the last episode of each."""
        return sorted(self._resolved.values(), key=lambda a: (a.ends_at or 0.0, a.fingerprint))

    def step(self, _seconds: float) -> None:
        """Evaluate when it is time."""
        if self._world.time % EVALUATION:
            return
        for number, rule in enumerate(self._rules):
            self._evaluate(number, rule)

    def _evaluate(self, number: int, rule: AlertRule) -> None:
        vector = self._signals.measure(rule.signal, rule.app, rule.window)
        if not rule.per_pod and vector:
            vector = [max(vector, key=lambda pair: pair[1])]
        present: set[str] = set()
        for labels, value in vector:
            if value <= rule.above:
                continue
            alert = self._alert(rule, labels if rule.per_pod else {}, value)
            key = f"{number}/{alert.fingerprint}"
            present.add(key)
            since = self._pending.setdefault(key, self._world.time)
            if key not in self._firing and self._world.time - since >= rule.wait:
                self._firing[key] = alert
                self._resolved.pop(key, None)
        for key in [k for k in self._pending if k.startswith(f"{number}/") and k not in present]:
            del self._pending[key]
            ended = self._firing.pop(key, None)
            if ended is not None:
                self._resolved[key] = replace(ended, ends_at=self._world.time)

    def _alert(self, rule: AlertRule, measured: Mapping[str, str], value: float) -> ActiveAlert:
        labels = {"alertname": rule.alert, "namespace": self._namespace, **rule.labels, **measured}
        places = {"value": f"{value:.3g}", "pod": measured.get("pod", ""), "app": rule.app}
        annotations = {k: text.format_map(places) for k, text in rule.annotations.items()}
        return ActiveAlert(labels, annotations, self._world.time)
