"""Owns the public names of the live stack, gathered from the modules that implement them."""

import os

from tests.live.alertmanager import Alertmanager, AlertmanagerFactory, Timing
from tests.live.audit import Mutation
from tests.live.build import LiveStackError
from tests.live.controlplane import ControlPlane
from tests.live.kwok import FAULT
from tests.live.metrics import MetricsServer
from tests.live.process import Process, free_ports, port_open, wait_until
from tests.live.receiver import Delivery, WebhookReceiver
from tests.live.stores import Postgres, Redis

ALL = os.environ.get("LIVE_ALL", "") not in ("", "0")
"""Everything, as `make live` runs it. Else what is long, or shown by something shorter, is left out of a day's test run."""

__all__ = [
    "ALL",
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
