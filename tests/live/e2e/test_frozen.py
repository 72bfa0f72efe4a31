"""A replica of two on Postgres is stopped (SIGSTOP) while it sends, the other one takes over and tells newer things, and the first goes on:
what is told last stays, and nothing is told twice.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.live.e2e.scene import Cast, Question, Scene, Script
from tests.live.e2e.service import Service, body_of
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

_SERVE = ("tests.live.e2e.command", "serve")
_FROZEN = ("tests.live.e2e.victim",)
_ANOTHERS = "message is another's by now"


def _stopped(service: Service) -> Question:
    """Whether the operating system has it stopped."""

    def now() -> bool:
        if service.process is None:
            return False
        service.process.check()
        stat = Path(f"/proc/{service.process.pid}/stat").read_text("utf-8")
        return stat.rpartition(")")[2].split()[0] == "T"

    return now


def _sql(s: Scene, query: str) -> str:
    return s.tools.postgres().execute(query, s.database)


def _passes_lease(s: Scene) -> None:
    """The claims of whoever is stopped end: moved into the past, as their minutes would be long."""
    for table in ("outbox", "incidents", "runs"):
        _sql(s, f"UPDATE {table} SET claimed_until = 1 WHERE claimed_by LIKE 'replica-0%'")


def _all_sent(s: Scene) -> Question:
    return lambda: _sql(s, "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')") == "0"


def _begins(s: Scene, instant: str) -> Script:
    """The first replica alone tells of the alert until it is stopped, and then the second one is there."""
    first, second = s.services
    s.shop.begin()
    first.fork(_FROZEN, {"VICTIM_DEATH": instant, "VICTIM_ARMED": "1", "VICTIM_FREEZES": "1"})
    yield first.serves
    yield s.shop.settled
    s.fire()
    yield _stopped(first)
    second.fork(_SERVE)
    yield second.serves
    _passes_lease(s)


def _goes_on(s: Scene, word: str) -> Script:
    """The second has told all; the first goes on, and what stands there in the end is what the second told."""
    first = s.services[0]
    yield s.says(word)
    yield _all_sent(s)
    newest, edits = s.parent, s.root.edits
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGCONT)
    yield first.serves
    yield lambda: _ANOTHERS in first.log.read_text("utf-8")
    yield _all_sent(s)
    yield s.says(word)
    assert s.parent == newest
    # What it had begun may have gone out over the newer text, and what stands there now was told anew.
    assert s.root.edits > edits
    tags = s.tools.slack.tags(s.place.channel)
    assert len(tags) == len(set(tags)), tags
    told = [entry.split(maxsplit=1)[0] for entry in s.entries]
    assert len(told) == len(set(told)), told


@scene(Cast(replicas=2, on_postgres=True, of_rules={"mode": "approve"}), cases=("posted:1", "posted:2"))
def test_what_a_stopped_replica_has_posted_is_not_posted_again(s: Scene, instant: str) -> Script:
    yield from _begins(s, instant)
    resolved = body_of(s.labels(), s.began, resolved=True)
    assert s.services[1].post(resolved).status_code == 202
    yield from _goes_on(s, "RESOLVED")


@scene(Cast(replicas=2, on_postgres=True), cases=("before-edit:1", "edited:1"))
def test_what_a_stopped_replica_was_editing_does_not_stand_over_what_is_newer(
    s: Scene, instant: str
) -> Script:
    yield from _begins(s, instant)
    yield s.scaled(8)
    resolved = body_of(s.labels(), s.began, resolved=True)
    assert s.services[1].post(resolved).status_code == 202
    yield from _goes_on(s, "CONTAINED")
    assert len(s.written) == 1, s.written
