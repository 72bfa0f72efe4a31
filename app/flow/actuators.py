"""Which actuator carries out which kind of action: the one table that the flow, the rights and the printed roles go by. And what is known of a
kind to be in vain beforehand, and to be done of it when it stops half way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.database import exchanging
from app.database.actuator import SessionActuator
from app.database.cleaning import CheckpointActuator
from app.database.exchanging import ExchangeActuator
from app.database.vacuuming import VacuumActuator
from app.domain.actuator import Actuator, Clients, LongActuator, Partly, by_kind
from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind
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


async def never_done(clients: Clients, action: Action) -> str:
    """Why this action can never be done, known before anything is stopped for it; empty when nothing is known. Raises RemediatorError."""
    return await exchanging.never_done(clients, action) if action.kind in ExchangeActuator().kinds else ""


async def never_undone(clients: Clients, action: Action, *, stops: bool) -> str:
    """The same of its undo; `stops`: what uses it is stopped by the same undo before."""
    if action.kind not in ExchangeActuator().kinds:
        return ""
    return await exchanging.never_undone(clients, action, stops=stops)


async def partly(
    clients: Clients, action: Action, action_id: str, state: Mapping[str, JsonValue]
) -> Partly | None:
    """What is done of an action that was begun and stops now; None for nothing, as for every action that is one write. Raises
    RemediatorError."""
    actuator = ACTUATORS[action.kind]
    return (
        await actuator.partly(clients, action, action_id, state)
        if isinstance(actuator, LongActuator)
        else None
    )
