"""Slack's documented limits on a message, as the double enforces them.

Written from the Block Kit reference and the method pages, apart from `app.notify.limits`, so that a mistake there is
found here. The total over all blocks is the measured one (about 13,200 characters).
"""

from __future__ import annotations

from typing import Any


def units(text: str) -> int:
    """UTF-16 code units, the strictest way of counting."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fault_of(body: dict[str, Any], *, update: bool) -> str:
    """Slack's error word for this body of chat.postMessage or chat.update; empty when it is fine."""
    text, blocks = body.get("text") or "", body.get("blocks") or []
    if not text and not blocks:
        return "no_text"
    if update and units(text) > 4_000:
        return "msg_too_long"
    if len(blocks) > 50 or not all(_block_fits(b) for b in blocks):
        return "invalid_blocks"
    if sum(_chars(b) for b in blocks) > 13_200:
        return "msg_blocks_too_long"
    return ""


def _block_fits(block: dict[str, Any]) -> bool:
    match block.get("type"):
        case "section":
            return _text_fits(block.get("text", {}), 3_000)
        case "header":
            return block["text"]["type"] == "plain_text" and _text_fits(block["text"], 150)
        case "context":
            elements = block["elements"]
            return 1 <= len(elements) <= 10 and all(_text_fits(e, 3_000) for e in elements)
        case "actions":
            elements = block["elements"]
            return 1 <= len(elements) <= 25 and all(_button_fits(e) for e in elements)
        case "divider":
            return True
        case _:
            return False


def _text_fits(text: dict[str, Any], limit: int) -> bool:
    return text.get("type") in ("plain_text", "mrkdwn") and 0 < units(text.get("text", "")) <= limit


def _button_fits(button: dict[str, Any]) -> bool:
    return (
        button.get("type") == "button"
        and button["text"]["type"] == "plain_text"
        and _text_fits(button["text"], 75)
        and 0 < units(button.get("action_id", "")) <= 255
        and units(button.get("value", "")) <= 2_000
        and button.get("style", "primary") in ("primary", "danger")
        and ("confirm" not in button or _confirm_fits(button["confirm"]))
    )


def _confirm_fits(confirm: dict[str, Any]) -> bool:
    return (
        confirm["title"]["type"] == "plain_text"
        and _text_fits(confirm["title"], 100)
        and _text_fits(confirm["text"], 300)
        and _text_fits(confirm["confirm"], 30)
        and _text_fits(confirm["deny"], 30)
    )


def _chars(block: dict[str, Any]) -> int:
    texts = [block.get("text"), *block.get("elements", [])]
    return sum(_chars_of(t) for t in texts if t)


def _chars_of(text: dict[str, Any]) -> int:
    inner = text["text"]
    return units(inner["text"] if isinstance(inner, dict) else inner)
