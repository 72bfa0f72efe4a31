"""What the service and the doctor say of a role with too few rights: what keeps alerts out, what retention lacks, what hides the schema."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.doctor import local
from app.domain.errors import StoreUnavailable
from app.serving import _say_what_the_role_lacks
from app.settings import Settings
from app.store.database import Store
from tests.contract.stores import CountingIds, HandClock, open_incident
from tests.contract.test_store_roles import as_role, urls

__all__ = ["urls"]


async def test_a_sequence_that_may_not_be_used_makes_the_store_not_ready(
    urls: dict[str, str], clock: HandClock
) -> None:
    """No message can be put into the outbox then, while every table seems open."""
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    try:
        incident = await open_incident(store)
        as_role(urls["migrate"], "REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM remediator_run")
        with pytest.raises(StoreUnavailable, match="permission denied for sequence"):
            await store.write(lambda tx: tx.put("m", incident, "fired", {}))
        with pytest.raises(StoreUnavailable, match="lacks USAGE on the sequence outbox_seq_seq"):
            await store.probe_write()
        as_role(urls["migrate"], "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO remediator_run")
        clock.forward(seconds=6)
        await store.probe_write()
    finally:
        store.close()


async def test_the_start_names_every_right_that_the_role_lacks(
    urls: dict[str, str], clock: HandClock
) -> None:
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    service: Any = SimpleNamespace(services=SimpleNamespace(store=store))
    try:
        with capture_logs() as logs:
            await _say_what_the_role_lacks(service)
        assert logs == []
        as_role(
            urls["migrate"],
            "REVOKE DELETE ON samples FROM remediator_run",
            "REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM remediator_run",
            "REVOKE EXECUTE ON FUNCTION audit_cut(bigint, bigint) FROM remediator_run",
        )
        with capture_logs() as logs:
            await _say_what_the_role_lacks(service)
    finally:
        store.close()
    assert [(line["event"], line["lacking"]) for line in logs] == [
        (
            "database_rights_missing",
            [
                "DELETE on samples",
                "USAGE on the sequence outbox_seq_seq",
                "EXECUTE on the function audit_cut",
            ],
        )
    ]


UNSEEN = [
    ("REVOKE SELECT ON alembic_version FROM remediator_run", "may not read the table alembic_version",
     "GRANT SELECT ON public.alembic_version TO remediator_run"),
    ("REVOKE USAGE ON SCHEMA public FROM public, remediator_run", "may not use the schema public",
     "GRANT USAGE ON SCHEMA public TO remediator_run"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told", "fix"), UNSEEN, ids=["table", "schema"])
async def test_a_schema_that_may_not_be_seen_is_neither_old_nor_a_fault(
    urls: dict[str, str], empty_postgres: str, clock: HandClock, change: str, told: str, fix: str
) -> None:
    as_role(empty_postgres, change)
    for migrate in (True, False):
        with capture_logs() as logs, pytest.raises(StoreUnavailable, match=told) as caught:
            Store.open(urls["run"], clock=clock, ids=CountingIds(), migrate=migrate)
        assert (caught.value.code, logs) == ("schema_denied", [])
    settings = Settings(database_url=SecretStr(urls["run"]))
    patient: Any = SimpleNamespace(settings=settings)
    (found,) = await local.store(patient)
    assert (found.code, told in found.text, found.fix) == ("store_closed", True, fix)
    as_role(empty_postgres, fix)
    assert [f.code for f in await local.store(patient)][-1] == "store_writes"


async def test_all_rights_that_a_role_lacks_are_told_in_one_block(
    urls: dict[str, str], empty_postgres: str, clock: HandClock
) -> None:
    """Without the schema no table has a name, without a table no right shows: each GRANT would lead to the next refusal."""
    as_role(
        empty_postgres,
        "REVOKE USAGE ON SCHEMA public FROM public, remediator_run",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM remediator_run",
        "REVOKE UPDATE (seq, hash) ON audit_chain FROM remediator_run",
        "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM remediator_run",
        "REVOKE EXECUTE ON FUNCTION audit_cut(bigint, bigint) FROM public, remediator_run",
        f'REVOKE CREATE ON DATABASE "{make_url(empty_postgres).database}" FROM public, remediator_run',
    )
    patient: Any = SimpleNamespace(settings=Settings(database_url=SecretStr(urls["run"])))
    (found,) = await local.store(patient)
    assert found.code == "store_closed"
    as_role(empty_postgres, *found.fix.split("; "))
    assert [(f.code, f.fix) for f in await local.store(patient)] == [("store_writes", "")]
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    try:
        await open_incident(store)
    finally:
        store.close()
