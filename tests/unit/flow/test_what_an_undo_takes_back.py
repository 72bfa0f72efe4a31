"""What is taken back without a person's word: every outcome of up to three steps, by the real judgement, against what is promised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from app.domain.evidence import LookedAgain
from app.domain.outcome import Result
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.domain.verification import (
    AlertCondition,
    Measurement,
    Watch,
    Worth,
    judge,
    may_have_helped,
    weigh,
    worth,
)
from app.domain.workload import RolloutState
from app.flow.verifying.standing import by_itself
from app.store.runs import JournalEntry

WEB = ObjectRef(Kind.DEPLOYMENT, "rag7", "web", "uid-1", "7")
AT = datetime(2026, 3, 4, 3, tzinfo=UTC)
SETTLE, TIMEOUT = timedelta(minutes=2), timedelta(minutes=10)
COUNTS = {
    "gone": LookedAgain(True, "0 now"),
    "less": LookedAgain(None, "half of it", partly=True),
    "as before": LookedAgain(False, "as before"),
    "not known": LookedAgain(None, "not measured"),
}


@dataclass(frozen=True)
class Step:
    """A step that was verified until its end: how far it came, what the alert says by then, and what its own counts say."""

    kind: ActionKind
    rollout: RolloutState
    serving: int | None
    alert: AlertCondition
    counts: str
    effect: bool | None = True

    @property
    def came(self) -> bool:
        """Some of it is up, or nobody knows that none is."""
        return self.rollout is RolloutState.COMPLETE or self.serving != 0

    def watch(self) -> Watch:
        """All its looks, until there is a verdict."""
        deadline = 600.0 if self.kind is ActionKind.ROLL_BACK else 0.0
        seen = Measurement(AT, self.rollout, self.alert, "as seen", effect=self.effect, serving=self.serving)
        watch = Watch()
        for number in range(400):
            now = replace(seen, at=AT + timedelta(seconds=30 * number), deadline=deadline)
            watch = watch.look(now, 30.0 if number else 0.0, 90.0)
            if judge(watch, SETTLE, TIMEOUT) is not None:
                return watch
        raise AssertionError(f"no verdict: {self}")

    def verified(self) -> tuple[Result, Worth, Watch]:
        """As the verification of a run comes to it."""
        watch = self.watch()
        verdict, again = judge(watch, SETTLE, TIMEOUT), None
        assert verdict is not None
        if may_have_helped(verdict, watch):
            again = COUNTS[self.counts]
            verdict = weigh(verdict, watch, again)
        return verdict[0], worth(verdict[0], watch, again), watch


def scenes() -> list[Step]:
    """Each kind of step with each way of coming about, each word of the alert and each answer of the counts."""
    kinds = (ActionKind.SCALE, ActionKind.ROLL_BACK)
    ways: list[tuple[RolloutState, int | None]] = [(RolloutState.COMPLETE, 0)]
    ways += [(state, up) for state in (RolloutState.PROGRESSING, RolloutState.FAILED) for up in (0, 3, None)]
    alerts = (AlertCondition.FIRING, AlertCondition.GONE, AlertCondition.SILENCED, AlertCondition.UNREADABLE)
    found = [
        Step(kind, *way, alert, counts) for kind, way, alert, counts in product(kinds, ways, alerts, COUNTS)
    ]
    # The controller calls no change of a size failed.
    return [s for s in found if s.kind is ActionKind.ROLL_BACK or s.rollout is not RolloutState.FAILED]


SCENES = scenes()
VERIFIED = {step: step.verified() for step in SCENES}
"""Of each scene: result, worth and looks."""


def entries(*steps: Step) -> list[JournalEntry]:
    """The journal of a run that took these steps."""
    found = []
    for index, step in enumerate(steps):
        action = Action(
            step.kind, WEB, Target("rag7", Kind.DEPLOYMENT, "web"), (), step.kind, 0, True, "back"
        )
        intent = {"entry": "action", "step": f"step {index}", "step_index": index, "action": action.to_json()}
        found.append(JournalEntry("run", f"run/{index}.0", intent, {"result": "applied"}, AT, AT))
        result, known, watch = VERIFIED[step]
        outcome = {
            "result": result.value,
            "worth": known.value,
            "rolled_out": watch.rolled_out,
            "effect": step.effect,
            "serving": step.serving,
        }
        verified = {"entry": "verified", "step_index": index}
        found.append(JournalEntry("run", f"verified {index}", verified, outcome, AT, AT))
    return found


def taken_back(*steps: Step) -> set[int]:
    """The places of the steps that an undo by itself takes back."""
    written = entries(*steps)
    there = [e for e in written if e.intent["entry"] == "action"]
    return {int(e.intent["step_index"]) for e in by_itself(written, there).back}


def wants_an_undo(step: Step) -> bool:
    """Only this result is followed by what the rule says otherwise, so by an undo."""
    return VERIFIED[step][0] is Result.NOT_FIXED


@pytest.mark.parametrize("step", SCENES, ids=str)
def test_a_single_step_is_taken_back_only_where_it_is_measured_to_be_no_better(step: Step) -> None:
    """The alert's word is no measure: it may count over a long window."""
    if not taken_back(step):
        return
    assert VERIFIED[step][1] is Worth.NO_BETTER
    if not wants_an_undo(step):
        return
    assert step.alert is not AlertCondition.GONE or not step.came, (
        "what helped is not taken back for a pod that is missing"
    )
    if step.came:
        assert step.counts == "as before"
        assert step.kind is not ActionKind.ROLL_BACK, "a rollback that is under way or partly up stays"


