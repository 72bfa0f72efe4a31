"""The reading part of the API: incidents, runs, remediations, policies, budgets, schedules, audit. Scope `read`.

Never changes anything. Every list is cursor-paged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import Response

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import NAMESPACE_NAME, OBJECT_NAME
from app.intake.body import pointer, rfc3339
from app.store import escalations, incidents, people, records, runs, shown, work
from app.store.connection import storable
from app.store.portions import Portion
from app.store.records import Sought
from app.web.answers import JSONAnswer, answer, document
from app.web.documented import answers, secured
from app.web.expensive import expensive, reader
from app.web.paging import EPISODE, Cursor, EpisodeCursor, Id, Limit, Page, cut, decode, decode_number, encode
from app.web.services import WebServices
from app.web.views import (
    AlertView,
    AuditView,
    IncidentSummary,
    IncidentView,
    RunSummary,
    RunView,
    alert_view,
    audit_view,
    incident_summary,
    incident_view,
    run_summary,
    run_view,
)

T = TypeVar("T")
_SHOWN_DECISIONS = 100
_SHOWN_RUNS = 100
_WORDS = 8
"""Words that one search of the audit trail may have: each is looked for in every record."""
_LIST = answers(401, 403, 422, 503)
_ONE = answers(401, 403, 404, 422, 503)

_Entries = Page[dict[str, Any]]
router = APIRouter(prefix="/api/v1", tags=["reading"], dependencies=[Depends(reader)])
_EXPENSIVE = [Depends(expensive)]


def services(request: Request) -> WebServices:
    """The services of this application."""
    found: WebServices = request.app.state.services
    return found


Using = Annotated[WebServices, Depends(services)]
IncidentId = Annotated[Id, Path()]
RunId = Annotated[Id, Path()]


async def _told(using: WebServices, look: Callable[[Connection], BaseModel]) -> Response:
    """What is seen in the store. The answer is made where it is read, in the line of whoever asks: who asks for many of them fills no memory
    with what has not been made yet, and keeps nobody else waiting."""
    return JSONAnswer(await using.store.read(lambda conn: document(look(conn))))


@router.get("/incidents", response_model=Page[IncidentSummary], responses=_LIST, openapi_extra=secured())
async def list_incidents(
    using: Using, cursor: Cursor = "", limit: Limit = 50, state: IncidentState | None = None
) -> Response:
    """Incidents, newest first. A page ends earlier where its entries are long."""
    before = decode(cursor)

    def look(conn: Connection) -> Page[IncidentSummary]:
        found = shown.incidents_listed(conn, before, limit, state)
        return Page(
            items=[incident_summary(row) for row in found.rows], next=_next(found, lambda row: row.id)
        )

    return await _told(using, look)


@router.get("/incidents/{incident_id}", response_model=IncidentView, responses=_ONE, openapi_extra=secured())
async def show_incident(using: Using, incident_id: IncidentId) -> Response:
    """One incident with its alerts, decisions and runs, as much of them as one answer holds."""

    def look(conn: Connection) -> IncidentView:
        return incident_view(
            incidents.get(conn, incident_id),
            (shown.each_alert(conn, incident_id), shown.alert_count(conn, incident_id)),
            shown.decisions_listed(conn, incident_id, _SHOWN_DECISIONS),
            shown.runs_listed(conn, None, _SHOWN_RUNS, incident_id),
            (escalations.of_incident(conn, incident_id), people.holder_of(conn, incident_id)),
        )

    return await _told(using, look)


@router.get(
    "/incidents/{incident_id}/alerts", response_model=Page[AlertView], responses=_ONE, openapi_extra=secured()
)
async def list_alerts(
    using: Using, incident_id: IncidentId, cursor: EpisodeCursor = "", limit: Limit = 50
) -> Response:
    """The alerts of one incident as they were sent, oldest first. A page ends earlier where they are long."""
    after = decode(cursor, EPISODE)

    def look(conn: Connection) -> Page[AlertView]:
        found = shown.alerts_listed(conn, incident_id, after, limit)
        return Page(items=[alert_view(row) for row in found.rows], next=_next(found, lambda row: row.episode))

    return await _told(using, look)


@router.get("/runs", response_model=Page[RunSummary], responses=_LIST, openapi_extra=secured())
async def list_runs(
    using: Using,
    cursor: Cursor = "",
    limit: Limit = 50,
    state: RunState | None = None,
    incident: Annotated[Id | None, Query(description="only runs of this incident")] = None,
) -> Response:
    """Runs, newest first. A page ends earlier where its entries are long."""
    before = decode(cursor)

    def look(conn: Connection) -> Page[RunSummary]:
        found = shown.runs_listed(conn, before, limit, incident, state)
        return Page(items=[run_summary(row) for row in found.rows], next=_next(found, lambda row: row.id))

    return await _told(using, look)


def _next(found: Portion[T], key: Callable[[T], str]) -> str | None:
    return encode(key(found.rows[-1])) if found.more else None


@router.get("/runs/{run_id}", response_model=RunView, responses=_ONE, openapi_extra=secured())
async def show_run(using: Using, run_id: RunId) -> Response:
    """One run with its plan and steps."""
    return await _told(using, lambda conn: run_view(runs.get(conn, run_id), work.entries(conn, run_id)))


@router.get(
    "/runs/{run_id}/explain",
    response_model=dict[str, Any],
    responses=_ONE,
    dependencies=_EXPENSIVE,
    openapi_extra=secured(),
)
async def explain_run(
    using: Using, run_id: Annotated[Id, Path(description="a run, or an incident without one")]
) -> Response:
    """Why and why not: all gates with value and threshold, from the audit trail alone."""
    return answer(await using.operations.explain(run_id))


@router.get("/remediations", response_model=_Entries, responses=_LIST, openapi_extra=secured())
async def list_remediations(using: Using, cursor: Cursor = "", limit: Limit = 50) -> Response:
    """The remediations that rules and orders can name."""
    return answer(_page_of(await using.views.remediations(), cursor, limit))


@router.get("/policies", response_model=_Entries, responses=_LIST, openapi_extra=secured())
async def list_policies(using: Using, cursor: Cursor = "", limit: Limit = 50) -> Response:
    """The policy in force."""
    return answer(_page_of(await using.views.policies(), cursor, limit))


@router.get("/budgets", response_model=_Entries, responses=_LIST, openapi_extra=secured())
async def list_budgets(using: Using, cursor: Cursor = "", limit: Limit = 50) -> Response:
    """The shared action budgets and what is spent of them."""
    return answer(_page_of(await using.views.budgets(), cursor, limit))


@router.get("/schedules", response_model=_Entries, responses=_LIST, openapi_extra=secured())
async def list_schedules(using: Using, cursor: Cursor = "", limit: Limit = 50) -> Response:
    """The rules that the clock orders: their next times, and what became of the last one."""
    return answer(_page_of(await using.views.schedules(), cursor, limit))


@router.get(
    "/scorecard",
    response_model=dict[str, Any],
    responses=_LIST,
    dependencies=_EXPENSIVE,
    openapi_extra=secured(),
)
async def show_scorecard(
    using: Using, days: Annotated[int, Query(ge=1, le=366, description="span back from now, in days")] = 7
) -> Response:
    """What the last days were worth: acted, verified fixed, not fixed, undone, harmful, time to mitigate, repeat offenders."""
    return answer(await using.views.scorecard(days))


@router.get(
    "/diagnosis",
    response_model=dict[str, Any],
    responses=answers(401, 403, 404, 422, 503),
    dependencies=_EXPENSIVE,
    openapi_extra=secured(),
)
async def show_diagnosis(
    using: Using,
    namespace: Annotated[
        str, Query(pattern=f"^{NAMESPACE_NAME}$", description="a namespace of the policy's scope")
    ],
    kind: Annotated[str, Query(pattern=r"^[A-Za-z]{0,40}$", description="with `name`: one workload")] = "",
    name: Annotated[
        str, Query(pattern=f"^({OBJECT_NAME})?$", description="with `kind`; a pod stands for its owner")
    ] = "",
) -> Response:
    """One screen about a workload or a namespace, read now: status, cause, pods, usage, warnings, errors, limits, recent alerts and
    runs. What could not be read is said in `unread` of its section."""
    return answer(await using.views.diagnosis(namespace, kind, name))


@router.get("/trust", response_model=_Entries, responses=_LIST, openapi_extra=secured())
async def list_trust(using: Using, cursor: Cursor = "", limit: Limit = 50) -> Response:
    """How far each alert, remediation and class of targets has come in mode earned, with its numbers."""
    return answer(_page_of(await using.views.trust(), cursor, limit))


def _about(
    kind: Annotated[EventKind | None, Query(description="only records of this kind")] = None,
    actor: Annotated[str, Query(max_length=300, description="only what this person or part did")] = "",
    incident: Annotated[Id | None, Query(description="only records of this incident")] = None,
    run: Annotated[Id | None, Query(description="only records of this run")] = None,
    target: Annotated[
        str, Query(max_length=400, description="only of incidents on NAMESPACE/KIND/NAME")
    ] = "",
) -> Sought:
    return Sought(kind, storable(actor), incident or "", run or "", storable(target))


def _sought(
    about: Annotated[Sought, Depends(_about)],
    words: Annotated[
        str, Query(max_length=300, description="all of them stand in the data or in who did it")
    ] = "",
    since: Annotated[str, Query(description="RFC 3339; included")] = "",
    until: Annotated[str, Query(description="RFC 3339; not included")] = "",
) -> Sought:
    """What of the audit trail is asked for. Raises BadInput (`invalid_parameter`) with the parameter."""
    each = tuple(storable(words).split())
    if len(each) > _WORDS:
        raise _unfit("words", f"more than {_WORDS} words")
    return replace(about, words=each, since=_time("since", since), until=_time("until", until))


def _time(name: str, text: str) -> datetime | None:
    found = rfc3339(text)
    if text and found is None:
        raise _unfit(name, "expected an RFC 3339 time")
    return found


def _unfit(name: str, told: str) -> BadInput:
    return BadInput(told, code="invalid_parameter", where=pointer("query", name))


@router.get(
    "/audit",
    response_model=Page[AuditView],
    responses=_LIST,
    dependencies=_EXPENSIVE,
    openapi_extra=secured(),
)
async def list_audit(
    using: Using, wanted: Annotated[Sought, Depends(_sought)], cursor: Cursor = "", limit: Limit = 50
) -> Response:
    """The audit trail, oldest first. One look covers a bounded number of records: with a filter a page may be empty and have a `next`, and a page
    ends earlier where its records are long."""
    after = decode_number(cursor)

    def look(conn: Connection) -> Page[AuditView]:
        found = records.onward(conn, wanted, after, limit)
        following = encode(str(found.following)) if found.following else None
        return Page(items=[audit_view(row) for row in found.rows], next=following)

    return await _told(using, look)


def _page_of(entries: Sequence[Mapping[str, Any]], cursor: str, limit: int) -> Page[dict[str, Any]]:
    start = decode_number(cursor)
    rows = [(start + index + 1, entry) for index, entry in enumerate(entries[start : start + limit + 1])]
    some, following = cut(rows, limit, lambda row: str(row[0]))
    return Page(items=[dict(entry) for _, entry in some], next=following)
