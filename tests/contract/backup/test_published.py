"""What a store says that it has copied is looked at before it counts, whatever the store says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.backup.bucket import Bucket
from app.backup.failure import BackupFailed
from app.backup.order import Place
from tests.contract.backup.strict import StrictStore
from tests.contract.backup.test_backup import LOGIN

WHOLE = bytes(range(256)) * 40_000
COPIES: dict[str, Callable[[bytes], bytes | None]] = {
    "altered": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "cut": lambda body: body[:-10],
    "nothing": lambda _: None,
}


def _bucket(store: StrictStore) -> Bucket:
    return Bucket(Place("s3://bucket/pre", store.url), LOGIN)


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("what", COPIES)
def test_a_copy_that_a_store_has_spoilt_is_no_backup_and_is_gone(what: str, tagged: bool) -> None:
    with StrictStore() as store:
        bucket, store.copied, store.tagged = _bucket(store), COPIES[what], tagged
        counted = bucket.put("incomplete", [WHOLE], len(WHOLE))
        with pytest.raises(BackupFailed):
            bucket.publish("incomplete", "final", counted)
        assert "pre/final" not in store.objects


@pytest.mark.parametrize("tagged", [True, False])
def test_a_good_copy_is_read_only_where_its_tag_proves_nothing(tagged: bool) -> None:
    with StrictStore() as store:
        bucket, store.tagged = _bucket(store), tagged
        bucket.publish("incomplete", "final", bucket.put("incomplete", [WHOLE], len(WHOLE)))
        assert store.objects["pre/final"] == WHOLE
        assert set(store.read) == (set() if tagged else {"pre/final"})
        assert store.refused == []
