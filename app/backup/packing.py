"""Packing of an archive on its way to the store, and back, block by block: memory does not depend on how well it packs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Final, cast

import zstandard

from app.backup.failure import BackupFailed

_LEVEL: Final = 1
_BLOCK: Final = 1 << 20
_CUSTOM: Final = b"PGDMP"


def packed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """As one zstd frame, with a checksum."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for block in blocks:
        if some := packer.compress(block):
            yield some
    yield packer.flush()


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """What was packed, in blocks of a mebibyte at most. All of `blocks` is taken, whatever they are, unless whoever asks wants no more.
    Raises BackupFailed for what is no frame; one that is cut ends early."""
    source = _Source(blocks)
    try:
        yield from zstandard.ZstdDecompressor().read_to_iter(cast("IO[bytes]", source), write_size=_BLOCK)
    except zstandard.ZstdError:
        source.drain()
        raise BackupFailed("what was read back is not packed", code="altered") from None
    source.drain()


def archive(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same unpacked blocks, of an archive of pg_dump's custom format. Raises BackupFailed for anything else that pg_restore may take, or
    name psql for."""
    begun, head = False, b""
    for block in blocks:
        if begun:
            yield block
            continue
        head += block
        if begun := len(head) >= len(_CUSTOM):
            if not head.startswith(_CUSTOM):
                break
            yield head
    if not head.startswith(_CUSTOM):
        raise BackupFailed(
            "it is no archive of pg_dump's custom format; no other one is restored", code="altered"
        )


class _Source:
    """Blocks as a file that can be read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks, self._rest = iter(blocks), memoryview(b"")

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        some, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return some

    def drain(self) -> None:
        """Take what is left."""
        for _ in self._blocks:
            pass
