"""The actuator that puts a validated copy into the place of a database, and takes it back.

Called by the flow through `app.domain.actuator`. Both are one transaction (`app.domain.copies`), and what bears the copy's mark tells
whether it happened; so a second try does nothing. No database is dropped: the replaced one stays under another name, closed, and a
copy that was taken back stays too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission, Undone
from app.domain.copies import CHANGED, IN_USE, NOT_APPLIED, NOT_STOPPED, Exchange, Found, Server, drop_command
from app.domain.errors import Held, ObjectChanged, OutcomeUnclear, ProbeUnavailable
from app.domain.inside import another_workload, pods_left
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target


def exchange_database(
    ref: ObjectRef, target: Target, exchange: Exchange, selector: str, summary: str, closed: str = ""
) -> Action:
    """The action. `selector` chooses the pods of the application, of which none may be there, neither for it nor for its undo. `closed`: why
    the database that is replaced takes no connections."""
    was = f"as it was, without taking connections ({closed})" if closed else "as it was"
    undo = (
        f"{exchange.live} becomes {exchange.copy} again and {exchange.kept} becomes {exchange.live}, {was}; what was written "
        f"since stays in {exchange.copy}"
        if exchange.kept
        else f"nothing to undo: there was no database {exchange.live} before"
    )
    return Action(
        kind=ActionKind.EXCHANGE_DATABASE,
        object=ref,
        target=target,
        changes=(),
        summary=summary,
        pods_affected=0,
        reversible=bool(exchange.kept),
        undo=undo,
        params={"database": str(exchange.at), "kept": exchange.kept},
        part={**exchange.to_json(), "selector": selector},
    )


@dataclass(frozen=True, slots=True)
class ExchangeActuator:
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.EXCHANGE_DATABASE})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Nothing of the cluster is written. The one Secret that is read is named by the rule."""
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same and has no pod, and the validated copy stands beside the database."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        exchange, server = await _look(clients, action)
        if exchange.done(server):
            return CheckResult(action.object, "the copy is in its place already", done=True, seen=server)
        if left := await pods_left(clients, action):
            return CheckResult(None, f"pod {left[0]} of {action.target} is there", ObjectChanged.code)
        copy = server.find(exchange.copy)
        if copy is None or copy.mark != exchange.mark:
            return CheckResult(
                None, f"there is no validated copy {exchange.copy} any more", ObjectChanged.code
            )
        if another := exchange.another(server) or exchange.blocked(server):
            return CheckResult(None, another, ObjectChanged.code)
        return CheckResult(action.object, f"{exchange.copy} is validated", seen=server)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:  # noqa: ARG002
        """The database has the mark of the copy."""
        exchange, server = await _look(clients, action)
        return _done(exchange, server) if exchange.done(server) else ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """Whether the login may rename them, from the look of the check."""
        exchange, server = Exchange.from_json(action.part), found.seen
        if not server.may_create:
            return "the login may not rename databases (it needs CREATEDB)"
        foreign = [
            d.name for d in server.databases if d.name in (exchange.live, exchange.copy) and not d.owned
        ]
        return f"the login does not own {', '.join(foreign)}" if foreign else ""

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:  # noqa: ARG002
        """One transaction, unless it was done. Raises Held."""
        exchange, clients = Exchange.from_json(action.part), means.clients
        if found.done:
            return Applied(ActionResult.APPLIED, _done(exchange, found.seen))
        to = (clients.cluster, exchange.at, exchange.entry)
        try:
            await clients.databases.copies.rename(
                to, exchange.forth, (exchange.kept,), _last_look(means, action), exchange.id
            )
        except OutcomeUnclear as lost:
            return await _read_back(clients, action, lost)
        return await _looked_at(clients, action, found.seen)

    async def undo(self, means: Means, action: Action, action_id: str) -> Undone:  # noqa: ARG002
        """The other way round, once the application is gone; a replaced database that somebody dropped does not come back."""
        clients = means.clients
        exchange, server = await _look(clients, action)
        if not exchange.kept:
            return Undone(UndoResult.NOTHING, action.undo)
        if text := exchange.not_back(server):
            return Undone(UndoResult.CONFLICT, text, (text,))
        if not exchange.done(server):
            return Undone(UndoResult.UNDONE, "was undone already")
        if started := await _started(clients, action):
            return Undone(UndoResult.CONFLICT, started, (started,))
        if left := await pods_left(clients, action):
            text = f"pod {left[0]} of {action.target} is still there"
            raise ProbeUnavailable(text, code=NOT_STOPPED, where=str(exchange.at))
        if text := exchange.blocked(server):
            raise ProbeUnavailable(text, code=IN_USE, where=str(exchange.at))
        to = (clients.cluster, exchange.at, exchange.entry)
        try:
            await clients.databases.copies.rename(
                to, exchange.back, exchange.closed_back, _last_look(means, action)
            )
        except OutcomeUnclear as lost:
            former = await _taken_back(clients, action, lost)
        else:
            former = await _taken_back(clients, action, None)
        drop = f"{drop_command(exchange.copy)} removes that, once nobody needs it"
        told = "; ".join(part for part in (f"undone: {action.undo}", former.opening, drop) if part)
        return Undone(UndoResult.UNDONE, told, needs=former.opening)

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """The copy is still in its place and takes connections, and who is connected: to it, and to the former one if somebody opened that."""
        try:
            exchange, server = await _look(clients, action)
        except ProbeUnavailable as error:
            return Effect(None, f"the database could not be looked at: {error.message}")
        live = server.live
        if live is None or not exchange.done(server):
            return Effect(
                False,
                f"{exchange.live} is not the restored copy: {exchange.not_back(server) or 'names were exchanged back'}",
            )
        if live.closed:
            return Effect(
                False, f"{exchange.live} is the restored copy, and takes no connections ({live.closed})"
            )
        return Effect(
            True, f"{exchange.live} is the restored copy, open for connections, {_clients(exchange, server)}"
        )


