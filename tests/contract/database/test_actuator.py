"""The actuator of sessions on a simulated and on a real server: once, and nothing more after a crash."""

from __future__ import annotations

from app.database.actuator import Ending, SessionActuator
from app.domain.actuator import Clients, Means
from app.domain.database import Condition, Why
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.sim.databases import DatabaseClients
from tests.contract.database.sides import CLIENT, RealSide, Side, elsewhere, ids, look, of

ID = "run_1/0.0"
ACTUATOR = SessionActuator()
IDLE = Condition(Why.IDLE, 0.2)


async def _nap(_seconds: float) -> None:
    return


async def _action(side: Side, application: str, condition: Condition = IDLE) -> Action:
    sessions = ids(of(await look(side), application))
    ref = elsewhere(side)
    ending = Ending(side.at, tuple(sessions), condition, 0.8)
    return ending.action(ref, Target("rag7", Kind.STATEFUL_SET, "elsewhere"), "End sessions")


async def test_an_action_is_carried_out_once_and_read_back_after_a_crash(side: Side) -> None:
    client = DatabaseClients(
        user=CLIENT, application="leaky", state="idle in transaction", query="SELECT 1", count=2
    )
    await side.start(client, client.model_copy(update={"application": "other"}))
    await side.pause()
    action = await _action(side, "leaky")
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1

    async def wait(_seconds: float) -> None:
        await side.pause()

    clients = Clients(side.cluster, side.databases)
    means = Means(clients, ask, wait)
    found = await ACTUATOR.check(clients, action)
    assert found.ref == action.object
    assert await ACTUATOR.dry_run(clients, action, ID, found) == ""
    assert len(of(await look(side), "leaky")) == 2, "check and dry run have no effect"
    assert await ACTUATOR.in_place(clients, action, ID) == ""
    done = await ACTUATOR.apply(means, action, ID, found)
    assert (done.result, done.text, asked) == (ActionResult.APPLIED, "End sessions: 2 sessions ended", 1)
    assert await ACTUATOR.in_place(clients, action, ID) == "End sessions: all 2 sessions are gone"
    assert (await ACTUATOR.apply(means, action, ID, found)).result is ActionResult.APPLIED
    assert len(of(await look(side), "other")) == 2
    effect = await ACTUATOR.effect(clients, action)
    assert effect is not None
    assert effect.good is True


async def test_a_transaction_that_goes_on_before_the_statement_is_left_alone(real: RealSide) -> None:
    """Between the check and the statement the client commits and begins another one: it is not idle for long any more."""
    await real.start(
        DatabaseClients(user=CLIENT, application="leaky", state="idle in transaction", query="SELECT 1")
    )
    await real.pause()
    action = await _action(real, "leaky")
    clients = Clients(real.cluster, real.databases)
    found = await ACTUATOR.check(clients, action)
    assert found.ref is not None

    async def ask() -> None:
        await real.busy()

    done = await ACTUATOR.apply(Means(clients, ask, _nap), action, ID, found)
    assert done.result is ActionResult.REFUSED
    assert len(of(await look(real), "leaky")) == 1
