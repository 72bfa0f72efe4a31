"""Words by which a migration of a database is known: what would run one, by its name or command, and what a program says that ran one.

Used by the rollback step, which asks where a migration lies between two revisions. Pure; what it quotes is as it was written.
"""

from __future__ import annotations

import re

_STEPS = (
    "push|prepare|setup|migrate|upgrade|update|reset|schema|structure|seed|create|drop|wipe|fresh|rollback|apply|deploy|sync|init"
    "|load|change|patch|execute"
)
_TOOLS = (
    "dbmate|goose|sqitch|skeema|yoyo|tern|migra|pgroll|gh-ost|umzug|mongock|grate|roundhouse|dbup|evolve|phinx|aerich|reshape"
    "|schemahero|sqlpackage|diesel|mysqldef|psqldef|sqlite3def|mssqldef"
)
_CLIENTS = "psql|mysql|mariadb|sqlcmd|sqlplus|sqlite3|cqlsh|clickhouse-client|cockroach sql|mongosh?"
MIGRATION = re.compile(
    r"(?<![a-z])(?:db|pg)?_?migrat|alembic|flyway|liquibase|efbundle|bytebase|drizzle-kit|online-schema-change|pt-osc|dacpac|syncdb|ddl-auto"
    rf"|(?<![a-z])(?:{_TOOLS})(?![a-z])"
    rf"|(?<![a-z])(?:db|database|schema|ecto|doctrine|ddl)[-_:. ]?(?:{_STEPS})"
    r"|(?<![a-z])(?:prepare|setup|upgrade|update|patch|deploy|apply|sync|init)[-_](?:db|database|schema)(?![a-z])"
    r"|(?<![a-z])hasura\s+(?:deploy|metadata)|(?<![a-z])odoo\b.*\s(?:-u|--update)\b"
    rf"|(?<![a-z])(?:{_CLIENTS})(?![a-z])[^|;&]*(?:\.(?:sql|cql|ddl)\b|\b(?:alter|create|drop|truncate|insert|update|delete)\s)"
    r"|\b(?:alter|create|drop|rename)\s+(?:table|column|index|view|type|schema|database)\b",
    re.IGNORECASE,
)
"""What changes a database, by its name or command: Alembic, Flyway, Liquibase, Django, Rails, Laravel, Doctrine, Phinx, Prisma,
Drizzle, Knex, Sequelize, TypeORM, MikroORM, Umzug, Entity Framework, DbUp, grate, Ecto, Diesel, sqlx, golang-migrate, goose, dbmate, tern,
Atlas, sqitch, Skeema, sqldef, yoyo, Aerich, pgroll, gh-ost, pt-online-schema-change, Bytebase, Hasura, Supabase, Mongock and their like, and
a database's own client that is given a file or a statement that changes something. A word too many only makes us ask."""

MIGRATED = re.compile(
    r"\bRunning (?:upgrade|stamp_revision) \S{0,64} ?-> ?\w|\bSuccessfully applied [1-9]\d{0,5} migrations?\b|\bMigrating schema .{1,120} to version\b"
    r"|== ?\d{6,}[ -][\w-]{1,120}: migrated\b|\bApplying [\w.]{1,80}\.\d{4}_\w{1,120}\.\.\.|\bChangeSet \S{1,200} ran successfully"
    r"|\bRun: +[1-9]\d{0,5}\b|\bmigration\(s\) have been applied|\bApplying migration '|\bsuccessfully migrated (?:the )?(?:database|schema)"
    r"|\bOK +\d{3,}_[\w-]{1,120}\.(?:sql|go)\b|\bBatch \d+ run: [1-9]\d{0,5} migrations?\b|\bMigration \S{1,120} has been executed successfully"
    r"|\bMigrat(?:ed|ing):? +\d{4}_\d\d_\d\d_|\b\d{4}_\d\d_\d\d_\d{6}_\w{1,120} \.{3,}.{0,40}\bDONE\b|\b\d{1,14}/u [\w-]{1,120} \("
    r"|== Migrated \d{6,} in\b|== Running \d{6,} .{1,120} forward\b|\bAppl(?:ied|ying):? +\d{8,}[_/]|\bRunning migration \d{4,}"
    r"|\bmigrations? (?:were |was )?(?:applied|executed|completed|ran) successfully\b"
    r"|\b(?:applied|ran|executed|completed) [1-9]\d{0,5} (?:new |pending |database |schema |db )?migrations?\b"
    r"|\b(?:database|schema|db)\b.{0,40}\b(?:migrated|upgraded)\b.{0,24}\bto (?:version|revision)\b",
    re.IGNORECASE,
)
"""What programs write when they have changed a database: Alembic, Flyway, Rails, Sequelize, Django, Liquibase, Prisma, Entity Framework, goose, Knex,
TypeORM, Laravel, golang-migrate, Ecto, dbmate, sqlx, Diesel, Drizzle. Nothing of a start at which there was nothing to do."""

IN_DOUBT = re.compile(
    r"\bmigration checksum mismatch\b|\bMigrations have failed validation\b|\bDetected (?:failed migration|applied migration not resolved)"
    r"|\bDirty database version \d+|\bSchema .{1,80} contains a failed migration\b|\bMigration \S{1,120} failed\b|\bfailed migrations in the target database\b"
    r"|\bA migration failed to apply\b|\ball later migrations canceled\b|\bMigration failed for change ?set\b|\bmigration file .{1,120} failed\b"
    r"|\bCan.t locate revision identified by\b|\bMultiple head revisions are present\b|\b(?:previously applied )?migration \S{1,40} was previously applied but\b"
    r"|\bInconsistentMigrationHistory\b|\bthe migration directory is corrupt\b|\bchange ?sets? check ?sum\b|\bValidation Failed:\s+\d+ change ?sets?\b",
    re.IGNORECASE,
)
"""What programs write when a database is not as their migrations have it, or one broke off half way: Flyway, golang-migrate, Prisma, Rails, Liquibase,
Knex, Alembic, sqlx, Django. Nothing of migrations that have not run yet: then the older version has the schema that it knows."""

_QUOTED = 100


def of_the_schema(text: str) -> str:
    """What a program says of the migrations of its database, as the end of a sentence; empty when it says nothing."""
    if told := MIGRATED.search(text):
        return f'migrated when it started ("{told[0][:_QUOTED]}"), and an older version may not work with what it changed'
    if told := IN_DOUBT.search(text):
        return f'says of its database\'s migrations "{told[0][:_QUOTED]}", and whether an older version works with it is not known'
    return ""
