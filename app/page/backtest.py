"""A proposed policy against the stored alerts, as a part of the policy's page: what it would have done otherwise than the one in force.

Called by `app.page.site`. Reads only: the policy in force stays in force, and nothing of what is sent is kept. The replay itself is put in by
the command that serves: nothing of it is part of the service. One is under way at a time, over a bounded number of alerts and for a bounded time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from app.domain.errors import BadInput, Missing
from app.domain.redact import redact, work_bounded
from app.page.requests import Backtest, Site
from app.page.uploads import Upload
from app.policy.faults import PolicyFault, PolicyInvalid
from app.policy.model import Policy
from app.store import records
from app.store.records import Heard

DAYS: Final = (1, 7, 30, 90)
"""Spans that the form offers."""
SHOWN: Final = 50
"""Kinds of differences that the page shows."""
MAX_SECONDS: Final = 40.0
"""That it may take: less than a request may, so that who asked is told, and the next one finds the place."""
_PASTED = "pasted.yaml"
_FAULTS = 20
_WORK = 20_000  # units of `work_bounded`, on the texts of all of them


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a try. `text` is what was pasted, `files` the names of what was chosen; `faults` say why there is no `report`; `cut`: there
    are older alerts within the days, which were left out."""

    text: str
    files: tuple[str, ...]
    days: int
    report: Mapping[str, Any] | None = None
    faults: tuple[str, ...] = ()
    alerts: int = 0
    cut: bool = False

    @property
    def differences(self) -> Sequence[Mapping[str, Any]]:
        """The most frequent first."""
        found = self.report["differences"] if self.report else ()
        return sorted(found, key=lambda one: -one["count"])

    @property
    def decided_differently(self) -> int:
        """How many records."""
        return sum(one["count"] for one in self.differences)

    @property
    def totals(self) -> Sequence[tuple[str, int, int]]:
        """Each word with how often it is said by the policy in force and by the proposed one."""
        if self.report is None:
            return ()
        old, new = self.report["against"]["totals"], self.report["policy"]["totals"]
        return [(word, old[word], new[word]) for word in new if old[word] or new[word]]


def texts_of(sent: Upload) -> dict[str, str]:
    """The proposed policy's files by name, without its tests, as a folder is read. Raises BadInput when there is none."""
    texts = {n: text for n, text in sent.files.items() if not n.rpartition(".")[0].endswith(".test")}
    if (text := _pasted(sent)).strip():
        texts[_free(texts)] = text
    if not texts:
        raise BadInput("paste a policy or choose its files", code="no_policy", where="policy")
    return texts


async def tried(site: Site, sent: Upload) -> Tried:
    """Play it. What is wrong with the policy is said in the answer. Raises TryLater (`overloaded`) while another one is under way, BadInput,
    Missing where this service has no replay."""
    if site.tools.backtest is None:
        raise Missing("this service has no replay; run remediator policy backtest beside it")
    days = _days(sent.fields.get("days", ""))
    told = Tried(_pasted(sent), tuple(sorted(sent.files)), days)
    try:
        texts = texts_of(sent)
        with site.backtests.place(""):
            alerts, cut = await _heard(site, site.web.clock.now() - timedelta(days=days))
            report = await _played(site.tools.backtest, texts, site.services.policy(), alerts)
    except PolicyInvalid as error:
        faults = await asyncio.to_thread(_told, error.faults[:_FAULTS])
        more = len(error.faults) - _FAULTS
        return _refused(told, *faults, *([f"and {more} more faults"] if more > 0 else []))
    except BadInput as error:
        return _refused(told, error.message)
    except TimeoutError:
        longer = f"it took more than {MAX_SECONDS:g} s and was ended; choose fewer days, or run remediator policy backtest"
        return _refused(told, longer)
    return Tried(told.text, told.files, days, report, (), len(alerts), cut)


async def _played(
    play: Backtest, texts: Mapping[str, str], in_force: Policy, alerts: Sequence[Heard]
) -> Mapping[str, Any]:
    """What it gives. Ends it when its time is over, or the request is, and waits until it has: its place is taken until then. Raises TimeoutError."""
    over = threading.Event()
    playing = asyncio.ensure_future(play(texts, in_force, alerts, over.is_set))
    try:
        await asyncio.wait({playing}, timeout=MAX_SECONDS)
    finally:
        over.set()
        await asyncio.wait({playing})
        _ = playing.cancelled() or playing.exception()  # nobody else asks where the request has ended
    return playing.result()


def _told(faults: Sequence[PolicyFault]) -> list[str]:
    """They quote what was sent, which may take long to look through: beside the event loop, and only so much of it."""
    with work_bounded(_WORK, hides=True):
        return [redact(str(one)) for one in faults]


def _pasted(sent: Upload) -> str:
    """A browser sends the lines of a field with CR and LF, whatever was typed."""
    return sent.fields.get("policy", "").replace("\r\n", "\n")


def _free(texts: Mapping[str, str]) -> str:
    """A name for what was pasted that none of the files has."""
    taken = (f"pasted-{n}.yaml" for n in range(2, len(texts) + 3))
    return next(name for name in (_PASTED, *taken) if name not in texts)


def _refused(told: Tried, *faults: str) -> Tried:
    return Tried(told.text, told.files, told.days, faults=faults)


async def _heard(site: Site, since: datetime) -> tuple[list[Heard], bool]:
    """What was heard of alerts since then, oldest first, and whether there was more than is played."""
    found: list[Heard] = []
    before, looked, left = 0, 0, 4 * records.MAX_HEARD
    while looked < records.EXPORTED:
        part = await site.web.store.read(partial(records.heard, before=before))
        found += [one for one in part.rows if one.at >= since]
        left -= sum(one.size for one in part.rows)
        if len(found) > records.REPLAYED or left < 0:
            return found[: records.REPLAYED][::-1], True
        if not part.following or part.oldest is None or part.oldest < since:
            return found[::-1], False
        before, looked = part.following, looked + records.AT_ONCE
    return found[::-1], True


def _days(text: str) -> int:
    if text not in [str(n) for n in DAYS]:
        raise BadInput("choose how many days", code="bad_days", where="days")
    return int(text)
