"""Presses: the buttons of the pages, each passed on to the operation that the API calls, under the visitor's name.

A click needs the scope `operate`, a reason, and a form of ours; whether it may happen now is decided where the API's orders are
decided. The form's number makes it count once: a second click of the same button leads to the same page and does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import BadInput, Missing, Refused, RemediatorError
from app.intake.auth import Scope
from app.page import render
from app.page.requests import Form, Site, form_of, local_path, reason_of, require, told
from app.page.session import Visitor
from app.store import incidents, runs
from app.store.approvals import Click, Repeated

_ONCE = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_PLAN = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HOURS = ("1", "4", "8", "24")


async def on_run(site: Site, request: Request, visitor: Visitor, form: Form) -> Response:
    """Approve, reject, undo or keep; then back to the incident, which tells what became of it. Raises Refused for an undo that is refused:
    its form tells why and has the box for who knows that."""
    require(visitor, Scope.OPERATE)
    run_id, action = request.path_params["run_id"], request.path_params["action"]
    run = await site.web.store.read(lambda conn: runs.get(conn, run_id))
    back = f"/incidents/{run.incident_id}"
    order, pages = _order(site, visitor, (run_id, action), form), (back, f"{back}#now")
    return await _pressed(request, order, pages, passes=Refused if action == "undo" else None)


async def _pressed(
    request: Request,
    order: Awaitable[object],
    pages: tuple[str, str],
    passes: type[RemediatorError] | None = None,
) -> Response:
    """Give the order; then on to the second page, or with its refusal back to the first. A click that was taken before is done. Raises what
    `passes`."""
    back, onward = pages
    try:
        await order
    except Repeated:
        pass
    except RemediatorError as error:
        if passes is not None and isinstance(error, passes):
            raise
        return told(request, error, back)
    return render.see(onward)


async def _order(site: Site, visitor: Visitor, what: tuple[str, str], form: Form) -> None:
    """Raises what the operation raises, and BadInput without a reason."""
    (run_id, action), by, orders = what, visitor.principal.name, site.web.operations
    click = Click(_key(form, by, action, run_id), reason_of(form))
    match action:
        case "approve":
            await orders.approve(run_id, by, _plan(form), click)
        case "reject":
            await orders.reject(run_id, by, _plan(form), click)
        case "undo":
            await orders.undo(run_id, by, click, despite="despite" in form)
        case "keep":
            await orders.keep(run_id, by, click)
        case _:
            raise Missing("there is no such button", where=action)


async def acknowledge(site: Site, request: Request, visitor: Visitor) -> Response:
    """Take an incident; then back to it."""
    form = await form_of(site, request, visitor)
    require(visitor, Scope.OPERATE)
    incident_id, by = request.path_params["incident_id"], visitor.principal.name
    await site.web.store.read(lambda conn: incidents.get(conn, incident_id))
    back = f"/incidents/{incident_id}"
    click = Click(_key(form, by, "acknowledge", incident_id), reason_of(form))
    order = site.web.operations.acknowledge(incident_id, by, click, "the web page")
    return await _pressed(request, order, (back, f"{back}#now"))


async def pause(site: Site, request: Request, visitor: Visitor) -> Response:
    """Set a pause."""
    form = await form_of(site, request, visitor)
    require(visitor, Scope.OPERATE)
    back, scope, hours = local_path(form.get("back", "/")), form.get("scope", ""), form.get("hours", "1")
    until = None
    if hours != "forever":
        if hours not in _HOURS:
            raise BadInput("choose how long", code="invalid_field", where="hours")
        until = site.web.clock.now() + timedelta(hours=int(hours))
    by = visitor.principal.name
    click = Click(_key(form, by, "pause", scope))
    order = site.web.operations.pause(scope, reason_of(form), by, until, click)
    return await _pressed(request, order, (back, back))


async def resume(site: Site, request: Request, visitor: Visitor) -> Response:
    """Lift a pause."""
    form = await form_of(site, request, visitor)
    require(visitor, Scope.OPERATE)
    back, scope, by = local_path(form.get("back", "/")), form.get("scope", ""), visitor.principal.name
    click = Click(_key(form, by, "resume", scope), reason_of(form))
    order = site.web.operations.resume(scope, by, click)
    return await _pressed(request, order, (back, back))


def _key(form: Form, by: str, action: str, what: str) -> str:
    """Under which key this click counts once: that of this button, on this page as it was loaded, for this person."""
    return f"page:{by}:{action}:{what[:300]}:{once_of(form)}"


def once_of(form: Form) -> str:
    """What tells this form, as its page was loaded, from every other. Raises BadInput (`bad_form`)."""
    once = form.get("once", "")
    if _ONCE.fullmatch(once) is None:
        raise BadInput("not a form of this page", code="bad_form", where="once")
    return once


def _plan(form: Form) -> str:
    """The plan that was read above the button; an answer never counts for another."""
    plan = form.get("plan_hash", "")
    if _PLAN.fullmatch(plan) is None:
        raise BadInput("not a form of this page", code="bad_form", where="plan_hash")
    return plan
