"""Plans as JSON: nothing is lost on the way to the store and back."""

from __future__ import annotations

import json
from dataclasses import asdict

from app.domain.plan import Action, ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target

ACTION = Action(
    kind=ActionKind.ROLL_BACK,
    object=ObjectRef(Kind.DEPLOYMENT, "rag7", "langgraph", "uid-1", "41", 8),
    target=Target("rag7", Kind.DEPLOYMENT, "langgraph"),
    changes=(FieldChange("/spec/template", {"spec": {"a": [1]}}, None), FieldChange("/spec/replicas", 3, 5)),
    summary="Roll back",
    pods_affected=3,
    reversible=True,
    undo="the template as it was",
    params={"to": 7},
)


def test_an_action_as_json_has_every_field() -> None:
    assert json.loads(json.dumps(ACTION.to_json())) == json.loads(json.dumps(asdict(ACTION)))


def test_a_step_comes_back_as_it_was() -> None:
    step = Step("roll-back", "because", (ACTION,), "advice")
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step
