"""kill -9 at many instants of a run, on SQLite and on Postgres: one mutation, each transition told once, a whole trail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.live.e2e.crash import ACCEPTED, VERIFYING, Story, check, told
from tests.live.e2e.forked import Forked
from tests.live.e2e.scene import Question, Scene, Script
from tests.live.e2e.shop import Shop
from tests.live.e2e.stage import scene
from tests.live.stack import ALL

pytestmark = pytest.mark.live

LIVES = {
    "outside": [ACCEPTED, VERIFYING],
    "around the write": ["dry-run", "before-patch", "patched"],
    "after the write": ["patched", "event", "read-after:3"],
    "around Slack": ["posted:1", "posted:2", "edited:1"],
}
BACKENDS = ("sqlite", "postgres")


def _tell(s: Scene, lives: Sequence[Sequence[str]], backend: str) -> Script:
    """The stories side by side, each in a namespace, a database and a Slack channel of its own."""
    shops = [Shop(s.tools.plane) for _ in lives]
    for shop in shops:
        shop.begin()
    stories: list[Story] = []
    for shop, deaths in zip(shops, lives, strict=True):
        yield shop.settled
        database = s.fresh_database() if backend == "postgres" else ""
        stories.append(Story(s.tools.new_place(database_url=database), shop, deaths))
    s.services[:] = [story.service for story in stories]
    over: set[int] = set()

    def all_over() -> bool:
        over.update(i for i, story in enumerate(stories) if i not in over and story.tend())
        return len(over) == len(stories)

    yield all_over
    for story in stories:
        yield told(story, s.tools.slack)
        assert story.died == story.deaths, story.name
        check(story, s.tools.slack)
        asked = story.service.ask("audit", "verify")
        yield _over(asked)
        assert "ok: " in asked.log_tail(), asked.log_tail()


def _over(asked: Forked) -> Question:
    return lambda: not asked.running


@scene(cases=BACKENDS, first=True, services=3)
def test_a_run_survives_a_kill_at_every_chosen_instant(s: Scene, backend: str) -> Script:
    names = list(LIVES) if ALL or backend == "sqlite" else ["around the write"]
    yield from _tell(s, [LIVES[name] for name in names], backend)


@scene(cases=BACKENDS, first=True, services=3)
def test_a_run_survives_a_kill_at_any_commit(s: Scene, backend: str) -> Script:
    # Each story dies at a commit, and again some commits into its next life.
    lives = [[f"after-commit:{n}", f"before-commit:{n + 3}"] for n in ((1, 4, 8, 12) if ALL else (4, 12))]
    yield from _tell(s, lives, backend)
