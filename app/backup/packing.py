"""Packing of an archive on its way to the store, and back, block by block: memory does not depend on how well it packs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Final, cast

import zstandard

from app.backup.failure import BackupFailed

_LEVEL: Final = 1
_BLOCK: Final = 1 << 20
_CUSTOM: Final = b"PGDMP"
_DESCRIBED, _OF_BLOCK, _CHECKSUM = (
    5,
    3,
    4,
)  # bytes: of a frame's magic and descriptor, of a block's header, of the checksum
_REPEATED: Final = 1  # the type of a block that is one byte, repeated


def packed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """As one zstd frame, with a checksum."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for block in blocks:
        if some := packer.compress(block):
            yield some
    yield packer.flush()


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """What was packed, in blocks of a mebibyte at most. All of `blocks` is taken, whatever they are, unless whoever asks wants no more.
    Raises BackupFailed for what is no frame, at its end also for one that is cut, and for anything after it."""
    source = _Source(blocks)
    try:
        yield from zstandard.ZstdDecompressor().read_to_iter(cast("IO[bytes]", source), write_size=_BLOCK)
    except zstandard.ZstdError:
        source.drain()
        raise BackupFailed("what was read back is not packed", code="altered") from None
    source.drain()
    if not source.frame.ended:
        raise BackupFailed("what was read back is cut before the end of what was packed", code="altered")
    if source.frame.after:
        text = f"what was read back has {source.frame.after} bytes after the end of what was packed"
        raise BackupFailed(text, code="altered")


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


class _Frame:
    """Where one frame ends, by the lengths that its blocks tell (RFC 8878, 3.1.1): the library reads the first frame, and says neither whether
    it was whole nor what stands behind it. `after` are the bytes behind it."""

    def __init__(self) -> None:
        self.ended, self.after = False, 0
        self._head, self._wanted, self._begun = bytearray(), _DESCRIBED, False
        self._skipped, self._last, self._checksum = 0, False, 0

    def passes(self, block: memoryview) -> None:
        """The next bytes of it, or behind it."""
        at = 0
        while at < len(block) and not self.ended:
            if self._skipped:
                step = min(self._skipped, len(block) - at)
                self._skipped -= step
            else:
                step = min(self._wanted - len(self._head), len(block) - at)
                self._head += block[at : at + step]
                if len(self._head) == self._wanted:
                    self._read()
            at += step
            self.ended = self._last and not self._skipped
        self.after += len(block) - at

    def _read(self) -> None:
        """A whole header, of the frame or of one of its blocks."""
        if self._begun:
            told = int.from_bytes(self._head, "little")
            self._last = bool(told & 1)
            length = 1 if told >> 1 & 3 == _REPEATED else told >> 3
            self._skipped = length + self._checksum * self._last
        elif (
            self._wanted == _DESCRIBED
            and (whole := zstandard.frame_header_size(bytes(self._head))) > _DESCRIBED
        ):
            self._wanted = whole
            return
        else:
            self._begun, self._checksum = True, _CHECKSUM if self._head[4] & 4 else 0
        self._head, self._wanted = bytearray(), _OF_BLOCK


class _Source:
    """Blocks as a file that can be read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks, self._rest, self.frame = iter(blocks), memoryview(b""), _Frame()

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
            self.frame.passes(self._rest)
        some, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return some

    def drain(self) -> None:
        """Take what is left."""
        for block in self._blocks:
            self.frame.passes(memoryview(block))
