"""What Slack's errors mean for us: later, never (with a hint for people), find out first, or post anew.

Called by `app.notify.slack`. Source: Slack's method pages for chat.postMessage, chat.update and conversations.*; the
words of an error are Slack's own, without what looks like a secret; tokens and bodies never get into the texts made here.
"""

from __future__ import annotations

from typing import Final

from app.domain.free_text import one_line
from app.notify.client import Away, BadToken, Misfit, Never, NoAccess, PostAnew, Retry, Unclear

_RETRY: Final = frozenset({"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"})
_LONGEST: Final = 80
_UNCLEAR: Final = frozenset({"internal_error", "fatal_error", "request_timeout"})
_ANEW: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
)
_TOKEN: Final = {
    "invalid_auth": "Slack does not accept what REMEDIATOR_SLACK_BOT_TOKEN holds",
    "not_authed": "nothing was sent as REMEDIATOR_SLACK_BOT_TOKEN",
    "account_inactive": "the bot's account was deactivated: install the app again",
    "token_revoked": "the token was revoked; install the app again and set the new one",
    "token_expired": "the token has expired: set a new one",
    "missing_scope": "the token lacks a scope: the app needs chat:write, channels:history, channels:read and, for rules that "
    "name user groups, usergroups:read",
}
_ACCESS: Final = {
    "channel_not_found": "the channel does not exist or is private: check REMEDIATOR_SLACK_CHANNEL and invite the bot",
    "not_in_channel": "invite the bot to the channel: /invite @alert-remediator",
    "is_archived": "the channel is archived: unarchive it or choose another in REMEDIATOR_SLACK_CHANNEL",
    "restricted_action": "a workspace setting forbids posting in this channel: ask an administrator",
    "message_limit_exceeded": "the workspace's message limit is reached: free some or upgrade",
}
_MISFIT: Final = {
    "invalid_blocks": "Slack refused the layout of this message; please report it",
    "msg_too_long": "Slack found this message too long; please report it",
    "msg_blocks_too_long": "Slack found this message too long; please report it",
    "block_mismatch": "Slack refused the layout of this message; please report it",
    "invalid_arguments": "Slack refused the layout of this message; please report it",
    "invalid_attachments": "Slack refused the layout of this message; please report it",
}
_HINTS: Final = {
    "no_text": "Slack found this message empty; please report it",
    "metadata_too_large": "Slack found this message's metadata too large; please report it",
}


def classify(
    error: str, *, what: str, retry_after: float | None = None
) -> Retry | Never | Unclear | PostAnew:
    """The failure for an `ok: false` answer with this error word. An unknown word is final: it is a refusal."""
    error = one_line(error, _LONGEST)
    text = f"Slack answered {error} to {what}"
    if error in _RETRY:
        return Away(text, code=error, retry_after=retry_after)
    if error in _UNCLEAR:
        return Unclear(text, code=error)
    if error in _ANEW:
        return PostAnew(text, code=error)
    if hint := _hint(_TOKEN, error):
        return BadToken(f"{text}; {hint}", code=error)
    if hint := _hint(_ACCESS, error):
        return NoAccess(f"{text}; {hint}", code=error)
    if hint := _hint(_MISFIT, error):
        return Misfit(f"{text}; {hint}", code=error)
    hint = _hint(_HINTS, error)
    return Never(f"{text}; {hint}" if hint else text, code=error)


def _hint(hints: dict[str, str], error: str) -> str:
    """By the word or its beginning: Slack has families such as `restricted_action_read_only_channel`."""
    return next((hint for word, hint in hints.items() if error.startswith(word)), "")


def classify_status(status: int, *, what: str, retry_after: float | None = None) -> Retry | Never | Unclear:
    """The failure for an answer that is not Slack's JSON: 429 was not processed, any 5xx may have been."""
    text = f"Slack answered HTTP {status} to {what}"
    if status == 429:
        return Away(text, code="ratelimited", retry_after=retry_after)
    if status >= 500 or status == 200:
        return Unclear(text, code=f"http_{status}")
    return Never(text, code=f"http_{status}")