@pytest.mark.parametrize("step", [s for s in SCENES if s.came and s.counts == "not known"], ids=str)
def test_what_came_up_and_was_not_measured_is_inconclusive_and_stays(step: Step) -> None:
    result, known, _ = VERIFIED[step]
    assert result in (Result.FIXED, Result.INCONCLUSIVE, Result.PROBE_ERROR)
    assert known is (Worth.BETTER if result is Result.FIXED else Worth.UNKNOWN)
    assert not taken_back(step)


@pytest.mark.parametrize("rollout", [RolloutState.FAILED, RolloutState.PAUSED])
def test_an_order_whose_rollout_fails_half_way_is_taken_back(rollout: RolloutState) -> None:
    """It has no alert to end: the rollout is what is measured."""
    half = Step(ActionKind.SET_IMAGE, rollout, 2, AlertCondition.NONE, "not known")
    VERIFIED[half] = half.verified()
    assert VERIFIED[half][:2] == (Result.NOT_FIXED, Worth.NO_BETTER)
    assert taken_back(half) == {0}


@pytest.mark.parametrize("alert", AlertCondition)
def test_a_rollout_that_cannot_be_read_is_no_failure_of_the_step(alert: AlertCondition) -> None:
    """Whatever the alert says: also where it was read before."""
    unread = Step(ActionKind.SCALE, RolloutState.UNKNOWN, None, alert, "not known")
    result, known, _ = unread.verified()
    assert (result, known) == (Result.PROBE_ERROR, Worth.UNKNOWN)
    read = Measurement(AT, RolloutState.COMPLETE, AlertCondition.FIRING, "as seen")
    looked = Watch().look(read, 0.0, 90.0)
    for number in range(1, 30):
        late = replace(
            read, at=AT + timedelta(seconds=30 * number), rollout=RolloutState.UNKNOWN, alert=alert
        )
        looked = looked.look(replace(late, serving=None), 30.0, 90.0)
    verdict = judge(looked, SETTLE, TIMEOUT)
    assert verdict is not None
    assert verdict[0] is Result.PROBE_ERROR


