"""The site: which page answers which path.

Called by the composition root. Owns the routes; what they show is made by the modules beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import Missing, Refused, RemediatorError
from app.domain.events import EventKind
from app.domain.free_text import MAX_WHERE, told_of
from app.domain.outcome import RunState
from app.flow.services import Services
from app.flow.undoing.undo_order import KnowFirst
from app.intake.auth import Scope
from app.intake.oidc import CALLBACK
from app.page import (
    backtest,
    clicks,
    closer,
    doctor,
    export,
    incident,
    lists,
    login,
    news,
    overview,
    policy,
    procedures,
    records,
    render,
    seen,
    times,
    workload,
)
from app.page.requests import (
    Endpoint,
    Form,
    SignIn,
    Site,
    Tools,
    expensive,
    folding,
    form_of,
    greeting,
    looking,
    no_such_page,
    not_used,
    query_of,
    require,
    told,
    upload_of,
)
from app.page.session import Sessions, Visitor
from app.policy.decide import GATE_NAMES
from app.store import listing, runs
from app.store import records as store_records
from app.web.problems import status_of
from app.web.services import WebServices

NO_TOOLS = Tools()


def add_pages(
    app: FastAPI,
    web: WebServices,
    services: Services,
    sign_in: SignIn | None = None,
    tools: Tools = NO_TOOLS,
) -> FastAPI:
    """The application with the pages beside its API; with a `sign_in`, people may log in at an OpenID provider too; each of the `tools` has a
    page or a form."""
    sessions = Sessions(services.store.vault.key.secret, web.access, sign_in.terms if sign_in else None)
    site = Site(services, web, sessions, sign_in, tools)
    router = APIRouter(include_in_schema=False)
    for path, method, endpoint in _routes(site):
        router.add_api_route(path, endpoint, methods=[method], response_model=None)
    app.include_router(router)
    app.add_exception_handler(HTTPException, no_such_page)
    return app


def _routes(site: Site) -> tuple[tuple[str, str, Endpoint], ...]:
    async def stream(request: Request) -> Response:
        return await news.stream(site, request)

    return (
        ("/", "GET", looking(site, folding(_overview))),
        ("/incidents", "GET", looking(site, folding(_incidents))),
        ("/incidents/{incident_id}", "GET", looking(site, folding(_incident))),
        ("/runs/{run_id}", "GET", looking(site, folding(_run))),
        ("/targets/{namespace}/{kind}/{name}", "GET", looking(site, folding(_target))),
        ("/audit", "GET", looking(site, expensive(_audit))),
        ("/audit/export", "GET", looking(site, export.answer)),
        ("/policy", "GET", looking(site, expensive(_policy))),
        ("/policy/backtest", "POST", looking(site, expensive(_backtest))),
        ("/diagnosis", "GET", looking(site, expensive(_diagnosis))),
        ("/doctor", "GET", looking(site, expensive(_doctor))),
        ("/times", "GET", greeting(site, times.choose)),
        ("/scorecard", "GET", looking(site, expensive(_scorecard))),
        ("/procedures", "GET", looking(site, _procedures)),
        ("/procedures/{name}", "GET", looking(site, expensive(_procedure))),
        ("/procedures/{name}", "POST", looking(site, _order)),
        ("/incidents/{incident_id}/acknowledge", "POST", looking(site, clicks.acknowledge)),
        ("/runs/{run_id}/{action}", "POST", looking(site, _on_run)),
        ("/pause", "POST", looking(site, clicks.pause)),
        ("/resume", "POST", looking(site, clicks.resume)),
        ("/login", "GET", greeting(site, login.show)),
        ("/login", "POST", greeting(site, login.begin)),
        *_sign_in(site),
        ("/logout", "POST", looking(site, login.end)),
        ("/news", "GET", stream),
        ("/static/{name}", "GET", _static),
    )


def _sign_in(site: Site) -> tuple[tuple[str, str, Endpoint], ...]:
    if site.sign_in is None:
        return ()
    from app.page import oidc  # here, because its libraries are for whoever configures a provider

    return (
        ("/login/oidc", "GET", greeting(site, oidc.leave)),
        (CALLBACK, "GET", greeting(site, oidc.arrive)),
    )


async def _static(request: Request) -> Response:
    """Scripts and styles, for everybody: the login needs them too."""
    found = render.static(request.path_params["name"], request.query_params.get("v", ""))
    return found or told(request, Missing("there is no such file"))


async def _overview(site: Site, request: Request, visitor: Visitor) -> Response:
    shown = await overview.look(site.services, await site.web.ready(), visitor)
    return render.page("overview.html", o=shown, silent=overview.SILENT, **shell(site, request, visitor))


async def _incidents(site: Site, request: Request, visitor: Visitor) -> Response:
    chosen = lists.read(query_of(request.url.query))
    cursor, now = request.query_params.get("cursor", ""), site.web.clock.now()
    shown = await site.web.store.read(lambda conn: lists.look(conn, chosen, cursor, now))
    bounds: dict[str, Any] = {
        "ranges": tuple(lists.RANGES),
        "counted": listing.COUNTED,
        "looked_at": listing.LOOKED_AT,
        "looked_into": listing.LOOKED_INTO,
        "gates": GATE_NAMES,
        "run_states": tuple(state.value for state in RunState),
        "rules": tuple(rule.name for rule in site.services.policy().rules),
    }
    return render.page("incidents.html", l=shown, **bounds, **shell(site, request, visitor))


async def _incident(site: Site, request: Request, visitor: Visitor) -> Response:
    incident_id = request.path_params["incident_id"]
    query = dict(reversed(query_of(request.url.query)))
    find, see = query.get("find", ""), query.get("see", "")
    shown = await site.web.store.read(
        lambda conn: incident.look(conn, site.services, incident_id, visitor, find)
    )
    if see:
        with site.web.expensive.place(visitor.principal.name):
            found = await closer.look(site.services, incident_id, see, operates=visitor.may(Scope.OPERATE))
            shown = replace(shown, closer=found)
    return render.page("incident.html", i=shown, see=see, refusal=None, **shell(site, request, visitor))


async def _on_run(site: Site, request: Request, visitor: Visitor) -> Response:
    """A click on a run. A refused undo is told where it was clicked, with the reason as it was typed: the box beside it may be what it lacks."""
    form, run_id = await form_of(site, request, visitor), request.path_params["run_id"]
    try:
        return await clicks.on_run(site, request, visitor, form)
    except Refused as error:
        refused = error
    run = await site.web.store.read(lambda conn: runs.get(conn, run_id))
    with site.web.pages.place(visitor.principal.name):
        shown = await site.web.store.read(
            lambda conn: incident.look(conn, site.services, run.incident_id, visitor)
        )
    page = f"/incidents/{run.incident_id}"
    if shown.afterwards is None or shown.afterwards.run != run_id:
        return told(request, refused, page)
    unless = isinstance(refused, KnowFirst)
    refusal = {
        "text": told_of(closer.refused_with(refused)),
        "unless": unless,
        "reason": form.get("reason", ""),
    }
    frame = shell(site, request, visitor) | {"here": page}
    return render.page("incident.html", status_of(refused), i=shown, see="", refusal=refusal, **frame)


async def _target(site: Site, request: Request, visitor: Visitor) -> Response:
    """What the cluster says is asked only on demand: by the page's own script for its one section, or by a link for the whole page."""
    parts = request.path_params
    key = f"{parts['namespace']}/{parts['kind']}/{parts['name']}"
    present, refused = None, ""
    if request.query_params.get("now") == "1":
        with site.web.expensive.place(visitor.principal.name):
            present, refused = await workload.now(site.services, key)
        if "hx-request" in request.headers:
            now, shown_as = site.web.clock.now(), times.chosen(request.cookies)
            return render.page("present.html", present=present, refused=refused, now=now, times=shown_as)
    shown = replace(await workload.look(site.services, key), present=present, refused=refused)
    return render.page("target.html", t=shown, **shell(site, request, visitor))


