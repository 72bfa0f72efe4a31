"""Sentences of steps: a capital first letter, but for what is typed or named as it stands."""

from __future__ import annotations

import pytest

from remediations.shared import sentence


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
