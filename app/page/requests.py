"""Requests of the pages: from one to who looks and what a form says, and from an error to a page that tells it.

Called by the routes of `app.page.site`. Every request goes through here: session or open mode, scope, and for whatever changes
something the Origin, the form's token and the limits of a body. Never decides what is shown or done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from app.domain.decision import Decision
from app.domain.errors import BadInput, Missing, NotAuthenticated, NotPermitted, RemediatorError, TryLater
from app.domain.free_text import name_told, reason_given, told_of
from app.domain.lines import ASKED_BY, EXPENSIVE, Asker
from app.domain.redact import work_bounded
from app.domain.target import Target
from app.flow.services import Services
from app.intake.auth import ANYONE, Principal, Scope
from app.intake.oidc import OidcTerms
from app.page import render
from app.page.session import LIFETIME, Sessions, Visitor, cookie, signed_out, visit_of
from app.page.streams import Streams
from app.page.uploads import Upload, parse
from app.policy.facts import Facts
from app.policy.model import Policy, Rule
from app.store import approvals
from app.store.connection import storable
from app.store.records import Heard
from app.web.answers import Answer
from app.web.callers import CALLER, caller, headers_of, require_same_site
from app.web.cookies import VISIT
from app.web.expensive import ExpensiveReads
from app.web.failures import Failures, TooManyFailuresError
from app.web.problems import REQUEST_ID, handle_http, retry_after, status_of
from app.web.requests import read_body
from app.web.services import WebServices

if TYPE_CHECKING:  # its libraries are for whoever configures a provider
    from app.observe.identity_provider import IdentityProvider

MAX_FORM = 16 * 1024
MAX_UPLOAD = 768 * 1024
MAX_ONWARD = 6 * 1024
"""Bytes of a query that asks where to go on: a path of 2,000 characters, each as its escape."""
"""Of a form with files: more than any policy has."""
_FIELDS = 100
"""Of a form: that of the procedure with the most parameters has some forty."""
_QUERY_FIELDS = 50
_STRANGE_NAMES = 30
"""Of fields in a query that nobody knows, shown."""
_REASON = 500
_OF_NAMES = 500
"""Units of work (`app.domain.redact.Effort`) on the names in a query that nobody knows."""
_PLACE = 200
_FORM = "application/x-www-form-urlencoded"
_QUERIES: Mapping[str, frozenset[str]] = {
    "/incidents": frozenset(
        (
            "state",
            "alertname",
            "namespace",
            "target",
            "rule",
            "gate",
            "run",
            "range",
            "since",
            "until",
            "cursor",
        )
    ),
    "/audit": frozenset(("words", "kind", "actor", "target", "incident", "run", "since", "until", "cursor")),
    "/policy": frozenset(("labels",)),
    "/diagnosis": frozenset(("namespace", "kind", "name")),
    "/scorecard": frozenset(("days",)),
    "/doctor": frozenset(("look",)),
    "/incidents/": frozenset(("find", "see")),
    "/targets/": frozenset(("now",)),
}
"""Fields that the pages look at beside `unfold`, by path or by its beginning."""
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,2000}", re.ASCII)

Form = Mapping[str, str]
NOBODY = Principal("nobody", frozenset())
"""Who looks at the login."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """An OpenID provider that people may log in at, and what its words are worth."""

    terms: OidcTerms
    provider: IdentityProvider


Doctor: TypeAlias = Callable[[], Awaitable[Sequence[Mapping[str, str]]]]
"""Gives the findings as `remediator doctor --json` prints them: area, code, level, text and fix."""
Backtest: TypeAlias = Callable[
    [Mapping[str, str], Policy, Sequence[Heard], Callable[[], bool]], Awaitable[Mapping[str, Any]]
]
"""Plays what was heard, oldest first, through the policy of these texts and through the one in force; gives what `remediator policy
backtest --against --json` prints. It asks before each alert whether it is to end. Raises PolicyInvalid, TimeoutError when it is."""


class WhatIf(Protocol):
    """Judges an alert that nobody raised by what is known of rule and target: the decision, the target (empty for none), and the later rules that
    match too. Knows nothing but what `known` tells, and may be asked in any thread."""

    def __call__(
        self, policy: Policy, labels: Mapping[str, str], now: datetime, known: Callable[[Rule, Target], Facts]
    ) -> tuple[Decision, str, Sequence[str]]:
        """The decision, the key of the target, and the names of the other rules."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What is no part of the service and is put in by the command that serves, imported when somebody asks for it. Without a `doctor` there is no
    page of it, without a `backtest` no form for one, without a `what_if` no gates of an alert that nobody raised."""

    doctor: Doctor | None = None
    backtest: Backtest | None = None
    what_if: WhatIf | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages work with: the flow's services, those of the HTTP side, and what is the pages' own. Without a `sign_in` people log
    in with a token."""

    services: Services
    web: WebServices
    sessions: Sessions
    sign_in: SignIn | None = None
    tools: Tools = Tools()
    failures: Failures = field(default_factory=Failures)
    streams: Streams = field(default_factory=Streams)
    backtests: ExpensiveReads = field(default_factory=lambda: ExpensiveReads(1, 1))


