"""Which actuator carries out which kind of action: the one table that the flow, the rights and the printed roles go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.database.actuator import SessionActuator
from app.database.cleaning import CheckpointActuator
from app.database.exchanging import ExchangeActuator
from app.database.vacuuming import VacuumActuator
from app.domain.actuator import Actuator, by_kind
from app.domain.plan import ActionKind
from app.kube.actuator import KubeActuator
from app.kube.certificate_actuator import CertificateActuator
from app.kube.job_actuator import JobActuator
from app.kube.key_actuator import KeyActuator
from app.kube.run_job_actuator import RunJobActuator
from app.kube.stopped_actuator import StoppedActuator

ACTUATORS: Final[Mapping[ActionKind, Actuator]] = by_kind(
    (
        KubeActuator(),
        KeyActuator(),
        SessionActuator(),
        CheckpointActuator(),
        VacuumActuator(),
        JobActuator(),
        CertificateActuator(),
        RunJobActuator(),
        StoppedActuator(),
        ExchangeActuator(),
    )
)
