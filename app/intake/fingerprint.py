"""Alertmanager's fingerprint of a label set, for senders that give none.

FNV-1a, 64 bit, over the labels sorted by the bytes of their names, each name and value followed by the byte 0xFF
(prometheus/common, model/signature.go). Annotations and times do not count, so it is equal across episodes.
"""

from __future__ import annotations

from collections.abc import Mapping

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_MASK = (1 << 64) - 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """16 hex digits."""
    state = _OFFSET
    pairs = sorted(
        (name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in labels.items()
    )
    for name, value in pairs:
        for byte in b"%b\xff%b\xff" % (name, value):
            state = ((state ^ byte) * _PRIME) & _MASK
    return f"{state:016x}"
