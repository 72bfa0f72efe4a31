"""The table of what follows from a reason is what the flow does: each reason is written down for an incident of its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import FOLLOWS, Calls, Code, Decision, GateResult, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.deciding.settle import call_when_blind, settle_without
from app.store.tx import Tx
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, the_incident, trail

AT_ONCE = (Calls.A_PERSON, Calls.IN_THE_WAY)
WORDS = {Verdict.DENY: ("refused", "escalated"), Verdict.OBSERVE: ("observed",)}
"""How a decision ends that starts no run."""


def test_the_table_is_complete_and_speaks_of_states_that_there_are() -> None:
    assert list(FOLLOWS) == list(Code)
    states = {state for told, _ in FOLLOWS.values() for state in told}
    assert states <= {state.value for state in IncidentState}
    assert {calls for _, calls in FOLLOWS.values()} == set(Calls)


async def _decided(path: Path, verdict: Verdict, code: Code) -> tuple[Rig, Decision]:
    rig = await born(path, use_api=False)
    await rig.send(body(alert(rig)))
    incident = await the_incident(rig)
    word = Decision(verdict, code, "said", "", "", "", (GateResult("gate", verdict, code, "v", "t"),))
    await rig.store.write(lambda tx: settle_without(tx, incident, word, None))
    return rig, word


CASES = [
    (verdict, code)
    for code, (states, _) in FOLLOWS.items()
    for verdict, words in WORDS.items()
    if set(words) & set(states)
]


@pytest.mark.parametrize(("verdict", "code"), CASES, ids=lambda v: v.value)
async def test_an_incident_ends_and_a_person_is_called_as_the_table_says(
    tmp_path: Path, verdict: Verdict, code: Code
) -> None:
    rig, _ = await _decided(tmp_path, verdict, code)
    states, calls = FOLLOWS[code]
    assert (await the_incident(rig)).state.value in set(WORDS[verdict]) & set(states)
    called = await trail(rig, EventKind.ESCALATED)
    assert len(called) == (verdict is Verdict.DENY and calls in AT_ONCE)
    await rig.close()


LEFT = [c for v, c in CASES if v is Verdict.DENY and FOLLOWS[c][1] is not Calls.A_PERSON]
"""What is decided again; what is a person's already is not."""


@pytest.mark.parametrize("code", LEFT, ids=lambda c: c.value)
async def test_what_lasts_calls_a_person_as_the_table_says(tmp_path: Path, code: Code) -> None:
    rig, word = await _decided(tmp_path, Verdict.DENY, code)
    rig.clock.advance(timedelta(minutes=11).total_seconds())
    incident, before = await the_incident(rig), len(await trail(rig, EventKind.ESCALATED))

    def again(tx: Tx) -> None:
        settle_without(tx, incident, word, None)
        call_when_blind(tx, incident, word, acts=True)

    await rig.store.write(again)
    lasting = FOLLOWS[code][1] is Calls.WHEN_IT_LASTS
    assert len(await trail(rig, EventKind.ESCALATED)) - before == lasting
    await rig.close()
