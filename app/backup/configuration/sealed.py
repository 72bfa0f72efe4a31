"""Encryption of a stream to recipients, and back, with age: block by block, so that memory does not depend on the size.

Used by the pod that makes a backup and by the person who restores one. Whoever encrypts holds no identity of the recipients. Errors
are worded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pyrage

from app.backup.failure import BackupFailed

Identity = Any
"""A private key; it is never shown."""


def fresh() -> tuple[Identity, str]:
    """A key pair of this process alone: the identity, and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return identity, str(identity.to_public())


def seal(blocks: Iterable[bytes], to: BinaryIO, recipients: Iterable[str]) -> None:
    """Encrypt all of the blocks. Raises BackupFailed for a recipient that is none, and whatever the blocks raise."""
    try:
        keys = [pyrage.x25519.Recipient.from_str(one) for one in recipients]
    except pyrage.RecipientError:
        raise BackupFailed("a recipient is no public key of age", code="bad_recipient") from None
    source = _Source(blocks)
    try:
        pyrage.encrypt_io(source, to, keys)
    except (pyrage.EncryptError, OSError):
        if source.error is not None:
            raise source.error from None
        raise BackupFailed("it could not be encrypted", code="not_encrypted") from None


def unseal(blocks: Iterable[bytes], taken: Callable[[bytes], object], identities: Iterable[Identity]) -> None:
    """Decrypt, and hand each block on. Raises BackupFailed for what is altered, cut, or for other recipients."""
    source = _Source(blocks)
    try:
        pyrage.decrypt_io(source, _Sink(taken), list(identities))
    except (pyrage.DecryptError, OSError):
        if source.error is not None:
            raise source.error from None
        raise BackupFailed(
            "it cannot be decrypted: altered, cut, or for another identity", code="altered"
        ) from None


def identities_in(path: Path) -> list[Identity]:
    """The identities of a file as `age-keygen` writes it. Raises BackupFailed without showing a line of it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [
            pyrage.x25519.Identity.from_str(line.strip())
            for line in lines
            if line.startswith("AGE-SECRET-KEY-")
        ]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise BackupFailed(
            f"no identity could be read ({type(error).__name__})", code="no_identity"
        ) from None
    if not found:
        raise BackupFailed("the file holds no identity of age", code="no_identity")
    return found


class _Source:
    """Blocks as a file that can be read; what they raise is kept, for the library turns it into text."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks, self._rest = iter(blocks), memoryview(b"")
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            while not self._rest and (block := next(self._blocks, None)) is not None:
                self._rest = memoryview(block)
        except Exception as error:
            self.error = error
            raise
        size = len(self._rest) if size < 0 else size
        some, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return some


class _Sink:
    """A file that hands on what is written."""

    def __init__(self, taken: Callable[[bytes], object]) -> None:
        self._taken = taken

    def write(self, data: bytes) -> int:
        """All of it."""
        self._taken(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
