"""Promise 7: what did not help is taken back where it is still ours, else the conflict is told; a failed undo is stuck and
pages a person."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.intake.auth import Principal, Scope
from app.kube.faults import Answer, refusal
from app.kube.faults import Request as Asked
from app.page.incident import look
from app.page.session import Visitor
from app.policy.model import Approval, Otherwise
from app.sim import SimCluster
from app.sim.faults import Fault, FaultKind
from app.store import runs, work
from remediations import CATALOGUE
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_incident, the_run, trail, writes

API = (Kind.DEPLOYMENT, "rag7", "langgraph-api")


async def _acted(path: Path) -> Rig:
    """A run that has scaled out what no number of replicas can carry, and will undo it."""
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(path, rules=rules, world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    assert _replicas(rig) == 8
    return rig


async def _before_its_undo(path: Path) -> Rig:
    """The step has not helped, and a pause holds its undo."""
    rig = await _acted(path)
    await rig.operations.pause("all", "wait", "kim", None)
    for _ in range(100):
        await rig.run(10)
        if (await the_run(rig)).state is RunState.UNDOING:
            return rig
    raise AssertionError(rig.notebook.text[-2000:])


def _replicas(rig: Rig) -> int:
    found: Any = rig.cluster.peek(*API)
    return int(found["spec"]["replicas"])


async def _ended(rig: Rig) -> RunState:
    for _ in range(100):
        await rig.run(10)
        run = await the_run(rig)
        if run.state.ended:
            await rig.run(5)
            return run.state
    raise AssertionError(rig.notebook.text[-2000:])


async def test_what_did_not_help_is_taken_back_and_handed_over(tmp_path: Path) -> None:
    """To the value it had before, and a person hears of it."""
    rig = await _acted(tmp_path)
    assert await _ended(rig) is RunState.NOT_FIXED
    assert _replicas(rig) == 2
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


@pytest.mark.parametrize("lost", [(), (Otherwise.UNDO,)], ids=["stands", "taken back"])
async def test_an_alert_that_goes_away_after_a_step_did_not_without_our_doing(
    tmp_path: Path, lost: tuple[Otherwise, ...]
) -> None:
    """A person was called, and is not needed any more: message, trail and `explain` say the same."""
    rules = policy(otherwise=(*lost, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(tmp_path, rules=rules, world=flood())
    await _ended(rig)
    rig.cluster.traffic.set_rps("langgraph-api", 0.2)
    await rig.run(1_200)
    incident = await the_incident(rig)
    assert incident.state is IncidentState.RESOLVED
    reason = (await trail(rig, EventKind.INCIDENT_MOVED))[-1].data["reason"]
    assert reason == "the alert resolved after something had been written for it"
    told = await rig.operations.explain(incident.id)
    (text,) = rig.notebook.parents.values()
    away = (
        "and what was done was taken back" if lost else "after what was done; nobody can tell whether by it"
    )
    assert f"The alert went away{',' * bool(lost)} {away}" in text
    assert away in told["reason"]
    assert "A person was needed" in text
    assert "A person is needed" not in text
    assert not told["person_needed"]
    await rig.close()


async def test_a_field_that_somebody_changed_since_is_left_alone_and_told(tmp_path: Path) -> None:
    """Their value stands, whatever ours was."""
    rig = await _before_its_undo(tmp_path)
    rig.cluster.edit(*API, [{"op": "replace", "path": "/spec/replicas", "value": 5}])
    await rig.operations.resume("all", "kim")
    await _ended(rig)
    assert _replicas(rig) == 5
    (undone,) = await trail(rig, EventKind.UNDO_ENDED)
    assert undone.data["result"] == "conflict"
    assert "5" in undone.data["text"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_an_undo_that_is_refused_is_stuck_and_pages_a_person(tmp_path: Path) -> None:
    """The incident says so in its own state, not in that of a mere escalation."""
    rig = await _acted(tmp_path)
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    assert await _ended(rig) is RunState.STUCK
    assert (await the_incident(rig)).state is IncidentState.STUCK
    (escalated,) = await trail(rig, EventKind.ESCALATED)
    assert escalated.data["stuck"] is True
    assert _replicas(rig) == 8
    await rig.close()


@pytest.mark.parametrize("effect", [FaultKind.THROTTLED, FaultKind.UNREACHABLE, FaultKind.LOST_AFTER])
async def test_an_undo_that_meets_a_passing_fault_is_done_all_the_same(
    tmp_path: Path, effect: FaultKind
) -> None:
    """Once."""
    rig = await _acted(tmp_path)
    rig.cluster.faults.add(Fault(effect, verb="patch", dry_run=False))
    await _ended(rig)
    assert _replicas(rig) == 2
    assert writes(rig).count("patch langgraph-api (undo)") == 1
    await rig.close()


@pytest.mark.parametrize(("size", "result"), [(2, "nothing_to_undo"), (8, "conflict")])
async def test_an_undo_whose_object_was_made_anew_has_nothing_to_undo_unless_our_value_is_in_the_new_one(
    tmp_path: Path, size: int, result: str
) -> None:
    """Our change went with the old one; what somebody made with it is theirs, and stands."""
    rig = await _before_its_undo(tmp_path)
    rig.cluster.recreate(*API)
    rig.cluster.scale(*API, size)
    await rig.operations.resume("all", "kim")
    await _ended(rig)
    (undone,) = await trail(rig, EventKind.UNDO_ENDED)
    assert undone.data["result"] == result
    assert _replicas(rig) == size
    await rig.close()


async def test_an_action_whose_outcome_stays_unknown_is_stuck_and_stays_spent(tmp_path: Path) -> None:
    """It may have happened, so it counts against the budget as if it had, and a person looks."""
    rules = policy(steps=("scale-out",))
    rig = await born(tmp_path, rules=rules, world=flood())
    sent = []

    def cut(request: Any, when: str) -> None:
        if request.verb == "patch" and not request.dry_run and when == "after":
            sent.append(request)
            rig.cluster.faults.add(
                Fault(FaultKind.UNREACHABLE, verb="get", kind=Kind.DEPLOYMENT, times=100_000)
            )
            rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="list", times=100_000))

    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="patch", dry_run=False))
    rig.cluster.on_request(cut)
    assert await _ended(rig) is RunState.STUCK
    assert len(sent) == 1
    assert (await the_incident(rig)).state is IncidentState.STUCK
    since = rig.clock.now().replace(year=2000)
    assert await rig.store.read(lambda conn: work.spent_since(conn, "cluster", since)) == 1
    await rig.close()


async def test_a_person_undoes_a_fixed_run_once(tmp_path: Path) -> None:
    """And is refused the second time."""
    rig = await born(tmp_path)
    assert await _ended(rig) is RunState.FIXED
    run = await the_run(rig)
    await rig.operations.undo(run.id, "kim")
    await rig.run(30)
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    assert (await the_run(rig)).state is RunState.UNDONE
    with pytest.raises(Refused, match="undone already"):
        await rig.operations.undo(run.id, "kim")
    await rig.close()


async def test_a_run_that_still_goes_on_or_did_nothing_is_not_undone(tmp_path: Path) -> None:
    """There is nothing to take back, and what is under way takes care of itself."""
    rig = await _acted(tmp_path)
    with pytest.raises(Refused, match="wait for its end"):
        await rig.operations.undo((await the_run(rig)).id, "kim")
    await rig.close()


async def _settled(rig: Rig, seconds: float = 3_600) -> None:
    """Until the run has ended and everybody has heard of it."""

    async def over() -> bool:
        found = await all_runs(rig)
        return bool(found) and all(run.state.ended for run in found)

    await rig.until(over, seconds)
    await rig.run(5)


async def _asked_about_a_second_step(path: Path) -> Rig:
    """The first step did not help, and the second one needs an approval: the rule was lowered to it meanwhile."""
    rig = await born(path, rules=policy(approval=Approval(expires=timedelta(minutes=10))), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    rig.policy = policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(minutes=10)))

    async def asked() -> bool:
        return (await the_run(rig)).state is RunState.WAITING

    await rig.until(asked)
    return rig


async def test_a_second_step_that_nobody_answers_about_leaves_nothing_of_the_first_one(
    tmp_path: Path,
) -> None:
    """The rest of what the rule says is done: the first step is undone, and a person is paged."""
    rig = await _asked_about_a_second_step(tmp_path)
    await _settled(rig)
    run = await the_run(rig)
    assert (run.state, _replicas(rig)) == (RunState.NOT_FIXED, 2)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert "nobody answered about restart in time" in run.result
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_a_second_step_that_is_rejected_leaves_nothing_of_the_first_one(tmp_path: Path) -> None:
    rig = await _asked_about_a_second_step(tmp_path)
    await rig.operations.reject((await the_run(rig)).id, "kim")
    await _settled(rig)
    assert (_replicas(rig), len(await trail(rig, EventKind.ESCALATED))) == (2, 1)
    assert "rejected by kim" in (await the_run(rig)).result
    await rig.close()


async def test_an_alert_that_goes_away_after_a_step_was_our_doing_until_shown_otherwise(
    tmp_path: Path,
) -> None:
    """While people are asked about another step, the first one may help late: that is verified, and told as what helped."""
    rig = await _asked_about_a_second_step(tmp_path)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await _settled(rig)
    run, incident = await the_run(rig), await the_incident(rig)
    assert (run.state, incident.state) == (RunState.CONTAINED, IncidentState.CONTAINED)
    assert "without our doing" not in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("lost", [(), (Otherwise.UNDO,)], ids=["escalate", "undo"])
async def test_a_first_request_that_is_rejected_is_theirs_who_rejected_it(
    tmp_path: Path, lost: tuple[Otherwise, ...]
) -> None:
    """Whatever the rule says otherwise, as nothing was written: nobody is called, and message, trail and page say whose it is."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, otherwise=(*lost, Otherwise.ESCALATE)))
    await rig.until(lambda: "remediator reject" in "".join(rig.notebook.parents.values()), 60)
    await rig.operations.reject((await the_run(rig)).id, "kim")
    await _settled(rig)
    incident = await the_incident(rig)
    assert (incident.state, await trail(rig, EventKind.ESCALATED)) == (IncidentState.ESCALATED, [])
    (text,) = rig.notebook.parents.values()
    whose = "rejected by kim, whose it is now: nobody else is called"
    assert f"Left to a person: {whose}" in text
    assert "A person is needed" not in text
    assert (await rig.operations.explain(incident.id))["reason"] == whose
    visitor = Visitor(Principal("ana", frozenset(Scope)), "")
    page = await rig.store.read(lambda conn: look(conn, rig.services, incident.id, visitor))
    assert page.takes is not None
    assert page.takes.has == "kim, who rejected its plan"
    await rig.close()


