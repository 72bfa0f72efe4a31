"""Kubernetes quantities as exact integers: memory in bytes, CPU in millicores.

Called by `app.kube.parse`, the actions and whoever shows a number. Never uses floating point, so that a limit that we
read, raise and write back is the one that was meant. Rule of the API server: a fraction of the unit is rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal, localcontext

from kubernetes.utils import quantity

from app.domain.errors import BadInput
from app.domain.units import QUANTITY

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_LONGEST = 64
_MOST = Decimal(2**63 - 1)
"""The API server caps the magnitude of every quantity here (Kubernetes API reference, Quantity)."""
_EXACT = Context(prec=2 * _LONGEST)
_parse: Callable[[str], Decimal] = quantity.parse_quantity


def parse_quantity(text: str | float) -> Decimal:
    """The exact value of a quantity. Raises BadInput (`bad_quantity`) for anything the API server would not take."""
    written = str(text).strip()
    if len(written) > _LONGEST or QUANTITY.fullmatch(written) is None:
        raise BadInput(f"not a quantity: {written[:_LONGEST]!r}", code="bad_quantity")
    with localcontext(_EXACT):
        return max(-_MOST, min(_MOST, _parse(written)))


def parse_memory(text: str | float) -> int:
    """Bytes, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text))


def parse_cpu(text: str | float) -> int:
    """Millicores, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text).scaleb(3, _EXACT))


def format_memory(amount: int) -> str:
    """Bytes in the form in which the API server gives them back: the largest binary unit that needs no fraction."""
    for suffix, power in reversed(_BINARY.items()):
        size: int = 1024**power
        if amount and amount % size == 0:
            return f"{amount // size}{suffix}"
    return str(amount)


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING, _EXACT))
