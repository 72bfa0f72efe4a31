"""Fuzz targets: what stands in a bucket or a Secret and others may have written, and JSON that is read in pieces."""

from __future__ import annotations

import json
import zlib
from typing import Any

from app.backup.configuration import lines
from app.backup.failure import BackupFailed
from app.backup.order import KIND
from app.domain import certificate, pieces
from app.domain.backups import Stored, manifest_of
from app.domain.errors import BadInput
from app.intake.body import decode
from remediations.evidence import restores
from tests.fuzz.bodies import JSON_WORDS
from tests.fuzz.target import FuzzTarget

_MANIFEST = {
    "kind": KIND, "version": 1, "name": "20261126T120000Z", "form": "custom", "sha256": "a" * 64, "bytes": 9,
    "server": "16.4 (Debian 16.4-1)", "rows": {"public.a": 1}, "database_bytes": 10, "locale": ["C", "C"], "safety": False,
}  # fmt: skip
_KEY = "rag7/postgres/db/2026/11/26/20261126T120000Z.dump"


def _manifest(data: bytes) -> None:
    try:
        told = manifest_of(data)
    except ValueError:
        return
    stored = Stored(_KEY, told, 9)
    restores._against(stored, "db")
    if "server" in told:
        text = restores._said(told["server"])
        assert len(text) <= 80
        assert "\x1b" not in text


def _configuration(data: bytes) -> None:
    """The lines as they are, and whatever unpacks to lines."""
    seen: list[Any] = []
    reader = lines.Reader(seen.append)
    unpacker = lines.Unpacker(lines.Reader(seen.append).take)
    for take, end in ((reader.take, reader.end), (unpacker.take, unpacker.end)):
        try:
            take(data)
            end()
        except BackupFailed as error:
            assert len(error.message) < 200


def _certificate(data: bytes) -> None:
    for read in (certificate.of_pem, certificate.of_der):
        try:
            found = read(data)
        except BadInput as error:
            assert len(error.message) < 200
        else:
            assert int(found.serial, 16) >= 0


def _long_json(data: bytes) -> None:
    """A long text of this has the value that it has in one go, or is refused."""
    body = b'{"alerts":[' + data + b'],"x":"' + b"x" * pieces.PIECE + b'"}'
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        whole = None
    try:
        found = decode(body)
    except BadInput as error:
        assert len(error.message) < 400
        return
    assert whole is None or found == whole


_HEAD = lines.head("rag7", "2026-11-26T12:00:00Z")
_LINES = (
    _HEAD
    + b'{"of":["","v1","configmaps"],"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}}\n'
)
_PEM = b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUdTSk0p3AO1vY0nqg1yq8l5vMzSIwCgYIKoZIzj0EAwIw\n-----END CERTIFICATE-----\n"

TARGETS = (
    FuzzTarget(
        "backup-manifest",
        _manifest,
        (json.dumps(_MANIFEST).encode(), b'{"server":"16 \\u001b[2J password=x"}', b'{"bytes":1e999,"rows":{"a":-1}}'),
        (b'"rows"', b'"server"', b'"bytes"', b"9" * 400, b"NaN", b'{"a":' * 50, *JSON_WORDS),
    ),
    FuzzTarget(
        "configuration-backup",
        _configuration,
        (_LINES + lines.tail(1), zlib.compress(_LINES, wbits=31), _HEAD + b"{}\n" + lines.tail(0)),
        (b"\n", b'"of"', b'"object"', b'"objects"', b'"metadata"', b"..", b"/", *JSON_WORDS),
    ),
    FuzzTarget(
        "certificate",
        _certificate,
        (_PEM, b"0\x82\x01\x000\x81\xa6\xa0\x03\x02\x01\x02\x02\x01\x01", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
        (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"\n", b"0\x82", b"\x02\x01", b"\x17\x0d", b"\xff"),
    ),
    FuzzTarget(
        "long-json",
        _long_json,
        (b'{"a":[1,2,{"b":"c,]"}]},{}', b'"\\ud83d\\ude00",1', b"[[[]]],{}", b'],"y":[', b"1e400"),
        (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", *JSON_WORDS),
    ),
)  # fmt: skip
