"""Owns the bench of a replay: a million recorded alerts over 20 rules, in processor time, and how its memory grows."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from app.policy.load import load_policy
from app.policy.model import Policy
from app.policytools.backtest import Replay
from app.policytools.backtest_known import Assumptions
from app.policytools.backtest_records import Reading, read_lines
from app.policytools.backtest_report import Backtest
from remediations import CATALOGUE
from tests.bench.report import Measure, Scale, below

BENCH = "backtest"
SECONDS, GROWTH = 120.0, 1.25
ALERTS = 1_000_000
RULES, WORKLOADS = 20, 300
_POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def run(quick: bool) -> list[Measure]:
    """The measures of a full or a quick round."""
    return measure(Scale(quick=quick))


def measure(scale: Scale) -> list[Measure]:
    """Processor seconds for a million alerts, from JSON text to counts; and live memory late against early."""
    alerts = scale.of(ALERTS, 200_000, 2_000)
    began = time.process_time()
    backtest = _replay(alerts)
    written = _writing(alerts)
    used = (time.process_time() - began - 2 * written) * ALERTS / alerts
    acted = backtest.tally.total("acted")
    seconds = Measure(
        BENCH, "1,000,000 alerts", used, "s", note=f"{alerts:,} replayed over {RULES} rules, {acted} actions"
    )
    early, late = _memory(scale.of(240_000, 120_000, 2_000))
    growth = Measure(
        BENCH, "memory, late to early", late / early, "x", note=f"{early / 1e6:.1f} MB to {late / 1e6:.1f} MB"
    )
    return [below(seconds, SECONDS, scale), below(growth, GROWTH, scale)]


def policy() -> Policy:
    """Twenty rules under shared budgets."""
    rules = "".join(
        f'  - {{name: rule {n}, when: \'alertname=~"Alert{n}|Other{n}", severity!="info"\', remediation: pod-restarting, mode: auto,'
        " target: {name: {label: deployment}, pod: {label: pod}}, limits: {per_target: 2 per 1h}}\n"
        for n in range(RULES)
    )
    head = (
        "budgets:\n  - {per: cluster, limit: 20 per 1h}\n  - {per: target, limit: 3 per 1h and 7 per 24h}\n"
    )
    return load_policy(
        {"p.yaml": f"version: 1\nscope: {{namespaces: [rag7, prod]}}\n{head}rules:\n{rules}"}, CATALOGUE
    )


def lines(alerts: int) -> Iterator[bytes]:
    """Alerts as Prometheus would raise them: few workloads, ever new pods, some without a rule or a recorded end."""
    chance = random.Random(7)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(alerts):
        at += timedelta(seconds=chance.expovariate(1 / 20))
        n = chance.randrange(RULES + 10)
        labels = {
            "alertname": f"Alert{n}",
            "namespace": ("rag7", "prod", "team-a")[chance.randrange(3)],
            "severity": "critical",
            "instance": f"10.0.{chance.randrange(250)}.{chance.randrange(250)}:9090",
        }
        workload = f"service-{chance.randrange(WORKLOADS)}"
        if chance.random() < 0.5:
            labels["deployment"] = workload
        else:
            labels["pod"] = f"{workload}-5d9c7b8f6d-{''.join(chance.choices(_POD_LETTERS, k=5))}"
        alert: dict[str, object] = {"labels": labels, "startsAt": at.isoformat()}
        if chance.random() < 0.8:
            alert["endsAt"] = (at + timedelta(seconds=chance.expovariate(1 / 900))).isoformat()
        yield json.dumps(alert).encode()


def _replay(alerts: int) -> Backtest:
    backtest = Backtest(Replay(policy(), CATALOGUE, Assumptions()))
    for record in read_lines("bench", lines(alerts), Reading()):
        backtest.hear(record)
    return backtest


def _writing(alerts: int) -> float:
    """Processor seconds that only making the lines takes; they are no part of the replay."""
    began = time.process_time()
    for _ in lines(alerts):
        pass
    return time.process_time() - began


def _memory(alerts: int) -> tuple[int, int]:
    """Live bytes after a third of the alerts and after all of them."""
    backtest = Backtest(Replay(policy(), CATALOGUE, Assumptions()))
    tracemalloc.start()
    early = 0
    for number, record in enumerate(read_lines("bench", lines(alerts), Reading()), 1):
        backtest.hear(record)
        if number == alerts // 3:
            early = tracemalloc.get_traced_memory()[0]
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return early, late