def _clients(exchange: Exchange, server: Server) -> str:
    """How many connections of others the restored database has, and the former one."""
    number, former = (
        sum((one.clients or {}).values()) if one else 0 for one in (server.live, server.find(exchange.kept))
    )
    told = f"with {number} of others" if number else "with none of others yet"
    return (
        f"{told}; {former} are to the former one, {exchange.kept}, which somebody opened" if former else told
    )


def _done(exchange: Exchange, server: Server | None) -> str:
    """What was done, by a look at the server before it or after it."""
    drop = f" ({drop_command(exchange.kept)} removes it, once nobody needs it)"
    kept = f"; the former one is kept as {exchange.kept}, closed{drop}" if exchange.kept else ""
    former = server and (server.find(exchange.kept) if exchange.done(server) else server.live)
    if former and former.left_behind:
        kept += f", and with it {'; '.join(former.left_behind)}"
    return f"{exchange.live} is the restored copy{kept}"


async def _read_back(clients: Clients, action: Action, lost: OutcomeUnclear) -> Applied:
    """The mark tells. Not in its place means that the transaction was taken back: to send it again does it once."""
    try:
        exchange, server = await _look(clients, action)
    except ProbeUnavailable as error:
        text = f"sent without an answer ({lost.message}), and it cannot be read back: {error.message}"
        return Applied(ActionResult.UNCLEAR, text, code=lost.code)
    if exchange.done(server):
        return Applied(ActionResult.APPLIED, f"{_done(exchange, server)}; the answer was lost")
    text = f"the answer was lost ({lost.message}), and nothing was exchanged"
    raise ProbeUnavailable(text, code=NOT_APPLIED, where=str(exchange.at))


