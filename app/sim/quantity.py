"""Kubernetes quantities as integers: memory in bytes, CPU in millicores. Pure; used by admission and the pod model."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from app.domain.errors import ObjectInvalid

_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([A-Za-z]*)\Z")


def _number(text: str | int, where: str) -> Decimal:
    match = _FORM.match(str(text))
    if match is None or match[2] not in _SUFFIX:
        raise ObjectInvalid(f"not a quantity: {text!r}", where=where)
    try:
        return Decimal(match[1]) * _SUFFIX[match[2]]
    except InvalidOperation as error:
        raise ObjectInvalid(f"not a quantity: {text!r}", where=where) from error


def memory(text: str | int, where: str = "") -> int:
    """Bytes, rounded up. Raises ObjectInvalid."""
    return int(_number(text, where).to_integral_value(ROUND_CEILING))


def cpu(text: str | int, where: str = "") -> int:
    """Millicores, rounded up. Raises ObjectInvalid."""
    return int((_number(text, where) * 1000).to_integral_value(ROUND_CEILING))


def amount(resource: str, text: str | int, where: str = "") -> int:
    """Millicores for a resource named `...cpu`, the plain rounded-up number (bytes, counts) for all others."""
    return cpu(text, where) if resource.rpartition(".")[2] == "cpu" else memory(text, where)
