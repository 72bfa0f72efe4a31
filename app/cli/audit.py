"""The audit trail and the schema, straight from the database: also when no service runs."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

import typer

from app.cli.output import AsJson, give, say, write
from app.main import open_store
from app.settings import load_settings
from app.store import audit
from app.store.migrate import upgrade

app = typer.Typer(no_args_is_help=True)
db = typer.Typer(no_args_is_help=True)


@app.callback()
def _audit() -> None:
    """The audit trail."""


@db.callback()
def _db() -> None:
    """The database."""


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Recompute the hash chain: finds a changed, missing or reordered record. Exit 1 when it does not fit."""
    store = open_store(load_settings(), migrate=False)
    try:
        report = asyncio.run(store.read(audit.verify))
    finally:
        store.close()
    if as_json:
        give(asdict(report))
    elif report.ok:
        write(f"ok: {report.checked} records, {report.first_seq} to {report.last_seq}")
    else:
        write(f"broken at record {report.at_seq}: {report.problem}")
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def export() -> None:
    """Print the whole trail, one JSON object a line, oldest first."""
    store = open_store(load_settings(), migrate=False)
    try:
        asyncio.run(
            store.read(lambda conn: sys.stdout.writelines(json.dumps(r) + "\n" for r in audit.export(conn)))
        )
    finally:
        store.close()


@db.command(name="upgrade")
def upgrade_schema(as_json: AsJson = False) -> None:
    """Bring the database's schema to this version and print its revision."""
    settings = load_settings()
    if settings.database_url is None:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    revision = upgrade(settings.store_url)
    give({"revision": revision}) if as_json else write(revision)
    say("the schema is up to date")
