"""A proposed policy against the one in force, over alerts that the service has stored. Called by the service's page, in a thread. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from app.domain.json import JsonValue
from app.policy.consistency import Handler
from app.policy.load import load_policy
from app.policy.model import Policy
from app.policytools.backtest import Replay
from app.policytools.backtest_known import Assumptions
from app.policytools.backtest_records import Heard, Reading, micros, recorded
from app.policytools.backtest_report import Backtest
from app.policytools.backtest_text import report_json


class Stored(Protocol):
    """What was heard of one alert, as the audit trail has it."""

    @property
    def kind(self) -> str:
        """`alert.fired` or `alert.resolved`."""
        ...

    @property
    def at(self) -> datetime:
        """When it was heard."""
        ...

    @property
    def data(self) -> Mapping[str, JsonValue]:
        """The record's data."""
        ...


def compare(
    texts: Mapping[str, str],
    in_force: Policy,
    heard: Sequence[Stored],
    catalogue: Mapping[str, Handler],
    over: Callable[[], bool],
) -> Mapping[str, JsonValue]:
    """The report of these records, oldest first. Raises PolicyInvalid, TimeoutError as soon as it is `over`: a thread cannot be ended from
    outside."""
    assumed = Assumptions()
    proposed = Replay(load_policy(texts, catalogue, over), catalogue, assumed)
    test, reading = Backtest(proposed, Replay(in_force, catalogue, assumed)), Reading()
    for one in heard:
        if over():
            raise TimeoutError("it was to end before all records were played")
        for record in _records(one):
            reading.alerts += 1
            test.hear(record)
    return report_json(test, reading, [])


def _records(one: Stored) -> Sequence[Heard]:
    return recorded(one.kind, micros(one.at), one.data)
