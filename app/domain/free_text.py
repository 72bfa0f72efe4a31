"""What people and other systems say in free words: one form of it for every way in (API, web page, Slack, PagerDuty, senders of alerts).

It is made when the words come in, so that what is kept, audited, told and shown is the same. Pure.
"""

from __future__ import annotations

from app.domain.errors import BadInput
from app.domain.json import JsonValue, beginning
from app.domain.redact import Effort, redact, redact_value
from app.domain.text import CONTROL, bounded, visible

OF_PAGERDUTY = "pagerduty:"
"""The beginning of a name that somebody bears in PagerDuty, as `slack:` and `oidc:` are of names that were proved there."""
LONGEST_REASON = 2_000
"""Characters of a reason that are kept."""
_MAX_RAW = 2_000
MAX_DETAIL, MAX_WHERE = 1_000, 300
"""Characters of an error, and of the place of its fault, that are told."""
_MAX_EFFORT = 300
"""Units of work (`app.domain.effort`) on each of them: an error repeats what a sender wrote, and is told by who has to answer everybody else."""


def told_of(said: str, longest: int = MAX_DETAIL) -> str:
    """What an error says, or where, which may repeat words of a sender: the first `longest` characters, whole words, without what looks like a
    secret; nothing of it where that would take long to tell."""
    return _no_longer(redact(said, Effort(_MAX_EFFORT), longest), longest)


def one_line(text: str, longest: int, effort: Effort | None = None) -> str:
    """`text` as one line of about `longest` characters at most, without what looks like a secret and what nobody sees."""
    shown = CONTROL.sub(" ", redact(text, effort, longest))
    return _no_longer(redact(" ".join(shown.split()), effort), longest)


def name_told(text: str, longest: int) -> str:
    """What another system calls somebody, without what looks like a secret; what nobody sees stands as its escape."""
    return _no_longer(visible(redact(text, longest=longest)), longest)


def reason_given(text: str, longest: int = LONGEST_REASON) -> str:
    """Why somebody orders something. Raises BadInput (`no_reason`) when nothing of it can be read."""
    reason = one_line(text, longest)
    if not reason:
        raise BadInput("say why, others will ask", code="no_reason", where="reason")
    return reason


def cut_raw(item: JsonValue) -> JsonValue:
    """What could not be understood, as it was sent, or the beginning of its text when that is long; without what looks like a secret."""
    text = beginning(item, 2 * _MAX_RAW)
    shown: JsonValue = (
        redact_value(item) if len(text) <= _MAX_RAW else visible(redact(text, longest=_MAX_RAW - 1))
    )
    told = beginning(shown, 2 * _MAX_RAW)
    return shown if len(told) <= 2 * _MAX_RAW else told[:_MAX_RAW]


def _no_longer(text: str, longest: int) -> str:
    """What hides something may be longer than what it hides."""
    return bounded(text, longest) if len(text) > longest + 2 else text
