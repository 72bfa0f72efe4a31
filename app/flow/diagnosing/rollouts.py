"""The rollouts of one workload: which template was the present one from when to when, what it changed, and how good it is known to be.

Called by `look`. Told from the revisions that the cluster keeps and this service's own alerts, as a rollback is; concludes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.domain.errors import RemediatorError
from app.domain.remediation import History, PastAlert, Scene
from app.flow.diagnosing.section import LIMIT, said
from app.kube.known_good import NO_PODS, Records, pods_by_template
from app.kube.lineage import Life
from app.kube.read import read_pods, revisions
from app.store import facts
from remediations.evidence.rollouts import RollbackParams, records_of, what_changed

SPAN = timedelta(days=30)
_MAX_REVISIONS = 20


@dataclass(frozen=True, slots=True)
class Rollout:
    """One span of a template, its restarts included. `since` and `until` are None where nobody knows, `until` also for the present one;
    `change` is what it brought, `cause` what its deployer said of it; `word` and `why` are what is known of how good it is."""

    number: int
    since: datetime | None
    until: datetime | None
    present: bool
    change: str
    cause: str
    word: str
    why: str


def past_of(conn: Connection, target_key: str, now: datetime) -> History:
    """What this service knows of the workload's past: its alerts, and when one would have been heard."""
    rows = facts.alerts_on(conn, target_key, now - SPAN)
    return History(alerts=tuple(PastAlert(*row) for row in rows), watched=facts.watched(conn))


async def read(scene: Scene) -> tuple[tuple[Rollout, ...], str]:
    """The newest first, and why there are none where they could not be read; the scene has the past. Raises nothing of ours."""
    made = NO_PODS
    try:
        async with asyncio.timeout(LIMIT):
            found = await revisions(scene.cluster, scene.workload)
            with suppress(RemediatorError):  # they tell more, and without them the time in place is told
                pods = await read_pods(scene.cluster, scene.workload)
                made = pods_by_template(scene.workload, found, pods, scene.now)
    except RemediatorError as error:
        return (), said(error.message)
    except TimeoutError:
        return (), f"it took longer than {LIMIT:g} s"
    records = records_of(found, scene, RollbackParams().known_good, made)
    spans = records.lives
    since = scene.now - SPAN
    told = [
        _rollout(life, spans[n - 1] if n else None, records, is_last=n + 1 == len(spans))
        for n, life in enumerate(spans)
        if life.end is None or life.end >= since
    ]
    return tuple(reversed(told))[:_MAX_REVISIONS], ""


def _rollout(life: Life, before: Life | None, records: Records, *, is_last: bool) -> Rollout:
    revision, standing = life.revision, records.of(life)
    return Rollout(
        revision.number,
        life.start,
        life.end,
        revision.current and is_last,
        said(what_changed(before.revision if before else None, revision)),
        said(revision.change_cause),
        "present" if revision.current and is_last else standing.word.value,
        said("" if revision.current and is_last else standing.why),
    )
