"""Rendering: templates to answers, and what every page tells a browser it may do.

Owns the environment of the templates, the cleaning of what they put out, and the headers. Everything that a template puts out
is escaped, and characters that nobody sees are made visible first, so that a label, a log line or a reason can neither format,
script, hide nor reorder anything. Never marks anything as safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from app.domain.json import canonical
from app.domain.text import CONTROL, visible
from app.domain.units import duration, utc
from app.notify.text import Piece, Ref, Span, When, Who, is_url
from app.notify.wording import state_word, undo_line
from app.page.entries import gate_word
from app.web.answers import Answer

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""A page loads what this service serves, and nothing else; nothing in the page itself is a script or a style."""
HEADERS = {
    "content-security-policy": CSP,
    # With no-referrer a browser would not even tell us that a form is our own: its Origin would be null.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Of every answer."""
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_KEPT = "public, max-age=31536000, immutable"


@cache
def statics() -> Mapping[str, tuple[bytes, str, str]]:
    """The static files by name: content, media type, and the beginning of the content's SHA-256 that their URL ends with."""
    found = {}
    for entry in files("app.page").joinpath("static").iterdir():
        kind = _KINDS.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            content = entry.read_bytes()
            found[entry.name] = (content, kind, sha256(content).hexdigest()[:16])
    return found


def static(name: str, version: str) -> Response | None:
    """A static file; None for a name that is none. A browser or proxy may keep it only under the URL that names its content:
    while versions are exchanged another replica may be asked for what this one does not have."""
    found = statics().get(name)
    if found is None:
        return None
    content, kind, digest = found
    kept = {"cache-control": _KEPT} if version == digest else {}
    return Response(content, headers={**HEADERS, **kept}, media_type=kind)


class _HTML(Answer):
    media_type = "text/html"


def page(template: str, code: int = 200, **shown: Any) -> Response:
    """An answer from a template, with the HTTP status `code`. It is rendered beside the event loop, before it is sent."""
    return _HTML(lambda: render(template, **shown).encode(), code, HEADERS)


def render(template: str, **shown: Any) -> str:
    """A template with these values."""
    return _environment().get_template(template).render(**shown)


def see(path: str) -> Response:
    """After a form: go and look at `path`, which is one of ours."""
    return RedirectResponse(path, 303, headers=HEADERS)


@cache
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("app.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(utc=utc, iso=_iso, span=_span, ago=_ago, plain=_plain)
    env.globals.update(
        static_url=static_url,
        piece_kind=piece_kind,
        state_word=state_word,
        gate_word=gate_word,
        undo_line=undo_line,
    )
    return env


def static_url(name: str) -> str:
    """The URL of a static file."""
    return f"/static/{name}?v={statics()[name][2]}"


def piece_kind(piece: Piece) -> str:
    """How a piece of a line is shown: the name of its style, `when`, `link` or `who`."""
    match piece:
        case Span():
            return piece.style.value
        case When():
            return "when"
        case Ref():
            return "link" if _is_link(piece.url) else "address"
        case Who():
            return "who"


def _is_link(url: str) -> bool:
    """Only http and https are links, and only without characters that nobody sees; the rest is shown as text."""
    return is_url(url) and CONTROL.search(url) is None


def _clean(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _plain(value: Any) -> str:
    """Text as it is, other values as JSON."""
    return value if isinstance(value, str) else canonical(value)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _span(value: timedelta | float) -> str:
    return duration(value if isinstance(value, timedelta) else timedelta(seconds=value))


def _ago(at: datetime, now: datetime) -> str:
    return f"{_span(now - at)} ago" if at <= now else f"in {_span(at - now)}"
