"""Kubernetes quantities as integers: memory in bytes, CPU in millicores. Pure; used by admission and the pod model."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

from kubernetes.utils import quantity

from app.domain.errors import ObjectInvalid
from app.domain.units import QUANTITY

_parse: Callable[[str], Decimal] = quantity.parse_quantity


def _number(text: str | int, where: str) -> Decimal:
    if QUANTITY.fullmatch(str(text)) is None:
        raise ObjectInvalid(f"not a quantity: {text!r}", where=where)
    return _parse(str(text))


def memory(text: str | int, where: str = "") -> int:
    """Bytes, rounded up. Raises ObjectInvalid."""
    return int(_number(text, where).to_integral_value(ROUND_CEILING))


def cpu(text: str | int, where: str = "") -> int:
    """Millicores, rounded up. Raises ObjectInvalid."""
    return int((_number(text, where) * 1000).to_integral_value(ROUND_CEILING))


def amount(resource: str, text: str | int, where: str = "") -> int:
    """Millicores for a resource named `...cpu`, the plain rounded-up number (bytes, counts) for all others."""
    return cpu(text, where) if resource.rpartition(".")[2] == "cpu" else memory(text, where)
