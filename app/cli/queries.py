"""Looking at a running service: incidents, runs, and why."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from app.cli.output import AsJson, give, say, table, write, write_lines
from app.cli.remote import DEFAULT_URL, Remote, Token, Url, run_path
from app.domain.errors import ProbeUnavailable
from app.domain.outcome import IncidentState
from app.notify import scorecard as words
from app.notify.wording import NEEDED, person_word

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many rows.")]
State = Annotated[str, typer.Option("--state", help="Only in this state.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on with each change until Ctrl-C; with --json a line each.")
]

_INCIDENT = ("id", "state", "alertname", "namespace", "target", "opened_at")
_RUN = ("id", "state", "remediation", "target", "mode", "requested_at", "progress", "result")
_POLL = 2.0  # seconds between two looks of --follow


def incidents(
    state: State = "",
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
    follow: Follow = False,
) -> None:
    """Incidents, newest first; with --follow oldest first."""
    _list(_Listing(Remote(url, token), "/api/v1/incidents", state, limit, _INCIDENT), as_json, follow)


def runs(
    state: State = "",
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
    follow: Follow = False,
) -> None:
    """Runs, newest first; with --follow oldest first."""
    _list(_Listing(Remote(url, token), "/api/v1/runs", state, limit, _RUN), as_json, follow)


@dataclass(frozen=True, slots=True)
class _Listing:
    """Rows of one kind, as they are asked for and shown."""

    remote: Remote
    path: str
    state: str
    limit: int
    columns: Sequence[str]

    def rows(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self.remote.pages(self.path, {"state": self.state}, self.limit))


def _list(listing: _Listing, as_json: bool, follow: bool) -> None:
    if follow:
        _follow(listing, as_json)
    elif as_json:
        give(listing.rows())
    else:
        table(listing.columns, listing.rows())


def _follow(listing: _Listing, as_json: bool) -> None:
    """Print each row when it is new and whenever it changes. A service that is away is waited for; a refusal is raised."""
    shown: dict[str, dict[str, Any]] = {}
    away = heard = False
    try:
        while True:
            try:
                rows = listing.rows()
            except ProbeUnavailable as error:
                if not heard:
                    raise  # it was never there: most likely a wrong address
                if not away:
                    say(f"{error.message}; waiting")
                away, rows = True, []
            else:
                away, heard = False, True
            for row in (r for r in reversed(rows) if shown.get(r["id"]) != r):
                shown[row["id"]] = row
                write(json.dumps(row) if as_json else _line(listing.columns, row))
            sys.stdout.flush()
            time.sleep(_POLL)
    except KeyboardInterrupt:
        return


def _line(columns: Sequence[str], row: dict[str, Any]) -> str:
    return "  ".join("-" if row.get(c) in (None, "") else str(row[c]).replace("\n", " ") for c in columns)


def explain(
    any_id: Annotated[str, typer.Argument(metavar="ID", help="Id of an incident or a run.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Why it acted, or why not: evidence, every gate with value and threshold, what was done, from the audit trail."""
    remote = Remote(url, token)
    found = remote.get(run_path(any_id, "explain"))
    if as_json:
        give(found)
        return
    write_lines(explanation(found))


def explanation(found: dict[str, Any]) -> list[str]:
    """An explanation as lines for a terminal."""
    lines = [f"{found['state'].upper()}  {found['alertname']}  {found.get('target') or 'no target'}"]
    if found.get("reason"):
        lines.append(found["reason"])
    diagnosis = found.get("diagnosis")
    if diagnosis:
        lines += ["", "Evidence", f"  {diagnosis['summary']}"]
        for finding in diagnosis["findings"]:
            mark = "?" if finding["certainty"] == "unknown" else "-"
            lines.append(f"  {mark} {finding['text']}")
    if found.get("gates"):
        lines += ["", "Decision", *(f"  {line}" if line else "" for line in found["gates"])]
    for title, key in (("Done", "actions"), ("Verified", "verifications"), ("Undone", "undos")):
        if found.get(key):
            lines += [
                "",
                title,
                *(f"  {row['result']}: {_told(row)}" for row in found[key]),
            ]
    if found.get("ladder"):
        lines += ["", "Steps", *(f"  {step}" for step in found["ladder"])]
    if person := found.get("escalation"):
        over = IncidentState(found["state"]).closed
        lines += [
            "",
            person_word(IncidentState(found["state"])),
            f"  {person['reason'].removeprefix(NEEDED)}",
        ]
        lines += [f"  Tried: {text}" for text in person["tried"]]
        lines += [f"  Look at: {text}" for text in person["look_at"] if not over]
    if found.get("trust_levels"):
        lines += ["", "Trust", *(f"  {s['change']}: {s['key']}: {s['why']}" for s in found["trust_levels"])]
    lines += ["", "Trail"]
    lines += [f"  {e['seq']:>6}  {e['at'][:19]}  {e['kind']:<20}  {_said(e)}" for e in found["events"]]
    return lines


def _told(row: dict[str, Any]) -> str:
    """The text, after the summary unless the text repeats it."""
    summary, text = row.get("summary", ""), row["text"]
    return text if text.startswith(summary) else f"{summary}: {text}" if text else summary


def _said(event: dict[str, Any]) -> str:
    data = event["data"]
    for key in ("text", "summary", "reason", "target", "state", "alertname"):
        if data.get(key):
            return str(data[key])[:140]
    return ""


def scorecard(
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Span back from now.")] = 7,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """What the last days were worth: acted, verified fixed, not fixed, undone, harmful, time to mitigate, repeat offenders."""
    card = Remote(url, token).get("/api/v1/scorecard", {"days": days})
    if as_json:
        give(card)
        return
    for name, value in [
        *words.rows(card),
        *(("repeat offender", _often(o)) for o in words.offenders(card, 100)),
    ]:
        write(f"{name:<17} {value}")


def _often(offender: tuple[str, int]) -> str:
    target, number = offender
    return f"{target}: {number} incidents"


def schedules(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many rows.")] = 1_000,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """What the clock orders: when each rule is due next, and what became of its last time."""
    rows = list(Remote(url, token).pages("/api/v1/schedules", {}, limit))
    if as_json:
        give(rows)
        return
    table(("rule", "remediation", "next", "last", "result"), [_scheduled(row) for row in rows])


def _scheduled(row: dict[str, Any]) -> dict[str, str]:
    """One rule as its line; the result names the incident, for `remediator explain`."""
    result = " ".join(
        str(part) for part in (row["last_outcome"] or row["last_result"], row["last_incident"]) if part
    )
    return {
        "rule": row["rule"],
        "remediation": row["remediation"],
        "next": next(iter(row["next"]), "never"),
        "last": row["last_due"] or "never",
        "result": result,
    }