async def test_a_first_request_that_nobody_answers_pages_a_person(tmp_path: Path) -> None:
    rig = await born(
        tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(expires=timedelta(minutes=5)))
    )
    await _settled(rig)
    assert (await the_run(rig)).state is RunState.EXPIRED
    (escalated,) = await trail(rig, EventKind.ESCALATED)
    assert "nobody answered about roll-back in time" in escalated.data["reason"]
    assert writes(rig) == []
    await rig.close()


async def test_an_undo_that_failed_can_be_ordered_again(tmp_path: Path) -> None:
    """The target is free in between, and the incident that was fixed says that it is stuck."""
    rig = await born(tmp_path, rules=policy(cooldown=timedelta(0)))
    await _settled(rig)
    run = await the_run(rig)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED)
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    await rig.operations.undo(run.id, "kim")
    await rig.run(120)
    assert ((await the_run(rig)).state, (await the_incident(rig)).state) == (
        RunState.STUCK,
        IncidentState.STUCK,
    )
    assert await rig.store.read(runs.live_targets) == []
    rig.cluster.allow("patch", Kind.DEPLOYMENT)
    await rig.operations.undo(run.id, "kim")
    await rig.run(120)
    assert (await the_run(rig)).state is RunState.UNDONE
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    assert await rig.store.read(runs.live_targets) == []
    await rig.close()


