"""What differs between two plans, in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.plan import Action, ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target
from app.flow.people.difference import difference

REF = ObjectRef(Kind.DEPLOYMENT, "rag7", "api", "uid-1", "7")
SCALE = Action(
    ActionKind.SCALE,
    REF,
    Target("rag7", Kind.DEPLOYMENT, "api"),
    (FieldChange("/spec/replicas", 2, 5),),
    "scale api from 2 to 5",
    0,
    reversible=True,
    undo="back to 2",
)
OLD = Step("scale-out", "", (SCALE,))


def changed(**fields: Any) -> Step:
    return Step("scale-out", "", (replace(SCALE, **fields),))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (OLD, ()),
        (changed(summary="other words"), ()),
        (changed(changes=(FieldChange("/spec/replicas", 3, 5),)), ("/spec/replicas is 3 now, it was 2",)),
        (changed(changes=(FieldChange("/spec/replicas", 2, 6),)), ("/spec/replicas would become 6, not 5",)),
        (
            changed(object=replace(REF, uid="uid-2")),
            ("rag7/Deployment/api was deleted and created again",),
        ),
        (
            changed(changes=(*SCALE.changes, FieldChange("/spec/paused", None, False))),
            ("/spec/paused would be changed too",),
        ),
        (changed(changes=()), ("/spec/replicas would not be changed",)),
        (Step("restart", "", (SCALE,)), ("step restart, not scale-out",)),
        (
            Step("scale-out", "", (replace(SCALE, kind=ActionKind.ROLLOUT_RESTART, summary="restart api"),)),
            ("no more: scale api from 2 to 5", "new: restart api"),
        ),
    ],
)
def test_each_difference_is_one_sentence(new: Step, told: tuple[str, ...]) -> None:
    assert difference(OLD, new) == told


def test_the_order_of_actions_is_part_of_the_plan() -> None:
    other = replace(SCALE, kind=ActionKind.ROLLOUT_RESTART)
    one, two = Step("r", "", (SCALE, other)), Step("r", "", (other, SCALE))
    assert difference(one, two) == ("the same actions in another order",)