async def _looked_at(clients: Clients, action: Action, before: Server | None) -> Applied:
    """Once more: what the server answered holds for the moment of the answer. A standby that takes over may lack it, and somebody may have
    exchanged the names again, whose hand wins."""
    try:
        exchange, server = await _look(clients, action)
    except ProbeUnavailable as error:
        text = f"{_done(Exchange.from_json(action.part), before)}; not looked at since: {error.message}"
        return Applied(ActionResult.APPLIED, text)
    if exchange.done(server):
        return Applied(ActionResult.APPLIED, _done(exchange, server))
    why = exchange.not_back(server) or "they are as they were before"
    text = f"the server answered that the names are exchanged, and they are not: {why}"
    return Applied(ActionResult.REFUSED, text, code=CHANGED)


async def _taken_back(clients: Clients, action: Action, lost: OutcomeUnclear | None) -> Found:
    """The mark tells as well whether it was taken back, with the answer `lost` or without: the database that is in its place again. Raises what
    keeps that from being known, or that it was not."""
    try:
        exchange, server = await _look(clients, action)
    except ProbeUnavailable as error:
        if lost is None:  # the server has answered that it was
            own = Exchange.from_json(action.part)
            return Found(own.live, open=not own.was_closed)
        text = f"sent without an answer ({lost.message}), and it cannot be read back: {error.message}"
        raise OutcomeUnclear(text, code=lost.code, where=lost.where) from error
    if exchange.done(server):
        answer = f"the answer was lost ({lost.message})" if lost else "the server answered that they are"
        text = f"{answer}, and nothing was exchanged back"
        raise ProbeUnavailable(text, code=NOT_APPLIED, where=str(exchange.at))
    return server.live or Found(exchange.live)


def _last_look(means: Means, action: Action) -> Callable[[], Awaitable[None]]:
    """What is asked right before the statement: what holds it, and whether somebody has started the application since it was looked at."""

    async def ask() -> None:
        await means.ask()
        if started := await _started(means.clients, action):
            raise Held(started)

    return ask


async def _started(clients: Clients, action: Action) -> str:
    """Somebody wants pods of the application, and they write to the copy; empty when nobody does."""
    ref = action.object
    manifest = await clients.cluster.get(ref.kind, ref.namespace, ref.name)
    replicas = (manifest.get("spec") or {}).get("replicas")
    return (
        f"{action.target} is at {replicas} replicas, not at 0: scale it to 0 first" if replicas != 0 else ""
    )


async def never_done(clients: Clients, action: Action) -> str:
    """Why this exchange cannot happen whatever is stopped for it: its database was replaced since the decision, or something in it
    keeps it from getting another name. Empty when it can. Raises ProbeUnavailable, also while somebody is in it whom the login may not end."""
    exchange, server = await _look(clients, action)
    if exchange.done(server):
        return ""
    return exchange.replaced(server) or exchange.blocked(server) or _free(exchange, server)


async def never_undone(clients: Clients, action: Action, *, stops: bool) -> str:
    """The same of taking it back; `stops`: the application is stopped first."""
    exchange, server = await _look(clients, action)
    if not exchange.kept:
        return ""
    if never := exchange.not_back(server):
        return never
    if not exchange.done(server):
        return ""
    if not stops and (started := await _started(clients, action)):
        return f"{started}, as nothing that is left of this run stops it"
    return exchange.blocked(server) or _free(exchange, server)


def _free(exchange: Exchange, server: Server) -> str:
    """Empty when nobody is in the databases whom the login may not end. Raises ProbeUnavailable as long as somebody is."""
    if busy := exchange.busy(server):
        raise ProbeUnavailable(busy, code=IN_USE, where=str(exchange.at))
    return ""


async def _look(clients: Clients, action: Action) -> tuple[Exchange, Server]:
    exchange = Exchange.from_json(action.part)
    server = await clients.databases.copies.look(clients.cluster, exchange.at, exchange.entry)
    return exchange, server
