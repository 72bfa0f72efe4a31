"""The text of one key of a Secret's manifest, and back. Used by whoever takes a login or a key from a Secret. Pure; what it gives is
never to be shown."""

from __future__ import annotations

import base64
import binascii

from app.domain.json import Obj


def text_of(manifest: Obj, key: str) -> str | None:
    """The text under a key, without space around it; None where there is no text."""
    try:
        return base64.b64decode((manifest.get("data") or {})[key], validate=True).decode().strip()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
        return None  # an error would show the value


def encoded(text: str) -> str:
    """How a Secret holds it."""
    return base64.b64encode(text.encode()).decode()
