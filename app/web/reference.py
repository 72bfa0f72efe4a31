"""The page /docs: the OpenAPI document for people, as plain HTML without a script, a style or anything from elsewhere.

Made from the document that programs read at /openapi.json, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The reference."""
    return HTMLResponse("\n".join(_page(request.app.openapi())))


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
