"""Names of steps, topics and ids in the flow: one place, because a replay after an upgrade depends on them.

Raise `app.engine.durable.APPLICATION_VERSION` when the order of steps in a story changes.
"""

from __future__ import annotations

ANSWER = "answer"
"""Topic on which a waiting run is woken: an answer came, or its alert is gone."""

UNDO_PREFIX = "undo_"
LEASE_PREFIX = "lease_"
KEEP = "keep"
"""Topic on which the story of a lease is woken: somebody keeps the change."""

COUNTED_STEP = "counted"
"""Name of the step record that says that a run's result was counted in the trust levels."""

COUNTED_AGAINST_STEP = "counted against"
"""The same for setback: a run that was fixed may still be undone by a person, and counts against once."""

LEASE_STEP = "lease"
"""Name of the step record that holds a lease's end and, once it has ended, how."""


def action_id(run_id: str, step_index: int, action_index: int) -> str:
    """Identity of one planned mutation; stands in the marker annotation of the object."""
    return f"{run_id}/{step_index}.{action_index}"


def undo_story(run_id: str) -> str:
    """Engine id of the story that undoes a finished run."""
    return UNDO_PREFIX + run_id
