"""kill -9 at many instants of a run, on SQLite and on Postgres: one mutation, each transition told once, a whole trail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.live.e2e.crash import ACCEPTED, VERIFYING, Story, check, tend_all
from tests.live.e2e.service import Place
from tests.live.e2e.shop import Shop
from tests.live.e2e.slack import SlackServer
from tests.live.stack import ControlPlane, Postgres

pytestmark = pytest.mark.live

Tell = Callable[..., list[Story]]

ALL = os.environ.get("LIVE_ALL", "") not in ("", "0")
"""Every death on both databases, as `make live` runs it; else a few of them, so that a day's test run stays short."""

LIVES = {
    "outside": [ACCEPTED, VERIFYING],
    "around the write": ["dry-run", "before-patch", "patched"],
    "after the write": ["patched", "event", "read-after:3"],
    "around Slack": ["posted:1", "posted:2", "edited:1"],
}


@pytest.fixture
def tell(control_plane: ControlPlane, new_place: Callable[..., Place], postgres: Postgres) -> Iterator[Tell]:
    """Runs stories side by side, each in a namespace, a database and a Slack channel of its own."""
    begun: list[Story] = []

    def run(lives: Sequence[Sequence[str]], backend: str) -> list[Story]:
        shops = [Shop(control_plane) for _ in lives]
        for shop in shops:
            shop.create()
        for shop, deaths in zip(shops, lives, strict=True):
            database = postgres.fresh_database() if backend == "postgres" else ""
            begun.append(Story(new_place(database_url=database), shop, deaths))
        tend_all(begun)
        return begun

    yield run
    for story in begun:
        story.service.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_run_survives_a_kill_at_every_chosen_instant(tell: Tell, slack: SlackServer, backend: str) -> None:
    names = list(LIVES) if ALL or backend == "sqlite" else ["around the write"]
    stories = tell([LIVES[name] for name in names], backend)
    for story in stories:
        assert story.died == story.deaths, story.name
        check(story, slack)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_run_survives_a_kill_at_any_commit(tell: Tell, slack: SlackServer, backend: str) -> None:
    # Each story dies at a commit, and again some commits into its next life.
    lives = [[f"after-commit:{n}", f"before-commit:{n + 3}"] for n in ((1, 4, 8, 12) if ALL else (4, 12))]
    for story in tell(lives, backend):
        assert story.died == story.deaths, story.name
        check(story, slack)
