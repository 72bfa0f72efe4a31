"""What a step leaves half way: sizes object by object, what brings back what was stopped, and how long it may take."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain import half_way
from app.domain.copies import Exchange
from app.domain.database import DatabaseAddress
from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target

WEB = ObjectRef(Kind.DEPLOYMENT, "rag7", "web", "uid-1", "7")
OTHER = replace(WEB, name="other", uid="uid-2")
AT = DatabaseAddress("rag7", "postgres.rag7.svc", 0, "", "db")
NAMES = Exchange(AT, "postgres", "db", "db_restored_1", "db_before_1", "mark")


def _action(kind: ActionKind, params: dict[str, JsonValue] | None = None, **changes: object) -> Action:
    target = Target("rag7", Kind.DEPLOYMENT, "web")
    return replace(
        Action(kind, WEB, target, (), kind.value, 0, True, "back", params or {}),
        **changes,  # type: ignore[arg-type]
    )


def _scale(before: int, after: int, of: ObjectRef = WEB) -> Action:
    return _action(ActionKind.SCALE, {"from": before, "to": after}, object=of)


STOP, START, CONFIRM = _scale(3, 0), _scale(0, 3), _action(ActionKind.CONFIRM_STOPPED)
EXCHANGE = _action(ActionKind.EXCHANGE_DATABASE, part=NAMES.to_json())
JOB = _action(ActionKind.RUN_JOB, part={"job": {"spec": {"activeDeadlineSeconds": 1800}}})


@pytest.mark.parametrize(
    ("in_place", "told"),
    [
        ((STOP,), ["Deployment rag7/web stands at 0 replicas, was 3"]),
        ((STOP, CONFIRM, START), []),
        ((STOP, _scale(0, 2)), ["Deployment rag7/web stands at 2 replicas, was 3"]),
        ((STOP, _scale(1, 2, OTHER)), ["Deployment rag7/web stands at 0 replicas, was 3", "Deployment rag7/other stands at 2 replicas, was 1"]),
        ((EXCHANGE, JOB), []),
    ],
)  # fmt: skip
def test_what_is_in_place_is_told_object_by_object(in_place: tuple[Action, ...], told: list[str]) -> None:
    assert [size.text for size in half_way.sizes(in_place)] == told


@pytest.mark.parametrize(
    ("missing", "replicas"), [((), 3), ((START,), 3), ((_scale(0, 2),), 2), ((_scale(0, 2, OTHER),), 3)]
)
def test_the_command_starts_as_many_as_the_plan_wants(missing: tuple[Action, ...], replicas: int) -> None:
    (size,) = half_way.sizes((STOP,))
    assert size.stopped
    wanted = half_way.wanted(missing, size)
    assert size.command(wanted) == f"kubectl scale deployment/web -n rag7 --replicas={replicas}"


@pytest.mark.parametrize(
    ("actions", "index", "yes"),
    [
        ((STOP, START), 1, True),
        ((STOP, START), 0, False),
        ((START,), 0, False),
        ((STOP, _scale(0, 3, OTHER)), 1, False),
        ((_scale(3, 2), _scale(2, 3)), 1, False),
        ((STOP, EXCHANGE), 1, False),
    ],
)
def test_only_the_start_of_what_the_same_step_stopped_brings_back(
    actions: tuple[Action, ...], index: int, yes: bool
) -> None:
    assert half_way.brings_back(actions, index) is yes


def test_which_database_is_live_and_what_an_undo_loses() -> None:
    assert (
        half_way.outcome(EXCHANGE, True) == "db is the restored copy; the former one is db_before_1, closed"
    )
    assert half_way.outcome(EXCHANGE, False) == (
        "no name of db is exchanged by this run; whether somebody else did anything to it is not looked at"
    )
    assert half_way.outcome(EXCHANGE, True, "12:00").endswith("closed (as of 12:00, not looked at since)")
    assert half_way.leaves(EXCHANGE, (), True) == (
        'remove the former database, once nobody needs it: DROP DATABASE "db_before_1"'
    )
    assert half_way.leaves(EXCHANGE, (), None) == half_way.leaves(EXCHANGE, (), False) == ""
    assert "is not known" in half_way.outcome(EXCHANGE, None)
    assert half_way.outcome(STOP, True) == half_way.lost_by_undo(STOP, "since") == ""
    lost = "what was written to db since noon is not in it afterwards: it stays in db_restored_1, closed"
    assert half_way.lost_by_undo(EXCHANGE, "since noon") == lost
    assert half_way.lost_by_undo(replace(EXCHANGE, reversible=False), "since noon") == ""


def test_a_step_takes_as_long_as_its_jobs_and_confirmations_may() -> None:
    assert half_way.longest((JOB, STOP, CONFIRM, JOB, EXCHANGE, START)) == timedelta(minutes=70)
    assert half_way.longest((STOP,)) == timedelta()
