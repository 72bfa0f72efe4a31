"""Outcomes: states of incidents and runs, results of steps and verifications.

Owns the closed lists and which state may follow which. Never stores them.
"""

from __future__ import annotations

from enum import StrEnum


class IncidentState(StrEnum):
    """Where an incident stands, in the words of its Slack headline."""

    OPEN = "open"  # stored, no decision yet
    OBSERVED = "observed"  # decided to only look
    REFUSED = "refused"  # a gate said no
    WAITING = "waiting"  # waits for an approval
    ACTING = "acting"
    VERIFYING = "verifying"
    FIXED = "fixed"
    CONTAINED = "contained"  # relief that buys time; a person has an open task
    ESCALATED = "escalated"  # handed to a person
    STUCK = "stuck"  # an undo failed: a person must look
    RESOLVED = "resolved"  # the alert went away, and no run says that it was our doing; of an order: it ended, and nothing stands
    MERGED = "merged"  # the target turned out to be another open incident's

    @property
    def closed(self) -> bool:
        """No more work will be done for it."""
        return self in (
            IncidentState.FIXED,
            IncidentState.CONTAINED,
            IncidentState.RESOLVED,
            IncidentState.MERGED,
        )


class RunState(StrEnum):
    """Where a run stands."""

    REQUESTED = "requested"
    WAITING = "waiting"
    ACTING = "acting"
    VERIFYING = "verifying"
    CHOOSING = "choosing"  # the last step did not fix it; the next one is investigated
    UNDOING = "undoing"
    FIXED = "fixed"
    CONTAINED = "contained"  # the alert is gone by relief that buys time; the cause is still there
    STILL_FIRING = (
        "still_firing"  # what the step was for is gone, and the alert fires on: a person has the alert
    )
    NOT_FIXED = "not_fixed"
    INCONCLUSIVE = "inconclusive"
    PROBE_ERROR = "probe_error"
    TAKEN_OVER = "taken_over"  # somebody else changed the target while it was verified, or before our write: their hand wins
    REJECTED = "rejected"  # a person said no
    EXPIRED = "expired"  # nobody answered in time, or what was approved was not begun in time
    ABANDONED = "abandoned"  # the look before touching, or before going on with a long action, found a reason not to act
    FAILED = "failed"  # an action was refused or failed; nothing of it is in place, or what it says to have done until then
    UNDONE = "undone"  # a person took it back
    UNDO_CONFLICT = "undo_conflict"  # somebody else had changed what the undo would have put back
    REVERTED = "reverted"  # fixed, and its temporary change was taken back at the end of its time
    STUCK = "stuck"

    @property
    def ended(self) -> bool:
        """Final; its reservations are released."""
        return self not in _LIVE


_LIVE = frozenset(
    {
        RunState.REQUESTED,
        RunState.WAITING,
        RunState.ACTING,
        RunState.VERIFYING,
        RunState.CHOOSING,
        RunState.UNDOING,
    }
)


HELPED = frozenset({RunState.FIXED, RunState.CONTAINED})
"""Verified: the rollout is healthy and the alert gone. Only these can have a temporary change."""


class Result(StrEnum):
    """The results of a verification. Never measured is never fixed, and relief that buys time is no fix."""

    FIXED = "fixed"
    CONTAINED = "contained"  # healthy and quiet, by a step that relieves and does not repair
    STILL_FIRING = "still_firing"  # what the step was for is measured to be gone, and the alert fires on
    IN_PART = "helped_in_part"  # some of it is gone or much less, and the alert fires on
    NOT_FIXED = "not_fixed"
    INCONCLUSIVE = "inconclusive"
    PROBE_ERROR = "probe_error"
    TAKEN_OVER = "taken_over"  # what is measured is not ours any more


class ActionResult(StrEnum):
    """What became of one action."""

    APPLIED = "applied"
    REFUSED = "refused"  # the API server said no, or the object changed; nothing was done
    PARTLY = "partly"  # a long action stopped before its end: what it had done stays done
    UNCLEAR = "unclear"  # sent, no answer, and reading back failed too


class UndoResult(StrEnum):
    """What became of one undo."""

    UNDONE = "undone"
    NOTHING = "nothing_to_undo"
    CONFLICT = "conflict"  # somebody else changed what we had changed
    FAILED = "failed"
    NOT_DONE = "not_done"  # announced, and nothing of it was written: it is not wanted any more
