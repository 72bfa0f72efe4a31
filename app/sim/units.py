"""Field types of scenario files: durations, memory, CPU. Pure; used by the models of behaviour, traffic and alerts."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from app.domain.errors import ObjectInvalid
from app.sim import quantity

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> float:
    """`90`, `"90s"`, `"1h30m"`, `"-14m"` as seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    sign, body = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"not a duration: {value!r} (write 90s, 14m, 1h30m, 6d)")
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _bytes(value: Any) -> int:
    try:
        return quantity.memory(value)
    except ObjectInvalid as error:
        raise ValueError(error.message) from error


def _millicores(value: Any) -> int:
    try:
        return quantity.cpu(value)
    except ObjectInvalid as error:
        raise ValueError(error.message) from error


Seconds = Annotated[float, BeforeValidator(seconds)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Millicores = Annotated[int, BeforeValidator(_millicores)]


class Strict(BaseModel):
    """Base of all scenario models: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
