"""A promotion that waits, confirmed by a button: by those who may, once, for the very question that was shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.flow.deciding.history import as_trust_level
from app.notify.buttons import Click
from app.policy.model import Approval, Promotion, Proof, Start, TrustTerms
from app.store import trust_levels
from tests.scenario import scenes
from tests.scenario.slack_rig import ANA, BEN, EVE, SlackRig, slack_rig

KEY = "HighErrorRate/high-error-rate/rag7/Deployment"
ASKED = TrustTerms(start=Start.APPROVE, auto=Proof(runs=1, bound=0.2), promotion=Promotion.ASKED)


async def earned(path: Path, **approval: object) -> SlackRig:
    """One fixed run was enough for level auto, and a person has to confirm it."""
    rules = scenes.policy(mode=Mode.EARNED, trust=ASKED, approval=Approval.model_validate(approval))
    rig = await slack_rig(path, rules=rules)
    run = await rig.asked()
    await rig.operations.approve(run.id, str(approval["by"][0]) if approval else "kim")  # type: ignore[index]

    async def fixed() -> bool:
        return (await scenes.the_run(rig)).state is RunState.FIXED

    await rig.until(fixed)
    await rig.turn()
    return rig


async def level(rig: SlackRig) -> Mode:
    (found,) = await rig.store.read(trust_levels.listed)
    return as_trust_level(found).level


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SlackRig]:
    """A promotion that waits; Ana may operate from Slack."""
    made = await earned(tmp_path)
    yield made
    await made.close()


async def test_the_button_promotes_once_and_goes_away(rig: SlackRig) -> None:
    assert rig.buttons == ["Promote to auto", "Undo", "Explain", "Pause rag7 1h"]
    assert "Level auto waits for a person" in rig.parent.readable()
    request = rig.signed(Click.PROMOTE, ANA)
    assert await rig.click(Click.PROMOTE) == ""
    assert await level(rig) is Mode.AUTO
    assert rig.buttons == ["Undo", "Explain", "Pause rag7 1h"]
    by = "slack\N{RATIO}U0ANA"  # between two colons Slack would look for an emoji
    assert f"Promoted from approve to auto: {KEY}: {by}: confirmed in Slack" in rig.parent.readable()
    for _ in range(2):  # an older copy of the message, and the same click delivered again
        await rig.deliver_click(request)
    assert "no longer waits" in rig.whispers.to(ANA)
    assert (rig.counted("promote", "refused"), rig.counted("unknown", "replayed")) == (1, 1)
    changes = await scenes.trail(rig, EventKind.TRUST_CHANGED)
    assert [(e.actor, e.data["change"]) for e in changes] == [
        ("service", "opened"), ("service", "asked"), ("slack:U0ANA", "promoted")
    ]  # fmt: skip


async def test_who_may_not_is_told_and_it_is_audited(rig: SlackRig) -> None:
    assert "not among REMEDIATOR_SLACK_OPERATORS" in await rig.click(Click.PROMOTE, BEN)
    assert await level(rig) is Mode.APPROVE
    refused = await scenes.trail(rig, EventKind.APPROVAL_REFUSED)
    assert [(e.actor, e.data["trust_level"]) for e in refused] == [("slack:U0BEN", KEY)]


async def test_two_people_promote_where_two_have_to_approve(tmp_path: Path) -> None:
    by = ("kim", f"slack:{ANA}", f"slack:{EVE}")
    rig = await earned(tmp_path, by=by)
    rules = [r.model_copy(update={"approval": Approval(by=by, approvals=2)}) for r in rig.policy.rules]
    rig.policy = rig.policy.model_copy(update={"rules": tuple(rules)})
    assert "not among those who may answer" in await rig.click(Click.PROMOTE, BEN)
    assert "1 of 2 agreed to level auto" in await rig.click(Click.PROMOTE, ANA)
    assert "Promote to auto" in rig.buttons
    assert "agreed already" in await rig.click(Click.PROMOTE, ANA)
    assert await rig.click(Click.PROMOTE, EVE) == ""
    assert await level(rig) is Mode.AUTO
    await rig.close()


async def test_a_button_of_a_question_that_was_withdrawn_does_nothing(rig: SlackRig) -> None:
    old = rig.signed(Click.PROMOTE, ANA)
    await rig.operations.demote(KEY, "look at it again", "kim")
    await rig.turn()
    assert "Promote to auto" not in rig.buttons
    await rig.deliver_click(old)
    assert await level(rig) is Mode.OBSERVE
    assert "no longer waits" in rig.whispers.to(ANA)
