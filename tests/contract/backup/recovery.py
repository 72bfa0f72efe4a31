"""A database of a plain owner with a backup in a folder, and the pods of its restores: for the contract tests of restores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import zstandard
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.backup.order import Form, Keep, Order, Place, new_name, safe_name
from app.backup.restore_order import Phase, RestoreOrder
from app.domain.database import DatabaseAddress
from tests.contract.backup.pod import PodRun
from tests.contract.postgres import find_programs

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
URL, COPY, MARK = "DATABASE_URL", "the_copy", "alert-remediator: the_copy of it"
ADDRESS = DatabaseAddress("rag7", "", 0, "", "db", url_key=URL)
CANARY = "c4nary-p4ssword"


@dataclass
class Recovery:
    """A database of a plain owner with a backup in a folder, which `told` this; `run` makes the pod of a restore, which has so many `seconds`."""

    url: str
    owner: str
    folder: Path
    backup: Order
    manifest: dict[str, Any]
    runs: int = 0
    seconds: float = 120
    told: str = ""

    @property
    def live(self) -> str:
        return str(conninfo_to_dict(self.url)["dbname"])

    def order(self, phase: Phase, **changes: Any) -> RestoreOrder:
        order = RestoreOrder(
            phase,
            self.backup.key,
            self.manifest["sha256"],
            self.manifest["bytes"],
            ADDRESS,
            self.backup.place,
            "postgres",
            self.live,
            f"{self.live}_{COPY}",
            MARK,
        )
        return replace(order, **changes)

    def run(
        self,
        phase: Phase,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        programs: Path | None = None,
        **changes: Any,
    ) -> tuple[int, str]:
        """Exit code and last words."""
        self.runs += 1
        restoring = self.order(phase, **changes)
        folder = self.folder / f"pod{self.runs}"
        programs = programs or find_programs()
        ended = PodRun(folder, self.backup, secrets or self.secrets, programs, restoring).run(self.seconds)
        assert CANARY not in ended.printed + ended.words
        return ended.codes["upload"], ended.words

    @property
    def owner_url(self) -> str:
        return self.url.replace("tester@", f"{self.owner}@")

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        return {"db": {URL: self.owner_url.replace("@", f":{CANARY}@", 1)}}

    @property
    def backup_pod(self) -> PodRun:
        return PodRun(self.folder / "backup", self.backup, self.secrets)

    def published(self) -> Recovery:
        """With the manifest of the backup that was made."""
        manifest = self.stored.with_name(f"{self.stored.name}.manifest.json")
        return replace(self, manifest=json.loads(manifest.read_text("utf-8")))

    @property
    def stored(self) -> Path:
        return self.folder / "bucket" / self.backup.key

    def ask(self, statement: str, database: str = "") -> list[tuple[Any, ...]]:
        with psycopg.connect(make_conninfo(self.url, dbname=database or self.live)) as conn:
            return conn.execute(statement.encode()).fetchall()

    @property
    def copies(self) -> list[str]:
        names = self.ask("SELECT datname FROM pg_database ORDER BY 1", "postgres")
        return [str(name) for (name,) in names if name == f"{self.live}_{COPY}"]


ROOM = "A" * 300
"""The comment of a table, as long as any statement that is put into its place."""


def swapped(archive: bytes, statement: str) -> bytes:
    """A stored archive with this statement where the comment `ROOM` of its table was."""
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(archive)
    begin = raw.index(b"COMMENT ON TABLE")
    end = raw.index(b";", raw.index(ROOM.encode())) + 1
    put = statement.encode().ljust(end - begin)
    assert len(put) == end - begin
    return zstandard.ZstdCompressor(level=1).compress(raw[:begin] + put + raw[end:])


def owned(url: str) -> str:
    """A plain role that may make databases, to whom this database belongs from now on."""
    live = str(conninfo_to_dict(url)["dbname"])
    name = sql.Identifier(owner := f"owner_{safe_name(live)}")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB NOSUPERUSER").format(name))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(live), name))
        conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(name))
    return owner


def backed_up(url: str, folder: Path, as_owner: Sequence[str], as_superuser: Sequence[str] = ()) -> Recovery:
    """What these statements made, with a backup of it. `{live}` and `{owner}` in them are names."""
    owner, live = owned(url), str(conninfo_to_dict(url)["dbname"])
    for who, statements in ((owner, as_owner), ("tester", as_superuser)):
        with psycopg.connect(url.replace("tester@", f"{who}@"), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.format(live=live, owner=owner).encode())
    found = planned(url, owner, folder)
    ended = found.backup_pod.run()
    assert ended.codes["upload"] == 0, ended.printed
    return replace(found.published(), told=ended.words)


def planned(url: str, owner: str, folder: Path) -> Recovery:
    """The same before its backup, with an empty bucket in the folder."""
    (folder / "bucket").mkdir(parents=True)
    name = new_name(str(conninfo_to_dict(url)["dbname"]), AT, "uid")
    place = Place(f"file://{folder}/bucket")
    return Recovery(url, owner, folder, Order(name, ADDRESS, Form.CUSTOM, place, Keep(0, 0, 0)), {})
