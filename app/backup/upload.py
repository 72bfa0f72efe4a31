"""The way of a backup, in the Job's pod: snapshot, dump, upload, read back, check, publish, keep the newest.

Called by `app.backup.__main__`. Under its final key a backup appears only when the dump ended well and what was read back is what
was uploaded and is whole; a failure publishes nothing and removes nothing but its own incomplete object. The memory it takes does not
depend on the size of the database.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.backup.beside import owners_rights
from app.backup.bucket import Bucket, Counted, written
from app.backup.comparing import differences
from app.backup.contents import cannot
from app.backup.counting import counting
from app.backup.failure import BackupFailed
from app.backup.logins import Logins, client_version, pod_login
from app.backup.order import ASKED_BY, KIND, LOGIN, Form, Order
from app.backup.over import WORK
from app.backup.packing import packed, unpacked
from app.backup.pipes import Pipes
from app.backup.progress import Say, size_words, told
from app.backup.pruning import prune
from app.backup.source import Source, connected, connection_of, scratch
from app.backup.waiting import lock_waits_told
from app.database.login import Options, with_authority
from app.domain.database import APPLICATION
from app.domain.json import digest
from app.domain.ports import Clock
from app.domain.redact import in_one_line

_MIB = 1 << 20
_LONGEST = 200
_END = b"PostgreSQL database dump complete"


@dataclass(frozen=True, slots=True)
class Parts:
    """What one backup is made with: its order, the pod's variables, the time, and where progress is told."""

    order: Order
    environment: Mapping[str, str]
    clock: Clock
    say: Say


def back_up(parts: Parts) -> str:
    """Make one backup; the sentence that says where it is and what was verified. Raises BackupFailed."""
    order = parts.order
    options, authority = pod_login(order.database, parts.environment)
    with Pipes(Path(parts.environment[WORK])) as pipes, with_authority(options, authority) as complete:
        major, client = client_version(pipes.client())
        with connected(complete) as source:
            _refuse_older(major, client, source)
            folder = Path(parts.environment[LOGIN])
            logins = Logins(folder, authority, major)
            dumping = {**complete, "application_name": f"{APPLICATION} dump {order.name[-12:]}"}
            logins.write({"backup": dumping})
            bucket = Bucket(order.place)
            try:
                stored = _Stored(parts, pipes, bucket, source)
                with lock_waits_told(complete, parts.say):
                    manifest = stored.make(client, dumping)
                if order.scratch:
                    _try_restore(stored, complete, logins, manifest)
                against = _against_restore(stored, complete)
                stored.publish(manifest)
            finally:
                with suppress(BackupFailed):  # what is left there is told apart from a backup by its key
                    bucket.discard(order.incomplete)
        removed = prune(bucket, order, parts.clock.now(), manifest)
    return "; ".join(part for part in (_words(parts, manifest, removed), against) if part)