async def _audit(site: Site, request: Request, visitor: Visitor) -> Response:
    query = dict(reversed(query_of(request.url.query)))  # the first of a name counts
    asked, cursor = records.read(query), query.get("cursor", "")
    store = site.web.store
    shown = await store.read(lambda conn: records.look(conn, store.audit_keys, asked, cursor))
    kinds = tuple(kind.value for kind in EventKind)
    bound = store_records.EXPORTED
    return render.page("audit.html", a=shown, kinds=kinds, exported=bound, **shell(site, request, visitor))


async def _policy(site: Site, request: Request, visitor: Visitor) -> Response:
    query = dict(reversed(query_of(request.url.query)))
    shown = await policy.look(site.services, query.get("labels", ""), site.tools.what_if)
    return _policy_page(site, request, visitor, shown, None)


async def _backtest(site: Site, request: Request, visitor: Visitor) -> Response:
    """The policy's page with what another policy would have done. It changes nothing, so whoever may look may ask."""
    sent = await upload_of(site, request, visitor)
    told = await backtest.tried(site, sent)
    return _policy_page(site, request, visitor, await policy.look(site.services, ""), told)


def _policy_page(
    site: Site, request: Request, visitor: Visitor, shown: policy.PolicyPage, told: backtest.Tried | None
) -> Response:
    status = 422 if shown.fault or (told is not None and told.faults) else 200
    bounds = {"spans": backtest.DAYS, "shown": backtest.SHOWN, "replayed": store_records.REPLAYED}
    frame = shell(site, request, visitor) | ({"here": "/policy"} if told is not None else {})
    tries = site.tools.backtest is not None
    return render.page("policy.html", status, s=shown, b=told, tries=tries, **bounds, **frame)


