"""A closer look at one incident that somebody asks for: what an undo would find field by field, and the objects of the plan as a whole.

Called by `app.page.site`. Reads the store and the cluster, and never changes anything: what would be written is sent as the server's dry run. What would
refuse the order or let it wait is asked of those who do (`undo_order`, `startable`), never judged here. What may hold a secret is shown as `[hidden]`, by the rule that hides it in plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from sqlalchemy import Connection

from app.domain.change import escape, hidden
from app.domain.errors import Refused, RemediatorError
from app.domain.outcome import RunState
from app.domain.plan import Action
from app.domain.target import ObjectRef
from app.flow.running import journal
from app.flow.services import Services
from app.flow.undoing import startable, undo_order
from app.kube.undo import FieldNow, foresee
from app.kube.verbs import ACTIONS
from app.policy.gates.target import off_limits_by_name
from app.store import runs
from app.store.runs import Run
from app.store.tx import PreImageUnreadable

_UNSHOWN = ("managedFields",)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the undo of one action would find: why nothing would be written, empty when it would; each field; and what it would wait for
    unless the order says that it need not."""

    summary: str
    left: str
    fields: Sequence[FieldNow] = ()
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """One object of the plan as text, or why it was not read."""

    name: str
    text: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Closer:
    """What was asked for; None for what was not. `against` is why the order to undo would be refused, empty when it would be taken, and `unless`
    whether who knows that may order it all the same."""

    undo: Sequence[Foreseen] | None = None
    against: str = ""
    unless: bool = False
    objects: Sequence[Whole] | None = None


async def look(services: Services, incident_id: str, see: str, *, operates: bool) -> Closer:
    """The look that `see` names (`undo` or `object`); nothing for any other word. Only for who `operates`, and could click, the server is asked
    for dry runs."""
    if see == "undo":
        run, acted = await services.store.read(lambda conn: _to_undo(conn, services, incident_id))
        if run is None or not acted:
            return Closer(undo=())
        refusal = await undo_order.against(services, run.id)
        found = [await _foreseen(services, run, one, dry_run=operates) for one in acted]
        return Closer(found, refused_with(refusal), isinstance(refusal, undo_order.KnowFirst))
    if see == "object":
        refs = await services.store.read(lambda conn: _of_the_plan(conn, incident_id))
        return Closer(objects=[await _whole(services, ref) for ref in refs])
    return Closer()


def refused_with(refusal: Refused | None) -> str:
    """What the page says of a refused order to undo; empty for none. Its own box stands in the place of the command."""
    return refusal.known if isinstance(refusal, undo_order.KnowFirst) else refusal.message if refusal else ""


def _to_undo(
    conn: Connection, services: Services, incident_id: str
) -> tuple[Run | None, list[tuple[Action, str, str]]]:
    """The newest run and its actions that are in place, in the order in which they are taken back, each with its name and why it cannot be
    read; empty when it can."""
    found: list[tuple[Action, str, str]] = []
    run = runs.newest_of(conn, incident_id)
    for acted in reversed(journal.in_place(conn, run.id)) if run is not None else ():
        action = Action.from_json(acted.intent["action"])
        place = (int(acted.intent["step_index"]), int(acted.intent.get("action_index", 0)))
        try:
            found.append((services.store.vault.whole(conn, acted.run_id, place, action), acted.name, ""))
        except PreImageUnreadable as error:
            found.append((action, acted.name, str(error)))
    return run, found


async def _foreseen(
    services: Services, run: Run, acted: tuple[Action, str, str], *, dry_run: bool
) -> Foreseen:
    action, name, unread = acted
    if unread or action.kind not in ACTIONS:
        return Foreseen(action.summary, unread or "only the undo itself can tell")
    if off_limits_by_name(services.policy().scope, action.object.namespace):
        return Foreseen(action.summary, "nothing is read of what is off limits")
    try:
        left, fields = await foresee(services.cluster, action, name, dry_run=dry_run)
        # An order anew sets nothing aside of what an earlier one knew.
        anew = run if run.state is RunState.UNDOING else replace(run, life={})
        waits = "" if left or not dry_run else await startable.against_undo(services, anew, action)
    except RemediatorError as error:
        return Foreseen(action.summary, f"it could not be read: {error.message}")
    return Foreseen(action.summary, left, fields, waits)


def _of_the_plan(conn: Connection, incident_id: str) -> list[ObjectRef]:
    """The objects that the newest run is about, each once."""
    run = runs.newest_of(conn, incident_id)
    actions = run.step.actions if run is not None else ()
    return list({str(action.object): action.object for action in actions}.values())


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
