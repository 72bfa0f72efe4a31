"""Parameter types that handlers share: durations, amounts of memory, shares, replicas, PromQL queries.

Used by the `Params` model of every handler. A rule in YAML writes them as people do (`1h`, `4Gi`, `80%`); plain numbers
in the base unit are taken too, so that stored parameters read back. Pure.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from app.domain.errors import BadInput
from app.kube.quantity import parse_memory

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s?%", re.ASCII)
_DURATION_FORM = r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> Any:
    if _number(value):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError("expected a duration such as 90s, 15m, 1h or 7d, or seconds")
    return float(sum(size * int(n) for size, n in zip(_UNITS.values(), found.groups(), strict=True) if n))


def _bytes(value: Any) -> Any:
    if not isinstance(value, str) and not (_number(value) and value == int(value)):
        raise ValueError("expected an amount of memory such as 512Mi or 4Gi, or bytes")
    try:
        return parse_memory(value)
    except BadInput as e:
        raise ValueError("expected an amount of memory such as 512Mi or 4Gi") from e


def _share(value: Any) -> Any:
    if _number(value):
        return value
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a share such as 80% or 0.8")
    return float(found[1]) / 100


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]})


Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False), _schema(_DURATION_FORM)
]
"""A span of time in seconds; written as `90s`, `15m`, `1h30m`, `7d`."""

Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0), _schema(r"^[0-9.]+([eE][0-9]+|[kMGTPE]i?|Ki)?$")]
"""An amount of memory in bytes; written as a Kubernetes quantity."""

Share = Annotated[
    float, BeforeValidator(_share), Field(gt=0, le=1), _schema(r"^[0-9]{1,3}(\.[0-9]{1,2})?\s?%$")
]
"""A part of a whole, above 0 and at most 1; written as `80%` or `0.8`."""

Replicas = Annotated[int, Field(ge=1, le=1_000, strict=True)]
"""A wanted number of pods."""

Query = Annotated[str, Field(max_length=4_000)]
"""A PromQL expression, with the placeholders of `remediations.queries`; empty means: do not ask."""

ObjectName = Annotated[str, Field(max_length=253, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")]
"""A host or the name of an object, such as a Service or a Secret; empty means: none."""

DataKey = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")]
"""A key of a Secret's data; empty means: none."""

Names = tuple[Annotated[str, Field(min_length=1, max_length=100)], ...]
"""Names, e.g. of dependencies as the setting names them."""


def host_in(namespace: str, host: str, service: str) -> str:
    """The host that a rule names, or that of a Service of the namespace; empty when it names neither."""
    return f"{service}.{namespace}.svc" if service and not host else host
