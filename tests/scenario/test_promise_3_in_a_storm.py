"""Promise 3 when ten thousand targets fail within a minute: no limit is broken at any moment, one message tells it, each
alert ends in a decision that can be explained, and afterwards everything is as before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, Select, func, select

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Code, Decision, Verdict
from app.domain.outcome import IncidentState
from app.flow.notifying.timeline import timeline_of
from app.policy.decide import GATES
from app.policy.explain import explain_lines
from app.store import incidents, trail
from app.store.incidents import Incident
from app.store.schema import decisions
from app.store.schema import incidents as rows
from tests.bench.report import resident
from tests.scenario.bulk import ALIVE, BULK, Bulk, Calls, Storm, name_of, storming
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, decision, writes

_IN_FLIGHT = 3
_ACTED = [f"patch {name_of(n)}" for n in range(_IN_FLIGHT)]


async def _count(rig: Rig, query: Select[int]) -> int:
    return await rig.store.read(lambda conn: conn.execute(query).scalar_one())


async def _undecided(rig: Rig) -> int:
    return await _count(rig, select(func.count()).select_from(rows).where(rows.c.decided_at.is_(None)))


async def _every(rig: Rig, step: int) -> list[Incident]:
    """Each `step`-th incident."""

    def look(conn: Connection) -> list[Incident]:
        ids = list(conn.execute(select(rows.c.id).order_by(rows.c.id)).scalars())
        return incidents.get_all(conn, ids[::step])

    return await rig.store.read(look)


async def _explained(rig: Rig, incident: Incident) -> Decision:
    """What `remediator explain` shows, from the audit trail alone."""
    timeline = await rig.store.read(lambda conn: timeline_of(conn, incident.id))
    assert timeline.decision is not None
    lines = explain_lines(timeline.decision)
    assert len(timeline.decision.gates) == len(GATES)
    assert all(any(g.gate in line and g.threshold in line for line in lines) for g in timeline.decision.gates)
    return timeline.decision


async def _calm_again(storm: Storm) -> None:
    """A new fault on a target that was never touched is repaired as ever."""
    rig, last = storm.rig, ALIVE - 1
    await rig.run(600, alerts=False)
    before = len(writes(rig))
    await storm.fire(last)
    await rig.run(20, alerts=False)
    assert writes(rig)[before:] == [f"patch {name_of(last)}"]
    await storm.fall(last)
    await rig.run(90, alerts=False)
    newest = (await all_runs(rig))[-1]
    assert (newest.target_key, newest.state.value) == (f"rag7/Deployment/{name_of(last)}", "fixed")


async def test_ten_thousand_targets_break_no_limit_and_are_one_message(tmp_path: Path) -> None:
    """The first three are acted upon, as they came before anybody could know; then it only observes."""
    client = Calls()
    async with storming(tmp_path, client=client) as storm:
        rig, before = storm.rig, resident("self")
        await storm.rise(50)
        await rig.run(20, alerts=False)
        assert writes(rig) == _ACTED
        assert storm.guard.most_in_flight == _IN_FLIGHT
        assert storm.guard.looks > 300
        assert await _undecided(rig) == 0
        assert resident("self") - before < 64, "MiB; ten thousand incidents are in the store, not in memory"

        assert isinstance(rig.cluster, Bulk)
        assert len(set(rig.cluster.asked)) < 100, "an API server in trouble was asked about every target"
        (digest,) = [text for text in client.roots if text.startswith("STORM")]
        assert digest.startswith(f"STORM · {BULK - ALIVE:,} incidents since")
        assert len(client.roots) == 1 + ALIVE - 1
        assert client.calls < 100, f"{client.calls} calls for one storm"

        for incident in await _every(rig, 250):
            told = await _explained(rig, incident)
            if told.verdict is Verdict.OBSERVE:
                assert told.code is Code.STORM
                assert "Only observing: storm: " in told.text
                assert incident.state is IncidentState.OBSERVED

        await storm.fall()
        await rig.run(60, alerts=False)
        still_open = select(func.count()).select_from(rows).where(rows.c.closed_at.is_(None))
        assert await rig.store.read(lambda conn: conn.execute(still_open).scalar()) == 0
        (digest,) = [text for text in client.roots if text.startswith("STORM")]
        assert digest.splitlines()[0].endswith(f": {BULK - ALIVE:,} resolved")
        await _calm_again(storm)
        assert len(client.roots) == 1 + ALIVE
        assert (await rig.store.read(trail.verify)).ok


async def test_both_members_of_a_pair_deliver_the_storm_and_nothing_doubles(tmp_path: Path) -> None:
    """Every body comes twice, while Slack answers two of three calls with 429."""
    size, client = 2_000, Calls(nth=3)
    async with storming(tmp_path, size, client) as storm:
        rig = storm.rig
        await storm.rise(30, copies=2)
        await rig.run(20, alerts=False)
        assert writes(rig) == _ACTED
        assert await _undecided(rig) == 0
        told = await _count(rig, select(func.count()).select_from(decisions))
        assert size - 1 <= told < size + 3 * ALIVE, "a repeat is not a new decision"
        await storm.fall()
        await rig.run(600, alerts=False)
        assert client.refused > client.calls // 2
        assert len([text for text in client.roots if text.startswith("STORM")]) == 1
        assert len({tag for _, tag, _ in client.posts}) == len(client.posts), "a message was posted twice"
        assert client.calls < 200


async def test_a_storm_that_goes_on_is_looked_at_once_it_is_over(tmp_path: Path) -> None:
    """Nobody resolves anything: after the last new alert has left the window the targets are looked at, not all at once,
    and the limits hold then too."""
    size = 120
    async with storming(tmp_path, size, Calls()) as storm:
        rig = storm.rig
        await storm.rise(10)
        await rig.run(60, alerts=False)
        assert isinstance(rig.cluster, Bulk)
        blind = size - len(set(rig.cluster.asked))
        assert blind > 50
        for _ in range(3):  # as Alertmanager repeats what still fires
            await storm.fire(*storm.fired)
            await rig.run(200, alerts=False)
        assert len(set(rig.cluster.asked)) >= size - 1
        acted = [w for w in writes(rig) if not w.endswith("(undo)")]
        undone = [w for w in writes(rig) if w.endswith("(undo)")]
        assert acted == [f"patch {name_of(n)}" for n in range(ALIVE - 1)], (
            "each once; the bulk's are too many at once"
        )
        assert undone == [], "the errors are gone where it acted, whatever the alerts say"
        assert len(acted) <= 6, "the namespace's budget"


async def test_a_person_gets_through_in_a_storm(tmp_path: Path) -> None:
    """Whoever orders a remediation has seen the storm; the other limits hold for the order too."""
    async with storming(tmp_path, 200, Calls()) as storm:
        rig = storm.rig
        await storm.rise(10)
        for number in range(_IN_FLIGHT):
            await storm.fall(number)
        await rig.run(120, alerts=False)
        assert writes(rig) == _ACTED
        found = next(i for i in await _every(rig, 1) if name_of(_IN_FLIGHT) in (i.target_key or ""))
        assert (await decision(rig, found.id)).code in (Code.STORM, Code.BLAST_RADIUS)
        target = f"rag7/Deployment/{name_of(_IN_FLIGHT)}"
        order = ManualRequest("high-error-rate", target, {}, "the release is broken", "kim", may_approve=True)
        await rig.store.ingest(
            Delivery(Source.MANUAL, rig.clock.now(), "kim", manual=order, dedupe_key="k", body_digest="k")
        )
        await rig.run(20, alerts=False)
        assert writes(rig)[_IN_FLIGHT:] == [f"patch {name_of(_IN_FLIGHT)}"]
        assert timedelta() <= rig.clock.now() - found.opened_at < timedelta(minutes=5), "still in the storm"
