"""What a temporary change takes back at its end: for every remediation, only the sizes among what its steps may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.json import JsonValue
from app.domain.plan import SIZES, Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.flow.verifying.standing import lent
from app.store.runs import JournalEntry
from remediations import CATALOGUE

WEB = ObjectRef(Kind.DEPLOYMENT, "rag7", "web", "uid-1", "7")
AT = datetime(2026, 3, 4, 3, tzinfo=UTC)


def _action(kind: ActionKind, **params: JsonValue) -> Action:
    return Action(kind, WEB, Target("rag7", Kind.DEPLOYMENT, "web"), (), kind.value, 0, True, "back", params)


def _entries(*actions: Action) -> list[JournalEntry]:
    return [
        JournalEntry(
            "run",
            f"run/0.{n}",
            {"entry": "action", "action": a.to_json()},
            {"result": "applied"},
            AT,
            AT,
        )
        for n, a in enumerate(actions)
    ]


def _kinds(entries: Sequence[JournalEntry]) -> list[ActionKind]:
    return [Action.from_json(entry.intent["action"]).kind for entry in entries]


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_of_all_that_a_remediation_may_do_only_sizes_are_lent(name: str) -> None:
    kinds = sorted(CATALOGUE[name].actions)
    found = _kinds(lent(_entries(*(_action(kind) for kind in kinds))))
    assert found == [kind for kind in kinds if kind in SIZES]


def test_what_a_step_stopped_and_started_again_is_no_loan() -> None:
    """To take the start back would stop it once more."""
    stop, start = (
        _action(ActionKind.SCALE, **{"from": 3, "to": 0}),
        _action(ActionKind.SCALE, **{"from": 0, "to": 3}),
    )
    other = replace(_action(ActionKind.SCALE, **{"from": 2, "to": 4}), object=replace(WEB, name="other"))
    assert [e.name for e in lent(_entries(stop, start, other))] == ["run/0.2"]
