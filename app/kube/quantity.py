"""Kubernetes quantities as exact integers: memory in bytes, CPU in millicores.

Called by `app.kube.parse`, the actions and whoever shows a number. Never uses floating point, so that a limit that we
read, raise and write back is the one that was meant. Rule of the API server: a fraction of the unit is rounded up.
"""

from __future__ import annotations

import re
from fractions import Fraction

from app.domain.errors import BadInput

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FORM = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[KMGTPE]i|[numkMGTPE]))?",
    re.ASCII,
)
_LONGEST = 64


def parse_quantity(text: str | float) -> Fraction:
    """The exact value of a quantity. Raises BadInput (`bad_quantity`) for anything the API server would not take."""
    written = str(text).strip()
    match = _FORM.fullmatch(written) if len(written) <= _LONGEST else None
    if match is None:
        raise BadInput(f"not a quantity: {written[:_LONGEST]!r}", code="bad_quantity")
    number = Fraction(match["number"])
    if match["exponent"] is not None:
        return number * _power(10, int(match["exponent"]))
    suffix = match["suffix"] or ""
    if suffix in _BINARY:
        return number * _power(1024, _BINARY[suffix])
    return number * _power(10, _DECIMAL[suffix])


def parse_memory(text: str | float) -> int:
    """Bytes, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text))


def parse_cpu(text: str | float) -> int:
    """Millicores, rounded up. Raises BadInput."""
    return _ceil(parse_quantity(text) * 1000)


def format_memory(amount: int) -> str:
    """Bytes in the form in which the API server gives them back: the largest binary unit that needs no fraction."""
    for suffix, power in reversed(_BINARY.items()):
        size: int = 1024**power
        if amount and amount % size == 0:
            return f"{amount // size}{suffix}"
    return str(amount)


def say_memory(amount: int) -> str:
    """Bytes for people: `512 MiB`, `1.5 GiB`, `900 B`; at most one decimal."""
    for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        size = 1024**power
        if abs(amount) >= size:
            tenths = (amount * 10 + size // 2) // size
            return f"{tenths // 10} {unit}" if tenths % 10 == 0 else f"{tenths / 10:.1f} {unit}"
    return f"{amount} B"


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _power(base: int, exponent: int) -> Fraction:
    size = Fraction(int(base ** abs(exponent)))
    return size if exponent >= 0 else 1 / size