@pytest.mark.parametrize("step", [s for s in SCENES if s.kind is ActionKind.ROLL_BACK], ids=str)
def test_a_rollback_under_way_is_waited_for_and_one_of_which_nothing_came_up_is_taken_back(
    step: Step,
) -> None:
    result, _, watch = VERIFIED[step]
    if step.rollout is RolloutState.PROGRESSING:
        assert watch.watched >= 1_800.0, "three timeouts, whatever the alert says"
        assert result is not Result.NOT_FIXED
    elif step.rollout is RolloutState.FAILED and step.serving == 0:
        assert wants_an_undo(step)
        assert taken_back(step) == {0}


def _some() -> list[Step]:
    """One scene for each thing that can be known of a step at its end, of each kind."""
    firing = [
        s for s in SCENES if s.alert is AlertCondition.FIRING and s.rollout is not RolloutState.PROGRESSING
    ]
    return [s for s in firing if s.serving != 3 or s.counts != "gone"]


@pytest.mark.parametrize("first", _some(), ids=str)
def test_of_several_steps_only_those_are_taken_back_that_are_known_to_be_no_better(first: Step) -> None:
    """What helped stays with all that it was measured with, whatever comes after it."""
    for others in [*((s,) for s in _some()), *product(_some()[::3], _some()[::2])]:
        steps = (first, *others)
        if not wants_an_undo(steps[-1]):
            continue
        back, known = taken_back(*steps), [VERIFIED[s][1] for s in steps]
        for place, step in enumerate(steps):
            if Worth.BETTER in known[place:]:
                assert place not in back, "it helped, or a later step helped on top of it"
            elif Worth.UNKNOWN in known[place:]:
                assert place not in back, "of it, or of a later step on top of it, nothing was measured"
            elif step.kind is ActionKind.ROLL_BACK and step.came:
                assert place not in back, "the accused version does not come back by itself"
            else:
                assert place in back, "what is no better goes, also beside what stays"


def test_what_was_left_half_done_is_taken_back_beside_what_helped() -> None:
    helped = Step(ActionKind.SCALE, RolloutState.COMPLETE, 0, AlertCondition.FIRING, "less")
    half = entries(helped, helped)[:-1]
    there = [e for e in half if e.intent["entry"] == "action"]
    found = by_itself(half, there)
    assert [e.name for e in found.back] == ["run/1.0"]
    assert found.kept == "step 0 helped"


def test_a_journal_of_an_older_version_tells_what_helped_by_its_result() -> None:
    helped = Step(ActionKind.SCALE, RolloutState.COMPLETE, 0, AlertCondition.FIRING, "less")
    failed = replace(helped, counts="as before")
    written = entries(helped, failed)
    older = [
        replace(e, outcome={k: v for k, v in (e.outcome or {}).items() if k != "worth"}) for e in written
    ]
    there = [e for e in older if e.intent["entry"] == "action"]
    found = by_itself(older, there)
    assert (found.back, found.kept) == ((), "step 0 helped; whether step 1 helped is not known")


def test_what_a_step_stood_on_whose_help_is_not_known_stays_with_it() -> None:
    failed = Step(ActionKind.SCALE, RolloutState.COMPLETE, 0, AlertCondition.FIRING, "as before")
    written = entries(failed, replace(failed, counts="not known"), failed)
    found = by_itself(written, [e for e in written if e.intent["entry"] == "action"])
    assert [e.name for e in found.back] == ["run/2.0"]
    assert found.kept == (
        "step 0 was there before a later step of which it is not known whether it helped"
        "; whether step 1 helped is not known"
    )


def test_what_its_handler_wants_kept_stays_and_says_why() -> None:
    """An older version may not be able to live with what the step has migrated."""
    failed = Step(ActionKind.SCALE, RolloutState.COMPLETE, 0, AlertCondition.FIRING, "as before")
    written = entries(failed)
    kept = [replace(e, outcome={**(e.outcome or {}), "kept": "a migration ran"}) for e in written]
    found = by_itself(kept, [e for e in kept if e.intent["entry"] == "action"])
    assert (found.back, found.kept) == ((), "a migration ran")
