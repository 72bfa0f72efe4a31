"""Sentences of steps: a capital first letter, but for what is typed or named as it stands."""

from __future__ import annotations

import pytest

from remediations.shared import no_way_back, refuse, sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("restore cache first", "Restore cache first"),
        ("kubectl rollout resume deployment/web", "kubectl rollout resume deployment/web"),
        ("rag7/Deployment/web has 8", "rag7/Deployment/web has 8"),
        ("", ""),
    ],
)
def test_f11_a_command_stays_as_it_is_typed(text: str, told: str) -> None:
    assert sentence(text) == told


DEPLOY = "deploy a known good version from its source"


@pytest.mark.parametrize(
    ("revision", "advice", "told"),
    [
        (1, "uncordon a node", "uncordon a node"),
        (1, "", ""),
        (2, "fix the code", f"fix the code; or {DEPLOY}"),
        (2, "", DEPLOY),
    ],
)
def test_without_a_way_back_the_causes_advice_comes_first(revision: int, advice: str, told: str) -> None:
    step = refuse("roll-back", "no older revision is kept", DEPLOY)
    assert no_way_back(step, revision, advice).advice.lower() == told


def test_another_reason_why_there_is_no_way_back_keeps_its_advice() -> None:
    step = refuse("roll-back", "the rollout is paused", "resume it")
    assert no_way_back(step, 1, "uncordon a node").advice == "Uncordon a node; or resume it"
