"""Worlds of the crash harness's cases where the shipped scenario does not lead to the step."""

from __future__ import annotations

from functools import cache
from typing import Any

from app.sim import load_scenario
from app.sim.alerts import AlertRule
from app.sim.databases import DatabaseClients
from app.sim.scenario import Scenario
from app.sim.signals import Signal


@cache
def overload() -> Scenario:
    """More load than the replicas can carry, told as an error rate."""
    base = load_scenario("high-latency")
    alert = AlertRule(
        alert="HighErrorRate",
        signal=Signal.ERROR_RATIO,
        app="langgraph-api",
        above=0.05,
        window=60.0,
        wait=60.0,
        labels={"severity": "critical", "deployment": "langgraph-api"},
    )
    return base.model_copy(update={"alerts": (alert,)})


@cache
def flood() -> Scenario:
    """More load than even all replicas of the ladder can carry: no step helps."""
    base = load_scenario("high-latency")
    behaviours = tuple(
        b.model_copy(update={"capacity": 0.5}) if b.capacity is not None else b for b in base.behaviours
    )
    return base.model_copy(update={"behaviours": behaviours})


@cache
def eased() -> Scenario:
    """More load than all replicas of the ladder can carry well: the first step helps in part, and the next one does not."""
    base = load_scenario("high-latency")
    behaviours = tuple(
        b.model_copy(update={"capacity": 4.0}) if b.capacity is not None else b for b in base.behaviours
    )
    return base.model_copy(update={"behaviours": behaviours})


def autoscaler(name: str) -> dict[str, Any]:
    """An autoscaler of the overloaded Deployment, whose own measure never makes it scale."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "rag7"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph-api"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 900}},
                }
            ],
        },
    }


@cache
def autoscaled() -> Scenario:
    """The overloaded Deployment with an autoscaler that may go further than it does."""
    base = load_scenario("high-latency")
    return base.model_copy(update={"objects": (*base.objects, autoscaler("langgraph-api")), "age": 1200.0})


@cache
def blocked() -> Scenario:
    """A migration that holds a lock, and so many sessions behind it that connections are short."""
    base = load_scenario("database-connections")
    holder = DatabaseClients(
        application="migration", state="active", since=1_500.0, query="ALTER TABLE documents ADD COLUMN a int"
    )
    behind = DatabaseClients(
        application="langgraph-api",
        count=17,
        state="active",
        since=900.0,
        query="SELECT 1 FROM documents",
        waits_for="migration",
        leaves=True,
    )
    (server,) = base.databases
    return base.model_copy(update={"databases": (server.model_copy(update={"clients": (holder, behind)}),)})


@cache
def leaking() -> Scenario:
    """A client Deployment whose sessions are idle and many, and whose alert names it."""
    base = load_scenario("database-connections")
    client: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "langgraph-ingest", "namespace": "rag7", "labels": {"app": "langgraph-ingest"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "langgraph-ingest"}},
            "template": {
                "metadata": {"labels": {"app": "langgraph-ingest"}},
                "spec": {"containers": [{"name": "ingest", "image": "ghcr.io/stacey77/rag7-ingest:v1.0.0"}]},
            },
        },
    }
    sessions = DatabaseClients(application="langgraph-ingest", count=19, since=300.0, app="langgraph-ingest")
    (server,), (alert,) = base.databases, base.alerts
    labels = {"severity": "critical", "deployment": "langgraph-ingest", "team": "rag"}
    return base.model_copy(
        update={
            "objects": (*base.objects, client),
            "databases": (server.model_copy(update={"clients": (sessions,)}),),
            "alerts": (alert.model_copy(update={"labels": labels}),),
        }
    )


@cache
def exhausted() -> Scenario:
    """No connection is free, so that nobody can look at the sessions."""
    base = load_scenario("database-connections")
    (server,) = base.databases
    full = server.model_copy(update={"clients": (DatabaseClients(application="langgraph-ingest", count=22),)})
    return base.model_copy(update={"databases": (full,)})


@cache
def two_tables() -> Scenario:
    """A table whose vacuum takes longer than one call, and one whose vacuum is over at once."""
    base = load_scenario("database-vacuum")
    (server,) = base.databases
    few = tuple(t for t in server.tables if t.name in ("checkpoint_writes", "store"))
    return base.model_copy(update={"databases": (server.model_copy(update={"tables": few}),)})
