"""The format of a configuration backup, before it is packed and encrypted: one JSON document a line.

The first line says what it is, each further one is an object with the resource it belongs to, in the order in which they are put back, and
the last one says how many there were: without it the backup is cut. Pure.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.backup.failure import BackupFailed
from app.domain.json import Obj
from app.domain.target import NAMESPACE_NAME

KIND: Final = "alert-remediator/configuration"
VERSION: Final = 1
_LONGEST: Final = 16 << 20
"""Bytes of one line; the API server takes objects of some 3 MiB at most."""


_NAME: Final = 253
_LABEL: Final = re.compile(NAMESPACE_NAME)
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
"""The names of the API, as Kubernetes checks them itself; an object's own name may be any one segment of a path."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a backup, with where it lives in the API."""

    group: str
    version: str
    plural: str
    object: Obj


def head(namespace: str, started: str) -> bytes:
    """The first line."""
    return _line({"kind": KIND, "version": VERSION, "namespace": namespace, "started": started})


def line_of(entry: Entry) -> bytes:
    """The line of an object."""
    return _line({"of": [entry.group, entry.version, entry.plural], "object": entry.object})


def tail(objects: int) -> bytes:
    """The last line."""
    return _line({"objects": objects})


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def entry_of(data: Mapping[str, Any]) -> Entry:
    """The object of a line, when its place and its names are such as an API server has them, and fit each other. Raises BackupFailed."""
    group, version, plural = data["of"]
    found = data["object"]
    names = (found["kind"], found["metadata"]["name"])
    fits = (
        all(isinstance(part, str) and len(part) <= _NAME for part in (group, version, plural, *names))
        and (not group or _SUBDOMAIN.fullmatch(group))
        and _LABEL.fullmatch(version)
        and _LABEL.fullmatch(plural)
        and found["apiVersion"] == (f"{group}/{version}" if group else version)
        and _KIND.fullmatch(names[0])
        and names[1] not in ("", ".", "..")
        and not set(names[1]) & set("/%")
        and names[1].isprintable()
    )
    if not fits:
        raise _no_backup()
    return Entry(group, version, plural, found)


class Reader:
    """Takes the lines as blocks of any size; `entry` is told of each object. `namespace` is known once the first line was read."""

    def __init__(self, entry: Callable[[Entry], object]) -> None:
        self.namespace, self.started, self.objects, self.whole = "", "", 0, False
        self._entry, self._rest = entry, b""
        self._begun = False

    def take(self, block: bytes) -> None:
        """Some more of it. Raises BackupFailed for what is no backup of this kind."""
        self._rest += block
        *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > _LONGEST:
            raise _no_backup()
        for line in lines:
            try:
                self._read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise _no_backup() from None

    def _read(self, data: Any) -> None:
        if not self._begun:
            if (data["kind"], data["version"]) != (KIND, VERSION):
                raise _no_backup()
            self.namespace, self.started, self._begun = str(data["namespace"]), str(data["started"]), True
            if _LABEL.fullmatch(self.namespace) is None:
                raise _no_backup()
        elif self.whole:
            raise _no_backup()
        elif "objects" in data:
            self.whole = data["objects"] == self.objects
            if not self.whole:
                raise _no_backup()
        else:
            self.objects += 1
            self._entry(entry_of(data))

    def end(self) -> None:
        """There is no more. Raises BackupFailed when it was cut."""
        if not self.whole or self._rest:
            raise BackupFailed("the backup is cut", code="altered")


def _no_backup() -> BackupFailed:
    return BackupFailed("this is no configuration backup of a version that is known", code="altered")


def packed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """With gzip, so that other tools can read it."""
    packer = zlib.compressobj(6, wbits=31)
    for block in blocks:
        if some := packer.compress(block):
            yield some
    yield packer.flush()


class Unpacker:
    """Blocks of gzip to what was packed, at most a mebibyte at a time."""

    def __init__(self, taken: Callable[[bytes], object]) -> None:
        self._taken, self._unpack = taken, zlib.decompressobj(wbits=31)

    def take(self, block: bytes) -> None:
        """Some more of it. Raises BackupFailed for what is not packed."""
        try:
            while block:
                self._taken(self._unpack.decompress(block, 1 << 20))
                block = self._unpack.unconsumed_tail
        except zlib.error:
            raise BackupFailed("what was decrypted is not packed", code="altered") from None

    def end(self) -> None:
        """There is no more. Raises BackupFailed when it was cut."""
        if not self._unpack.eof:
            raise BackupFailed("the backup is cut", code="altered")
