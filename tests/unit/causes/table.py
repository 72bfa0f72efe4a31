"""One row of the tables of causes: what happened, the cause with its object, and the one step that may be taken, if any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from remediations.causes import CauseCode
from remediations.causes.report import FirstCause
from tests.unit.causes.world import World


@dataclass(frozen=True, slots=True)
class Row:
    """`step` is the only step that applies, empty for none; `words` all stand in the cause or in what is said of it. `asks`: words
    of what a person is asked before that step; a step without them is taken by itself."""

    name: str
    happens: Callable[[], World]
    code: CauseCode
    object: str
    step: str = ""
    words: tuple[str, ...] = ()
    asks: str = ""


async def holds(row: Row) -> None:
    """The handler of pods names this cause and does nothing but what the row says."""
    diagnosis, steps = await row.happens().look()
    cause, finding = FirstCause(diagnosis), diagnosis.finding("cause.first")
    assert finding is not None
    assert (cause.code, finding.data["object"]) == (row.code, row.object), (finding.text, finding.details)
    assert [name for name, step in steps.items() if step.applies] == [row.step] * bool(row.step), [
        (s.name, s.why) for s in steps.values()
    ]
    if row.step:
        asked = steps[row.step].asks
        assert row.asks in asked if row.asks else not asked, asked
    said = "\n".join(
        [finding.text, cause.advice, cause.rollout_why, *finding.details, steps["roll-back"].why]
    )
    assert [w for w in row.words if w not in said] == [], said
