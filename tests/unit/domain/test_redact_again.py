"""Texts that come again: what was found to be harmless is not searched again, and nothing with a secret is kept for that."""

from __future__ import annotations

import pytest

from app.domain import redact as redaction
from app.domain.redact import Effort, annotation, redact

_HARMLESS = "http://prometheus.test/graph?g0.expr=latency_seconds_p99+%3E+2&g0.tab=1"
_SECRET = "password=Kx7mQz91pLw4"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    known: set[str] = set()
    monkeypatch.setattr(redaction, "_HARMLESS", known)
    return known


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was searched."""
    seen: list[str] = []
    search = redaction._without_secrets

    def counted(text: str, effort: Effort | None) -> str:
        seen.append(text)
        return search(text, effort)

    monkeypatch.setattr(redaction, "_without_secrets", counted)
    return seen


def test_a_harmless_text_is_searched_once(looks: list[str]) -> None:
    assert [annotation("generator", _HARMLESS, 4_096) for _ in range(3)] == [_HARMLESS] * 3
    assert looks == [_HARMLESS]


def test_a_text_with_a_secret_is_searched_each_time_and_not_kept(
    looks: list[str], nothing_known: set[str]
) -> None:
    assert {redact(_SECRET) for _ in range(3)} == {"password=[redacted]"}
    assert (looks, nothing_known) == ([_SECRET] * 3, set())


def test_what_is_kept_is_bounded(nothing_known: set[str]) -> None:
    for number in range(2 * redaction._MAX_HARMLESS + 1):
        redact(f"pod worker-{number} is ready")
    assert 0 < len(nothing_known) <= redaction._MAX_HARMLESS
    redact("a plain line " * 100)
    assert max(map(len, nothing_known)) <= redaction._OFTEN


def test_a_known_text_is_still_cut_and_still_costs_its_sender() -> None:
    assert redact(_HARMLESS) == _HARMLESS
    assert len(redact(_HARMLESS, longest=20)) <= 20
    assert redact(_HARMLESS, Effort(1)) == _HARMLESS
    assert redact(_HARMLESS, Effort(0)) == redaction.REDACTED
