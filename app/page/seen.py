"""What was asked about and what was worth it, as two pages: one screen about a workload or a namespace now, and the scorecard.

Called by `app.page.site`. Reads only; the first asks the cluster, within the bounds of every diagnosis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.domain.errors import BadInput, RemediatorError
from app.domain.free_text import told_of
from app.domain.target import NAMESPACE_NAME, OBJECT_NAME
from app.flow.diagnosing import look as screens
from app.flow.diagnosing.look import Screen
from app.flow.notifying.scorecard import last_days
from app.flow.services import Services
from app.notify import scorecard as words
from app.page.procedures import KINDS

DAYS: Final = (1, 7, 30, 90)
"""Spans that the scorecard offers."""
_MAX_DAYS = 366
_OFFENDERS = 100


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was asked for, and the screen; without one `refusal` says why, and both are empty before anything was asked."""

    namespace: str = ""
    kind: str = ""
    name: str = ""
    screen: Screen | None = None
    refusal: str = ""


async def diagnosis(services: Services, query: Mapping[str, str]) -> Diagnosis:
    """The page; what cannot be asked or read is said on it."""
    namespace, name = query.get("namespace", "").strip(), query.get("name", "").strip()
    kind = query.get("kind", "") if name else ""
    asked = Diagnosis(namespace[:63], kind[:40], name[:253])
    if not namespace and not name:
        return asked
    try:
        if not re.fullmatch(NAMESPACE_NAME, namespace):
            raise BadInput("a namespace has lower case letters, digits and hyphens", where="namespace")
        if name and (not re.fullmatch(OBJECT_NAME, name) or kind not in [one.value for one in KINDS]):
            raise BadInput(
                "a name has lower case letters, digits, hyphens and dots, and a kind", where="name"
            )
        screen = await screens.diagnose(services, namespace, kind, name)
    except RemediatorError as error:
        return Diagnosis(asked.namespace, asked.kind, asked.name, refusal=told_of(error.message))
    return Diagnosis(asked.namespace, asked.kind, asked.name, screen)


@dataclass(frozen=True, slots=True)
class Card:
    """The scorecard of the last `days`: its lines, each with that of the days before in brackets, and repeat offenders."""

    days: int
    rows: Sequence[tuple[str, str]]
    offenders: Sequence[tuple[str, int]]
    data: Mapping[str, Any]


async def scorecard(services: Services, asked: str) -> Card:
    """The card of the last days. Raises BadInput (`bad_days`) for a span that is none."""
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:4]) <= _MAX_DAYS:
        raise BadInput(f"a whole number of days from 1 to {_MAX_DAYS}", code="bad_days", where="days")
    days = int(asked[:4])
    card = await last_days(services, days)
    return Card(days, words.rows(card), words.offenders(card, _OFFENDERS), card)