Handler = Callable[[Site, Request, Visitor], Awaitable[Response]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def looking(site: Site, handler: Handler) -> Endpoint:
    """An endpoint for whoever may look; others are sent to the login."""

    async def endpoint(request: Request) -> Response:
        try:
            visitor, brought = await arrive(site, request)
            request.scope[CALLER] = visitor.principal.name
            response = await handler(site, request, visitor)
        except NotAuthenticated as error:
            return _to_login(request, error)
        except RemediatorError as error:
            return told(request, error, _without_fault(request, error))
        return _keep_visit(request, response, visitor.mark if brought else "")

    return endpoint


def expensive(handler: Handler) -> Handler:
    """A handler that needs a place among the expensive reads. Raises TryLater (`overloaded`)."""

    async def placed(site: Site, request: Request, visitor: Visitor) -> Response:
        ASKED_BY.set(Asker(visitor.principal.name, EXPENSIVE))  # also of a form that changes nothing
        with site.web.expensive.place(visitor.principal.name):
            return await _made(await handler(site, request, visitor))

    return placed


def folding(handler: Handler) -> Handler:
    """A handler of a page that folds many rows; of these more are answered at once. Raises TryLater (`overloaded`)."""

    async def placed(site: Site, request: Request, visitor: Visitor) -> Response:
        with site.web.pages.place(visitor.principal.name):
            return await _made(await handler(site, request, visitor))

    return placed


async def _made(response: Response) -> Response:
    """Made while its place is taken: what it is made of stands in memory until then."""
    if isinstance(response, Answer):
        await response.made()
    return response


def greeting(site: Site, handler: Handler) -> Endpoint:
    """An endpoint for everybody: the login. Its visitor may be nobody, with the mark of this browser."""

    async def endpoint(request: Request) -> Response:
        mark = visit_of(request.cookies)
        visitor = Visitor(NOBODY, mark or site.web.ids.new("visit"))
        try:
            response = await handler(site, request, visitor)
        except RemediatorError as error:
            return told(request, error)
        return _keep_visit(request, response, "" if mark else visitor.mark)

    return endpoint


async def arrive(site: Site, request: Request) -> tuple[Visitor, bool]:
    """Who looks, and whether their browser has to be given a mark. Raises NotAuthenticated, NotPermitted, StoreUnavailable."""
    headers = headers_of(request.scope)
    if site.web.access.open:
        caller(site.web.access, headers, Scope.READ)  # a loopback name only
        mark = visit_of(request.cookies)
        _looks(request, ANYONE)
        return Visitor(ANYONE, mark or site.web.ids.new("visit")), not mark
    visitor = site.sessions.visitor(request.cookies, site.web.clock.now())
    if visitor is None:
        raise NotAuthenticated("log in first")
    _looks(request, visitor.principal)
    if await is_signed_out(site, visitor):
        raise NotAuthenticated("this session was ended")
    return visitor, False


def _looks(request: Request, principal: Principal) -> None:
    """Whoever only looks waits in their own line; what somebody orders is the service's own work."""
    if request.method == "GET":
        ASKED_BY.set(Asker(principal.name))


async def is_signed_out(site: Site, visitor: Visitor) -> bool:
    """Whether somebody ended this session, on whichever replica."""
    key = signed_out(visitor.mark)
    return await site.web.store.read(lambda conn: approvals.taken(conn, key))


async def form_of(site: Site, request: Request, visitor: Visitor) -> Form:
    """What a form of ours says. Raises NotPermitted for one from elsewhere, BadInput beyond the limits, TryLater."""
    _require_own_page(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadInput("send a form", code="media_type_refused", where="Content-Type")
    body = await _body(site, request, MAX_FORM)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="replace", max_num_fields=_FIELDS
        )
    except ValueError as error:
        raise BadInput("not a form of this page", code="bad_form", where="body") from error
    form = dict(reversed(pairs))  # the first of a name counts
    _require_token(site, visitor, form)
    return form


async def upload_of(site: Site, request: Request, visitor: Visitor) -> Upload:
    """The same for a form with files."""
    _require_own_page(request)
    body = await _body(site, request, MAX_UPLOAD)
    sent = await asyncio.to_thread(parse, request.headers.get("content-type", ""), body)
    _require_token(site, visitor, sent.fields)
    return sent


async def _body(site: Site, request: Request, limit: int) -> bytes:
    return await read_body(request.scope, request.receive, limit=limit, seconds=site.web.limits.body_seconds)


def _require_token(site: Site, visitor: Visitor, form: Form) -> None:
    if not site.sessions.is_form_token(form.get("form", ""), visitor):
        raise NotPermitted(
            "this form is not from this page or its session is over: load the page again and look once more",
            code="form_refused",
        )


def _require_own_page(request: Request) -> None:
    """A form comes from a page of ours: a browser always says from where it sends one, and behind https not from http.

    Raises NotPermitted (`cross_site`), NotAuthenticated (`repeated_header`).
    """
    headers = headers_of(request.scope)
    require_same_site(headers)
    host = headers.get(b"host", b"").decode("latin-1")
    scheme, _, authority = request.headers.get("origin", "").partition("://")
    ours = scheme == "https" or (scheme == "http" and not is_https(request))
    fetched = request.headers.get("sec-fetch-site", "same-origin")
    if authority != host or not ours or fetched != "same-origin":
        raise NotPermitted(
            "this form was not sent by a page of this service", code="cross_site", where="Origin"
        )


def query_of(query: str) -> list[tuple[str, str]]:
    """The fields of a query string, as the store can compare them. Raises BadInput for more than a page of ours has."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS)
    except ValueError as error:
        raise BadInput("more fields than a page has", code="invalid_parameter", where="query") from error
    return [(name, storable(value)) for name, value in pairs]


def _without_fault(request: Request, error: RemediatorError) -> str:
    """Where Back leads from a page whose query has a fault: to the rest of the same query. Elsewhere the overview."""
    fields = parse_qsl(request.url.query)
    rest = [(name, value) for name, value in fields if name != error.where]
    if request.method != "GET" or not isinstance(error, BadInput) or len(rest) == len(fields):
        return "/"
    return local_path(request.url.path + (f"?{urlencode(rest)}" if rest else ""))


def not_used(request: Request) -> Sequence[str]:
    """Names in the query that the page does not know, so that it can say that they did nothing."""
    path = request.url.path
    known = _QUERIES.get(path) or _QUERIES.get(f"/{path.split('/')[1]}/", frozenset())
    asked = dict.fromkeys(name for name, _ in parse_qsl(request.url.query, keep_blank_values=True))
    others = [name for name in asked if name not in known | {"unfold"}][:_STRANGE_NAMES]
    with work_bounded(_OF_NAMES, hides=True):
        return [name_told(name, _PLACE) for name in others]


def require(visitor: Visitor, scope: Scope) -> None:
    """Raise NotPermitted unless the visitor has this scope."""
    if not visitor.may(scope):
        raise NotPermitted(f"{visitor.principal.name} lacks the scope {scope}", code="scope_missing")


def reason_of(form: Form) -> str:
    """Why, in their own words, as every way in takes them. Raises BadInput (`no_reason`)."""
    return reason_given(form.get("reason", ""), longest=_REASON)


def local_path(given: str) -> str:
    """A path of this service to go on with; the overview for anything else, so that no link leads elsewhere through us."""
    return given if _LOCAL.fullmatch(given) else "/"


def onward_of(request: Request) -> str:
    """Where the query asks to go on after a login. Of a long one nothing is read: anybody may send it, and as many as they like."""
    if len(request.scope["query_string"]) > MAX_ONWARD:
        return "/"
    return local_path(request.query_params.get("next", "/"))


def is_https(request: Request) -> bool:
    """Whether the browser came by https, as it says itself or a proxy says; it decides about its own cookie only."""
    said = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return "https" in (said, request.url.scheme) or request.headers.get("origin", "").startswith("https://")


def told(request: Request, error: RemediatorError, back: str = "/") -> Response:
    """An error as a page, with the place of the fault. What has no place in the contract tells its code and the request's id only."""
    where = ""
    if (status := status_of(error)) == 500:
        text = "an unexpected error; the service's log has it"
    else:
        text, where = told_of(error.message), told_of(error.where, _PLACE)
    request_id = str(request.scope.get(REQUEST_ID, ""))
    shown = {"text": text, "where": where, "why": error.code, "back": back, "request_id": request_id}
    answer = render.page("error.html", status, status=status, **shown)
    if isinstance(error, TooManyFailuresError):
        answer.headers["retry-after"] = str(error.seconds)
    if isinstance(error, TryLater):
        answer.headers["retry-after"] = retry_after(error)
    return answer


async def no_such_page(request: Request, error: Exception) -> Response:
    """Exception handler for what the framework itself raises: a page for somebody who looks with a browser, the API's answer for all
    others. What was asked for is not repeated."""
    looks = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")
    if not looks or getattr(error, "status_code", 0) != 404 or request.url.path.startswith("/api/"):
        return await handle_http(request, error)
    return told(request, Missing("there is no such page here; the overview leads to all of them"))


def _to_login(request: Request, error: NotAuthenticated) -> Response:
    # A part of a page that its script asks for is no place for a login.
    if request.method != "GET" or error.code == "repeated_header" or "hx-request" in request.headers:
        return told(request, error, "/login")
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("sec-fetch-site") == "cross-site":
        # Who comes by a link from elsewhere brings no cookie of ours; when our own page leads them on, they do.
        return render.page("again.html", path=local_path(path))
    return render.see("/login" if path == "/" else f"/login?{urlencode({'next': path})}")


def _keep_visit(request: Request, response: Response, mark: str) -> Response:
    if mark:
        seconds = int(LIFETIME.total_seconds())
        response.headers.append("set-cookie", cookie(VISIT, mark, seconds=seconds, secure=is_https(request)))
    return response
