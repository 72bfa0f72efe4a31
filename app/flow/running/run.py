"""Run: the durable story of one remediation, told from step results only.

Owns the order: approval, actions of a step, verification, then what the rule says otherwise (undo, next step, escalate).
Everything here is deterministic given the results of its steps; everything that touches the world is inside a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.domain.outcome import RunState
from app.domain.verification import Measurement, judge
from app.engine.context import RunContext, Workflow
from app.flow.ids import ANSWER, LEASE_PREFIX, UNDO_PREFIX
from app.flow.people import approve
from app.flow.running import act, ending, next_step, temporary, undo, verify
from app.flow.running.retry import numbered, until_final
from app.flow.services import Services
from app.policy.model import Otherwise

log = structlog.get_logger(__name__)

MAX_TRIES = 8
"""Attempts of one action that the API server did not take (throttled, unreachable), or of one look at what comes next,
before the run gives up."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run was decided under, as its first step read it: fixed for the whole run, also across a policy reload."""

    waits: bool
    actions: int
    settle: timedelta
    timeout: timedelta
    poll: float
    otherwise: tuple[Otherwise, ...]


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step ended: a result, or the state of a run that never got to a result. `applied` actions are in place."""

    state: RunState
    text: str
    applied: int = 0


def workflow_of(services: Services) -> Workflow:
    """The story that the engine runs, for remediations and for undoing them later."""

    async def workflow(ctx: RunContext, run_id: str) -> None:
        with structlog.contextvars.bound_contextvars(run=run_id):
            try:
                if run_id.startswith(LEASE_PREFIX):
                    await temporary.tell(ctx, services, run_id.removeprefix(LEASE_PREFIX))
                elif run_id.startswith(UNDO_PREFIX):
                    await undo.tell(ctx, services, run_id.removeprefix(UNDO_PREFIX))
                else:
                    await _remediate(ctx, services, run_id)
            except Exception as error:
                log.exception("run_broke", run=run_id)
                text = f"the run broke: {type(error).__name__}"
                await ctx.step("broken", lambda: ending.stuck(services, _plain(run_id), text))

    return workflow


def _plain(workflow_id: str) -> str:
    return workflow_id.removeprefix(UNDO_PREFIX).removeprefix(LEASE_PREFIX)


async def _remediate(ctx: RunContext, services: Services, run_id: str) -> None:
    opened = await ctx.step("open", lambda: verify.open_run(services, run_id))
    if opened["ended"]:
        return
    terms = _terms(opened)
    index, waits, actions = 0, terms.waits, terms.actions
    while True:
        if waits and not await _approved(ctx, services, run_id, index):
            return
        end = await _take_step(ctx, services, run_id, index, actions, terms)
        if end.state is RunState.FIXED:
            return
        following = await _otherwise(ctx, services, run_id, index, end, terms)
        if following is None:
            return
        index, actions, waits = following["index"], following["actions"], following["word"] == next_step.ASK


def _terms(opened: dict[str, Any]) -> Terms:
    return Terms(
        waits=opened["waits"],
        actions=opened["actions"],
        settle=timedelta(seconds=opened["settle"]),
        timeout=timedelta(seconds=opened["timeout"]),
        poll=opened["poll"],
        otherwise=tuple(Otherwise(word) for word in opened["otherwise"]),
    )


async def _approved(ctx: RunContext, services: Services, run_id: str, index: int) -> bool:
    """Wait for a person; True when the plan as it stands was approved. Otherwise the run has been ended."""
    number = 0
    while True:
        answer = await ctx.step(f"answer:{index}:{number}", lambda: approve.look_for_answer(services, run_id))
        if answer["word"] != approve.WAITING:
            return bool(answer["word"] == approve.APPROVED)
        await ctx.wait_for(ANSWER, answer["seconds"])
        number += 1


async def _take_step(
    ctx: RunContext, services: Services, run_id: str, index: int, actions: int, terms: Terms
) -> StepEnd:
    """Carry out the step's actions and verify them."""
    began = None
    for number in range(actions):
        done = await _act(ctx, services, run_id, index, number)
        if done["word"] != act.APPLIED:
            return StepEnd(_STATES[done["word"]], done["text"], applied=number)
        began = datetime.fromisoformat(done["at"])
    if began is None:
        return StepEnd(RunState.ABANDONED, "the step has nothing to do")
    state, text = await _verify(ctx, services, run_id, index, began, terms)
    return StepEnd(state, text, applied=actions)


_STATES = {
    act.ABANDONED: RunState.ABANDONED,
    act.REFUSED: RunState.FAILED,
    act.LATER: RunState.FAILED,
    act.UNCLEAR: RunState.STUCK,
}


async def _act(ctx: RunContext, services: Services, run_id: str, index: int, number: int) -> dict[str, Any]:
    name = numbered(f"act:{index}.{number}")
    return await until_final(ctx, MAX_TRIES, name, lambda _last: act.act(services, run_id, number))


async def _verify(
    ctx: RunContext, services: Services, run_id: str, index: int, began: datetime, terms: Terms
) -> tuple[RunState, str]:
    measured: list[Measurement] = []
    while True:
        before = measured[-1].to_json() if measured else None
        name = f"measure:{index}:{len(measured)}"
        seen = await ctx.step(name, lambda: verify.measure(services, run_id, began, before))  # noqa: B023 - awaited here
        measured.append(Measurement.from_json(seen))
        verdict = judge(measured, began, terms.settle, terms.timeout)
        if verdict is not None:
            break
        await ctx.sleep(terms.poll)
    await ctx.step(f"verified:{index}", lambda: verify.conclude(services, run_id, verdict, measured, began))
    return RunState(verdict[0].value), verdict[1]


async def _otherwise(
    ctx: RunContext, services: Services, run_id: str, index: int, end: StepEnd, terms: Terms
) -> dict[str, Any] | None:
    """What the rule says when a step did not fix it; the next step when it may be taken, None when the run has ended."""
    undone = True
    for word in _words(end, terms.otherwise):
        if word is Otherwise.UNDO and end.applied:
            undone = await undo.undo_run(ctx, services, run_id, index)
            if not undone:
                break
        elif word is Otherwise.NEXT:
            step = await _climb(ctx, services, run_id, index)
            if step["word"] in (next_step.NEXT, next_step.ASK):
                return step
        elif word is Otherwise.ESCALATE:
            break
    state = end.state if undone else RunState.STUCK
    await ctx.step("end", lambda: ending.end(services, run_id, state, end.text))
    return None


async def _climb(ctx: RunContext, services: Services, run_id: str, index: int) -> dict[str, Any]:
    return await until_final(
        ctx,
        MAX_TRIES,
        numbered(f"climb:{index}"),
        lambda last: next_step.climb(services, run_id, index, last=last),
    )


def _words(end: StepEnd, otherwise: Sequence[Otherwise]) -> Sequence[Otherwise]:
    """What was left half done is undone in any case; what is not known to have failed is neither undone nor climbed from."""
    match end.state:
        case RunState.NOT_FIXED:
            return otherwise
        case RunState.FAILED | RunState.ABANDONED if end.applied:
            return (Otherwise.UNDO, Otherwise.ESCALATE)
        case RunState.FAILED:
            return tuple(w for w in otherwise if w is not Otherwise.UNDO)
        case _:
            return (Otherwise.ESCALATE,)
