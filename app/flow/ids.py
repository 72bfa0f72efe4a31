"""Names of topics and journal entries in the flow: one place, because rows and workflows outlive a version."""

from __future__ import annotations

WAKE = "wake"
"""Topic on which the workflow of a run is woken: something that the run waits for has happened."""

COUNTED_ENTRY = "counted"
"""Journal entry that says that a run's result was counted in the trust levels."""

COUNTED_AGAINST_ENTRY = "counted against"
"""The same for a setback: a run that was fixed may still be undone by a person, and counts against once."""

TEMPORARY_ENTRY = "temporary"
"""Journal entry that holds the end of a temporary change and, once it is over, how."""


def action_id(run_id: str, step_index: int, action_index: int) -> str:
    """Identity of one planned mutation; stands in the marker annotation of the object."""
    return f"{run_id}/{step_index}.{action_index}"
