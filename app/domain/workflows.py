"""Names of workflows: a run is driven by one workflow of the engine at a time, `run_1~1`, after a loss `run_1~2`, and so on; and of the
journal entry of a run that comes back after its end.

The engine starts an id once, ever; a number makes a new one for the same run. Pure.
"""

from __future__ import annotations

_BETWEEN = "~"
TEMPORARY_ENTRY = "temporary"
"""Journal entry that holds the end of a temporary change and, once it is over, how."""


def first_workflow(run_id: str) -> str:
    """The workflow that a run begins with."""
    return f"{run_id}{_BETWEEN}1"


def next_workflow(workflow: str) -> str:
    """The workflow that takes the place of this one."""
    run_id, _, number = workflow.rpartition(_BETWEEN)
    return f"{run_id}{_BETWEEN}{int(number) + 1}"


def run_of(workflow: str) -> str:
    """The run that a workflow drives."""
    return workflow.rpartition(_BETWEEN)[0] or workflow
