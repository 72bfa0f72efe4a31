"""Sections of a diagnosis and their screen: bounded, clean, within 100 columns, and honest about what was not read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from inline_snapshot import snapshot

from app.cli.diagnose import WIDTH, screen
from app.domain.errors import AccessDenied, ClusterUnavailable, RemediatorError
from app.flow.diagnosing.section import Section, said, section, shown

HUSH = "hunter2hunter2hunter2"


async def _gives(*lines: str) -> Sequence[str]:
    return lines


async def _raises(error: RemediatorError) -> Sequence[str]:
    raise error


@pytest.mark.parametrize("error", [AccessDenied("cannot list pods"), ClusterUnavailable("no answer")])
async def test_a_read_that_fails_is_said_in_its_section(error: RemediatorError) -> None:
    assert await section("Pods", lambda: _raises(error)) == Section("Pods", unread=error.message)


async def test_a_section_without_lines_says_so_and_is_not_unread() -> None:
    assert await section("Pods", _gives, "no pod") == Section("Pods", ("no pod",))


def test_what_strangers_wrote_is_one_clean_bounded_line() -> None:
    text = said(f"failed\n  with password={HUSH} \x1b[31mred\x1b[0m {'long ' * 200}")
    assert HUSH not in text
    assert "\x1b" not in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_long_list_says_how_many_lines_are_left_out() -> None:
    lines = shown([f"line {n}" for n in range(50)])
    assert (len(lines), lines[-1]) == (21, "and 30 more")


def test_the_screen_fits_a_terminal_and_names_what_was_not_read() -> None:
    found = {
        "subject": "rag7/Deployment/langgraph",
        "at": "2026-03-04T03:02:00+00:00",
        "seconds": 0.21,
        "cause": "container worker ends with exit code 1: " + "it cannot reach the database " * 5,
        "advice": "Look at Secret langgraph-secrets",
        "sections": [
            {
                "name": "Pods",
                "lines": ["langgraph-1 not ready (Running), 4 restarts, 3 min old"],
                "unread": "",
            },
            {"name": "Usage", "lines": [], "unread": "the metrics API is not there"},
            {"name": "Runs, last 24 h", "lines": [f"ghcr.io/{'x' * 150}"], "unread": ""},
        ],
    }
    lines = screen(found)
    assert max(len(line) for line in lines) <= WIDTH
    assert "\n".join(lines) == snapshot("""\
rag7/Deployment/langgraph  2026-03-04T03:02:00 UTC, read in 0.2 s
Cause: container worker ends with exit code 1: it cannot reach the database it cannot reach the
  database it cannot reach the database it cannot reach the database it cannot reach the database
To do: Look at Secret langgraph-secrets

Pods
  langgraph-1 not ready (Running), 4 restarts, 3 min old

Usage
  ? not read: the metrics API is not there

Runs, last 24 h
  ghcr.io/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
""")