async def _diagnosis(site: Site, request: Request, visitor: Visitor) -> Response:
    shown = await seen.diagnosis(site.services, dict(reversed(query_of(request.url.query))))
    kinds = tuple(kind.value for kind in procedures.KINDS)
    return render.page("diagnosis.html", d=shown, kinds=kinds, **shell(site, request, visitor))


async def _doctor(site: Site, request: Request, visitor: Visitor) -> Response:
    shown = await doctor.look(site, visitor, now=request.query_params.get("look") == "1")
    return render.page("doctor.html", d=shown, words=doctor.WORDS, **shell(site, request, visitor))


async def _scorecard(site: Site, request: Request, visitor: Visitor) -> Response:
    shown = await seen.scorecard(site.services, request.query_params.get("days", "7"))
    return render.page("scorecard.html", c=shown, spans=seen.DAYS, **shell(site, request, visitor))


async def _procedures(site: Site, request: Request, visitor: Visitor) -> Response:
    shown = await procedures.everything(site.services)
    return render.page("procedures.html", c=shown, **shell(site, request, visitor))


async def _procedure(site: Site, request: Request, visitor: Visitor) -> Response:
    row = await procedures.one(site.services, request.path_params["name"])
    return _order_form(site, request, visitor, row)


async def _order(site: Site, request: Request, visitor: Visitor) -> Response:
    """Order it, then on to its incident. What was typed into a form that does not fit stays there to be corrected; after any other
    error the same click may count, and its form is not made anew."""
    form = await form_of(site, request, visitor)
    require(visitor, Scope.TRIGGER)
    row = await procedures.one(site.services, request.path_params["name"])
    try:
        return render.see(f"/incidents/{await procedures.order(site, visitor, row, form)}")
    except RemediatorError as error:
        if status_of(error) not in (404, 422):
            return told(request, error, f"/procedures/{row['name']}")
        return _order_form(site, request, visitor, row, (form, error))


def _order_form(
    site: Site,
    request: Request,
    visitor: Visitor,
    row: Mapping[str, Any],
    refused: tuple[Form, RemediatorError] | None = None,
) -> Response:
    shown: dict[str, Any] = {"typed": None, "refusal": None, "choices": procedures.choices}
    if refused is not None:
        form, error = refused
        shown["typed"] = form
        shown["refusal"] = (told_of(error.message), told_of(error.where, MAX_WHERE), error.code)
    may, kinds = visitor.may(Scope.TRIGGER), tuple(kind.value for kind in procedures.KINDS)
    status = 200 if refused is None else status_of(refused[1])
    return render.page(
        "procedure.html", status, r=row, orders=may, kinds=kinds, **shown, **shell(site, request, visitor)
    )


async def _run(site: Site, request: Request, visitor: Visitor) -> Response:  # noqa: ARG001 - a handler's signature
    """A run is part of its incident's page."""
    run_id = request.path_params["run_id"]
    run = await site.web.store.read(lambda conn: runs.get(conn, run_id))
    return render.see(f"/incidents/{run.incident_id}")


def shell(site: Site, request: Request, visitor: Visitor) -> dict[str, Any]:
    """What every page shows or needs for its forms."""
    query = f"?{request.url.query}" if request.url.query else ""
    return {
        "visitor": visitor,
        "operates": visitor.may(Scope.OPERATE),
        "doctor": site.tools.doctor is not None and visitor.may(Scope.OPERATE),
        "open_mode": site.web.access.open,
        "form": site.sessions.form_token(visitor),
        "once": site.web.ids.new("click"),
        "now": site.web.clock.now(),
        "times": times.chosen(request.cookies),
        "here": request.url.path + query,
        "not_used": not_used(request),
        "unfold": request.query_params.get("unfold") == "1",
    }
