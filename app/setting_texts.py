"""Texts of settings: lists, JSON objects and files that hold a secret. Pure but for reading those files; `app.settings` says what is a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.domain.errors import BadInput
from app.domain.json import decoded


def listed(text: str) -> list[str]:
    """The parts of a comma-separated text, without blanks and empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def revealed(secret: SecretStr | None) -> str:
    """The text of a secret; empty for none."""
    return "" if secret is None else secret.get_secret_value()


def dsns_in(secret: SecretStr | None) -> dict[str, str]:
    """DSNs by name. Raises ValueError for anything but a JSON object of texts."""
    try:
        found = decoded(revealed(secret) or "{}")
    except ValueError:  # its text would show a part of the value
        found = None
    if not isinstance(found, dict) or not all(isinstance(dsn, str) for dsn in found.values()):
        raise ValueError("must be a JSON object of name to DSN")
    return found


def in_files(
    names: Sequence[str], prefix: str, environ: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, str]:
    """What the files say that the variables `..._FILE` name. Raises BadInput (`bad_setting`) for one that cannot be read, is empty, or
    stands beside the variable itself."""
    found: dict[str, str] = {}
    for name in names:
        variable = f"{prefix}{name.upper()}"
        path = environ.get(f"{variable}_FILE")
        if path is None:
            continue
        if given.get(name) is not None or variable in environ:
            raise BadInput(f"set {variable} or {variable}_FILE, not both", code="bad_setting", where=variable)
        try:
            found[name] = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadInput(
                f"cannot read the file: {reason}", code="bad_setting", where=f"{variable}_FILE"
            ) from None
        if not found[name]:
            raise BadInput("the file is empty", code="bad_setting", where=f"{variable}_FILE")
    return found
