"""Earned trust by real runs: from looking to asking to acting, and back at once after setback."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Code, Mode, Verdict
from app.domain.errors import Missing, Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.deciding.history import as_trust_level
from app.flow.notifying import record
from app.flow.upkeep import views
from app.policy.matchers import parse_when
from app.policy.model import (
    Flapping,
    Otherwise,
    Policy,
    Promotion,
    Proof,
    RuleLimits,
    Start,
    TargetClass,
    Temporary,
    TrustTerms,
)
from app.policy.trust import TrustLevel
from app.store import trust_levels
from app.store.trust_levels import StoredTrustLevel
from tests.crash.worlds import flood
from tests.scenario import scenes
from tests.scenario.rig import Rig

LANGGRAPH = (Kind.DEPLOYMENT, "rag7", "langgraph")
KEY = "HighErrorRate/high-error-rate/rag7/Deployment"
QUICK = TrustTerms(approve=Proof(runs=1, bound=0.2), auto=Proof(runs=2, bound=0.3))
"""1 of 1 fixed proves 0.206, 2 of 2 prove 0.342."""


def earned(terms: TrustTerms = QUICK, **of_rules: Any) -> Policy:
    """The shipped policy in mode earned, with room for many runs in a row."""
    room = {
        "limits": RuleLimits(),
        "cooldown": timedelta(minutes=1),
        "flapping": Flapping(not_fixed=9, fixed=99),
    }
    return scenes.policy({"budgets": ()}, mode=Mode.EARNED, trust=terms, **{**room, **of_rules})


async def stored(rig: Rig) -> StoredTrustLevel:
    return (await rig.store.read(trust_levels.listed))[-1]


async def trust_level(rig: Rig) -> TrustLevel:
    return as_trust_level(await stored(rig))


async def deploy_the_broken_release(rig: Rig) -> int:
    """The pipeline builds it again, as soon as the alert of the last time is gone; how many runs there were before. Each build
    is a revision of its own: a return to an old one is no deployment."""
    await rig.run(240)
    image = {
        "op": "replace",
        "path": "/spec/template/spec/containers/0/image",
        "value": "ghcr.io/stacey77/rag7:v1.5.0",
    }
    before = len(await scenes.all_runs(rig))
    build = {"op": "add", "path": "/spec/template/metadata/annotations", "value": {"build": str(before)}}
    rig.cluster.edit(*LANGGRAPH, [image, build])
    return before


async def newest(rig: Rig, before: int) -> Any:
    """The run that comes after so many."""

    async def there() -> bool:
        return len(await scenes.all_runs(rig)) > before

    await rig.until(there)
    return (await scenes.all_runs(rig))[before]


async def ended(rig: Rig, run_id: str) -> RunState:
    async def over() -> bool:
        return next(r for r in await scenes.all_runs(rig) if r.id == run_id).state.ended

    await rig.until(over)
    return next(r for r in await scenes.all_runs(rig) if r.id == run_id).state


async def order(
    rig: Rig, by: str = "kim", remediation: str = "high-error-rate", target: str = scenes.TARGET
) -> None:
    request = ManualRequest(remediation, target, {}, "the release is broken", by, may_approve=True)
    key = f"{rig.clock.monotonic()}"
    await rig.store.ingest(
        Delivery(Source.MANUAL, rig.clock.now(), by, dedupe_key=key, body_digest=key, manual=request)
    )
    await rig.turn()


async def raised(rig: Rig, times: int) -> None:
    """A person raises the trust level that a first decision began."""
    for _ in range(times):
        await rig.operations.promote((await stored(rig)).key, "seen it work for years", "kim")


async def test_from_looking_to_asking_to_acting_by_verified_runs(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned())
    await rig.run(60)
    assert (await scenes.the_incident(rig)).state is IncidentState.OBSERVED
    assert scenes.closed(await scenes.decision(rig)) == {"trust": Code.NOT_EARNED}
    assert scenes.writes(rig) == []

    await order(rig)  # nothing acts at level observe, so a person makes the beginning
    assert await ended(rig, (await scenes.all_runs(rig))[0].id) is RunState.FIXED
    assert (await trust_level(rig)).level is Mode.APPROVE

    for number in (1, 2):
        run = await newest(rig, await deploy_the_broken_release(rig))
        assert (await scenes.all_runs(rig))[-1].state is RunState.WAITING
        await rig.operations.approve(run.id, "ana")
        assert await ended(rig, run.id) is RunState.FIXED
        now = await trust_level(rig)
        assert (now.level, now.trials) == ((Mode.APPROVE, 1) if number == 1 else (Mode.AUTO, 0))

    run = await newest(rig, await deploy_the_broken_release(rig))
    assert run.mode is Mode.AUTO
    assert await ended(rig, run.id) is RunState.FIXED
    assert (await trust_level(rig)).successes == 1
    await rig.run(10)
    assert f"Promoted: {KEY} from approve to auto" in rig.notebook.text
    assert "2 of 2 fixed since 4 Mar 2026, lower bound 0.34 of 0.30 needed" in rig.notebook.text
    changes = [e.data["change"] for e in await scenes.trail(rig, EventKind.TRUST_CHANGED)]
    assert changes == ["opened", "promoted", "counted", "promoted", "counted"]
    await rig.close()


async def test_what_did_not_fix_it_costs_a_level_once_although_it_was_undone_too(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned(steps=("scale-out",)), world=flood())
    await rig.run(60)
    await raised(rig, 2)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.NOT_FIXED
    assert scenes.writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert await trust_level(rig) == TrustLevel(Mode.APPROVE, rig.clock.now(), why=f"{run.id} did not fix it")
    await rig.run(5)
    assert "Demoted: HighLatency/high-latency/rag7/Deployment from auto to approve" in rig.notebook.text
    await rig.close()


async def test_who_undoes_what_did_not_fix_it_costs_no_second_level(tmp_path: Path) -> None:
    rules = earned(steps=("scale-out",), otherwise=(Otherwise.ESCALATE,))
    rig = await scenes.born(tmp_path, rules=rules, world=flood())
    await rig.run(60)
    await raised(rig, 2)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.NOT_FIXED
    before = await trust_level(rig)
    assert before.level is Mode.APPROVE
    await rig.operations.undo(run.id, "ana")
    assert await trust_level(rig) == before
    await rig.close()


async def test_an_undo_by_a_person_costs_a_level_once(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms()))
    await rig.run(60)
    await raised(rig, 2)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.FIXED
    assert (await trust_level(rig)).successes == 1
    await rig.operations.undo(run.id, "ana")
    await rig.run(60)
    now = await trust_level(rig)
    assert (now.level, now.trials, now.why) == (Mode.APPROVE, 0, f"{run.id} was undone")
    with pytest.raises(Refused):
        await rig.operations.undo(run.id, "ana")
    assert await trust_level(rig) == now
    await rig.close()


async def test_a_rejection_by_a_person_costs_a_level(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms(start=Start.APPROVE)))
    run = await newest(rig, 0)
    assert run.state is RunState.WAITING
    await rig.operations.reject(run.id, "ana")
    assert (await trust_level(rig)).level is Mode.OBSERVE
    await rig.run(60)
    told = await rig.operations.explain(run.id)
    assert [(s["change"], s["level"], s["why"]) for s in told["trust_levels"]] == [
        ("demoted", "observe", f"{run.id} was rejected")
    ]
    await rig.close()


async def test_an_order_counts_for_every_alert_of_its_remediation_and_class_and_so_does_its_undo(
    tmp_path: Path,
) -> None:
    both = parse_when('alertname=~"HighErrorRate|Broken"')
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms(), when=both), use_api=False)
    await rig.send(scenes.body(scenes.alert(rig, alertname="Broken")))
    await rig.send(scenes.body(scenes.alert(rig, alertname="HighErrorRate", namespace="elsewhere")))
    await rig.run(60)
    await order(rig)
    run = (await scenes.all_runs(rig))[0]
    assert await ended(rig, run.id) is RunState.FIXED
    found = {s.key: (s.level, s.successes, s.trials) for s in await rig.store.read(trust_levels.listed)}
    assert found == {
        KEY: (Mode.OBSERVE, 1, 1),
        KEY.replace("HighErrorRate", "Broken", 1): (Mode.OBSERVE, 1, 1),
    }, "what is out of scope has no trust level"
    await raised(rig, 1)
    await rig.operations.undo(run.id, "ana")
    await rig.run(60)
    found = {s.key: (s.level, s.successes, s.trials) for s in await rig.store.read(trust_levels.listed)}
    assert set(found.values()) == {(Mode.OBSERVE, 0, 0)}
    await rig.close()


async def test_a_demotion_in_the_meantime_closes_what_was_approved(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms(start=Start.APPROVE)))
    run = await newest(rig, 0)
    await rig.operations.demote(KEY, "not during the migration", "eve")
    await rig.operations.approve(run.id, "ana")
    assert await ended(rig, run.id) is RunState.ABANDONED
    assert scenes.writes(rig) == []
    await rig.run(60)
    assert (await scenes.decision(rig)).verdict is Verdict.OBSERVE
    await rig.close()


async def test_a_promotion_wakes_what_was_only_observed(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path, rules=earned())
    await rig.run(60)
    assert await scenes.all_runs(rig) == []
    await raised(rig, 1)
    await rig.turn()
    assert (await scenes.the_run(rig)).state is RunState.WAITING
    await rig.close()


async def test_a_promotion_that_is_asked_waits_for_a_person(tmp_path: Path) -> None:
    asked = QUICK.model_copy(update={"promotion": Promotion.ASKED, "start": Start.APPROVE})
    rig = await scenes.born(tmp_path, rules=earned(asked))
    for before in (0, 1):
        run = await newest(rig, before if not before else await deploy_the_broken_release(rig))
        await rig.operations.approve(run.id, "ana")
        assert await ended(rig, run.id) is RunState.FIXED
    now = await trust_level(rig)
    assert (now.level, now.successes, now.waits) == (Mode.APPROVE, 2, True)
    await rig.run(5)
    assert f"Promotion waits: level auto for {KEY}" in rig.notebook.text
    assert f"remediator trust promote {KEY} --reason WHY" in rig.notebook.text
    (row,) = await views.trust(rig.services)
    assert (row["waits"], row["next"]) == (True, "a person confirms level auto")
    await record.set_gauges(rig.services)
    gauge = rig.services.metrics.registry.get_sample_value
    assert gauge("remediator_promotions_waiting") == 1.0
    assert gauge("remediator_trust_levels", {"level": "approve"}) == 1.0
    done = await rig.operations.promote(KEY, "two good nights", "kim")
    assert (done["level"], (await trust_level(rig)).why) == ("auto", "kim: two good nights")
    await rig.close()


async def test_people_are_refused_with_a_reason_and_it_is_audited(tmp_path: Path) -> None:
    rules = earned(
        TrustTerms(start=Start.APPROVE),
        approval=scenes.policy().rules[0].approval.model_copy(update={"by": ("ana", "ben"), "approvals": 2}),
    )
    rig = await scenes.born(tmp_path, rules=rules)
    await newest(rig, 0)
    with pytest.raises(Missing):
        await rig.operations.promote("HighErrorRate/nothing/rag7", "why not", "ana")
    with pytest.raises(Refused) as caught:
        await rig.operations.promote(KEY, "why not", "kim")
    assert caught.value.code == "not_an_approver"
    assert (await rig.operations.promote(KEY, "works", "ana"))["answer"] == "counted"
    with pytest.raises(Refused) as caught:
        await rig.operations.promote(KEY, "works, really", "ana")
    assert caught.value.code == "same_person"
    assert (await rig.operations.promote(KEY, "I agree", "ben"))["level"] == "auto"
    assert (await trust_level(rig)).why == "ana and ben: I agree"
    with pytest.raises(Refused) as caught:
        await rig.operations.promote(KEY, "higher", "ana")
    assert caught.value.code == "at_the_top"
    refused = await scenes.trail(rig, EventKind.APPROVAL_REFUSED)
    assert [(e.actor, e.data["code"]) for e in refused] == [
        ("kim", "not_an_approver"), ("ana", "same_person"), ("ana", "at_the_top")
    ]  # fmt: skip
    await rig.close()


async def test_one_yes_of_two_is_forgotten_after_a_day(tmp_path: Path) -> None:
    two = scenes.policy().rules[0].approval.model_copy(update={"approvals": 2})
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms(), approval=two))
    await rig.run(60)
    await rig.operations.promote(KEY, "works", "ana")
    rig.clock.advance(24 * 3600)
    assert (await rig.operations.promote(KEY, "works", "ben"))["answer"] == "counted"
    assert (await trust_level(rig)).level is Mode.OBSERVE
    await rig.close()


async def test_without_a_rule_in_mode_earned_a_trust_level_still_falls_and_never_rises(
    tmp_path: Path,
) -> None:
    rig = await scenes.born(tmp_path, rules=earned(TrustTerms(start=Start.APPROVE)))
    run = await newest(rig, 0)
    rig.policy = scenes.policy(mode=Mode.APPROVE)
    await rig.operations.reject(run.id, "ana")
    assert (await trust_level(rig)).level is Mode.OBSERVE
    with pytest.raises(Refused) as caught:
        await rig.operations.promote(KEY, "back up", "ana")
    assert caught.value.code == "not_in_use"
    (row,) = await views.trust(rig.services)
    assert (row["in_use"], row["lower_bound"]) == (False, None)
    await rig.close()


@pytest.mark.parametrize(
    ("per", "name"),
    [
        (TargetClass.NAMESPACE, "rag7"),
        (TargetClass.KIND, "rag7/Deployment"),
        (TargetClass.TARGET, "rag7/Deployment/langgraph"),
    ],
)
async def test_a_run_counts_in_the_trust_level_of_its_class_and_a_new_class_begins_anew(
    tmp_path: Path, per: TargetClass, name: str
) -> None:
    terms = TrustTerms(start=Start.APPROVE)
    rig = await scenes.born(tmp_path, rules=earned(terms.model_copy(update={"per": per})))
    run = await newest(rig, 0)
    (row,) = await views.trust(rig.services)
    assert (row["key"], row["class"], row["in_use"]) == (f"HighErrorRate/high-error-rate/{name}", name, True)
    await rig.operations.reject(run.id, "ana")
    assert (await trust_level(rig)).level is Mode.OBSERVE
    other = next(p for p in TargetClass if p is not per)
    rig.policy = earned(terms.model_copy(update={"per": other}))
    (row,) = await views.trust(rig.services)
    assert row["in_use"] is False
    await rig.close()


async def test_the_end_of_a_temporary_change_is_no_setback(tmp_path: Path) -> None:
    lent = earned(TrustTerms(), steps=("scale-out",), temporary=Temporary(revert_after=timedelta(minutes=15)))
    rig = await scenes.born(tmp_path, "high-latency", rules=lent)
    await rig.run(60)
    await raised(rig, 2)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.CONTAINED
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)

    async def taken_back() -> bool:
        return (await scenes.all_runs(rig))[0].state is RunState.REVERTED

    await rig.until(taken_back)
    now = await trust_level(rig)
    assert (now.level, now.successes, now.trials) == (Mode.AUTO, 1, 1)
    await rig.close()


async def test_other_modes_keep_no_trust_level(tmp_path: Path) -> None:
    rig = await scenes.born(tmp_path)
    run = await newest(rig, 0)
    assert await ended(rig, run.id) is RunState.FIXED
    assert await rig.store.read(trust_levels.listed) == []
    assert await scenes.trail(rig, EventKind.TRUST_CHANGED) == []
    await rig.close()


async def test_a_target_that_is_off_limits_opens_no_trust_level(tmp_path: Path) -> None:
    """Nothing will ever be counted in it."""
    rig = await scenes.born(tmp_path, rules=scenes.policy(mode=Mode.EARNED), use_api=False)
    await rig.send(scenes.body(scenes.alert(rig, namespace="kube-system")))
    await rig.run(60, alerts=False)
    assert (await scenes.decision(rig)).verdict.value == "deny"
    assert await rig.store.read(trust_levels.listed) == []
    await rig.send(scenes.body(scenes.alert(rig)))
    await rig.run(30, alerts=False)
    assert len(await rig.store.read(trust_levels.listed)) == 1
    await rig.close()
