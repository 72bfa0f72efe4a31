"""A simulated cluster behind the port `Cluster`: an API server with controllers, pods, load, logs and alerts.

Everything happens in memory on a clock that is passed in; nothing here waits for real time or talks to a network.

    clock = VirtualClock()
    cluster = SimCluster(clock, load_scenario("high-error-rate"))
    clock.advance(60)
    await cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph")
"""

from app.sim.alertmanager import SimAlertmanager, Timing, alertmanager_body
from app.sim.clock import AcceleratedClock, VirtualClock
from app.sim.cluster import SimCluster
from app.sim.dependencies import SimDependencies
from app.sim.faults import Fault, FaultKind, Mutation, Request
from app.sim.metrics import SimMetrics
from app.sim.scenario import Scenario, load_scenario, parse_scenario, shipped

__all__ = [
    "AcceleratedClock",
    "Fault",
    "FaultKind",
    "Mutation",
    "Request",
    "Scenario",
    "SimAlertmanager",
    "SimCluster",
    "SimDependencies",
    "SimMetrics",
    "Timing",
    "VirtualClock",
    "alertmanager_body",
    "load_scenario",
    "parse_scenario",
    "shipped",
]
