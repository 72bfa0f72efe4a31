"""What a backup removes afterwards: only what it replaces, and never itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.backup.bucket import MANIFEST, Bucket
from app.backup.configuration.order import NAMED, SUFFIX
from app.backup.configuration.order import Order as ConfigurationOrder
from app.backup.failure import BackupFailed
from app.backup.order import KIND, Form, Keep, Order, Place, new_name, safe_name
from app.backup.pruning import Kept, prune
from app.domain.database import DatabaseAddress

AT = datetime(2026, 3, 10, 2, tzinfo=UTC)
ONE = Keep(1, 0, 0, 0)


@dataclass
class Folder:
    """A place with backups; each is made and pruned as a Job does it. `keep` is everybody's."""

    path: Path
    keep: Keep = ONE

    def order(self, at: datetime, database: str = "app", form: Form = Form.CUSTOM) -> Order:
        address = DatabaseAddress("rag7", "postgres.rag7.svc", 0, database, "db")
        place = Place(f"file://{self.path}")
        return Order(new_name(database, at, "uid"), address, form, place, self.keep)

    def configuration(self, at: datetime) -> ConfigurationOrder:
        place = Place(f"file://{self.path}")
        return ConfigurationOrder(new_name(NAMED, at, "uid"), "rag7", place, self.keep, ())

    def put(self, order: Kept, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """A backup of four bytes; its manifest."""
        told = {"kind": KIND, "bytes": 4, **manifest}
        for name, body in ((order.key, b"dump"), (f"{order.key}{MANIFEST}", json.dumps(told).encode())):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(body)
        return told

    def made(self, order: Kept, at: datetime, **manifest: Any) -> str:
        """One more backup, and what is told of the older ones."""
        told = self.put(order, manifest)
        return prune(Bucket(Place(f"file://{self.path}")), order, at, told)

    def backup(self, day: int, hour: int = 0, form: Form = Form.CUSTOM, **manifest: Any) -> str:
        at = AT + timedelta(days=day, hours=hour)
        return self.made(self.order(at, form=form), at, **{"database": "postgres.rag7.svc/app", **manifest})

    @property
    def left(self) -> list[str]:
        """The days of those that are left, with the ends of their names."""
        found = [p for p in self.path.rglob("*") if p.is_file() and not p.name.endswith(MANIFEST)]
        return sorted(f"{p.parent.name}{p.name[p.name.index('.') :]}" for p in found)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


OTHERS: dict[str, dict[str, Any]] = {
    "an address of its own": {"database": "postgres-b.rag7.svc/app"},
    "a Secret of its own": {"database": "the database of Secret db-b"},
    "the same address in another cluster": {"system": "7312"},
    "a name that looks the same in a key": {"name_digest": "b" * 64},
    "what is no manifest of ours": {"database": None},
}


@pytest.mark.parametrize("other", OTHERS)
def test_backups_of_another_server_or_database_in_the_folder_are_left_alone(
    folder: Folder, other: str
) -> None:
    own: dict[str, Any] = {"system": "4711", "name_digest": "a" * 64}
    folder.backup(0, **{**own, **OTHERS[other]})
    assert folder.backup(0, 1, **own) == "1 of another origin left alone"
    folder.backup(1, 1, **{**own, **OTHERS[other]})
    assert folder.backup(1, 2, **own) == "1 older removed, 1 of another origin left alone"
    assert folder.left == ["11.dump.zst"] * 2


def test_two_names_that_look_the_same_in_a_key_share_a_folder_and_no_fate(folder: Folder) -> None:
    odd, plain = "with space", safe_name("with space")
    for day, name in enumerate((odd, plain, odd, plain)):
        at = AT + timedelta(days=day)
        folder.made(folder.order(at, name), at, database="postgres.rag7.svc", name_digest=name)
    assert folder.left == ["12.dump.zst", "13.dump.zst"]


def test_an_older_manifest_that_tells_no_server_counts_as_before(folder: Folder) -> None:
    folder.backup(0)
    assert folder.backup(1, system="4711", name_digest="a" * 64) == "1 older removed"


@pytest.mark.parametrize("keep", [ONE, Keep(2, 0, 0, 0)])
def test_a_stamp_that_is_later_than_now_takes_no_place_and_never_that_of_the_one_just_made(
    folder: Folder, keep: Keep
) -> None:
    """A clock was ahead once."""
    folder.keep = keep
    folder.backup(15)
    for day in range(4):
        told = folder.backup(day)
        assert "1 stamped later than now" in told
        assert f"{10 + day}.dump.zst" in folder.left
    assert len(folder.left) == keep.daily + 1
    assert "1 stamped later" not in folder.backup(16)


def test_of_two_clocks_the_one_that_is_ahead_is_not_believed(folder: Folder) -> None:
    """The stamp is of the service's, and the pod's may be months ahead: else a stamp of an earlier mistake would count."""
    folder.backup(30)
    folder.keep = Keep(2, 0, 0, 0)
    folder.backup(0)
    at = AT + timedelta(days=1)
    made = folder.order(at)
    told = folder.made(made, AT + timedelta(days=300), database="postgres.rag7.svc/app")
    assert told == "1 stamped later than now, which count for nothing yet"


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=3), timedelta(days=300)])
def test_a_stamp_that_is_ahead_of_the_clock_where_it_is_written_removes_nothing(
    folder: Folder, ahead: timedelta
) -> None:
    """The service's clock ran away: by its stamp all that is young would be old, and every other day over."""
    folder.keep = Keep(1, 0, 0, 48)
    for hour in range(6):
        folder.backup(0, hour)
    now = AT + timedelta(hours=6)
    told = folder.made(folder.order(now + ahead), now, database="postgres.rag7.svc/app")
    assert told.startswith(
        f"its stamp is {round(ahead.total_seconds() / 60)} minutes ahead of the clock here"
    )
    assert len(folder.left) == 7
    assert "ahead" not in folder.backup(0, 9)
    assert len(folder.left) == 8


