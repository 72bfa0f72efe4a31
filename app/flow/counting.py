"""Counting: what the chapters tell the metrics, after the transaction that made it true. Never decides anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select

from app.domain.decision import Decision
from app.domain.outcome import IncidentState, RunState
from app.flow.services import Services
from app.policy.schedule import Fate
from app.policy.trust import LEVELS
from app.store import outbox, pauses, schedule_ends, trust_levels
from app.store.incidents import Incident
from app.store.runs import Run
from app.store.schema import LIVE, OPEN, incidents, runs


def decided(services: Services, incident: Incident, decision: Decision) -> None:
    """One decision with its gates; the first one of an incident is timed."""
    metrics = services.metrics
    metrics.decisions.labels(decision.verdict.value, decision.code.value).inc()
    for gate in decision.gates:
        metrics.gates.labels(gate.gate, gate.verdict.value).inc()
    if incident.decided_at is None:
        metrics.decide_seconds.observe((services.clock.now() - incident.opened_at).total_seconds())


def decided_many(services: Services, found: Sequence[tuple[Incident, Decision]]) -> None:
    """`decided` for many, one call a label."""
    metrics, now = services.metrics, services.clock.now()
    for (verdict, code), number in Counter((d.verdict, d.code) for _, d in found).items():
        metrics.decisions.labels(verdict.value, code.value).inc(number)
    for (gate, said), number in Counter((g.gate, g.verdict) for _, d in found for g in d.gates).items():
        metrics.gates.labels(gate, said.value).inc(number)
    for incident, _ in found:
        if incident.decided_at is None:
            metrics.decide_seconds.observe((now - incident.opened_at).total_seconds())


def ended(services: Services, run: Run | None, state: RunState) -> None:
    """One run that has ended; None when it had ended before."""
    if run is None:
        return
    services.metrics.runs.labels(run.remediation, state.value).inc()
    services.metrics.run_seconds.labels(run.remediation).observe(
        (services.clock.now() - run.requested_at).total_seconds()
    )


def wrote(services: Services, run: Run, incident: Incident) -> None:
    """The first mutation of an incident's first run, timed from the stored alert."""
    if run.step_index == 0 and run.id.endswith("_1"):
        seconds = (services.clock.now() - incident.opened_at).total_seconds()
        services.metrics.write_seconds.labels(run.mode.value).observe(seconds)


def scheduled(services: Services, rules: Iterable[str]) -> None:
    """These rules have a schedule: each result is there at 0 before it is counted, as a counter that appears at 1 shows no increase."""
    for rule in rules:
        for fate in Fate:
            services.metrics.schedules.labels(rule, fate.value)


async def schedule_gauges(services: Services) -> None:
    """Set the gauges of the rules with a schedule, from the store, so that a restart loses nothing."""
    rules = [rule.name for rule in services.policy().rules if rule.schedule is not None]
    scheduled(services, rules)
    now, metrics = services.clock.now(), services.metrics
    found = await services.store.read(lambda conn: {rule: schedule_ends.health(conn, rule) for rule in rules})
    for gauge in (metrics.schedule_good, metrics.schedule_missed, metrics.schedule_outcome):
        gauge.clear()
    for rule, health in found.items():
        since = (now - health.since).total_seconds() if health.since is not None else 0.0
        metrics.schedule_good.labels(rule).set(max(0.0, since))
        metrics.schedule_missed.labels(rule).set(health.missed)
        if health.outcome:
            metrics.schedule_outcome.labels(rule, health.outcome).set(1)


async def gauges(services: Services) -> None:
    """Set the gauges from the store: what is open, live, waiting and paused."""
    now = services.clock.now()

    def look(
        conn: Connection,
    ) -> tuple[Counter[str], Counter[str], tuple[int, float], Counter[str], tuple[dict[str, int], int]]:
        states = select(incidents.c.state, func.count()).where(OPEN).group_by(incidents.c.state)
        live = select(runs.c.state, func.count()).where(LIVE).group_by(runs.c.state)
        waiting = outbox.pending(conn, 1)
        age = (now - waiting[0].created_at).total_seconds() if waiting else 0.0
        held = Counter(p.scope.partition(":")[0] for p in pauses.active(conn, now))
        return (
            Counter({row[0]: row[1] for row in conn.execute(states)}),
            Counter({row[0]: row[1] for row in conn.execute(live)}),
            (outbox.depth(conn), age),
            held,
            trust_levels.count(conn),
        )

    open_now, live_now, (depth, age), held, (levels, promotions) = await services.store.read(look)
    metrics = services.metrics
    for state in IncidentState:
        metrics.incidents.labels(state.value).set(open_now[state.value])
    for run_state in RunState:
        if not run_state.ended:
            metrics.runs_live.labels(run_state.value).set(live_now[run_state.value])
    metrics.outbox_depth.set(depth)
    metrics.outbox_age.set(age)
    for level in LEVELS:
        metrics.trust_levels.labels(level.value).set(levels.get(level.value, 0))
    metrics.promotions.set(promotions)
    for scope in ("all", "namespace", "target", "rule", "remediation"):
        metrics.paused.labels(scope).set(held[scope])
    await schedule_gauges(services)
