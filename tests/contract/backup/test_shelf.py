"""The service's look at a bucket: the newest backup or a named one, by its manifest and size; what fails is worded without a login."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.backup import shelf as shelf_module
from app.backup.order import Form, Keep, Order, Place
from app.backup.shelf import Shelves
from app.domain.backups import LATER, UNSEEN, Shelf
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.sim import SimCluster, VirtualClock, load_scenario
from tests.contract.backup.strict import StrictStore

CANARY = "c4nary-k3y"
NOW = datetime(2026, 3, 11, tzinfo=UTC)
NAMES = ("shop-20260301T020000Z-aaaaaa", "shop-20260303T020000Z-bbbbbb", "shop-20260302T020000Z-cccccc")


def _key(name: str) -> str:
    at = DatabaseAddress("rag7", "postgres", 0, "shop", "db")
    return Order(name, at, Form.CUSTOM, Place(""), Keep()).key


@pytest.fixture
def store() -> Iterator[StrictStore]:
    """Three backups in a bucket, the folder of another database, one without its manifest, and a stranger's file."""
    with StrictStore() as found:
        for name in NAMES:
            found.objects[f"pg/{_key(name)}"] = b"x" * 7
            found.objects[f"pg/{_key(name)}.manifest.json"] = json.dumps({"name": name}).encode()
        found.objects[f"pg/{_key('shop-20260309T020000Z-dddddd')}"] = b"y"
        found.objects["pg/rag7/shop/notes.manifest.json"] = b"{}"
        other = "rag7/other/2026/03/09/other-20260309T020000Z-eeeeee.dump.zst"
        found.objects[f"pg/{other}.manifest.json"] = b"{}"
        yield found


def _cluster(**values: str) -> SimCluster:
    cluster = SimCluster(VirtualClock(), load_scenario("high-latency"))
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": "store", "namespace": "rag7"}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    return cluster


def _shelf(store: StrictStore, named: str = "store") -> Shelf:
    return Shelf("s3://bucket/pg", store.url, "", "rag7", named, "rag7/shop")


LOGIN = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": CANARY}


async def test_the_newest_of_its_folder_or_a_named_one_is_found(store: StrictStore) -> None:
    cluster, shelf = _cluster(**LOGIN), _shelf(store)
    newest = await Shelves().find(cluster, shelf, "", NOW)
    named = await Shelves().find(cluster, shelf, _key(NAMES[0]), NOW)
    assert newest is not None
    assert named is not None
    assert (newest.key, newest.bytes, newest.manifest) == (_key(NAMES[1]), 7, {"name": NAMES[1]})
    assert named.manifest == {"name": NAMES[0]}
    assert store.refused == []


async def test_the_newest_is_that_of_the_server_where_several_share_the_folder(store: StrictStore) -> None:
    """One of another server is found only where there is none of this one: so it can be told why it is not taken."""
    for name, server in zip(NAMES, ("a", "b", "a"), strict=True):
        told = json.dumps({"name": name, "database": f"{server}.rag7.svc/shop"}).encode()
        store.objects[f"pg/{_key(name)}.manifest.json"] = told
    for server, number in (("a", 2), ("b", 1), ("c", 1)):
        shelf = replace(_shelf(store), server=f"{server}.rag7.svc")
        found = await Shelves().find(_cluster(**LOGIN), shelf, "", NOW)
        assert found is not None
        assert found.key == _key(NAMES[number])


@pytest.mark.parametrize("folder", ["of its own", "of the others"])
async def test_a_safety_backup_is_never_the_newest_and_can_be_named(store: StrictStore, folder: str) -> None:
    """By its folder, and by its manifest wherever it is."""
    name = "shop-20260310T020000Z-ffffff"
    at = DatabaseAddress("rag7", "postgres", 0, "shop", "db")
    key = Order(name, at, Form.CUSTOM, Place(""), Keep(), safety=folder == "of its own").key
    store.objects[f"pg/{key}"] = b"x"
    store.objects[f"pg/{key}.manifest.json"] = json.dumps({"name": name, "safety": True}).encode()
    cluster, shelf = _cluster(**LOGIN), _shelf(store)
    newest = await Shelves().find(cluster, shelf, "", NOW)
    named = await Shelves().find(cluster, shelf, key, NOW)
    assert newest is not None
    assert named is not None
    assert (newest.key, named.key) == (_key(NAMES[1]), key)


async def test_an_empty_folder_has_none(store: StrictStore) -> None:
    store.objects.clear()
    assert await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW) is None


@pytest.mark.parametrize(
    ("key", "secret", "values", "code"),
    [
        ("rag7/no", "store", LOGIN, "store_missing"),
        ("", "nothing", LOGIN, "no_login"),
        ("", "store", {"OTHER": CANARY}, "no_login"),
    ],
)
async def test_what_fails_says_why_and_shows_no_login(
    store: StrictStore, key: str, secret: str, values: dict[str, str], code: str
) -> None:
    with pytest.raises(ProbeUnavailable) as failed:
        await Shelves().find(_cluster(**values), _shelf(store, secret), key, NOW)
    assert (failed.value.code, CANARY in str(failed.value)) == (code, False)


