"""Login and logout: a token for a cookie, and the end of a session. `app.page.oidc` is the login at a provider.

The token is compared as the API compares it and kept nowhere. A logout is remembered in the store until long after the session
would have ended, so a copied cookie ends with it on every replica.
"""

from __future__ import annotations

from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import NotAuthenticated, NotPermitted
from app.intake.oidc import PREFIX
from app.page import render
from app.page.requests import Site, form_of, is_https, local_path, onward_of
from app.page.session import LIFETIME, Visitor, cookie, signed_out
from app.store import approvals
from app.store.approvals import Repeated
from app.web.cookies import SESSION

log = structlog.get_logger("app.page")


async def show(site: Site, request: Request, visitor: Visitor) -> Response:
    """The form; nothing to fill in where the API is open."""
    if site.web.access.open:
        return render.see("/")
    return _form(site, visitor, onward_of(request))


async def begin(site: Site, request: Request, visitor: Visitor) -> Response:
    """Exchange the token. A wrong one is told on the form, and counted against its address."""
    form = await form_of(site, request, visitor)
    onward = local_path(form.get("next", "/"))
    address = request.client.host if request.client else ""
    site.failures.require_room(address, site.web.clock.monotonic())
    try:
        begun, sealed = site.sessions.begin(
            form.get("token", ""), site.web.ids.new("session"), site.web.clock.now()
        )
    except (NotAuthenticated, NotPermitted) as error:
        site.failures.count(address, site.web.clock.monotonic())
        log.warning("login_refused", code=error.code, address=address)
        status = 401 if isinstance(error, NotAuthenticated) else 403
        return _form(site, visitor, onward, error.message, status)
    log.info("logged_in", name=begun.principal.name)
    answer = render.see(onward)
    seconds = int(LIFETIME.total_seconds())
    answer.headers.append("set-cookie", cookie(SESSION, sealed, seconds=seconds, secure=is_https(request)))
    return answer


async def end(site: Site, request: Request, visitor: Visitor) -> Response:
    """Log out; a second time too."""
    await form_of(site, request, visitor)
    if visitor.ends is not None:
        key = signed_out(visitor.mark)
        try:
            await site.web.store.write(lambda tx: approvals.take(tx, key))
        except Repeated:
            log.info("logged_out_twice", name=visitor.principal.name)
    answer = await _goodbye(site, visitor) or render.see("/login")
    answer.headers.append("set-cookie", cookie(SESSION, "", seconds=0, secure=is_https(request)))
    return answer


async def _goodbye(site: Site, visitor: Visitor) -> Response | None:
    if site.sign_in is None or not visitor.principal.name.startswith(PREFIX):
        return None
    from app.page import oidc  # here, because its libraries are for whoever configures a provider

    return await oidc.goodbye(site.sign_in)


def _form(site: Site, visitor: Visitor, onward: str, error: str = "", status: int = 200) -> Response:
    token = site.sessions.form_token(visitor)
    sign_in = site.sign_in
    there = {"place": sign_in.terms.place, "query": urlencode({"next": onward})} if sign_in else None
    return render.page("login.html", status, form=token, onward=onward, error=error, there=there)
