"""The text of one key of a Secret's manifest, and back. Used by whoever takes a login or a key from a Secret. Pure; what it gives is
never to be shown."""

from __future__ import annotations

import base64

from app.domain.json import Obj


def text_of(manifest: Obj, key: str) -> str | None:
    """The text under a key, without space around it; None where there is no text."""
    return plain((manifest.get("data") or {}).get(key))


def plain(value: object) -> str | None:
    """The text of a value as a Secret holds it, without space around it; None where it is no text. Two values whose texts are equal are the
    same login or key, whatever stands around them."""
    try:
        return base64.b64decode(value, validate=True).decode().strip() if isinstance(value, str) else None
    except ValueError:  # of base64 or of UTF-8; an error would show the value
        return None


def encoded(text: str) -> str:
    """How a Secret holds it."""
    return base64.b64encode(text.encode()).decode()
