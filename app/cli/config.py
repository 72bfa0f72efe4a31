"""The command `config`: the settings in force and where each comes from. Of a secret only whether it is set, of a URL its host."""

from __future__ import annotations

import os
from typing import Any

from app.cli.output import AsJson, give, table
from app.domain.redact import redact
from app.domain.urls import place_of
from app.setting_texts import PREFIX
from app.settings import SECRETS, URLS, Settings, load_settings


def config(as_json: AsJson = False) -> None:
    """Print the settings in force with their origin: default, environment or file. Secrets are shown as set or not set, URLs up to
    their host: the rest may be the credential."""
    settings = load_settings()
    rows = [_row(settings, name) for name in Settings.model_fields]
    if as_json:
        give(rows)
    else:
        table(("setting", "value", "origin"), rows)


def _row(settings: Settings, name: str) -> dict[str, Any]:
    variable = f"{PREFIX}{name.upper()}"
    value = getattr(settings, name)
    if f"{variable}_FILE" in os.environ:
        origin = f"file {os.environ[f'{variable}_FILE']}"
    else:
        origin = "environment" if variable in os.environ else "default"
    if name in SECRETS:
        shown: Any = "not set" if value is None else "set"
    elif name in URLS:
        shown = place_of(value)
    else:
        shown = value if isinstance(value, int) else redact(str(value))
    return {"setting": variable, "value": shown, "origin": origin}
