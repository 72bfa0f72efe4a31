"""Steps: those that a run has stood on, so that it can stand on a former one again when what came after it was only asked about.

Kept in the run's settings, sealed as its present step is. Called by the flow. Never says when a run goes on or back.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from app.domain.plan import Step
from app.store.connection import to_text
from app.store.runs import Run, plan_values
from app.store.schema import runs
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
