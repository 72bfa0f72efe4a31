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
MORE_MIGRATED = (
    "  2026_03_04_add_tenant_to_orders ................ 12ms DONE", "INFO migrated database schema to version 12", "Hibernate: alter table orders add column tenant varchar(255)",
    "Mongock: APPLIED - ChangeEntry add-tenant", "[notice] Migrating up to DoctrineMigrations\\Version20260304025500",
    "[notice] finished in 27.8ms, used 20M memory, 1 migrations executed, 2 sql queries", "[OK] Successfully migrated to version: DoctrineMigrations\\Version20260304025500",
    "== Running 20260304025500 Shop.Repo.Migrations.AddTenant.change/0 forward", "Running migration 2026-03-04-025500_add_tenant",
    "Applied 20260304025500/migrate add tenant (12.3ms)", "Migrating to version 20260304025500 from 20260303 (1 migrations in total):", "  -- migrating version 20260304025500",
    "    -> ALTER TABLE `orders` ADD COLUMN `tenant` varchar(255) NOT NULL;", "Migrating to AddTenantToOrders (20260304025500)", "-- add_column(:orders, :tenant, :string)",
    '  (12.3ms)  ALTER TABLE "orders" ADD "tenant" character varying', " - Migrating forwards to 0012_add_tenant.", "INFO yoyo.migrations: Applying 0012-add-tenant",
    "Applying: 20260304025500_add_tenant.sql", "Applied: 20260304025500_add_tenant.sql in 12ms", "### MIGRATION 1709520600000_add-tenant (UP) ###",
    "{ event: 'migrating', name: '2026.03.04T02.55.00.add-tenant.js' }", '{"event":"migrated","name":"2026.js","durationSeconds":0.2}', "Processing 'Migration20260304025500'",
    '[query] alter table "orders" add column "tenant" varchar(255) not null; [took 12 ms]', "[✓] migrations applied successfully!",
    "migrated to group #12 (20260304025500_add_tenant)", "driver.Exec: query=ALTER TABLE `orders` ADD COLUMN `tenant` varchar(255) args=[]",
    "INFO sqlalchemy.engine.Engine ALTER TABLE orders ADD COLUMN tenant VARCHAR(255)", 'query: ALTER TABLE "orders" ADD "tenant" character varying',
    'Executing (default): ALTER TABLE "orders" ADD COLUMN "tenant" VARCHAR(255);', '(0.004) ALTER TABLE "orders" ADD COLUMN "tenant" varchar(255) NULL; args=(); alias=default',
    '[12.345ms] [rows:0] ALTER TABLE "orders" ADD "tenant" text', '{"level":"debug","sql":"ALTER TABLE orders DROP COLUMN total","msg":"exec"}',
    "*** applying m260304_025500_add_tenant", "1 migration was applied.", "MIGRATED UP: 20260304025500-add-tenant.js", "Deploying changes to db:pg:shop",
    "2026-03-04 02:55:00 executing 012_add_tenant.sql up", "Executing Database Server script 'Script0012 - add tenant.sql'", "12: AddTenant migrating =====================",
    "Migration[12]: Add tenant to orders", "Success upgrade 12_20260304025500_add_tenant.py", "Running Changeset: db/changelog/12.xml::12::kim",
    "All migrations have been successfully applied.", "Applying migration `20260304025500_add_tenant`", "Your database is now in sync with your Prisma schema. Done in 42ms",
    "== 000012_add_tenant: migrating (up) ====", "Migrated from version 11 to version 12", "upgraded database from 11 to 12", "Upgrading database schema to version 12",
    "migrating db from version 11 to version 12", 'Applied migration 012 ("Add tenant")', "Migration 20260304_add_tenant applied",
    "migration V12__add_tenant.sql completed in 12 ms", "database schema version 11 -> 12", "Database migrated to version 012.",
    "Migrating keyspace shop to version 12 - add tenant", "Migrating schema `shop` with repeatable migration views",
    "Hibernate: create table tenants (id bigint not null, primary key (id))", "Hibernate: drop table if exists orders_old cascade",
    'logger=migrator msg="Executing migration" id="add tenant column"', "Running downgrade 13 -> 12, drop", "CREATE UNIQUE INDEX CONCURRENTLY ix_orders ON orders (tenant)",
    "exec sp_rename 'orders.total', 'amount'", "INFO: Database schema upgraded from 11 to 12", "Migrations applied: 3", "1 changeset applied",
    "Hibernate: \n    alter table if exists orders \n       add column tenant varchar(255)",
    '{"level":"info","msg":"migration applied","version":12}', '{"msg":"applied migration","name":"012_add_tenant"}', 'msg="running migration" version=12 name=add_tenant',
    'msg="migrated database" version=12', "Schema migrated: 11 => 12", "schema version: 3.1 -> 3.10", "DB migrated to v12", "Executed 12_add_tenant.sql", "applying 0012_add_tenant.sql",
    "Upgrade database schema 11 -> 12 done", "Database upgraded successfully", "Finished migration AddTenant1700000000", "schema updated from 1.11 to 1.12",
    "Run:                         12",
    '\x1b[1m\x1b[35m (12.3ms)\x1b[0m  \x1b[1m\x1b[35mALTER TABLE "orders" ADD "tenant" text\x1b[0m',
)  # fmt: skip
NOT_MIGRATED = (
    "0 migrations applied successfully", "No migrations were applied successfully", "migrations applied successfully: 0", "Batch #3 run: 2 migrations skipped",
    "Run: 7", "Tests Run: 12, Failures: 0", "Coupon APPLIED - SAVE10", "-- add_item(cart)", "-- change_password(user)", 'event: "migrated" user',
    "No migrations to apply.", "INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.", 'Schema "public" is up to date. No migration necessary.',
    "applied 0 migrations", "Batch 0 run: 0 migrations", "there are 3 pending migrations", "migration guide: https://example.net", "user migrated to plan B",
    "Successfully validated 13 migrations (execution time 00:00.012s)",
    "  No migrations to apply.", "No pending migrations to apply.", "no change", "INFO migration of cache disabled", "INFO Migrations are up to date",
    "   INFO  Nothing to migrate.", '[OK] Already at the latest version ("DoctrineMigrations\\Version20260304025500")', "Migrations already up", "No migration files to execute",
    " - Nothing to migrate.", "No migrations to run!", "Migrations complete!", "{ event: 'up', message: 'applied 0 migrations.' }", "No schema changes, nothing to migrate",
    "there are no new migrations to run (database is up to date)", "No new migrations found. Your system is up-to-date.", "Nothing to deploy (up-to-date)",
    "No new scripts need to be executed - completing.", "No upgrade items found", "Mongock: PASSED OVER - ChangeEntry add-tenant",
    "The database is already in sync with the Prisma schema.", "12 migrations found in prisma/migrations", "No migrations were applied. The database is already up to date.",
    "goose: no migrations to run. current version: 12", 'Current version of schema "public": 12', "Schema is already migrated to version 12", "database not migrated to version 12",
    "13 migrations applied, 0 pending", "13 migrations applied; schema up to date", "0 migrations executed", "Running migrations:", "Running migrations...", "Running migrations",
    "Checking for pending migrations", "Please run: ALTER TABLE orders ADD COLUMN tenant text", "ERROR could not execute ALTER TABLE orders ADD COLUMN tenant text",
    'Error executing DDL "alter table orders add column tenant text" via JDBC', "org.postgresql.util.PSQLException: ERROR: must be owner of table orders [alter table orders add x]",
    'Executing (default): CREATE TABLE IF NOT EXISTS "orders" ("id" SERIAL);', "CREATE INDEX IF NOT EXISTS ix ON orders (id)", "select * from orders alter",
    "create table of contents", "You can drop table orders when done", "sessions migrated to 10.0.0.3", "migrating to the new API is recommended", "migrated to node 3",
    "Updated GeoIP database to version 2026-03-01", "Upgraded client to version 3", "migration guide for version 12", "Migration to v2 of the SDK: see docs/12",
    "migration 12 is pending", "UPDATE SUMMARY", "Run:                          0", "Previously run:              12", "Database is up to date, no changesets to execute",
    "all migrations applied", "pending migrations: 3", "Applied migrations: 0", "INFO applied settings to version", "Filter applied - 3 rows", "CREATE TEMPORARY TABLE x (id int)",
    "CREATE TABLE orders_2026_03 PARTITION OF orders", "database version: 14.2 => 14.2", "schema version: 3.1 -> v3.1", "Schema migrated: 3 => 3", "0 migrations applied", "Migrations applied: 0", "WARN migration 12 not applied", "served in 12ms DONE",
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


@pytest.mark.parametrize("line", [*MIGRATED, *MORE_MIGRATED])
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
