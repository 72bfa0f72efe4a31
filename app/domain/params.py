"""Params: what a rule or an order gives a remediation, read by its own types, and what is wrong with it in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.domain.errors import BadInput
from app.domain.param_form import form
from app.domain.remediation import AnyRemediation, Params


def params_of(remediation: AnyRemediation, given: Mapping[str, object]) -> Params:
    """What is given as the remediation reads it. Raises BadInput: `bad_params`, `param_missing`."""
    try:
        params: Params = remediation.params.model_validate(dict(given))
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False)
        # What is written wrongly is missing too, and who reads only of that looks for the wrong fault.
        first = min(told, key=lambda entry: entry["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in ("params", *first["loc"]))
        if first["type"] == "missing":
            text = f"{remediation.name} needs it, and neither the order nor a rule gives it"
            raise BadInput(text, code="param_missing", where=where) from error
        raise BadInput(_said(remediation, first), code="bad_params", where=where) from error
    return params


def _said(remediation: AnyRemediation, entry: ErrorDetails) -> str:
    """What is wrong with a param and what is allowed there, without the value."""
    fields, name = remediation.params.model_fields, str(entry["loc"][0]) if entry["loc"] else ""
    if entry["type"] == "extra_forbidden":
        return f"{remediation.name} has no such param; it has {', '.join(sorted(fields)) or 'none'}"
    said = str(entry["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    field = fields.get(name)
    if field is None:
        return said
    allowed = form(field)
    told = said if said.startswith(allowed) else f"{said}; {allowed}"
    return f"{told}. {field.description}" if field.description else told
