"""The texts of the last policy that was in force outlive the process, and nobody without the key of the installation plants others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from app.domain.change import DigestKey
from app.store import last_policy
from app.store.database import Store
from app.store.last_policy import LastPolicy, Own
from app.store.schema import installation
from app.store.tx import Tx
from tests.contract.stores import START, HandClock

TEXTS = {"a.yaml": "version: 1\n# \u00fc\u2028\n", "b.yaml": "rules: []\n"}


async def found(store: Store, key: DigestKey | None = None) -> LastPolicy | None:
    return await store.read(lambda conn: last_policy.find(conn, key or store.vault.key))


async def test_what_was_kept_is_found_with_the_moment_from_which_it_was(
    store: Store, clock: HandClock
) -> None:
    assert await found(store) is None
    await store.write(lambda tx: last_policy.keep(tx, TEXTS))
    clock.forward(hours=1)
    await store.write(lambda tx: last_policy.keep(tx, dict(reversed(TEXTS.items()))))
    assert await found(store) == LastPolicy(TEXTS, START)
    await store.write(lambda tx: last_policy.keep(tx, {"a.yaml": "mode: observe"}))
    assert await found(store) == LastPolicy({"a.yaml": "mode: observe"}, clock.now())


async def test_what_was_changed_behind_the_service_is_not_taken(store: Store) -> None:
    await store.write(lambda tx: last_policy.keep(tx, TEXTS))
    assert await found(store, DigestKey(b"the key of another installation")) is None
    row = installation.c.name == "policy"
    text = await store.read(lambda conn: conn.execute(installation.select().where(row)).one().value)

    def plant(tx: Tx, value: str) -> None:
        tx.conn.execute(installation.update().where(row).values(value=value))

    for planted in (
        text.replace("rules: []", "rules: [x]"),
        "{}",
        "[]",
        "not JSON",
        '{"at":' + "9" * 40 + ',"texts":{},"digest":""}',
        "[" * 100_000,
        '{"at":1,"texts":{"a":"b"}}',
    ):
        await store.write(partial(plant, value=planted))
        assert await found(store) is None, planted
    await store.write(lambda tx: last_policy.keep(tx, TEXTS))
    assert await found(store) is not None, "what is in force takes its place"


async def test_the_brake_is_kept_beside_the_texts(store: Store, clock: HandClock) -> None:
    await store.write(lambda tx: last_policy.keep(tx, TEXTS))
    clock.forward(hours=1)
    await store.write(lambda tx: last_policy.keep(tx, TEXTS, braked=True))
    assert await found(store) == LastPolicy(TEXTS, START, braked=True)


async def test_each_replica_finds_what_it_told_of_its_own_files(store: Store) -> None:
    def told(name: str) -> Callable[[Connection], Own | None]:
        return lambda conn: last_policy.told_by(conn, name)

    assert await store.read(told("a")) is None
    await store.write(lambda tx: last_policy.tell(tx, "a", Own("1")))
    await store.write(lambda tx: last_policy.tell(tx, "a_%", Own("2", braked=True)))
    await store.write(lambda tx: last_policy.tell(tx, "a", Own("3")))
    assert await store.read(told("a")) == Own("3")
    assert await store.read(told("a_%")) == Own("2", braked=True)
    assert await found(store) is None, "that is no policy"
    assert await store.read(lambda conn: last_policy.braked_by(conn, "a")) == ("a_%",)
    assert await store.read(lambda conn: last_policy.braked_by(conn, "a_%")) == ()


async def test_names_of_replicas_are_no_endless_list(store: Store, clock: HandClock) -> None:
    """A process that is no replica of a set has a new name at each start."""
    await store.write(lambda tx: last_policy.tell(tx, "held", Own("0", braked=True)))
    for n in range(last_policy.MAX_REPLICAS + 5):
        clock.forward(seconds=1)
        await store.write(partial(last_policy.tell, replica=f"host-{n}", own=Own(str(n))))
    first, last = "host-0", f"host-{last_policy.MAX_REPLICAS + 4}"
    assert await store.read(lambda conn: last_policy.told_by(conn, first)) is None
    assert await store.read(lambda conn: last_policy.told_by(conn, last)) is not None
    rows = await store.read(lambda conn: conn.execute(installation.select()).all())
    assert sum(row.name.startswith("policy of host-") for row in rows) == last_policy.MAX_REPLICAS
    assert await store.read(lambda conn: last_policy.braked_by(conn, "")) == ("held",), (
        "a brake is not forgotten"
    )
