"""What can be ordered, as pages: the catalogue, and of each remediation a form made from its parameters.

Called by `app.page.site`. An order goes the way of the API's: the same checks, the same gates, the name of whoever is logged in.
Never decides whether it may act. A form begins as a dry run, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.domain.errors import Missing
from app.domain.json import canonical, value_or_text
from app.domain.target import Kind
from app.flow.services import Services
from app.flow.upkeep import views
from app.intake import manual
from app.page.clicks import once_of
from app.page.requests import Form, Site, reason_of
from app.page.session import Visitor
from app.web.placing import place

KINDS = (Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET, Kind.POD)
"""What an order can name."""
_PARAM = "param-"
_ONE_OF = "one of "


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Rows as the API has them: procedures, which only orders start, and remediations, which alerts start too."""

    procedures: tuple[Mapping[str, Any], ...]
    remediations: tuple[Mapping[str, Any], ...]


async def everything(services: Services) -> Catalogue:
    """All that the service has."""
    rows = await views.remediations(services)
    return Catalogue(tuple(r for r in rows if r["procedure"]), tuple(r for r in rows if not r["procedure"]))


async def one(services: Services, name: str) -> Mapping[str, Any]:
    """One of them. Raises Missing."""
    found = next((r for r in await views.remediations(services) if r["name"] == name), None)
    if found is None:
        raise Missing("there is no such remediation or procedure", where="name")
    return found


async def order(site: Site, visitor: Visitor, row: Mapping[str, Any], form: Form) -> str:
    """Place an order of this remediation; gives the id of its incident, which tells what becomes of it. Raises RemediatorError."""
    body, by = canonical(_body(row, form)).encode(), visitor.principal
    key, now = f"page-{row['name']}-{once_of(form)}", site.web.clock.now()
    parse = partial(manual.parse, body, received_at=now, by=by, idempotency_key=key)
    placed = await site.web.long_bodies.read(by.name, body, parse)
    return (await place(site.web, placed)).incident_ids[0]


def choices(kind: str) -> tuple[str, ...]:
    """The values that a parameter of this type can have, where they are few; else none."""
    if kind == "boolean":
        return ("true", "false")
    return tuple(kind.removeprefix(_ONE_OF).split(", ")) if kind.startswith(_ONE_OF) else ()


def _body(row: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The order as the API takes it. Parameters without a value are left to the rule."""
    types = {p["name"]: p["type"] for p in row["parameters"]}
    given = {name: form.get(f"{_PARAM}{name}", "").strip() for name in types}
    return {
        "remediation": row["name"],
        "target": {part: form.get(part, "").strip() for part in ("namespace", "kind", "name")},
        "params": {name: _value(types[name], text) for name, text in given.items() if text},
        "reason": reason_of(form),
        "dry_run": "dry_run" in form,
    }


def _value(kind: str, text: str) -> Any:
    """The value of a parameter of this type; what is not of its type is refused later, with its name."""
    if kind.startswith(("text", _ONE_OF)):
        return text
    if kind.startswith("list of text") and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    return value_or_text(text)
