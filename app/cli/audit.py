"""The audit trail and the schema, straight from the database: also when no service runs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.output import AsJson, give, progress, say, write
from app.main import audit_keys
from app.settings import load_settings
from app.store import trail
from app.store.audit import Head
from app.store.migrate import upgrade
from app.store.unwritten import unwritten

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Verify and export the audit trail.")
db = typer.Typer(no_args_is_help=True, add_completion=False, help="The database schema.")


@app.callback()
def _audit() -> None:
    """The audit trail."""


@db.callback()
def _db() -> None:
    """The database."""


@app.command()
def verify(
    head: Annotated[
        str,
        typer.Option("--head", help="A head that `audit head` printed before: SEQ:HASH.", metavar="SEQ:HASH"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute the hash chain: finds a changed, missing or reordered record. Exit 1 when it does not fit."""
    settings = load_settings()
    keys, known = audit_keys(settings), Head.parse(head) if head else None
    with (
        unwritten(settings.store_url) as conn,
        progress("records", trail.newest(conn), quiet=as_json) as told,
    ):
        report = trail.verify(conn, keys, known, told)
    if as_json:
        give(asdict(report))
    elif report.ok:
        write(f"ok: {report.checked} records, {report.first_seq} to {report.last_seq}")
        if report.keyed_from is None:
            say(
                "without a key: whoever can write the database can make all hashes anew (see REMEDIATOR_AUDIT_KEY)"
            )
        if known is None:
            say("without --head: a trail whose end was cut off together with its head looks like this, too")
    else:
        place = "broken" if report.at_seq is None else f"broken at record {report.at_seq}"
        write(f"{place}: {report.problem}")
        if report.unguarded and report.at_seq is not None:
            say(f"missing or altered triggers: {', '.join(report.unguarded)}")
        if report.foreign and (report.at_seq is not None or report.unguarded):
            say(f"not ours on the tables of the trail: {', '.join(report.foreign)}")
    if not report.ok:
        raise typer.Exit(1)


@app.command(name="head")
def print_head(as_json: AsJson = False) -> None:
    """Print the newest record's number and hash, to be kept elsewhere for `audit verify --head`."""
    with unwritten(load_settings().store_url) as conn:
        found = trail.head(conn)
    give(asdict(found)) if as_json else write(str(found))


@app.command()
def export(as_json: AsJson = False) -> None:
    """Print the whole trail, one JSON object a line, oldest first. It is JSON in any case."""
    del as_json
    with unwritten(load_settings().store_url) as conn:
        sys.stdout.writelines(json.dumps(record) + "\n" for record in trail.export(conn))


@db.command(name="upgrade")
def upgrade_schema(as_json: AsJson = False) -> None:
    """Bring the database's schema to this version and print its revision."""
    settings = load_settings()
    revision = upgrade(settings.store_url)
    give({"revision": revision}) if as_json else write(revision)
    say("the schema is up to date")
