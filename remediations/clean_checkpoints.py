"""Clean old checkpoints: removes what LangGraph keeps of its threads beyond the newest, once it is older than some days.

Implements that part of the runbook's section Database Maintenance. The runbook's statement asks for a column `created_at` that the
tables do not have; the age comes from the checkpoint's id and `ts` (`app.domain.checkpoints`, which also says what is always kept).
Called by the flow. The rows are counted first. What is removed cannot be brought back: a backup comes before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import Field

from app.database.cleaning import Cleaning, page_from_json, page_to_json, what
from app.domain.checkpoints import UNKNOWN_SCHEMA, Survey
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Remediation, Scene
from remediations.database_params import WHERE, DatabaseParams
from remediations.evidence.pods import pods_state
from remediations.evidence.usage import count, memory, span
from remediations.shared import act, nothing, refuse

REMOVE = "remove-old-checkpoints"
OLD = "checkpoints.old"
"""The finding; its data: `code`, empty or why nobody could count, and then `before`, `now`, `about`, what was `counted`, and `clocks`:
that those of server and service differ, or empty."""
_APART = timedelta(minutes=5)
"""By so much two clocks may differ without a word."""
_DENIED = "denied"
_GRANT = "grant the login SELECT and DELETE on checkpoints, checkpoint_blobs and checkpoint_writes"


class CleanCheckpointsParams(DatabaseParams):
    """`days`: a checkpoint is old when it is older than so many; the runbook's 30. Only the rule sets it: fewer days are more rows."""

    days: int = Field(
        default=30, ge=1, le=36_500, description="Age in days from which on a checkpoint may go."
    )


class CleanCheckpoints(Remediation[CleanCheckpointsParams]):
    """The handler."""

    name = "clean-checkpoints"
    runbook = "Database Maintenance"
    steps: tuple[str, ...] = (REMOVE,)
    params: type[CleanCheckpointsParams] = CleanCheckpointsParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.CLEAN_CHECKPOINTS})
    secret_params: tuple[str, ...] = ("secret",)
    fixed_params: frozenset[str] = WHERE | {"days"}
    procedure = Procedure(
        Consent.APPROVAL,
        settle=timedelta(seconds=30),
        timeout=timedelta(minutes=10),
        poll=timedelta(seconds=30),
    )

    async def diagnose(self, scene: Scene, params: CleanCheckpointsParams) -> Diagnosis:
        """Rows and bytes of each table that would go, and why others stay; the server's pods."""
        old, pods = await asyncio.gather(
            _count(scene, params), pods_state(scene.cluster, scene.workload, scene.fired_at)
        )
        return Diagnosis(old.text, (old, pods))

    async def ladder(
        self, scene: Scene, params: CleanCheckpointsParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """Remove them, or say why not."""
        found = diagnosis.finding(OLD)
        if found is None:
            return (refuse(REMOVE, "nothing was counted"),)
        if code := found.data["code"]:
            return (refuse(REMOVE, found.text, _GRANT if code == _DENIED else ""),)
        counted = page_from_json(found.data["counted"])
        if not counted.tally.checkpoints.rows:
            return (nothing(REMOVE, found.text),)
        at = params.address(scene.workload.target.namespace)
        before = datetime.fromisoformat(str(found.data["before"]))
        summary = f"Remove checkpoints from before {before:%d %b %Y %H:%M} UTC at {at}, all but the newest of each thread"
        planned = datetime.fromisoformat(str(found.data["now"]))
        action = Cleaning(at, before, counted, planned).action(
            scene.workload.ref, scene.workload.target, summary
        )
        why = f"{found.text}; it cannot be brought back, so take a backup first"
        step = act(REMOVE, why, action)
        asks = ["only a part of the checkpoints could be counted in time"] if counted.last else []
        asks += [str(found.data["clocks"])] if found.data["clocks"] else []
        return (replace(step, asks="; ".join(asks)),)


async def _count(scene: Scene, params: CleanCheckpointsParams) -> Finding:
    """What is old, or why nobody could count."""
    at = params.address(scene.workload.target.namespace)
    if scene.databases is None:
        return _unknown(f"{at} was not looked at: no database can be asked", "no_login")
    source = scene.databases.checkpoints
    try:
        if denied := await source.denied(scene.cluster, at):
            text = f"{at}: the login may not read and delete from {', '.join(denied)}"
            return Finding(OLD, text, data={"code": _DENIED})
        return _old(at, params.days, await source.survey(scene.cluster, at, params.days))
    except ProbeUnavailable as error:
        if error.code == UNKNOWN_SCHEMA:
            return Finding(OLD, str(error), data={"code": error.code})
        return _unknown(f"{at} could not be looked at, which says nothing of it: {error.message}", error.code)


def _unknown(text: str, code: str) -> Finding:
    return Finding(OLD, text, Certainty.UNKNOWN, {"code": code})


def _old(at: DatabaseAddress, days: int, seen: Survey) -> Finding:
    counted, tally = seen.counted, seen.counted.tally
    all_of_them = counted.last is None
    looked = count(counted.looked, "checkpoint")
    of = f"of {looked}" if all_of_them else f"of the first {looked} (about {seen.about:,} in all)"
    text = f"{at}: {of} {tally.checkpoints.rows:,} are older than {count(days, 'day')} and not the newest of their thread"
    if tally.checkpoints.rows:
        text += f"; with {count(tally.blobs.rows, 'blob')} and {count(tally.writes.rows, 'write')} they hold {memory(tally.bytes)}"
    clocks = _clocks(seen)
    text += f"; {clocks}" if clocks else ""
    details = [f"{what(tally)} would go", f"the tables are those of LangGraph's migration {seen.version}"]
    if counted.delta:
        details.append(
            f"{count(counted.delta, 'old checkpoint')} stay: their threads use DeltaChannel, whose values are made from all of them"
        )
    if counted.odd:
        details.append(
            f"{count(counted.odd, 'checkpoint')} stay, not judged: the id is no UUID of version 6 or `ts` no time in UTC"
        )
    details += [f"{name} takes up {memory(size)} on disk" for name, size in sorted(seen.sizes.items())]
    data: dict[str, JsonValue] = {
        "code": "",
        "before": seen.before.isoformat(),
        "now": seen.now.isoformat(),
        "clocks": clocks,
        "about": seen.about,
        "counted": page_to_json(counted),
    }
    return Finding(OLD, text, data=data, details=tuple(details))


def _clocks(seen: Survey) -> str:
    """That the two clocks by which the age is judged differ; empty where they hardly do."""
    if abs(seen.ahead) <= _APART:
        return ""
    which = "ahead of" if seen.ahead > timedelta(0) else "behind"
    return f"the server's clock is {span(abs(seen.ahead).total_seconds())} {which} this service's, and the earlier of both was taken: set the wrong one"
