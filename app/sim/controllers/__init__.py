"""The controllers of the simulated cluster, one file a controller. Each reconciles one object by its key.

`install` is called once by the cluster when the world is made.
"""

from __future__ import annotations

from app.domain.target import Kind
from app.sim.controllers.admission import Admission
from app.sim.controllers.autoscalers import Autoscalers, CpuUse
from app.sim.controllers.budgets import Budgets
from app.sim.controllers.certificates import Certificates
from app.sim.controllers.daemonsets import DaemonSets
from app.sim.controllers.deployments import Deployments
from app.sim.controllers.endpointslices import EndpointSlices
from app.sim.controllers.jobs import Jobs
from app.sim.controllers.pods import PodMaker
from app.sim.controllers.replicasets import ReplicaSets
from app.sim.controllers.scaledobjects import ScaledObjects
from app.sim.controllers.statefulsets import StatefulSets
from app.sim.world import World

__all__ = ["install"]


def install(world: World, cpu_use: CpuUse) -> tuple[Budgets, Admission]:
    """Start all controllers; the disruption budgets are given back because evictions ask them, and admission for dry runs."""
    admission = Admission(world)
    maker = PodMaker(world, admission)
    budgets = Budgets(world)
    world.reconcile_with(Kind.DEPLOYMENT, Deployments(world).reconcile)
    world.reconcile_with(Kind.REPLICA_SET, ReplicaSets(world, maker).reconcile)
    world.reconcile_with(Kind.STATEFUL_SET, StatefulSets(world, maker).reconcile)
    world.reconcile_with(Kind.DAEMON_SET, DaemonSets(world, maker).reconcile)
    world.reconcile_with(Kind.JOB, Jobs(world, maker).reconcile)
    certificates = Certificates(world)
    world.reconcile_with(Kind.ISSUER, certificates.judge)
    world.reconcile_with(Kind.CERTIFICATE, certificates.reconcile)
    world.reconcile_with(Kind.SCALED_OBJECT, ScaledObjects(world).reconcile)
    world.reconcile_with(Kind.HPA, Autoscalers(world, cpu_use).reconcile)
    world.reconcile_with(Kind.PDB, budgets.reconcile)
    world.reconcile_with(Kind.SERVICE, EndpointSlices(world).reconcile)
    world.reconcile_with(Kind.RESOURCE_QUOTA, admission.reconcile)
    return budgets, admission
