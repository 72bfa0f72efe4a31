"""Steps: those that a run has stood on, so that it can stand on a former one again when what came after it was only asked about.

Kept in the run's settings, sealed as its present step is. And what other runs have written beside a plan that waits. Called by the flow. Never
says when a run goes on or back.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, Text, bindparam, or_, select, update

from app.domain.plan import Action, Step, touched
from app.store.connection import micros, to_json, to_text
from app.store.runs import Run, plan_values
from app.store.schema import run_journal, runs
from app.store.tx import Tx


def stood_on(run: Run) -> dict[str, Any]:
    """What the settings of a run keep of its present and former steps when it goes on with another one."""
    now = {"step": run.step.to_json(), "answer": run.answer, "answered_by": run.answered_by}
    return {"steps": {**run.settings.get("steps", {}), str(run.step_index): now}}


def next_index(run: Run) -> int:
    """The index of the step after all those that the run has stood on."""
    return max([run.step_index, *map(int, run.settings.get("steps", {}))]) + 1


def go_back(tx: Tx, run: Run, index: int) -> None:
    """The run stands again on a former step, which was carried out: what came after it was only asked about."""
    former = run.settings.get("steps", {}).get(str(index))
    if former is None or index == run.step_index:
        return  # stored before steps were kept, or it never left it
    settings = to_text({**run.settings, **stood_on(run)})
    plan = plan_values(Step.from_json(former["step"]), index)
    values = {**plan, "settings": settings, "updated_at": tx.stamp}
    said = {"answer": former["answer"], "answered_by": former["answered_by"], "expires_at": None}
    tx.conn.execute(update(runs).where(runs.c.id == run.id).values(**values, **said))


_SINCE = bindparam("since", type_=BigInteger())
_BESIDE = (
    select(runs.c.target_key, run_journal.c.run_id, run_journal.c.intent, run_journal.c.outcome)
    .select_from(runs.join(run_journal, run_journal.c.run_id == runs.c.id))
    .where(runs.c.id != bindparam("own", type_=Text()), runs.c.dry_run.is_(False))
    .where(or_(runs.c.ended_at.is_(None), runs.c.ended_at >= _SINCE), run_journal.c.ended_at >= _SINCE)
    .order_by(run_journal.c.ended_at.desc(), run_journal.c.run_id, run_journal.c.name)
)
_WROTE = {"action": ("applied", "partly", "unclear"), "undo": ("undone", "failed")}
"""Results of what was written, or may have been."""


def written_beside(conn: Connection, run: Run) -> str:
    """Id of another run that has written to this one's target since it was requested, or may have, whatever its own target is; empty for none."""
    for row in conn.execute(_BESIDE, {"own": run.id, "since": micros(run.requested_at)}):
        intent, outcome = to_json(row.intent), to_json(row.outcome or "{}")
        if outcome.get("result") not in _WROTE.get(str(intent.get("entry")), ()):
            continue
        changed = touched([Action.from_json(intent["action"])]) if "action" in intent else ()
        if run.target_key in (row.target_key, *(one.key for one in changed)):
            return str(row.run_id)
    return ""
