"""The door to the object store: S3 and what speaks its API, Google's, Azure's, or a folder, all through one library.

Called by `app.backup.upload`, `app.backup.restore` and `app.backup.shelf`. Logins come from the variables that the library reads by itself. Sends no checksum
headers or trailers, no conditions and no bulk requests, which stores of other makers refuse; the digest of a whole read back tells more. Errors are worded here: a store's own text
repeats parts of the login.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url

from app.backup.failure import BackupFailed, MayPass
from app.backup.order import Place, stamp_of
from app.backup.ranges import Ranges
from app.domain.backups import LONGEST_MANIFEST, manifest_of

_MIB = 1 << 20
_PART, _PARTS, _AT_ONCE = 8 * _MIB, 9_000, 4
_LONGEST_COPY = 5 << 30  # what S3 copies in one request
_BLOCK = 1 << 16  # what a broken request has brought up to here is not asked for again
_ANSWER = timedelta(minutes=1)
"""For one request: a range, a page of a listing, a small object. No read as a whole has a limit: who takes the bytes sets its pace."""
_PART_SENT, _SLOWEST = timedelta(minutes=2), 1 << 18
"""For one part of an upload, or as long as it takes at so many bytes a second."""
_COPIED = timedelta(minutes=15)
"""For a copy within the store."""
_AGAIN = 5
"""So many times its limit after its first try no request is tried again."""
_LIMITED = ("s3", "gs", "az")
_ANOTHER = "the object became another one while it was read"
_PIECE, _MARK = 4 * _MIB, 32
_STATUS = re.compile(r"\b([45]\d\d) (?:[A-Z][a-z]+|status)|status(?: code)?:? ([45]\d\d)")
_FULL = re.compile(r"No space left on device|StorageFull|Disk quota exceeded|os error (?:28|122)\b")
_PASSING = ("408", "425", "429")
_SILENT = re.compile(r"kind: Timeout|TimedOut|operation timed out")
_LACKS = re.compile(r"Missing ?(AccessKeyId|SecretAccessKey)\b")
_KEYS = {"AccessKeyId": "AWS_ACCESS_KEY_ID", "SecretAccessKey": "AWS_SECRET_ACCESS_KEY"}
_UNREACHED = re.compile(r"kind: Connect\b")
_WHY = (
    (re.compile("dns error"), "the name of its endpoint cannot be resolved"),
    (re.compile("[Cc]ertificate|UnknownIssuer"), "the certificate of its endpoint is not trusted"),
    (re.compile("ConnectionRefused|Connection refused"), "nothing listens at its endpoint"),
    (re.compile("InvalidContentType|corrupt message"), "its endpoint does not speak TLS"),
)
"""What the library says of a connection that was not made, in words of ours."""
_MAX_OBJECTS = 100_000  # hourly backups with their manifests for five years
MANIFEST = ".manifest.json"


@dataclass(slots=True)
class Counted:
    """Blocks on their way, counted and digested as they pass. `marks` are what the digest was after each piece: 32 bytes for 4 MiB, so that
    a second read is known to be the same before anything of it is used. `md5` is what many stores call an object by."""

    size: int = 0
    sha256: str = ""
    md5: str = field(default="", compare=False, repr=False)
    marks: bytearray = field(default_factory=bytearray, compare=False, repr=False)

    def through(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks; number and digests are right once the last one has been taken."""
        digest, md5, left = hashlib.sha256(), hashlib.md5(usedforsecurity=False), _PIECE
        for block in blocks:
            rest = memoryview(block)
            while rest:
                digest.update(part := rest[:left])
                rest, left = rest[left:], left - len(part)
                if not left:
                    self.marks += digest.digest()
                    left = _PIECE
            md5.update(block)
            self.size += len(block)
            yield block
        if left < _PIECE:
            self.marks += digest.digest()
        self.sha256, self.md5 = digest.hexdigest(), md5.hexdigest()

    def again(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """What passed before, from another read of it: no byte is handed on that is not the same. Raises BackupFailed."""
        digest, at = hashlib.sha256(), 0
        for piece in _pieces(blocks):
            digest.update(piece)
            if digest.digest() != self.marks[at : at + _MARK]:
                raise BackupFailed("what was read back is not what was there before", code="altered")
            at += _MARK
            yield piece
        if at != len(self.marks):
            raise BackupFailed("what was read back is cut", code="altered")


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= _PIECE:
            yield bytes(held[:_PIECE])
            del held[:_PIECE]
    if held:
        yield bytes(held)


@dataclass(frozen=True, slots=True)
class Listed:
    """A backup with a manifest, as a listing tells it: its moment, when the store wrote its manifest, and the bytes of its object; None when
    there is none."""

    at: datetime
    written: datetime
    bytes: int | None


class Bucket:
    """One place for backups. Every method raises BackupFailed. `login` by the names of `order.STORE_KEYS`; without one it comes from the
    process's own variables."""

    def __init__(self, place: Place, login: Mapping[str, str] | None = None) -> None:
        self._place, self._login = place, {name.lower(): value for name, value in (login or {}).items()}
        self._store = self._opened(_ANSWER)
        self._reading = self._opened(_ANSWER, max_retries=0)  # `Ranges` tries again, from where it was

    def _opened(self, limit: timedelta, **retry: Any) -> ObjectStore:
        """The store, with this limit for each of its requests: the library's own is half a minute."""
        place, options = self._place, dict[str, Any](self._login)
        if place.url.startswith("s3"):
            options |= {"region": place.region or "us-east-1", "disable_bulk_delete": True}
            options |= {"endpoint": place.endpoint} if place.endpoint else {}
        if self._is_file:
            options["mkdir"] = True
        if place.url.startswith(_LIMITED):
            options["client_options"] = {"allow_http": place.endpoint.startswith("http://"), "timeout": limit}
            options["retry_config"] = {"retry_timeout": _AGAIN * limit} | retry
        with worded():
            return from_url(place.url, **options)

    def put(self, key: str, blocks: Iterable[bytes], expected: int) -> Counted:
        """Upload in parts as the blocks come; `expected` bytes, about, for the size of a part. Nothing is there when the blocks
        end in an error."""
        counted, part = Counted(), max(_PART, -(-expected // _PARTS // _MIB) * _MIB)
        limit = max(_PART_SENT, timedelta(seconds=part / _SLOWEST))
        store = self._opened(limit)
        with worded(limit):
            obstore.put(
                store,
                key,
                counted.through(blocks),
                use_multipart=True,
                chunk_size=part,
                max_concurrency=_AT_ONCE,
            )
        return counted

    def read(self, key: str, expected: int | None = None) -> Iterator[bytes]:
        """The object's bytes; of one that is not of the expected size none."""
        with worded():
            size = int(obstore.head(self._store, key)["size"])
        if expected not in (None, size):
            raise BackupFailed(f"there are {size} bytes, and its manifest says {expected}", code="altered")
        yield from Ranges(lambda at, end: self._range(key, size, (at, end)), size).blocks()

    @contextmanager
    def _range(
        self, key: str, size: int, within: tuple[int, int]
    ) -> Iterator[tuple[object, Iterator[bytes]]]:
        """Without a condition, which not every store takes: what it says of the object is compared."""
        try:
            with worded():
                found = obstore.get(self._reading, key, options={"range": within})
                if found.meta["size"] != size:
                    raise BackupFailed(_ANOTHER, code="altered")
                yield (found.meta["e_tag"], found.meta["version"]), self._blocks(found)
        except MayPass:
            if self._is_file and self.size(key) != size:  # no try brings back what was cut off
                raise BackupFailed(_ANOTHER, code="altered") from None
            raise

    def _blocks(self, found: obstore.GetResult) -> Iterator[bytes]:
        """What one request brings. A file's is taken at once: the library's stream of a file that is cut meanwhile never ends, and takes all
        memory."""
        if self._is_file:
            yield bytes(found.bytes())
        else:
            yield from map(bytes, found.stream(min_chunk_size=_BLOCK))

    @property
    def _is_file(self) -> bool:
        return self._place.url.startswith("file")

    def publish(self, incomplete: str, key: str, counted: Counted) -> None:
        """The object under its final key, copied by the store itself; one that is too large for that is copied through here. What is
        there is what was uploaded, or nothing is."""
        try:
            with worded(_COPIED):
                if counted.size <= _LONGEST_COPY:
                    obstore.copy(self._opened(_COPIED), incomplete, key)
                else:
                    self.put(key, counted.again(self.read(incomplete)), counted.size)
            self._prove(key, counted)
        except BackupFailed:
            with suppress(
                BackupFailed
            ):  # without a manifest it counts for nothing; the first error is the one that is told
                self.discard(key)
            raise

    def _prove(self, key: str, counted: Counted) -> None:
        """By the store's own digest where its tag is one, else by reading all of it: a copy that a store has answered well may be cut,
        altered or an older object."""
        with worded():
            found = obstore.head(self._store, key)
        if found["size"] != counted.size:
            raise BackupFailed("the copy has another size than what was uploaded", code="altered")
        if (found.get("e_tag") or "").strip('"').lower() != counted.md5:
            for _ in counted.again(self.read(key)):
                pass

    def tell(self, key: str, manifest: Mapping[str, Any]) -> None:
        """Write the manifest beside the object: from now on the backup counts, as what is in the bucket is read as a restore reads it."""
        text = written(manifest)
        with worded():
            obstore.put(self._store, f"{key}{MANIFEST}", text, use_multipart=False)
        try:
            same = self.manifest(key) == manifest_of(text)
        except BackupFailed:
            self.discard(f"{key}{MANIFEST}")
            raise
        if not same:
            self.discard(f"{key}{MANIFEST}")
            raise BackupFailed(
                "the manifest that was read back is not the one that was written", code="altered"
            )

    def manifest(self, key: str) -> Mapping[str, Any]:
        """The manifest of a backup, by its key."""
        text = b""
        with worded():
            found = obstore.get(self._store, f"{key}{MANIFEST}")
            if 0 < found.meta["size"] <= LONGEST_MANIFEST:  # else it is none of ours, and stays unread
                for block in self._blocks(found):
                    text += block
                    if len(text) > LONGEST_MANIFEST:
                        break
        try:
            return manifest_of(text)
        except ValueError:  # its text would repeat what a stranger wrote
            raise BackupFailed("the manifest is none of ours", code="altered") from None

    def size(self, key: str) -> int | None:
        """Bytes of the object; None when there is none."""
        with worded():
            try:
                return int(obstore.head(self._store, key)["size"])
            except (NotFoundError, FileNotFoundError):
                return None

    def backups(self, folder: str) -> dict[str, Listed]:
        """The keys of the backups in a folder that have a manifest."""
        keys, found = self._listed(folder), {}
        for key in (k.removesuffix(MANIFEST) for k in keys if k.endswith(MANIFEST)):
            with suppress(ValueError):  # not made by us: never touched
                at = stamp_of(key.rpartition("/")[2].partition(".")[0])
                found[key] = Listed(at, keys[f"{key}{MANIFEST}"][0], keys[key][1] if key in keys else None)
        return found

    def unfinished(self, like: str, folder: str, before: datetime) -> list[str]:
        """The keys in a folder that are made as the key `like`, have no manifest and were written before this moment: what a removal
        has left whose second half was refused, or a publication whose manifest was."""
        there = self._listed(folder)
        ending = "".join(like.rpartition("/")[2].partition(".")[1:])
        found = []
        for key, (written, _) in there.items():
            name = key.rpartition("/")[2].removesuffix(ending)
            with suppress(ValueError):  # not made by us
                ours = key == f"{folder}/{stamp_of(name):%Y/%m/%d}/{name}{ending}"
                if ours and f"{key}{MANIFEST}" not in there and max(written, stamp_of(name)) < before:
                    found.append(key)
        # A listing may leave out what is there: only a manifest that is asked for by its key, and is none, is none.
        return [key for key in found if self.size(f"{key}{MANIFEST}") is None]

    def _listed(self, folder: str) -> dict[str, tuple[datetime, int]]:
        """All keys in a folder, with when each was written, and its bytes."""
        keys: dict[str, tuple[datetime, int]] = {}
        with worded():
            for page in obstore.list(self._store, prefix=f"{folder}/"):
                keys |= {meta["path"]: (meta["last_modified"], meta["size"]) for meta in page}
                if len(keys) > _MAX_OBJECTS:
                    raise BackupFailed(f"the folder has more than {_MAX_OBJECTS} objects", code="store_full")
        return keys

    def remove(self, key: str) -> None:
        """Remove a backup: its manifest first, so that what is left of a removal that died does not count."""
        with worded():
            obstore.delete(self._store, f"{key}{MANIFEST}")
            obstore.delete(self._store, key)

    def sweep(self, folder: str, before: datetime) -> None:
        """Remove what uploads that were killed have left in this folder, which is ours alone."""
        with worded():
            pages = obstore.list(self._store, prefix=f"{folder}/")
            old = [meta["path"] for page in pages for meta in page if meta["last_modified"] < before]
            for key in old:
                obstore.delete(self._store, key)

    def discard(self, key: str) -> None:
        """Remove an object that may not be there."""
        with worded():
            try:
                obstore.delete(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return


def written(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is stored. Raises BackupFailed for one that a restore would not take, so that it is never published."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    if len(text) > LONGEST_MANIFEST:
        rows = manifest.get("rows")
        about = f" of {len(rows)} tables" if isinstance(rows, dict) else ""
        told = f"the manifest{about} would have {len(text)} bytes, and a restore takes {LONGEST_MANIFEST} at most"
        raise BackupFailed(told, code="manifest")
    try:
        manifest_of(text)
    except ValueError:  # its text would repeat the value
        raise BackupFailed("the manifest would hold what a restore does not take", code="manifest") from None
    return text


@contextmanager
def worded(limit: timedelta = _ANSWER) -> Iterator[None]:
    """The library's errors in words of ours; a BackupFailed of whoever made the blocks passes. `limit` is what a request had."""
    try:
        yield
    except (UnauthenticatedError, PermissionDeniedError):
        raise BackupFailed("the store refuses the login, or what it may do", code="store_refused") from None
    except (NotFoundError, FileNotFoundError):
        raise BackupFailed("the store has no such bucket or object", code="store_missing") from None
    except InvalidPathError:
        raise BackupFailed("the store's URL or a key is not valid", code="store_bad_url") from None
    except (BaseError, ValueError, OSError) as error:
        status = _STATUS.search(str(error))
        code = next((g for g in status.groups() if g), "") if status else ""
        if not code and _FULL.search(str(error)):
            raise BackupFailed(
                "the store has no room left: no space left on device", code="store_full"
            ) from None
        if not code and _SILENT.search(str(error)):
            text = f"a request to the store took longer than {limit.total_seconds():g} s"
            raise MayPass(text, code="store_failed") from None
        if not code and (key := _LACKS.search(str(error))):
            text = f"the store's login lacks {_KEYS[key[1]]}: add this key to the Secret of the store's login"
            raise BackupFailed(text, code="store_refused") from None
        if not code and _UNREACHED.search(str(error)):
            why = next((words for sign, words in _WHY if sign.search(str(error))), "no connection is made")
            text = f"the store cannot be reached: {why}; look at its endpoint and the network policy"
            raise MayPass(text, code="store_failed") from None
        told = f"HTTP {code}" if code else type(error).__name__
        failed = BackupFailed if code.startswith("4") and code not in _PASSING else MayPass
        raise failed(f"the store failed ({told})", code="store_failed") from None
