"""The session that exports a backup's snapshot is needed until the dump has begun: it is silent meanwhile, and may be gone afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from app.backup import upload
from app.backup.bucket import Counted
from app.backup.failure import BackupFailed
from app.backup.order import Form, Keep, Order, Place
from app.domain.database import DatabaseAddress
from app.sim import VirtualClock


class Source:
    """The session; each question after `gone` fails as where the network has forgotten it."""

    def __init__(self) -> None:
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        if self.gone:
            raise BackupFailed("the connection was lost", code="query_failed")
        if name == "snapshot":
            return lambda: "1-1"
        return {"version": (15, "15.18"), "size": 7, "locale": ["UTF8"]}.get(name, name)


class Bucket:
    def put(self, key: str, blocks: Iterable[bytes], size: int) -> Counted:
        del key, size
        counted = Counted()
        list(counted.through(blocks))
        return counted

    def read(self, key: str) -> Iterator[bytes]:
        del key
        return iter(())


def test_nothing_is_asked_of_it_once_the_dump_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    source: Any = Source()
    rows: Future[dict[str, int]] = Future()
    rows.set_result({"public.stock": 2})

    @contextmanager
    def counting(*_asked: Any) -> Iterator[Future[dict[str, int]]]:
        yield rows

    class Pipes:
        def dump(self, form: Form, snapshot: str) -> Iterator[bytes]:
            del form, snapshot
            yield b"some of it"
            source.gone = True

    monkeypatch.setattr(upload, "counting", counting)
    monkeypatch.setattr(upload, "_check_text", lambda _blocks: None)
    at = DatabaseAddress("rag7", "db", 0, "shop", "db")
    order = Order("shop-20260301T020000Z-aaaaaa", at, Form.PLAIN, Place("s3://b"), Keep())
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    pipes: Any = Pipes()
    bucket: Any = Bucket()
    parts = upload.Parts(order, {}, clock, lambda _said: None)
    manifest = upload._Stored(parts, pipes, bucket, source).make("15.18", {"application_name": "x"})
    assert (manifest["server"], manifest["system"], manifest["locale"]) == ("15.18", "system", ["UTF8"])
    assert manifest["rows"] == {"public.stock": 2}
