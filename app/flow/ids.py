"""Names of topics and journal entries in the flow: one place, because rows and workflows outlive a version."""

from __future__ import annotations

from app.domain.workflows import TEMPORARY_ENTRY

__all__ = [
    "ASKS_BUT",
    "COUNTED_AGAINST_ENTRY",
    "COUNTED_ENTRY",
    "KEEP_ENTRY",
    "OVER_BUT",
    "TEMPORARY_ENTRY",
    "WAKE",
    "action_id",
]

WAKE = "wake"
"""Topic on which the workflow of a run is woken: something that the run waits for has happened."""

COUNTED_ENTRY = "counted"
"""Journal entry that says that a run's result was counted in the trust levels."""

COUNTED_AGAINST_ENTRY = "counted against"
"""The same for a setback: a run that was fixed may still be undone by a person, and counts against once."""

KEEP_ENTRY = "temporary/keep"
"""Journal entry of who wanted a temporary change kept whose end had begun, and what became of that."""

OVER_BUT = "its temporary change is over, but"
"""How a row begins what the end of a temporary change waits for when something holds it."""


ASKS_BUT = "an answer, under which nothing is done as long as this lasts:"
"""What a question waits for that a pause, a ceiling or a freeze came over; followed by what that is."""


def action_id(run_id: str, step_index: int, action_index: int) -> str:
    """Identity of one planned mutation; stands in the marker annotation of the object."""
    return f"{run_id}/{step_index}.{action_index}"
