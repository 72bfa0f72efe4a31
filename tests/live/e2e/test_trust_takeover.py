"""Two replicas on one Postgres: the one that tells a run's story is killed, the other tells it to its end."""

from __future__ import annotations

import pytest

from app.notify.buttons import Click
from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live


@scene(Cast(replicas=2, on_postgres=True), first=True)
def test_the_other_replica_verifies_what_the_dead_one_has_done(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield s.ended("verifying")
    dead = s.owner()
    yield from s.dies(dead)
    yield from s.fixed(s.scaled(8))
    assert s.owner() is not dead
    assert len(s.written) == 1
    yield from s.comes_back(dead)
    assert (s.run["state"], len(s.written)) == ("contained", 1)


@scene(Cast(replicas=2, on_postgres=True, of_rules={"mode": "approve"}), first=True)
def test_the_other_replica_takes_the_answer_to_a_question_of_the_dead_one(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.asks
    dead = s.owner()
    yield from s.dies(dead)
    s.click(Click.APPROVE)
    yield from s.fixed(s.scaled(8))
    assert s.owner() is not dead
    assert len(s.written) == 1
    code, text = yield from s.ask("audit", "verify")
    assert (code, "ok: " in text) == (0, True), text
