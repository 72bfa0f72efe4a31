"""The actuator of sessions: ends them once, reads back what happened, and does not touch what has changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.database.actuator import Ending, SessionActuator
from app.domain.actuator import Clients, Means
from app.domain.database import Condition, DatabaseAddress, SessionId, Why
from app.domain.errors import Held, ProbeUnavailable, TryLater
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, Step
from app.domain.target import Kind, Target
from app.kube.parse import parse_ref
from app.sim import VirtualClock
from app.sim.databases import DatabaseClients
from app.sim.faults import Fault, FaultKind
from tests.births import cluster_of, scenario_of

ID = "run_1/0.0"
AT = DatabaseAddress(
    "rag7", "postgres.rag7.svc", 0, "langgraph_checkpoints", "langgraph-secrets", url_key="DATABASE_URL"
)
ACTUATOR = SessionActuator()


class World:
    """The shipped scenario: 14 sessions of langgraph-ingest are idle in a transaction for longer than ten minutes."""

    def __init__(self, *clients: DatabaseClients) -> None:
        self.clock = VirtualClock()
        world = scenario_of("database-connections")
        if clients:
            (server,) = world.databases
            world = world.model_copy(update={"databases": (server.model_copy(update={"clients": clients}),)})
        self.cluster = cluster_of(self.clock, world)
        self.clients = Clients(self.cluster, self.cluster.databases)
        self.asked = 0

    async def ask(self) -> None:
        self.asked += 1

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @property
    def means(self) -> Means:
        return Means(self.clients, self.ask, self.sleep)

    async def sessions(self) -> list[SessionId]:
        seen = await self.cluster.databases.activity(self.cluster, AT)
        return [s.id for s in seen.sessions if s.application == "langgraph-ingest" and s.id]

    async def action(self, most: int = 3) -> Action:
        manifest = await self.cluster.get(Kind.STATEFUL_SET, "rag7", "postgres")
        ref = parse_ref(Kind.STATEFUL_SET, manifest)
        chosen = tuple((await self.sessions())[:most])
        ending = Ending(AT, chosen, Condition(Why.IDLE, 600), 0.8)
        return ending.action(ref, Target("rag7", Kind.STATEFUL_SET, "postgres"), "End sessions")

    @property
    def ended(self) -> list[str]:
        return [m.name for m in self.cluster.mutations if m.verb == "terminate"]


async def test_sessions_are_ended_once_and_a_second_run_after_a_crash_does_nothing() -> None:
    world = World()
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)
    assert found.ref == action.object
    assert await ACTUATOR.dry_run(world.clients, action, ID, found) == ""
    assert await ACTUATOR.in_place(world.clients, action, ID) == ""
    assert world.ended == []
    done = await ACTUATOR.apply(world.means, action, ID, found)
    assert (done.result, done.text) == (ActionResult.APPLIED, "End sessions: 3 sessions ended")
    assert (len(world.ended), world.asked) == (3, 1)
    assert await ACTUATOR.in_place(world.clients, action, ID) == "End sessions: all 3 sessions are gone"
    again = await ACTUATOR.apply(world.means, action, ID, found)
    assert again.result is ActionResult.APPLIED
    assert len(world.ended) == 3
    assert (await ACTUATOR.check(world.clients, action)).ref is None


async def test_an_action_survives_being_stored_and_its_sessions_are_what_an_approval_is_for() -> None:
    world = World()
    three, two = await world.action(3), await world.action(2)
    assert Action.from_json(three.to_json()) == three
    assert not three.seal().sealed
    assert Step("a", "why", (three,)).hash != Step("a", "why", (two,)).hash


async def test_what_has_gone_on_meanwhile_is_left_alone_and_what_was_done_is_told() -> None:
    """Two of the three committed between the decision and the write, one of them went."""
    world = World(DatabaseClients(application="langgraph-ingest", state="active", since=900.0, count=3))
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)
    assert found.ref is None
    assert "not idle in a transaction" in found.text
    done = await ACTUATOR.apply(world.means, action, ID, found)
    assert done.result is ActionResult.REFUSED
    assert world.ended == []
    assert await ACTUATOR.in_place(world.clients, action, ID) == ""


async def test_some_gone_and_none_left_to_end_means_that_it_happened() -> None:
    world = World()
    action = await world.action()
    part = dict(action.part)
    gone = SessionId(1, (await world.sessions())[0].started)
    still = next(
        s.id
        for s in (await world.cluster.databases.activity(world.cluster, AT)).sessions
        if s.state == "active"
    )
    assert still is not None
    action = replace(action, part={**part, "sessions": [gone.to_json(), still.to_json()]})
    text = await ACTUATOR.in_place(world.clients, action, ID)
    assert "1 of 2 sessions are gone, and the others are not to be ended any more" in text


@pytest.mark.parametrize("effect", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_a_lost_answer_is_settled_by_looking(effect: FaultKind) -> None:
    world = World()
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)
    world.cluster.faults.add(Fault(effect, verb="terminate"))
    if effect is FaultKind.LOST_AFTER:
        done = await ACTUATOR.apply(world.means, action, ID, found)
        assert (done.result, len(world.ended)) == (ActionResult.APPLIED, 3)
        assert "the answer was lost" in done.text
        return
    with pytest.raises(ProbeUnavailable, match="3 of 3 are still there"):
        await ACTUATOR.apply(world.means, action, ID, found)
    assert world.ended == []
    assert (await ACTUATOR.apply(world.means, action, ID, found)).result is ActionResult.APPLIED
    assert len(world.ended) == 3


async def test_an_answer_that_cannot_be_read_back_stays_unclear() -> None:
    world = World()
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)
    world.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="terminate"))
    world.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql", times=10))
    assert (await ACTUATOR.apply(world.means, action, ID, found)).result is ActionResult.UNCLEAR
    with pytest.raises(TryLater):
        await ACTUATOR.in_place(world.clients, action, ID)


async def test_what_holds_it_stops_the_statement() -> None:
    world = World()
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)

    async def held() -> None:
        raise Held("paused by kim")

    with pytest.raises(Held, match="paused by kim"):
        await ACTUATOR.apply(Means(world.clients, held, world.sleep), action, ID, found)
    assert world.ended == []


async def test_a_workload_that_was_made_anew_is_another_one() -> None:
    world = World()
    action = await world.action()
    world.cluster.recreate(Kind.STATEFUL_SET, "rag7", "postgres")
    found = await ACTUATOR.check(world.clients, action)
    assert (found.ref, found.code) == (None, "object_changed")
    assert "created again" in found.text


async def test_without_the_right_to_end_them_the_dry_run_is_refused() -> None:
    world = World()
    (server,) = scenario_of("database-connections").databases
    poor = server.model_copy(update={"may_end": False, "login": "langgraph"})
    clients = (
        DatabaseClients(
            application="langgraph-ingest", user="other", state="idle in transaction", since=900.0
        ),
    )
    scenario = scenario_of("database-connections").model_copy(
        update={"databases": (poor.model_copy(update={"clients": clients}),)}
    )
    world.cluster = cluster_of(world.clock, scenario)
    world.clients = Clients(world.cluster, world.cluster.databases)
    action = await world.action()
    found = await ACTUATOR.check(world.clients, action)
    assert await ACTUATOR.dry_run(world.clients, action, ID, found) == (
        "the login may not end sessions of other (grant it pg_signal_backend)"
    )


async def test_there_is_nothing_to_undo_and_it_says_why() -> None:
    world = World()
    undone = await ACTUATOR.undo(world.means, await world.action(), ID)
    assert undone.result is UndoResult.NOTHING
    assert "the client connects again" in undone.text


async def test_the_effect_is_measured_by_counting_connections_again() -> None:
    world = World()
    action = await world.action(14)
    before = await ACTUATOR.effect(world.clients, action)
    assert before is not None
    assert (before.good, before.text) == (False, "18 of 22 connections in use")
    await ACTUATOR.apply(world.means, action, ID, await ACTUATOR.check(world.clients, action))
    after = await ACTUATOR.effect(world.clients, action)
    assert after is not None
    assert (after.good, after.text) == (True, "4 of 22 connections in use")
    world.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql"))
    unknown = await ACTUATOR.effect(world.clients, action)
    assert unknown is not None
    assert unknown.good is None


async def test_no_free_connection_is_known_not_to_have_helped() -> None:
    world = World(
        DatabaseClients(application="langgraph-ingest", state="idle in transaction", since=900.0, count=3)
    )
    action = await world.action()
    full = World(DatabaseClients(application="other", count=22))
    effect = await ACTUATOR.effect(full.clients, action)
    assert effect is not None
    assert effect.good is False
