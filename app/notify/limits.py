"""Slack's limits on one message, and how lengths are counted.

Source: Slack's Block Kit reference and slack_sdk's own block models; TOTAL is undocumented (slackapi/bolt-js issue 2509:
about 13,200 characters over all blocks give msg_blocks_too_long). Used by `app.notify.blocks`. Only numbers.
"""

from __future__ import annotations

from typing import Final

BLOCKS: Final = 50
"""Blocks in a message."""
SECTION: Final = 3_000
"""Characters in a section's text, and in one element of a context block."""
CONTEXT_ELEMENTS: Final = 10
"""Elements in a context block."""
TOTAL: Final = 13_000
"""Characters over all blocks, with a margin to the measured 13,200."""
TEXT: Final = 4_000
"""Characters in `text`: chat.update refuses more, although chat.postMessage takes 40,000."""
BUTTONS: Final = 25
"""Elements in an actions block."""
BUTTON_TEXT: Final = 75
BUTTON_VALUE: Final = 2_000
ACTION_ID: Final = 255
CONFIRM_TITLE: Final = 100
CONFIRM_TEXT: Final = 300
CONFIRM_BUTTON: Final = 30
LINE: Final = 600
"""Our own: one line of a message. A longer one is cut, so that one log line cannot push everything else out."""


def length(text: str) -> int:
    """Length as the strictest reader would count it: UTF-16 code units, so that an astral character counts twice."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def shorten(text: str, limit: int) -> str:
    """`text` with at most `limit` UTF-16 code units; an ellipsis tells that something was cut."""
    if length(text) <= limit:
        return text
    kept = text[: limit - 1]
    while length(kept) > limit - 1:
        kept = kept[:-1]
    return kept + "…"
