"""The demo's stories by whole and by short names."""

from __future__ import annotations

import pytest

from app.domain.errors import BadInput
from app.stories import STORIES, meant


@pytest.mark.parametrize(
    ("name", "story"),
    [
        *((name, name) for name in STORIES),
        ("vacuum", "database-vacuum"),
        ("restore", "database-restore"),
        ("hpa", "adjust-hpa"),
        ("certificate", "certificate-renewal"),
        ("backup", "database-backup"),  # there is one of the configuration, too
    ],
)
def test_a_short_name_that_means_one_story_is_enough(name: str, story: str) -> None:
    assert meant(name) == story


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("database", "database may be database-connections or database-backup or"),
        ("high", "high may be high-error-rate or high-latency; there are"),
        ("back", "there are high-error-rate,"),
        ("-", "there are"),
        ("", "there are"),
    ],
)
def test_a_name_that_means_none_or_several_is_refused_with_the_list(name: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        meant(name)
    assert refused.value.code == "unknown_story"
