"""JSON Schema of a policy file, for editors and reviews. Committed as `policies/schema.json`; a test keeps it equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.policy.block import Block
from app.policy.document import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of one file. It cannot see what only the loader checks: names, time zones, combinations."""
    schema = Document.model_json_schema(by_alias=True, mode="validation")
    models = {model.__name__: model for model in _blocks(Block)}
    for name, part in {**schema["$defs"], Document.__name__: schema}.items():
        if name in models:
            _write_defaults(models[name], part["properties"])
    return {"$schema": DIALECT, **schema, "title": "alert-remediator policy"}


def _blocks(base: type[Block]) -> Iterator[type[Block]]:
    for model in base.__subclasses__():
        yield model
        yield from _blocks(model)


def _write_defaults(model: type[Block], properties: dict[str, Any]) -> None:
    """Show defaults as a policy writes them (`15m`, `30%`); pydantic would show its own encoding of the values."""
    written = model.model_construct().model_dump(mode="json", by_alias=True)
    for name, shown in properties.items():
        if "default" in shown:
            shown["default"] = written[name]
