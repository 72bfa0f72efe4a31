"""Owns the public names of the live stack, gathered from the modules that implement them."""

from tests.live.alertmanager import Alertmanager, AlertmanagerFactory, Timing
from tests.live.audit import Mutation
from tests.live.build import LiveStackError
from tests.live.controlplane import ControlPlane
from tests.live.kwok import FAULT
from tests.live.metrics import MetricsServer
from tests.live.process import Process, free_ports, port_open, wait_until
from tests.live.receiver import Delivery, WebhookReceiver
from tests.live.stores import Postgres, Redis

__all__ = [
    "FAULT",
    "Alertmanager",
    "AlertmanagerFactory",
    "ControlPlane",
    "Delivery",
    "LiveStackError",
    "MetricsServer",
    "Mutation",
    "Postgres",
    "Process",
    "Redis",
    "Timing",
    "WebhookReceiver",
    "free_ports",
    "port_open",
    "wait_until",
]