async def test_an_undo_that_met_a_conflict_is_not_undone(tmp_path: Path) -> None:
    """Somebody else's value stands, and the state of the run says so."""
    rig = await born(tmp_path)
    await _settled(rig)
    run = await the_run(rig)
    path = "/spec/template/spec/containers/0/image"
    rig.cluster.edit(
        Kind.DEPLOYMENT, "rag7", "langgraph", [{"op": "replace", "path": path, "value": "r/x:hotfix"}]
    )
    await rig.operations.undo(run.id, "kim")
    await rig.run(60)
    assert (await the_run(rig)).state is RunState.UNDO_CONFLICT
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


class Webhook(SimCluster):
    """Admission denies every change of a Deployment, in the words of the API server."""

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Any, *, dry_run: bool = False) -> Any:
        """Asked as ever, and then denied."""
        await super().patch(kind, namespace, name, patch, dry_run=True)
        said = 'admission webhook "policy.example" denied the request: no'
        answer = Answer(403, {"kind": "Status", "message": said, "reason": "Forbidden", "code": 403})
        raise refusal(Asked("patch", kind.value, f"{namespace}/{name}", mutates=True), answer)


@pytest.mark.parametrize("cluster_type", [SimCluster, Webhook], ids=["a missing right", "admission"])
async def test_a_step_that_the_cluster_refuses_is_tried_once_and_the_next_one_follows(
    tmp_path: Path, cluster_type: type[SimCluster]
) -> None:
    """A lasting refusal (a missing right, admission, quota) is no reason to ask again and again: at most one dry run for each
    step of the ladder, its reservation back, then a person."""
    rig = await born(tmp_path, world=flood(), cluster_type=cluster_type)
    if cluster_type is SimCluster:
        rig.cluster.deny("patch", Kind.DEPLOYMENT)
    dry_runs: list[str] = []
    rig.cluster.on_request(
        lambda request, when: (
            dry_runs.append(when) if request.dry_run and (request.verb, when) == ("patch", "before") else None
        )
    )
    await _settled(rig)
    await rig.run(1_800)
    ran = await all_runs(rig)
    assert [run.state for run in ran] == [RunState.FAILED]
    assert len(dry_runs) <= 2 * len(CATALOGUE["high-latency"].steps)
    assert (
        await rig.store.read(
            lambda conn: work.spent_since(conn, "cluster", rig.clock.now() - timedelta(days=1))
        )
        == 0
    )
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    assert len(rig.notebook.posts) < 20
    await rig.close()
