"""The page /docs: the OpenAPI document for people, as plain HTML without a script, a style or anything from elsewhere.

Made from the document that programs read at /openapi.json, so that the two cannot differ. Both are rendered once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response


class Documents:
    """The reference in both forms, each rendered when it is first asked for: it is the same as long as the service runs."""

    def __init__(self, document: Callable[[], Mapping[str, Any]]) -> None:
        self._document = document

    @cached_property
    def for_people(self) -> bytes:
        """As HTML."""
        return "\n".join(_page(self._document())).encode()

    @cached_property
    def for_programs(self) -> bytes:
        """As JSON."""
        return json.dumps(self._document(), ensure_ascii=False, separators=(",", ":")).encode()


router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The reference."""
    return HTMLResponse(request.app.state.documents.for_people)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The same for programs."""
    return Response(request.app.state.documents.for_programs, media_type="application/json")


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
    yield f"<p>{escape(document['info']['description'])}</p>"
    yield '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield from _operation(f"{method.upper()} {path}", operation)
    yield "</html>"


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2><p>{escape(operation.get('description') or operation['summary'])}</p>"
    schemes = " or ".join(key for choice in operation.get("security", []) for key in choice)
    yield f"<p>Authentication: {escape(schemes or 'none')}</p><dl>"
    for parameter in operation.get("parameters", []):
        label = f"{parameter['name']} ({parameter['in']})"
        yield f"<dt>{escape(label)}</dt><dd>{escape(parameter.get('description', ''))}</dd>"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        model = content["schema"].get("$ref", "object").rpartition("/")[2]
        yield f"<dt>body</dt><dd>{escape(media)}: {escape(model)}</dd>"
    for status, answer in operation["responses"].items():
        yield f"<dt>{escape(status)}</dt><dd>{escape(answer['description'])}</dd>"
    yield "</dl>"