class _Stored:
    """One dump on its way into the bucket."""

    def __init__(self, parts: Parts, pipes: Pipes, bucket: Bucket, source: Source) -> None:
        self.parts, self.pipes, self._bucket, self._source = parts, pipes, bucket, source
        self._counted = Counted()

    def make(self, client: str, dumping: Options) -> dict[str, Any]:
        """Dump, upload under the incomplete key, read back and check; the manifest. The rows are counted while the session that dumps, as
        which `dumping` logs in, holds its locks."""
        order, clock, source = self.parts.order, self.parts.clock, self._source
        started, snapshot, size = clock.now(), source.snapshot(), source.size
        # Before the dump: this session has nothing to say meanwhile, and who is silent for so long may be forgotten on the way.
        of_server = {
            "system": source.system,
            "name_digest": digest([source.name]),
            "server": source.version[1],
            "locale": source.locale,
        }
        own = {**dumping, "application_name": APPLICATION}
        with counting(own, snapshot, dumping["application_name"]) as rows:
            dump = self._told("dumped", self.pipes.dump(order.form, snapshot))
            dump = packed(dump) if order.form is Form.CUSTOM else dump
            self._counted = self._bucket.put(order.incomplete, dump, size)
        tables, uploaded = rows.result(), clock.now()
        blocks = self._again("read back")
        if order.form is Form.CUSTOM:
            self.pipes.check(unpacked(blocks))
        else:
            _check_text(blocks)
        return {
            "kind": KIND,
            "version": 1,
            "name": order.name,
            "database": in_one_line(str(order.database), _LONGEST),
            "form": order.form.value,
            "sha256": self._counted.sha256,
            "bytes": self._counted.size,
            "client": client,
            "rows": tables,
            "database_bytes": size,
            **of_server,
            "started": started.isoformat(),
            "uploaded": uploaded.isoformat(),
            "asked_by": in_one_line(self.parts.environment.get(ASKED_BY, ""), _LONGEST),
            "restored": False,
            "safety": order.safety,
        }

    def blocks(self) -> Iterator[bytes]:
        """The dump once more, as it is in the bucket."""
        return self._again("restored")

    def listing(self) -> str:
        """The archive's table of contents."""
        return self.pipes.listing(unpacked(self._again("listed")))

    def publish(self, manifest: dict[str, Any]) -> None:
        """From here on it counts."""
        order = self.parts.order
        whole = {**manifest, "ended": self.parts.clock.now().isoformat()}
        written(whole)  # refused before anything stands under its final key
        self._bucket.publish(order.incomplete, order.key, self._counted)
        self._bucket.tell(order.key, whole)

    def _again(self, what: str) -> Iterator[bytes]:
        """Another read of what was uploaded, of which nothing is used that is not the same: it could be somebody else's by now."""
        read = self._bucket.read(self.parts.order.incomplete)
        return self._told(what, self._counted.again(read))

    def _told(self, what: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
        return told(what, blocks, self.parts.clock, self.parts.say)


def _refuse_older(major: int, client: str, source: Source) -> None:
    server, whole = source.version
    if major < server:
        text = f"the image's pg_dump is {client} and the server is {whole}: a client older than the server cannot dump it"
        raise BackupFailed(text, code="client_too_old")


def _check_text(blocks: Iterable[bytes]) -> None:
    """Unpack all of a plain dump, and look for the line that pg_dump writes last."""
    unpack, tail = zlib.decompressobj(wbits=31), b""
    broken = False
    for block in blocks:  # to the end: they are counted on their way
        try:
            packed = b"" if broken else block
            while packed:
                tail = (tail + unpack.decompress(packed, _MIB))[-1_000:]
                packed = unpack.unconsumed_tail
            broken = broken or bool(unpack.unused_data)
        except zlib.error:
            broken = True
    if broken or not unpack.eof or _END not in tail:
        raise BackupFailed("the compressed text is not whole, or not all of what is there", code="altered")


def _try_restore(stored: _Stored, complete: Options, logins: Logins, manifest: dict[str, Any]) -> None:
    """Restore it beside the database it came from, and compare the rows of every table."""
    parts = stored.parts
    with scratch(complete, parts.order.name, parts.clock.now()) as fresh:
        logins.write({"backup": complete, "scratch": fresh})
        stored.pipes.restore(unpacked(stored.blocks()))
        with connection_of(fresh, autocommit=True) as connection:
            wrong = differences(connection, manifest["rows"])
    if wrong:
        text = f"the restored copy differs in {len(wrong)} tables, {wrong[0].table} for one"
        raise BackupFailed(text, code="differs")
    manifest["restored"] = True


def _against_restore(stored: _Stored, complete: Options) -> str:
    """What a rehearsal will find in this archive against its restore, told on the day on which somebody can still mend it. A backup with it is
    as good."""
    if stored.parts.order.form is not Form.CUSTOM:
        return ""
    try:
        if (rights := owners_rights(complete)) is None:
            return ""
        found = cannot(stored.listing(), rights, privileges=True)
    except BackupFailed:  # a look that failed is found by the rehearsal
        return ""
    return f"a restore would refuse it as it is: {found}" if found else ""


def _words(parts: Parts, manifest: Mapping[str, Any], removed: str) -> str:
    tables = manifest["rows"]
    told = [
        f"{size_words(manifest['bytes'])} as {parts.order.key}",
        f"{sum(tables.values())} rows of {len(tables)} tables",
        f"PostgreSQL {manifest['server']}",
        "read back, whole, sha256 " + manifest["sha256"][:16],
        *(["restored and compared"] if manifest["restored"] else []),
        *([removed] if removed else []),
    ]
    return "; ".join(told)
