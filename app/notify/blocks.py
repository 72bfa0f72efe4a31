"""A message as Slack wants it: `text` and Block Kit blocks, always within the limits.

Called by `app.notify.slack`. What does not fit is cut from the end, whole lines at a time, and the cut says how many
lines are missing and which command shows them. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.notify import limits
from app.notify.limits import length, shorten
from app.notify.message import Button, Confirm, Context, Message, Part, Section
from app.notify.text import Line, bold, clean, code, cut, line, mrkdwn

_SUMMARY_LINES = 3
_INCIDENT = "inc_"  # digests and the audit head have ids of their own, which nothing explains


@dataclass(frozen=True, slots=True)
class SlackBody:
    """`text` is what notifications and screen readers get; `blocks` is what the channel shows."""

    text: str
    blocks: tuple[dict[str, Any], ...]


def to_slack(message: Message) -> SlackBody:
    """Render and fit. Every result is within `app.notify.limits`, whatever the message holds."""
    closing = _closing(message)
    room = limits.TOTAL - sum(_size(b) for b in closing)
    slots = limits.BLOCKS - len(closing)
    blocks: list[dict[str, Any]] = []
    dropped = 0
    for part in (Section((message.headline,)), *message.parts):
        if not any(mrkdwn(li).strip() for li in part.lines):
            continue
        # One block and the room for its text stay free for the line that tells what was dropped.
        free = room - sum(_size(b) for b in blocks) - length(_more(9_999, message.incident_id))
        block = _block(part, min(free, limits.SECTION), message.incident_id)
        if block is None or len(blocks) >= slots - 1:
            dropped += len(part.lines)
        else:
            blocks.append(block)
    if dropped:
        blocks.append(_section(_more(dropped, message.incident_id)))
    return SlackBody(_text(message), (*blocks, *closing))


def to_plain(message: Message) -> SlackBody:
    """The message without blocks, for when Slack refuses them: its first lines, and the commands in the place of buttons."""
    commands = [line("Then: ", code(c)) for c in _commands(message)]
    small = (li for part in message.parts if isinstance(part, Context) for li in part.lines)
    lines = [
        message.headline,
        *(li for part in message.parts if isinstance(part, Section) for li in part.lines),
        *small,
    ]
    room = limits.SECTION - sum(length(mrkdwn(c)) + 1 for c in commands)
    return SlackBody("\n".join([_fit(tuple(lines), room, message.incident_id), *map(mrkdwn, commands)]), ())


def to_bare(message: Message) -> SlackBody:
    """Only that there is a message and its commands, without a word from outside: for when Slack refuses the plain text too."""
    told = line("A message that Slack refused. ", bold("Read it here"), ":")
    commands = [line("Then: ", code(c)) for c in _commands(message)]
    return SlackBody("\n".join(map(mrkdwn, (told, *commands))), ())


def _commands(message: Message) -> list[str]:
    """What to run instead of clicking, and at last what tells the rest."""
    found = [button.command[: limits.LINE] for button in message.buttons if button.command]
    of_incident = message.incident_id.startswith(_INCIDENT)
    return [*found, f"remediator explain {message.incident_id[:80]}"] if of_incident else found


def _block(part: Part, room: int, incident_id: str) -> dict[str, Any] | None:
    if isinstance(part, Context):
        return _context(part, room)
    text = _fit(part.lines, room, incident_id)
    return _section(text) if text else None


def _fit(lines: tuple[Line, ...], room: int, incident_id: str) -> str:
    """As many whole lines as fit, with the note about the rest; empty when not even one does."""
    best, text = "", ""
    for number, content in enumerate(lines, start=1):
        text += ("\n" if text else "") + mrkdwn(cut(content, limits.LINE))
        if length(text) > room:
            return best
        rest = len(lines) - number
        closed = f"{text}\n{_more(rest, incident_id)}" if rest else text
        if length(closed) <= room:
            best = closed
    return best


def _context(part: Context, room: int) -> dict[str, Any] | None:
    elements = [mrkdwn(cut(li, limits.LINE)) for li in part.lines[: limits.CONTEXT_ELEMENTS]]
    elements = [e for e in elements if e.strip()]
    while elements and sum(map(length, elements)) > room:
        elements.pop()
    return {"type": "context", "elements": [_mrkdwn(e) for e in elements]} if elements else None


def _more(number: int, incident_id: str) -> str:
    return mrkdwn(line(f"… ({number:,} more; ", code(f"remediator explain {incident_id[:80]}"), ")"))


def _closing(message: Message) -> list[dict[str, Any]]:
    buttons = [_button(b) for b in message.buttons[: limits.BUTTONS]]
    return [{"type": "actions", "elements": buttons}] if buttons else []


def _button(button: Button) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "button",
        "action_id": shorten(button.action_id, limits.ACTION_ID),
        "text": _plain(button.label, limits.BUTTON_TEXT),
        "value": shorten(button.value, limits.BUTTON_VALUE),
    }
    if button.style:
        made["style"] = button.style
    if button.confirm is not None:
        made["confirm"] = _confirm(button.confirm)
    return made


def _confirm(confirm: Confirm) -> dict[str, Any]:
    return {
        "title": _plain(confirm.title, limits.CONFIRM_TITLE),
        "text": _plain(confirm.text, limits.CONFIRM_TEXT),
        "confirm": _plain(confirm.yes, limits.CONFIRM_BUTTON),
        "deny": _plain("Cancel", limits.CONFIRM_BUTTON),
    }


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shorten(clean(text), limit), "emoji": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack must not turn names, addresses or mentions inside foreign text into links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _size(block: dict[str, Any]) -> int:
    """Characters that count towards the total of a message."""
    texts = [block, *block.get("elements", ())]
    return sum(
        length(t["text"]) if isinstance(t["text"], str) else length(t["text"]["text"])
        for t in texts
        if "text" in t
    )


def _text(message: Message) -> str:
    """Headline and the first lines, for a phone's lock screen."""
    lines = [message.headline]
    for part in message.parts:
        if isinstance(part, Section):
            lines.extend(part.lines)
    return "\n".join(mrkdwn(cut(li, limits.LINE)) for li in lines[:_SUMMARY_LINES])
