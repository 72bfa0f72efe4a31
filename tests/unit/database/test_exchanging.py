"""The exchange of two databases when answers are lost, and what its undo leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.database.exchanging import ExchangeActuator, exchange_database
from app.domain.actuator import CheckResult, Clients, Means
from app.domain.copies import Exchange, Found, Server
from app.domain.database import DatabaseAddress
from app.domain.errors import OutcomeUnclear, ProbeUnavailable
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.kube.parse import parse_ref
from app.sim import SimCluster, VirtualClock, load_scenario

MARK = "alert-remediator: copy of it"
AT = DatabaseAddress("rag7", "postgres", 0, "live", "db")
EXCHANGE = Exchange(AT, "postgres", "live", "copy", "kept", MARK, id=7)
BEFORE = (Found("live", id=7), Found("copy", mark=MARK))
AFTER = (Found("live", mark=MARK), Found("kept", open=False))
TARGET = Target("rag7", Kind.DEPLOYMENT, "langgraph-threads")


class Copies:
    """A server whose renaming does this, and that is seen so, after a renaming as `then`; None: it does not answer."""

    def __init__(
        self, renames: Exception | None, seen: tuple[Found, ...] | None, then: tuple[Found, ...] | None = ()
    ) -> None:
        self.renames, self.seen = renames, seen
        self.then = seen if then == () else then
        self.sent: list[Sequence[tuple[str, str]]] = []
        self.closed: tuple[str, ...] = ()

    async def look(self, cluster: Any, at: Any, entry: str) -> Server:
        del cluster, at, entry
        if self.seen is None:
            raise ProbeUnavailable("no answer")
        return Server("16.4", 16, "live", superuser=False, may_create=True, databases=self.seen)

    async def rename(
        self, to: Any, names: Sequence[tuple[str, str]], closed: Sequence[str], ask: Any, number: int = 0
    ) -> None:
        del to, number
        await ask()
        self.closed = tuple(closed)
        self.sent.append(names)
        self.seen = self.then
        if self.renames:
            raise self.renames


class Databases:
    def __init__(self, copies: Copies) -> None:
        self.copies = copies


def world(copies: Copies, replicas: int = 0) -> tuple[Means, Action]:
    cluster = SimCluster(VirtualClock(), load_scenario("database-restore"))
    size = {"op": "replace", "path": "/spec/replicas", "value": replicas}
    cluster.edit(Kind.DEPLOYMENT, "rag7", TARGET.name, [size])
    manifest: Any = cluster.peek(Kind.DEPLOYMENT, "rag7", TARGET.name)
    ref = parse_ref(Kind.DEPLOYMENT, manifest)
    action = exchange_database(ref, TARGET, EXCHANGE, "app=nothing-has-this", "exchange")
    databases: Any = Databases(copies)
    return Means(Clients(cluster, databases), _nothing_held, asyncio.sleep), action


async def _nothing_held() -> None:
    return


LOST = OutcomeUnclear("the connection ended")


@pytest.mark.parametrize(("seen", "result"), [(AFTER, ActionResult.APPLIED), (None, ActionResult.UNCLEAR)])
async def test_promise_2_a_lost_answer_is_read_back(seen: Any, result: ActionResult) -> None:
    copies = Copies(LOST, seen)
    means, action = world(copies)
    done = await ExchangeActuator().apply(means, action, "run_1/0.5", CheckResult(action.object, ""))
    assert (done.result, copies.sent) == (result, [EXCHANGE.forth])


async def test_what_was_taken_back_is_tried_again() -> None:
    means, action = world(Copies(LOST, BEFORE))
    with pytest.raises(ProbeUnavailable, match="nothing was exchanged"):
        await ExchangeActuator().apply(means, action, "run_1/0.5", CheckResult(action.object, ""))


ANSWERED: dict[str, tuple[tuple[Found, ...] | None, ActionResult, str]] = {
    "it is so": (AFTER, ActionResult.APPLIED, "live is the restored copy; the former one is kept as kept"),
    "nobody can look": (None, ActionResult.APPLIED, "not looked at since: no answer"),
    "a standby without it took over": (BEFORE, ActionResult.REFUSED, "they are not: they are as they were"),
    "somebody exchanged it again": (
        (Found("live", id=9), Found("kept"), Found("other", mark=MARK)),
        ActionResult.REFUSED,
        "they are not: live is not the restored copy any more: somebody else exchanged it",
    ),
    "somebody gave it another name": (
        (Found("other", mark=MARK), Found("kept")),
        ActionResult.REFUSED,
        "they are not: live is gone",
    ),
}


@pytest.mark.parametrize("what", ANSWERED)
async def test_promise_6_what_the_server_answered_is_looked_at_once_more(what: str) -> None:
    then, result, words = ANSWERED[what]
    copies = Copies(None, BEFORE, then)
    means, action = world(copies)
    done = await ExchangeActuator().apply(means, action, "run_1/0.5", CheckResult(action.object, ""))
    assert (done.result, len(copies.sent)) == (result, 1)
    assert words in done.text


async def test_promise_6_a_taking_back_that_is_answered_and_not_so_is_no_undo() -> None:
    means, action = world(Copies(None, AFTER, AFTER))
    with pytest.raises(
        ProbeUnavailable, match="the server answered that they are, and nothing was exchanged"
    ):
        await ExchangeActuator().undo(means, action, "run_1/0.5")


EFFECTS: dict[str, tuple[tuple[Found, ...] | None, bool | None, str]] = {
    "used": (
        (Found("live", mark=MARK, clients={"web": 2, "jobs": 1}), Found("kept", open=False)),
        True,
        "open for connections, with 3 of others",
    ),
    "used by nobody": (AFTER, True, "open for connections, with none of others yet"),
    "the former one is used": (
        (Found("live", mark=MARK), Found("kept", clients={"web": 2})),
        True,
        "with none of others yet; 2 are to the former one, kept, which somebody opened",
    ),
    "closed": (
        (Found("live", mark=MARK, open=False), Found("kept")),
        False,
        "takes no connections (ALLOW_CONNECTIONS false)",
    ),
    "limited to none": (
        (Found("live", mark=MARK, limit=0), Found("kept")),
        False,
        "takes no connections (CONNECTION LIMIT 0)",
    ),
    "exchanged back": (BEFORE, False, "live is not the restored copy: names were exchanged back"),
    "gone": ((Found("kept"),), False, "live is gone"),
    "not seen": (None, None, "the database could not be looked at"),
}


@pytest.mark.parametrize("what", EFFECTS)
async def test_promise_6_the_verification_looks_whether_the_copy_is_in_its_place_and_who_uses_it(
    what: str,
) -> None:
    seen, good, words = EFFECTS[what]
    means, action = world(Copies(None, seen))
    effect = await ExchangeActuator().effect(means.clients, action)
    assert effect is not None
    assert effect.good is good
    assert words in effect.text


UNDOS: dict[str, tuple[tuple[Found, ...], int, UndoResult, int]] = {
    "as it was left": (AFTER, 0, UndoResult.UNDONE, 1),
    "undone already": (BEFORE, 0, UndoResult.UNDONE, 0),
    "the former one was dropped": (AFTER[:1], 0, UndoResult.CONFLICT, 0),
    "somebody exchanged it again": ((Found("live"), Found("kept")), 0, UndoResult.CONFLICT, 0),
    "somebody started the application": (AFTER, 2, UndoResult.CONFLICT, 0),
}


@pytest.mark.parametrize("what", UNDOS)
async def test_promise_7_an_undo_leaves_alone_what_is_not_ours_any_more(what: str) -> None:
    seen, replicas, result, sent = UNDOS[what]
    copies = Copies(None, seen, BEFORE)
    means, action = world(copies, replicas)
    undone = await ExchangeActuator().undo(means, action, "run_1/0.5")
    assert (undone.result, len(copies.sent)) == (result, sent), undone.text
    assert bool(undone.conflicts) == (result is UndoResult.CONFLICT)


CHECKS: dict[str, tuple[tuple[Found, ...], str]] = {
    "ready": (BEFORE, ""),
    "done": (AFTER, ""),
    "the copy is gone": (BEFORE[:1], "there is no validated copy copy any more"),
    "the copy is not validated": (
        (Found("live", id=7), Found("copy")),
        "there is no validated copy copy any more",
    ),
    "another database is in its place": (
        (Found("live", id=8), Found("copy", mark=MARK, id=9)),
        "live is another database since the decision: somebody else exchanged it",
    ),
    "the copy belongs to somebody else": (
        (Found("live", id=7, owner="app"), Found("copy", mark=MARK, id=9, owner="dba")),
        "live belongs to app and its copy to dba",
    ),
    "the database is gone": (BEFORE[1:], "live is gone since the decision"),
}


@pytest.mark.parametrize("what", CHECKS)
async def test_promise_5_it_is_looked_at_again_right_before(what: str) -> None:
    seen, why = CHECKS[what]
    means, action = world(Copies(None, seen))
    found = await ExchangeActuator().check(means.clients, action)
    assert (found.ref is None, found.text if why else "") == (bool(why), why)


CLOSED: dict[str, tuple[bool, tuple[Found, ...] | None, str]] = {
    "open": (False, BEFORE, ""),
    "closed": (
        True,
        (Found("live", id=7, open=False), BEFORE[1]),
        'live takes no connections (ALLOW_CONNECTIONS false), so that nobody can work with it until ALTER DATABASE "live" ALLOW_CONNECTIONS true',
    ),
    "closed, and nobody can look": (True, None, 'ALTER DATABASE "live" ALLOW_CONNECTIONS true'),
    "limited to none": (
        False,
        (Found("live", id=7, limit=0), BEFORE[1]),
        'live takes no connections (CONNECTION LIMIT 0), so that nobody can work with it until ALTER DATABASE "live" CONNECTION LIMIT -1',
    ),
    "both": (
        True,
        (Found("live", id=7, open=False, limit=0), BEFORE[1]),
        'ALTER DATABASE "live" ALLOW_CONNECTIONS true CONNECTION LIMIT -1',
    ),
}


@pytest.mark.parametrize("what", CLOSED)
async def test_an_undo_closes_again_what_somebody_had_closed_and_tells_what_opens_it(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It was closed so that nobody writes into it; and the application that is started cannot connect to it."""
    was_closed, then, needs = CLOSED[what]
    monkeypatch.setattr(f"{__name__}.EXCHANGE", replace(EXCHANGE, was_closed=was_closed))
    copies = Copies(None, AFTER, then)
    means, action = world(copies)
    assert Exchange.from_json(action.part).was_closed is was_closed
    undone = await ExchangeActuator().undo(means, action, "run_1/0.5")
    assert undone.result is UndoResult.UNDONE
    assert copies.closed == (("copy", "live") if was_closed else ("copy",))
    assert (needs in undone.needs, undone.needs in undone.text, bool(undone.needs)) == (
        True,
        True,
        bool(needs),
    )
