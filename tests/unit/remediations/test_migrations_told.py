"""A program's own log tells that it migrated its database, or that its migrations do not fit: then a rollback is asked about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.cluster import LogQuery
from app.domain.remediation import History, Scene
from app.domain.target import Kind
from app.domain.workload import Pod
from remediations.evidence.rollouts import ONE_WAY, one_way_since
from tests.unit.remediations.snapshots import NOW, ago, pod, revision, state, workload
from tests.unit.remediations.stage import Services

GOAL = revision(7, "registry/app:v1", created_at=ago(days=3))

MIGRATED = (
    "INFO  [alembic.runtime.migration] Running upgrade 12 -> 13, add total", 'Migrating schema "public" to version "13 - drop legacy"',
    'Successfully applied 1 migration to schema "public", now at version v13', "== 20260304025500 DropLegacy: migrated (0.0131s) ==",
    "  Applying orders.0013_drop_legacy... OK", "ChangeSet db/changelog.xml::13::ana ran successfully in 12ms",
    "The following migration(s) have been applied:", "Applying migration '20260304025500_DropLegacy'.", "OK   00013_drop_legacy.sql (12ms)",
    "goose: successfully migrated database to version: 13", "Batch 13 run: 1 migrations", "== 20260304025500-drop-legacy: migrated (0.02s)",
    "Migration DropLegacy1700000000 has been executed successfully.", "2026_03_04_025500_drop_legacy .......... 12ms DONE",
    "13/u drop_legacy (12.3ms)", "== Migrated 20260304025500 in 0.0s", "applied 2 pending migrations", "database schema was upgraded to version 13",
)  # fmt: skip
NOT_MIGRATED = (
    "No migrations to apply.", "INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.", 'Schema "public" is up to date. No migration necessary.',
    "applied 0 migrations", "Batch 0 run: 0 migrations", "there are 3 pending migrations", "migration guide: https://example.net", "user migrated to plan B",
    "Successfully validated 13 migrations (execution time 00:00.012s)",
)  # fmt: skip


class _Telling:
    """A cluster without Jobs whose pods' logs begin like this; `previous` ones where they restarted."""

    def __init__(self, now: str, before: str = "") -> None:
        self._now, self._before, self.asked = now, before, list[LogQuery]()

    async def list_objects(self, kind: Kind, namespace: str) -> list[dict[str, Any]]:
        assert (kind, namespace) == (Kind.JOB, "rag7")
        return []

    async def logs(self, query: LogQuery) -> str:
        self.asked.append(query)
        return self._before if query.previous else self._now


def _pod(restarts: int = 0) -> Pod:
    return pod("new-0", state(restarts=restarts), template_hash="h8")


async def _between(cluster: Any, restarts: int = 0) -> str:
    seen = Scene(cluster, workload(), "HighErrorRate", {}, NOW, NOW, Services({}), history=History())
    newer = replace(revision(8, "registry/app:v2"), name="app-h8")
    return await one_way_since(seen, [GOAL, newer], GOAL, NOW, (ONE_WAY,), [_pod(restarts)])


@pytest.mark.parametrize("line", MIGRATED)
async def test_c_a_program_that_says_that_it_migrated_makes_it_ask(line: str) -> None:
    told = await _between(_Telling(f"starting\n{line}\nTypeError: boom"))
    assert "migrated when it started" in told
    assert "an older version may not work with what it changed" in told
    told = await _between(_Telling("starting", f"starting\n{line}"), restarts=3)
    assert "migrated when it started" in told


@pytest.mark.parametrize("line", NOT_MIGRATED)
async def test_c_a_program_that_had_nothing_to_migrate_makes_nobody_ask(line: str) -> None:
    cluster = _Telling(f"starting\n{line}\nTypeError: boom")
    assert await _between(cluster) == ""
    assert [(q.tail_lines, q.previous) for q in cluster.asked] == [(None, False)]


IN_DOUBT = (
    "Migration checksum mismatch for migration version 12", "FlywayValidateException: Validate failed: Migrations have failed validation",
    "Detected applied migration not resolved locally: 13.", "error: Dirty database version 13. Fix and force version.", "Migration V13__drop.sql failed",
    "migrate found failed migrations in the target database, new migrations will not be applied", "A migration failed to apply. New migrations cannot be applied",
    "StandardError: An error has occurred, this and all later migrations canceled:", "liquibase: Migration failed for changeset db.xml::13::ana",
    'migration file "13_drop.js" failed', "Can't locate revision identified by '3f2a'", "migration 13 was previously applied but has been modified",
    "django.db.migrations.exceptions.InconsistentMigrationHistory: Migration a is applied", "Validation Failed:      1 changesets check sum",
)  # fmt: skip


@pytest.mark.parametrize("line", IN_DOUBT)
async def test_c_a_database_that_is_not_as_the_program_s_migrations_have_it_makes_it_ask(line: str) -> None:
    told = await _between(_Telling("starting", f"starting\n{line}"), restarts=3)
    assert "says of its database's migrations" in told
    assert "whether an older version works with it is not known" in told


@pytest.mark.parametrize(
    "line", [*NOT_MIGRATED, "pending migrations: run migrate first", "checksum mismatch of the download"]
)
async def test_c_migrations_that_have_not_run_leave_the_schema_that_the_older_version_knows(
    line: str,
) -> None:
    assert await _between(_Telling(line)) == ""