def test_the_one_just_made_stays_although_another_one_is_newer(folder: Folder) -> None:
    """Two at once: each of them has told somebody that it is there."""
    folder.backup(0, 1)
    at = AT + timedelta(hours=2)
    folder.made(folder.order(AT), at, database="postgres.rag7.svc/app")
    assert len(folder.left) == 2


def test_a_configuration_backup_keeps_itself_and_those_of_another_cluster(folder: Folder) -> None:
    for day, account in ((15, "a"), (0, "b"), (1, "a"), (2, "a")):
        at = AT + timedelta(days=day)
        told = folder.made(folder.configuration(at), at, namespace="rag7", account=account)
    assert folder.left == [f"{day}{SUFFIX}" for day in ("10", "12", "25")]
    assert "1 older removed" in told
    assert "1 of another origin" in told
    assert "1 stamped later" in told


def test_a_plain_dump_takes_no_archives_place(folder: Folder) -> None:
    """An archive is what can be restored without a person."""
    folder.backup(0)
    folder.backup(0, 3, Form.PLAIN)
    assert folder.left == ["10.dump.zst", "10.sql.gz"]
    folder.backup(1, 0, Form.PLAIN)
    folder.backup(1, 1)
    assert folder.left == ["11.dump.zst", "11.sql.gz"]


@pytest.mark.parametrize("what", ["gone", "cut"])
def test_a_manifest_without_its_whole_object_takes_no_place_and_is_told(folder: Folder, what: str) -> None:
    folder.keep = Keep(0, 0, 0)
    for day in range(4):
        folder.backup(day)
    for day in (2, 3):
        file = folder.path / folder.order(AT + timedelta(days=day)).key
        file.unlink() if what == "gone" else file.write_bytes(b"dum")
    folder.keep = Keep(3, 0, 0, 0)
    told = folder.backup(4)
    assert told == "2 without their whole object, which count for nothing"
    assert {"10.dump.zst", "11.dump.zst", "14.dump.zst"} <= set(folder.left)


def _rows(folder: Folder, day: int, hour: int, **manifest: Any) -> str:
    return folder.backup(day, hour, rows={"orders": manifest.pop("orders", 50_000), "users": 12}, **manifest)


def test_a_backup_by_order_after_rows_were_lost_removes_none_from_before(folder: Folder) -> None:
    """At 02:00 all is well, at 10:40 the rows are deleted, at 11:00 somebody wants a backup before they repair it."""
    folder.keep = Keep(1, 0, 0)
    assert _rows(folder, 0, 0) == ""
    told = _rows(folder, 0, 9, orders=0)
    assert told == (
        "fewer rows than in the backup before: orders has 0 rows, and had 50000. Older ones were left alone for that"
    )
    assert folder.left == ["10.dump.zst"] * 2


def test_the_fullest_of_a_day_stays_long_after_the_rest(folder: Folder) -> None:
    folder.keep = Keep(2, 0, 0, 0)
    fullest = folder.order(AT).key
    _rows(folder, 0, 0)
    _rows(folder, 0, 9, orders=0)
    assert "fewer" not in _rows(folder, 0, 10, orders=0), "the loss is told once"
    _rows(folder, 1, 0, orders=0)
    assert (folder.path / fullest).exists()
    assert folder.left == ["10.dump.zst", "11.dump.zst"]