async def test_only_the_manifest_is_left(store: StrictStore) -> None:
    """Its removal died half way, or somebody took the dump: there is nothing to restore."""
    del store.objects[f"pg/{_key(NAMES[1])}"]
    found = await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW)
    assert found is not None
    assert found.bytes is None


async def test_a_broken_newest_manifest_is_named_with_the_next_good_one(store: StrictStore) -> None:
    """The newest may be what it was the manifest of: an older one is taken by name alone."""
    store.objects[f"pg/{_key(NAMES[1])}.manifest.json"] = b"<html>"
    with pytest.raises(ProbeUnavailable) as told:
        await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW)
    assert f"the manifest of {_key(NAMES[1])} is none of ours" in told.value.message
    assert f"backup={_key(NAMES[2])}" in told.value.message
    assert told.value.code == "altered"
    named = await Shelves().find(_cluster(**LOGIN), _shelf(store), _key(NAMES[2]), NOW)
    assert named is not None


def _put(store: StrictStore, name: str, form: Form = Form.CUSTOM, **told: object) -> str:
    key = _key(name).replace(Form.CUSTOM.suffix, form.suffix)
    store.objects[f"pg/{key}"] = b"x" * 7
    store.objects[f"pg/{key}.manifest.json"] = json.dumps({"name": name, **told}).encode()
    return key


@pytest.mark.parametrize("whose", ["its own", "of another server"])
async def test_a_plain_one_is_not_the_newest_and_is_told_where_it_is_newer(
    store: StrictStore, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No machine restores it: it hid each one that a machine can, also where there are many of it."""
    monkeypatch.setattr(shelf_module, "_LOOKED_AT", 3)
    for hour in range(4):
        newer = _put(
            store,
            f"shop-20260305T0{hour}0000Z-ffffff",
            Form.PLAIN,
            database="pg" if whose == "its own" else "b",
        )
    _put(store, "shop-20260301T030000Z-ffffff", Form.PLAIN, database="pg")
    for name in NAMES:
        _put(store, name, database="pg")
    shelf = replace(_shelf(store), server="pg")
    found = await Shelves().find(_cluster(**LOGIN), shelf, "", NOW)
    assert found is not None
    told = (f"a newer one is plain, which is restored by hand alone: {newer}",) if whose == "its own" else ()
    assert (found.key, found.instead) == (_key(NAMES[1]), told)
    for name in NAMES:
        del store.objects[f"pg/{_key(name)}.manifest.json"]
    alone = await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW)
    assert alone is not None
    assert alone.key == newer


@pytest.mark.parametrize(
    ("written", "told"),
    [("2026-03-10T02:00:00.000Z", True), ("2026-03-04T05:16:00.000Z", False)],
)
async def test_one_that_the_store_wrote_later_than_the_newest_is_told(
    store: StrictStore, written: str, told: bool
) -> None:
    """By its stamp it is older: a clock was behind when it was made, and nobody would hear of it."""
    store.written[f"pg/{_key(NAMES[0])}.manifest.json"] = written
    found = await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW)
    assert found is not None
    assert (found.key, f"backup={_key(NAMES[0])} takes it" in str(found.instead)) == (_key(NAMES[1]), told)


async def test_one_that_is_stamped_later_than_now_is_not_the_newest_and_is_counted(
    store: StrictStore,
) -> None:
    """It was made while a clock was ahead: until then it would be the newest each time."""
    later = _put(store, "shop-20300101T000000Z-ffffff")
    found = await Shelves().find(_cluster(**LOGIN), _shelf(store), "", NOW)
    named = await Shelves().find(_cluster(**LOGIN), _shelf(store), later, NOW)
    assert found is not None
    assert named is not None
    assert (found.key, found.later, named.key) == (_key(NAMES[1]), 1, later)


@pytest.mark.parametrize(
    ("now", "alone", "words"),
    [
        (datetime(2026, 3, 2, 12, tzinfo=UTC), False, f"by the store's clock too: .*/{NAMES[1]}"),
        (NOW, True, "there is no other one: .*/shop-20300101T000000Z-ffffff"),
    ],
)
async def test_where_the_clock_here_may_be_behind_none_is_the_newest(
    store: StrictStore, now: datetime, alone: bool, words: str
) -> None:
    if alone:
        store.objects.clear()
        _put(store, "shop-20300101T000000Z-ffffff")
    with pytest.raises(ProbeUnavailable, match=words) as refused:
        await Shelves().find(_cluster(**LOGIN), _shelf(store), "", now)
    assert refused.value.code == LATER


async def test_that_none_of_the_server_was_among_those_looked_at_is_said(
    store: StrictStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that there is none, nor that one of another server is the newest."""
    monkeypatch.setattr(shelf_module, "_LOOKED_AT", 2)
    for name, server in zip(NAMES, ("a", "b", "b"), strict=True):
        told = json.dumps({"name": name, "database": f"{server}.rag7.svc/shop"}).encode()
        store.objects[f"pg/{_key(name)}.manifest.json"] = told
    with pytest.raises(ProbeUnavailable, match="of 3 only the newest 2 were looked at") as refused:
        await Shelves().find(_cluster(**LOGIN), replace(_shelf(store), server="a.rag7.svc"), "", NOW)
    assert refused.value.code == UNSEEN
