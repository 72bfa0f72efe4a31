"""What the order of a rollback is told and asked, and a release that went wrong: as careful as an alert's own rollback."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.plan import Step
from app.domain.remediation import History, PastAlert
from app.domain.target import Kind
from app.domain.workload import Revision
from app.kube.read import revisions
from remediations import CATALOGUE
from remediations.evidence.rollouts import ONE_WAY
from tests.orders import LANGGRAPH, orders_world
from tests.unit.remediations.stage import Stage

RAG7 = "ghcr.io/stacey77/rag7"


def _image(version: str, **annotations: str) -> Any:
    """A release of this version, with these notes in its template."""
    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{RAG7}:{version}"}
    notes = {"op": "add", "path": "/spec/template/metadata/annotations", "value": annotations}
    return [image, *([notes] if annotations else [])]


async def _ordered(
    *releases: Any, after: float = 3_600, history: Any = None, **params: Any
) -> tuple[Step, list[Revision]]:
    """The step of an ordered rollback after these releases, an hour between them by default."""
    play = Stage("rollback", orders_world(), LANGGRAPH)
    for operations in releases:
        play.edit(Kind.DEPLOYMENT, "langgraph", *operations)
        play.clock.advance(after)
    found = await revisions(play.cluster, (await play.scene()).workload)
    if history is not None:
        play.history = history(found)
    _, steps = await play.look(**{"service": "", "revision": None, **params})
    return steps["roll-back"], found


def _left(number: int) -> Any:
    return lambda found: History(left_revisions={r.fingerprint for r in found if r.number == number})


def _fired(number: int) -> Any:
    """An alert that was open for all the life of this revision, as its own release brought it."""

    def history(found: list[Revision]) -> History:
        begun = next(r for r in found if r.number == number).created_at
        return History(alerts=[PastAlert("HighErrorRate", begun + timedelta(seconds=30), None)])

    return history


@pytest.mark.parametrize(
    ("releases", "history", "params", "asks", "told"),
    [
        ([], None, {}, "", "revision 1"),
        ([_image("v1.5.0", **{ONE_WAY: "drops column"})], None, {}, "revision 3 is marked as a one-way step", ""),
        ([_image("v1.5.0", **{"team/step": "yes"})], None, {"one_way": ["team/step"]}, "marked as a one-way step", ""),
        ([_image("v1.5.0")], _left(1), {"revision": 1}, "revision 1 was rolled back from before", ""),
        ([_image("v1.5.0"), _image("v1.5.1")], _fired(3), {"revision": 3}, "HighErrorRate fired while revision 3 ran", ""),
        ([_image("v1.5.0")], None, {"revision": 1}, "", "revision 2, which is newer than 1, is passed over"),
        ([_image("v1.5.0")], None, {}, "", "revision 2"),
    ],
    ids=["nothing", "marked", "marked by a name of the team's", "rolled back from", "known to be bad", "chosen over another", "the one before"],
)  # fmt: skip
async def test_an_ordered_rollback_is_as_careful_as_an_alerts(
    releases: Any, history: Any, params: dict[str, Any], asks: str, told: str
) -> None:
    step, _ = await _ordered(*releases, history=history, **params)
    assert step.applies, step.why
    assert bool(step.asks) is bool(asks), step.asks
    assert asks in step.asks
    assert told in f"{step.why} {step.actions[0].summary}", step.why


async def test_no_order_may_do_without_the_marks() -> None:
    for name in ("rollback", "deploy", "hotfix"):
        assert "one_way" in CATALOGUE[name].fixed_params


@pytest.mark.parametrize(
    ("notes", "limit", "why"),
    [
        ({}, 10, ""),
        ({ONE_WAY: "drops column"}, 10, "revision 3 is marked as a one-way step"),
        ({ONE_WAY: "drops column"}, 0, "no revision of it is kept (revisionHistoryLimit)"),
    ],
)
async def test_a_release_is_not_taken_back_by_itself_over_a_one_way_step(
    notes: dict[str, str], limit: int, why: str
) -> None:
    """Nor where nothing is kept that it could be compared with."""
    play = Stage("deploy", orders_world(), LANGGRAPH)
    kept_of = {"op": "replace", "path": "/spec/revisionHistoryLimit", "value": limit}
    play.edit(Kind.DEPLOYMENT, "langgraph", kept_of)
    play.clock.advance(30)
    _, steps = await play.look(image=":v1.5.0", service="")
    play.edit(Kind.DEPLOYMENT, "langgraph", *_image("v1.5.0", **notes))
    play.clock.advance(120)
    handler = CATALOGUE["deploy"]
    params = handler.params(image=":v1.5.0", service="")
    kept = await handler.kept(await play.scene(), params, steps["set-image"])
    assert why in kept
    assert bool(kept) is bool(why)
