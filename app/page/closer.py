"""A closer look at one incident that somebody asks for: what an undo would find field by field, and the objects of the plan as a whole.

Called by `app.page.site`. Reads the store and the cluster, and never changes anything: a whole template is compared by the server's dry run, as the undo
itself does. What may hold a secret is shown as `[hidden]`, by the rule that hides it in plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from sqlalchemy import Connection

from app.domain.change import escape, hidden
from app.domain.errors import RemediatorError
from app.domain.plan import Action
from app.domain.target import ObjectRef
from app.flow.running import journal
from app.flow.services import Services
from app.kube.undo import FieldNow, foresee
from app.kube.verbs import ACTIONS
from app.policy.gates.target import off_limits_by_name
from app.store import facts as counts
from app.store.tx import PreImageUnreadable

_UNSHOWN = ("managedFields",)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the undo of one action would find: why nothing would be written, empty when it would; and each field."""

    summary: str
    left: str
    fields: Sequence[FieldNow] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """One object of the plan as text, or why it was not read."""

    name: str
    text: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Closer:
    """What was asked for; None for what was not."""

    undo: Sequence[Foreseen] | None = None
    objects: Sequence[Whole] | None = None


async def look(services: Services, incident_id: str, see: str) -> Closer:
    """The look that `see` names (`undo` or `object`); nothing for any other word."""
    if see == "undo":
        acted = await services.store.read(lambda conn: _to_undo(conn, services, incident_id))
        return Closer(undo=[await _foreseen(services, *one) for one in acted])
    if see == "object":
        refs = await services.store.read(lambda conn: _of_the_plan(conn, incident_id))
        return Closer(objects=[await _whole(services, ref) for ref in refs])
    return Closer()


def _to_undo(conn: Connection, services: Services, incident_id: str) -> list[tuple[Action, str, str]]:
    """The actions that are in place, in the order in which they are taken back, each with its name and why it cannot be read; empty when it can."""
    found: list[tuple[Action, str, str]] = []
    for run in counts.of_incident(conn, incident_id)[-1:]:
        for acted in reversed(journal.in_place(conn, run.id)):
            action = Action.from_json(acted.intent["action"])
            place = (int(acted.intent["step_index"]), int(acted.intent.get("action_index", 0)))
            try:
                found.append((services.store.vault.whole(conn, run.id, place, action), acted.name, ""))
            except PreImageUnreadable as error:
                found.append((action, acted.name, str(error)))
    return found


async def _foreseen(services: Services, action: Action, name: str, unread: str) -> Foreseen:
    if unread or action.kind not in ACTIONS:
        return Foreseen(action.summary, unread or "only the undo itself can tell")
    if off_limits_by_name(services.policy().scope, action.object.namespace):
        return Foreseen(action.summary, "nothing is read of what is off limits")
    try:
        left, fields = await foresee(services.cluster, action, name)
    except RemediatorError as error:
        return Foreseen(action.summary, f"it could not be read: {error.message}")
    return Foreseen(action.summary, left, fields)


def _of_the_plan(conn: Connection, incident_id: str) -> list[ObjectRef]:
    """The objects that the newest run is about, each once."""
    newest = counts.of_incident(conn, incident_id)[-1:]
    found = {str(action.object): action.object for run in newest for action in run.step.actions}
    return list(found.values())


async def _whole(services: Services, ref: ObjectRef) -> Whole:
    if off_limits_by_name(services.policy().scope, ref.namespace):
        return Whole(str(ref), refused="nothing is read of what is off limits")
    try:
        manifest = await services.cluster.get(ref.kind, ref.namespace, ref.name)
    except RemediatorError as error:
        return Whole(str(ref), refused=error.message)
    return Whole(str(ref), yaml.safe_dump(masked(manifest), sort_keys=False, width=120))


def masked(value: Any, path: str = "") -> Any:
    """The object with `[hidden]` in the place of every value that may hold a secret; who wrote which field is left out."""
    if isinstance(value, Mapping):
        return {
            str(name): masked(each, f"{path}/{escape(str(name))}")
            for name, each in value.items()
            if name not in _UNSHOWN
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [masked(each, f"{path}/{number}") for number, each in enumerate(value)]
    return hidden(path, value)
