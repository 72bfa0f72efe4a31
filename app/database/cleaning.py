"""The actuator that removes old checkpoints of LangGraph, a page at a time, with a pause between two pages.

Called by the flow through `app.domain.actuator`. Some pages are one call: then it gives its progress, so that holds and gates are
asked again before it goes on. To go through the pages again removes no more than once, so that a death at any point costs
nothing but looking. Nothing is undone: what is removed is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Partly, Permission, Progress
from app.domain.checkpoints import UNKNOWN_SCHEMA, Amount, Key, Page, Survey, Tally
from app.domain.database import DatabaseAddress
from app.domain.errors import Held, ProbeUnavailable
from app.domain.inside import NothingToUndo, another_workload, inside
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.domain.units import counted, say_memory

PAGES: Final = 4
"""Pages of one call, which has to fit into one look at a run even when the server is slow."""
PAUSE: Final = 0.2
"""Seconds between two pages, for those who wait for the same rows and the same disk."""
_AFTER_A_FAULT: Final = 5.0
UNDO: Final = "nothing to undo: what is removed can only be restored from a backup"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What an action of this kind says: checkpoints of a time before `before` go. `expected` is what was counted when it was
    planned; it is no part of what an approval is for, as the tables move on. `planned` is when: what is the newest of its thread no more
    since then was not to go. Actions of older versions do not tell it."""

    at: DatabaseAddress
    before: datetime
    expected: Page
    planned: datetime | None = None

    @classmethod
    def of(cls, action: Action) -> Cleaning:
        """Of the action's part and params."""
        part: Any = action.part
        before = datetime.fromisoformat(part["before"])
        planned = action.params.get("planned")
        return cls(
            DatabaseAddress.from_json(part["database"]),
            before,
            page_from_json(action.params["expected"]),
            datetime.fromisoformat(str(planned)) if planned else None,
        )

    def action(self, ref: ObjectRef, target: Target, summary: str) -> Action:
        """The action, which touches no pod."""
        return inside(
            ActionKind.CLEAN_CHECKPOINTS,
            (ref, target),
            (summary, UNDO),
            params={
                "database": str(self.at),
                "expected": page_to_json(self.expected),
                "planned": self.planned.isoformat() if self.planned else None,
            },
            part={"database": self.at.to_json(), "before": self.before.isoformat()},
        )


@dataclass(frozen=True, slots=True)
class CheckpointActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.CLEAN_CHECKPOINTS})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Nothing of the cluster is written. The one Secret that is read is named by the rule (`Remediation.secrets`)."""
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same, and the tables are as they are known."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        try:
            denied = await clients.databases.checkpoints.denied(clients.cluster, Cleaning.of(action).at)
        except ProbeUnavailable as error:
            if error.code != UNKNOWN_SCHEMA:
                raise
            return CheckResult(None, str(error), error.code)
        return CheckResult(action.object, "LangGraph's tables, as they are known", seen=denied)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:  # noqa: ARG002
        """Empty always: to go through the tables again does no harm, and finds what is left."""
        return ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """Whether the login has the right to remove them, from the look of the check."""
        return f"the login may not read and delete from {', '.join(found.seen)}" if found.seen else ""

    async def apply(
        self,
        means: Means,
        action: Action,
        action_id: str,  # noqa: ARG002
        found: CheckResult,  # noqa: ARG002
    ) -> Applied | Progress:
        """Some pages from where the last call ended."""
        job, clients = Cleaning.of(action), means.clients
        done = page_from_json(means.so_far) if means.so_far else Page(Tally(), 0, Key())
        for number in range(PAGES):
            if number:
                await means.sleep(PAUSE)
            try:
                done += await clients.databases.checkpoints.remove(
                    clients.cluster, job.at, job.before, done.last or Key(), means.ask
                )
            except (ProbeUnavailable, Held) as error:
                if not number:
                    raise
                # What this call has removed is told first; what stopped it is met again at the next one.
                return Progress(f"{_told(job, done)}; {error.message}", page_to_json(done), _AFTER_A_FAULT)
            if done.last is None:
                return Applied(ActionResult.APPLIED, f"{action.summary}: {_sum(done)}")
        return Progress(_told(job, done), page_to_json(done), PAUSE)

    async def partly(
        self,
        clients: Clients,  # noqa: ARG002 - the port's
        action: Action,
        action_id: str,  # noqa: ARG002
        state: Mapping[str, JsonValue],
    ) -> Partly | None:
        """What the pages removed, by the last progress; of what was to go the rest is left."""
        job, done = Cleaning.of(action), page_from_json(state) if state else None
        if done is None or not any(one.rows for one in done.tally.parts):
            return None
        left = job.expected.tally.checkpoints.rows - done.tally.checkpoints.rows
        known = job.expected.last is None and left > 0
        return Partly(f"{what(done.tally)} removed", f"about {counted(left, 'checkpoint')}" if known else "")

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """Counted again: none of what was to go is there. Who uses an old thread meanwhile makes its last checkpoint one that may go: that is
        left to the next order, and none of this one's."""
        job = Cleaning.of(action)
        try:
            seen = await clients.databases.checkpoints.survey(
                clients.cluster, job.at, job.before, job.planned
            )
        except ProbeUnavailable as error:
            return Effect(None, f"{job.at}: {error.message}")
        left = seen.counted.tally.checkpoints.rows
        if left:
            return Effect(
                False, f"{counted(left, 'checkpoint')} older than {job.before:%d %b %Y} still there"
            )
        return Effect(
            True, f"none of {counted(seen.counted.looked, 'checkpoint')} {_looked_at(seen)} was to go"
        )


def _looked_at(seen: Survey) -> str:
    return "looked at" if seen.counted.last is None else f"looked at, of about {seen.about:,},"


def what(tally: Tally) -> str:
    """Rows and bytes of each table in words."""
    parts = zip(("checkpoint", "blob", "write"), tally.parts, strict=True)
    return ", ".join(f"{counted(one.rows, noun)} ({say_memory(one.bytes)})" for noun, one in parts)


def _sum(done: Page) -> str:
    if not done.tally.checkpoints.rows:
        return f"{counted(done.looked, 'checkpoint')} looked at, none of them is to go any more"
    return f"{what(done.tally)} removed"


def _told(job: Cleaning, done: Page) -> str:
    """How far it is, by the number that was counted before; without one only what was done."""
    text = f"{counted(done.looked, 'checkpoint')} looked at, {what(done.tally)} removed"
    about, all_counted = job.expected.looked, job.expected.last is None
    share = f", about {min(99, 100 * done.looked // about)} %" if about and all_counted else ""
    return f"{text}{share}"


def page_to_json(page: Page) -> dict[str, JsonValue]:
    """For records, findings and the state of a progress."""
    rows: list[JsonValue] = [[one.rows, one.bytes] for one in page.tally.parts]
    last: list[JsonValue] | None = None if page.last is None else list(page.last)
    return {"tally": rows, "looked": page.looked, "last": last, "delta": page.delta, "odd": page.odd}


def page_from_json(data: Any) -> Page:
    """Rebuild from `page_to_json`."""
    tally = Tally(*(Amount(*one) for one in data["tally"]))
    last = None if data["last"] is None else Key(*data["last"])
    return Page(tally, data["looked"], last, data["delta"], data["odd"])
