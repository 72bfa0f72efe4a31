"""Plans: what is recorded of them cannot hold a secret, comes back as it was, and is what approvals are bound to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from app.domain.change import MAX_FIELDS, Digested, DigestKey, image_told, may_show
from app.domain.plan import LEFT_OUT, Action, ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target
from app.flow.notifying.gitops_patch import gitops_patch
from app.page.entries import deeds

KEY, OTHER_KEY = DigestKey(b"a key of this installation"), DigestKey(b"a key of another one")
SECRET = "hunter2"


def template(
    password: str = SECRET, image: str = "registry.test:5000/langgraph:v2", **env: str
) -> dict[str, Any]:
    variables = [
        {"name": "DB_PASSWORD", "value": password},
        *({"name": k, "value": v} for k, v in env.items()),
    ]
    container = {"name": "app", "image": image, "env": variables, "args": ["--token", password]}
    return {"metadata": {"annotations": {"note": password}}, "spec": {"containers": [container]}}


ACTION = Action(
    kind=ActionKind.SCALE,
    object=ObjectRef(Kind.DEPLOYMENT, "rag7", "langgraph", "uid-1", "41", 8),
    target=Target("rag7", Kind.DEPLOYMENT, "langgraph"),
    changes=(FieldChange("/spec/replicas", 3, 5),),
    summary="Scale",
    pods_affected=3,
    reversible=True,
    undo="3 replicas",
    params={"to": 7},
)


def rollback(before: dict[str, Any], after: dict[str, Any]) -> Step:
    changes = (
        FieldChange("/spec/template", before, after),
        FieldChange("/metadata/annotations/kubernetes.io~1change-cause", f"deploy --password {SECRET}", None),
    )
    action = replace(ACTION, kind=ActionKind.ROLL_BACK, changes=changes, params={"left": "digest", "to": 7})
    return Step("roll-back", "because", (action,), "advice")


ROLLBACK = rollback(template(), template("hunter1", "registry.test:5000/langgraph:v1", LOG="debug"))


def test_an_action_as_json_has_every_field() -> None:
    assert json.loads(json.dumps(ACTION.to_json())) == json.loads(json.dumps(asdict(ACTION)))


@pytest.mark.parametrize("step", [Step("scale-up", "", (ACTION,)), ROLLBACK.seal(KEY)])
def test_a_recorded_step_comes_back_as_it_was(step: Step) -> None:
    back = Step.from_json(json.loads(json.dumps(step.to_json())))
    assert (back, back.hash) == (step, step.hash)


@pytest.mark.parametrize("step", [ROLLBACK, ROLLBACK.seal(KEY)], ids=["not sealed", "sealed"])
def test_whatever_is_recorded_of_a_step_holds_no_value_that_may_be_a_secret(step: Step) -> None:
    text = json.dumps(step.to_json())
    assert "hunter" not in text
    assert "debug" not in text


def test_a_rollback_shows_which_fields_of_the_template_change_and_the_images() -> None:
    (action,) = ROLLBACK.seal().actions
    app = "/spec/template/spec/containers/[name=app]"
    assert [(c.path.removeprefix(app), c.before, c.after) for c in action.changes] == [
        ("/spec/template", "[hidden]", "[hidden]"),
        ("/spec/template/metadata/annotations/note", "[hidden]", "[hidden]"),
        ("/args", "[hidden]", "[hidden]"),
        ("/env/[name=DB_PASSWORD]/value", "[hidden]", "[hidden]"),
        ("/env/[name=LOG]/name", None, "[hidden]"),
        ("/env/[name=LOG]/value", None, "[hidden]"),
        ("/image", "registry.test:5000/langgraph:v2", "registry.test:5000/langgraph:v1"),
        ("/metadata/annotations/kubernetes.io~1change-cause", "[hidden]", None),
    ]


def test_of_a_template_with_thousands_of_fields_the_first_are_told_and_the_others_counted() -> None:
    """Each record of a plan holds all that is told of it."""
    step = rollback(template(), template(**{f"VARIABLE_{n}": "x" for n in range(3_000)}))
    sealed = step.seal(KEY)
    (told,) = sealed.actions
    assert len(told.changes) == MAX_FIELDS + 2  # the template as a whole, and the change cause
    assert told.params[LEFT_OUT] == 5_900
    assert sealed.seal(KEY) == sealed
    assert gitops_patch(sealed.actions).endswith("\n  and 5900 fields more")
    assert deeds(sealed)[0].fields[-1].path == "and 5900 fields more"
    other = rollback(template(), template(**{f"VARIABLE_{n}": "x" for n in range(2_999)}, VARIABLE_2999="y"))
    assert other.seal(KEY).hash != sealed.hash  # what is not told is approved all the same


@pytest.mark.parametrize(
    "image",
    ["ghcr.io/" + "a" * 240_000 + ":1", "web:1\nok approval", f"https://bot:{SECRET}@registry.test/web"],
)
def test_an_image_that_no_registry_has_is_cut_redacted_and_never_a_shown_value(image: str) -> None:
    told = image_told(image)
    assert len(told) <= 620
    assert "\n" not in told
    assert SECRET not in told
    assert not may_show("/spec/template/spec/containers/[name=app]/image", image)
    good = "registry.test:5000/team/web:v1@sha256:" + "a" * 64
    assert image_told(good) == good


def test_hidden_values_can_be_compared_and_not_guessed_without_the_key() -> None:
    one, same, other = (
        s.seal(KEY) for s in (ROLLBACK, ROLLBACK, rollback(template("hunter3"), template("x")))
    )
    assert one == same
    assert one.actions[0].changes[0].before != other.actions[0].changes[0].before
    assert one.actions[0].changes[0] != ROLLBACK.seal(OTHER_KEY).actions[0].changes[0]
    assert one.actions[0].params["left"] == KEY.digest("digest")
    assert one.actions[0].params["to"] == 7


@pytest.mark.parametrize(
    "other",
    [
        rollback(template("hunter3"), template("hunter1", "registry.test:5000/langgraph:v1", LOG="debug")),
        rollback(template(), template("hunter1", "registry.test:5000/langgraph:v1", LOG="info")),
        rollback(
            template(SAME="x"), template("hunter1", "registry.test:5000/langgraph:v1", LOG="debug", SAME="x")
        ),
    ],
    ids=["before", "after", "a field that stays"],
)
def test_an_approval_is_bound_to_every_value_also_to_hidden_ones(other: Step) -> None:
    assert other.seal(KEY).hash != ROLLBACK.seal(KEY).hash


def test_a_step_that_would_need_sealing_has_no_hash_that_could_be_guessed() -> None:
    with pytest.raises(ValueError, match="sealed"):
        _ = ROLLBACK.hash


def test_a_set_of_digests_knows_its_values() -> None:
    kept = Digested(KEY, frozenset({KEY.digest("a")}))
    assert ("a" in kept, "b" in kept, "a" in Digested(OTHER_KEY, kept.digests)) == (True, False, False)


def test_a_key_never_shows_itself() -> None:
    assert "installation" not in repr(KEY)