_HOURS = 12
LOSSES: dict[str, dict[str, tuple[int, ...]]] = {
    "orders emptied at five, and the log outgrows them": {"orders": (5_000,) * 5 + (0,) * 7},
    "orders deleted by a third each hour": {
        "orders": (5_000,) * 5 + (3_300, 2_200, 1_400, 900, 600, 400, 200)
    },
    "users at five and orders at eight": {"users": (50,) * 5 + (0,) * 7, "orders": (5_000,) * 8 + (10,) * 4},
    "no table but a queue that is filled and emptied": {"queue": (0, 400) * 6},
}
STAY = {
    "orders emptied at five, and the log outgrows them": [4, 11],
    "orders deleted by a third each hour": [5, 7, 9, 11],
    "users at five and orders at eight": [4, 7, 11],
    "no table but a queue that is filled and emptied": [11],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_made_after_a_loss_replaces_none_from_before_it_whatever_else_grew(
    folder: Folder, loss: str
) -> None:
    """Hourly ones beside a log that grows by more rows than the others have, all of a day that is over."""
    folder.keep = Keep(0, 0, 0)
    for hour in range(_HOURS):
        rows = {"log": 9_000 * hour, **{table: told[hour] for table, told in LOSSES[loss].items()}}
        folder.backup(0, hour, rows=rows)
    folder.keep = Keep(2, 0, 0, 0)
    folder.backup(1, rows=rows)
    here = [folder.order(AT + timedelta(hours=hour)).key for hour in range(_HOURS)]
    assert [hour for hour, key in enumerate(here) if (folder.path / key).exists()] == STAY[loss]
    folder.backup(1, 1, rows=rows)
    assert len(folder.left) == len(STAY[loss]) + 1, "as long as the day itself"
    folder.backup(2, rows=rows)
    assert len(folder.left) == 2


def test_everything_of_the_last_two_days_stays(folder: Folder) -> None:
    folder.keep = Keep(1, 0, 0)
    for hour in range(0, 49, 6):
        folder.backup(0, hour)
    assert len(folder.left) == 8
    assert folder.backup(20) == "8 older removed"


def test_the_newest_that_was_tried_by_a_restore_stays_until_another_one_was(folder: Folder) -> None:
    folder.backup(0, restored=True)
    for day in (1, 2):
        folder.backup(day, restored=False)
    assert folder.left == ["10.dump.zst", "12.dump.zst"]
    folder.backup(3, restored=True)
    assert folder.left == ["13.dump.zst"]


def test_a_small_table_that_is_emptied_stops_no_pruning(folder: Folder) -> None:
    folder.backup(0, rows={"queue": 9, "orders": 100})
    assert folder.backup(1, rows={"queue": 0, "orders": 60}) == "1 older removed"
    assert "orders has 20 rows, and had 60" in folder.backup(2, rows={"orders": 20})


def test_all_of_them_stay_where_everything_is_kept(folder: Folder) -> None:
    folder.keep = Keep(0, 0, 0)
    assert [folder.backup(day) for day in range(3)] == [""] * 3
    assert len(folder.left) == 3


def test_a_store_that_gives_no_manifest_has_nothing_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.backup(0)
    monkeypatch.setattr(Bucket, "manifest", _refused)
    assert "could not be removed" in folder.backup(1)
    assert len(folder.left) == 2


def _refused(self: Bucket, key: str) -> Mapping[str, Any]:
    raise BackupFailed("the store failed (HTTP 503)", code="store_failed")


def test_a_backup_whose_manifest_a_listing_leaves_out_stays(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key answers: that it was not listed proves nothing."""
    folder.keep = Keep(0, 0, 0)
    for day in range(3):
        folder.backup(day)
    listed = Bucket._listed
    monkeypatch.setattr(
        Bucket,
        "_listed",
        lambda self, of: {k: v for k, v in listed(self, of).items() if not k.endswith(MANIFEST)},
    )
    order = folder.order(AT)
    bucket, later = Bucket(Place(f"file://{folder.path}")), datetime.now(UTC) + timedelta(days=1)
    assert bucket.unfinished(order.key, order.folder, later) == []
    next(p for p in folder.path.rglob("*") if p.name.endswith(MANIFEST)).unlink()
    assert len(bucket.unfinished(order.key, order.folder, later)) == 1
