"""Faults of a policy: where, what is wrong, what would be right. Also turns pydantic's errors into such sentences.

Used by `app.policy.load` and its parts; shown by `policy check` and by a refused reload. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from app.domain.errors import BadInput
from app.domain.json import JsonValue
from app.domain.redact import redact

_SHOWN = 200  # characters of what a file says that a message repeats
_READ = 8 * _SHOWN  # of which secrets are sought before it is cut
_TOLD = 50  # faults in one error text; `faults` has all
_QUOTED = re.compile(r"'([^']*)'")
_SAID = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected keys with values",
    "mapping_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class PolicyFault:
    """One thing wrong with a policy file. `allowed` lists what may stand there, where that is a closed list."""

    file: str
    line: int
    column: int
    message: str
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        hint = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"

    def to_json(self) -> dict[str, JsonValue]:
        """For `policy check --json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "allowed": list(self.allowed),
        }


class PolicyInvalid(BadInput):
    """The policy cannot be used; `faults` has everything that is wrong with it, in file order."""

    code = "bad_policy"

    def __init__(self, faults: tuple[PolicyFault, ...]) -> None:
        more = [f"and {len(faults) - _TOLD} more faults"] if len(faults) > _TOLD else []
        super().__init__("\n".join([*map(str, faults[:_TOLD]), *more]))
        self.faults = faults


def unknown_name(what: str, name: str, allowed: tuple[str, ...]) -> str:
    """`unknown key "colldown", did you mean "cooldown"?`."""
    near = get_close_matches(name, allowed, n=1) if len(name) <= _SHOWN else []
    return f'unknown {what} "{_cut(name)}"' + (f', did you mean "{near[0]}"?' if near else "")


def _cut(text: str, most: int = _SHOWN) -> str:
    """The beginning of what somebody wrote, without secrets: these sentences stand in the audit trail for good."""
    shown = redact(text[:_READ])
    return shown if len(shown) <= most else f"{shown[:most]}…"


def sentence(error: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, tuple[str, ...]]:
    """What is wrong, for people, and what is allowed there, of one entry of `ValidationError.errors()`."""
    kind, loc, given = error["type"], error["loc"], error.get("input")
    if kind == "extra_forbidden":
        allowed = allowed_keys(model, loc[:-1])
        return unknown_name("key", str(loc[-1]), allowed), allowed
    if kind == "missing":
        return f'the key "{loc[-1]}" is missing', ()
    context = error.get("ctx", {})
    if kind in ("enum", "literal_error"):
        allowed = tuple(_QUOTED.findall(context["expected"])) or (str(context["expected"]),)
        return unknown_name("value", str(given), allowed), allowed
    if kind == "value_error":
        return _cut(str(context["error"]), 5 * _SHOWN), ()
    said = _SAID.get(kind)
    return f"{said or error['msg']}, got {_cut(repr(given))}", ()


def allowed_keys(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that may stand at this place of a document of this model."""
    here: Any = model
    for step in loc:
        if isinstance(step, str) and isinstance(here, type) and issubclass(here, BaseModel):
            fields = {f.alias or name: f.annotation for name, f in here.model_fields.items()}
            here = _inner(fields.get(step))
        elif isinstance(step, int) and get_args(here):
            here = _inner(get_args(here)[0])
    if isinstance(here, type) and issubclass(here, BaseModel):
        return tuple(f.alias or name for name, f in here.model_fields.items())
    return ()


def _inner(annotation: Any) -> Any:
    """`X` of `X | None` and of `Annotated[X, ...]`."""
    while get_origin(annotation) in (Union, UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return (
        getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
    )
