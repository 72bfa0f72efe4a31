"""The list of incidents: its filter is the URL, so that a view can be kept, shared and gone back to.

Called by `app.page.site`. Owns the names of the filter's fields and what is accepted in them. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from sqlalchemy import Connection

from app.domain.errors import BadInput
from app.domain.outcome import IncidentState, RunState
from app.intake.body import rfc3339
from app.policy.decide import GATE_NAMES
from app.store import listing, standing
from app.store.incidents import Incident
from app.store.listing import Facets, Wanted
from app.web import paging

ROWS = 50
_LONGEST = 4_096
"""As long as a label may be: what a link of ours asks for is never cut."""
_LONGEST_URL = 8_000
_FACETS = 12
"""Values of one facet that are shown."""
RANGES: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_TEXTS = ("alertname", "namespace", "target", "rule", "gate", "run", "range", "since", "until")
_BLOCKING = 3
"""Gates that have a preset: those that stopped most lately."""
_NEEDS = ("waiting", "stuck", "escalated")
PRESETS: tuple[tuple[str, Mapping[str, str | Sequence[str]]], ...] = (
    ("All", {}),
    ("Needs me", {"state": _NEEDS}),
    ("Under way", {"state": ("acting", "verifying")}),
    ("Fixed today", {"state": ("fixed", "contained"), "range": "24h"}),
    ("Refused or only observed", {"state": ("refused", "observed")}),
    ("Undone", {"run": "undone"}),
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What the URL asks for. `rule` and `gate` are of the last decision, `run` is a state of one of its runs, `range` is a name of `RANGES`; `since` and `until` are RFC 3339 and win over it."""

    states: tuple[IncidentState, ...] = ()
    alertname: str = ""
    namespace: str = ""
    target: str = ""
    rule: str = ""
    gate: str = ""
    run: str = ""
    range: str = ""
    since: str = ""
    until: str = ""

    def wanted(self, now: datetime) -> Wanted:
        """As the store knows it. Raises BadInput for a time that is none."""
        since = time_of("since", self.since) or (now - RANGES[self.range] if self.range else None)
        return Wanted(
            self.states,
            self.alertname,
            self.namespace,
            self.target,
            since,
            time_of("until", self.until),
            RunState(self.run) if self.run else None,
            self.rule,
            self.gate,
        )

    def url(self, changed: Mapping[str, str | Sequence[str]] | None = None) -> str:
        """The URL of this filter with some fields changed; an empty value takes a field away."""
        fields = {**self._fields(), **(changed or {})}
        pairs = [
            (name, one)
            for name, value in fields.items()
            for one in ([value] if isinstance(value, str) else value)
            if one
        ]
        return f"/incidents?{urlencode(pairs)}" if pairs else "/incidents"

    def _fields(self) -> dict[str, str | Sequence[str]]:
        return {"state": [s.value for s in self.states], **{name: getattr(self, name) for name in _TEXTS}}


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a facet: how many incidents have it, whether it is chosen, and where a click on it leads; nowhere where no address is long enough."""

    value: str
    count: int
    chosen: bool
    url: str


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the list. `following` is the URL of the next one; `more` says that the look ended before the page was full.
    `newest` is the id that news are counted from."""

    filter: Filter
    rows: Sequence[Incident]
    facets: Mapping[str, Sequence[Choice]]
    following: str
    more: bool
    newest: str
    presets: Sequence[tuple[str, str, bool]]


def read(query: Sequence[tuple[str, str]]) -> Filter:
    """The filter of a query string. Raises BadInput that names the field; fields that are none of ours are left alone, and the page says so."""
    single: dict[str, str] = {}
    states: list[IncidentState] = []
    for name, value in query:
        text = value.strip()
        if len(text) > _LONGEST and name in ("state", *_TEXTS):
            raise BadInput(f"longer than {_LONGEST:,} characters", code="invalid_parameter", where=name)
        if name == "state" and text:
            states.append(_state(text))
        elif name in _TEXTS and text:
            single[name] = text
    for name, known in (("range", tuple(RANGES)), ("gate", GATE_NAMES), ("run", tuple(RunState))):
        if name in single and single[name] not in known:
            allowed = ", ".join(known)
            raise BadInput(f"a {name} is one of {allowed}", code="invalid_parameter", where=name)
    return Filter(tuple(dict.fromkeys(states)), **single)


def look(conn: Connection, chosen: Filter, cursor: str, now: datetime) -> ListPage:
    """One page. Raises BadInput for a cursor or time that is none."""
    wanted = chosen.wanted(now)
    known: listing.Known = {}
    found = listing.page(conn, wanted, paging.decode(cursor), ROWS, known)
    following = chosen.url({"cursor": paging.encode(found.following)}) if found.following else ""
    return ListPage(
        chosen,
        found.rows,
        _choices(listing.facets(conn, wanted, known), chosen),
        following,
        found.more,
        standing.newest(conn) or "",
        tuple(
            (name, Filter().url(fields), _is(chosen, fields))
            for name, fields in (*PRESETS, *_blocked(listing.stopping(conn)))
        ),
    )


def _blocked(gates: Sequence[tuple[str, int]]) -> list[tuple[str, Mapping[str, str | Sequence[str]]]]:
    """Presets of what the gates stopped that stop most."""
    return [
        (f"Blocked by {gate}", {"state": ("refused", "observed"), "gate": gate})
        for gate, _ in gates[:_BLOCKING]
    ]


def _choices(found: Facets, chosen: Filter) -> dict[str, list[Choice]]:
    states = [s.value for s in chosen.states]
    shown: dict[str, list[Choice]] = {}
    for name, values in found.items():
        given = states if name == "state" else [getattr(chosen, name)]
        shown[name] = [
            Choice(value, count, value in given, _short(chosen.url({name: _toggled(name, value, given)})))
            for value, count in values[:_FACETS]
            if value
        ]
    return shown


def _short(url: str) -> str:
    return url if len(url) <= _LONGEST_URL else ""


def _toggled(name: str, value: str, given: Sequence[str]) -> str | Sequence[str]:
    """Several states can be chosen, of the other fields one value."""
    if name != "state":
        return "" if value in given else value
    return [s for s in given if s != value] if value in given else [*given, value]


def _is(chosen: Filter, fields: Mapping[str, str | Sequence[str]]) -> bool:
    return chosen.url() == Filter().url(fields)


def _state(text: str) -> IncidentState:
    try:
        return IncidentState(text)
    except ValueError as error:
        known = ", ".join(IncidentState)
        raise BadInput(f"a state is one of {known}", code="invalid_parameter", where="state") from error


def time_of(name: str, text: str) -> datetime | None:
    """The time in a field of a filter; None for an empty one. Raises BadInput."""
    if not text:
        return None
    at = rfc3339(text)
    if at is None:
        raise BadInput("expected an RFC 3339 time", code="invalid_parameter", where=name)
    return at
