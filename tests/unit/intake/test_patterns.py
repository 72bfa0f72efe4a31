"""What a stranger's body or text is searched with takes time in proportion to its length."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from app.domain.errors import BadInput
from app.intake import body
from app.intake.labels import Reading


def _decoded(length: int) -> None:
    with pytest.raises(BadInput):
        body.decode(b"[1," + b"[" * 200 + b"1" + b"]" * 200 + b',"' + b'\\"' * (length // 2), lenient=True)


def _labels(length: int) -> None:
    Reading().firing("labels" + "*" * length + "x")


@pytest.mark.parametrize("read", [_decoded, _labels])
def test_four_times_the_text_takes_some_four_times_the_time(read: Callable[[int], None]) -> None:
    """What seems to take more is measured again."""

    def seconds(length: int, times: int) -> float:
        took = []
        for _ in range(times):
            begun = time.process_time()
            read(length)
            took.append(time.process_time() - begun)
        return min(took)

    assert any(seconds(32_000, times) < 8 * seconds(8_000, times) + 0.02 for times in (1, 3, 5))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (b'{"a":"["}', [b"{", b'"a"', b'"["', b"}"]),
        (b'["a\\"]"]', [b"[", b'"a\\"]"', b"]"]),
        (b'["a\\"]', [b"[", b'"a\\"]']),
    ],
)
def test_a_bracket_in_a_string_is_none_whether_the_string_is_closed_or_not(
    text: bytes, tokens: list[bytes]
) -> None:
    pattern: re.Pattern[bytes] = body._BRACKET
    assert [found[0] for found in pattern.finditer(text)] == tokens


@pytest.mark.parametrize("heading", ["Labels:", "**Labels**:", "**labels:**", "labels"])
def test_a_heading_of_labels_is_known_with_its_stars(heading: str) -> None:
    reading = Reading()
    reading.firing(f"{heading}\n - namespace = rag7\n")
    assert reading.labels == {"namespace": "rag7"}
