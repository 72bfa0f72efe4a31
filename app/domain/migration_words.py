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
    r"|(?<![a-z])hasura\s+(?:deploy|metadata)|(?<![a-z])odoo\b.{0,1000}\s(?:-u|--update)\b"
    rf"|(?<![a-z])(?:{_CLIENTS})(?![a-z])[^|;&]{{0,1000}}(?:\.(?:sql|cql|ddl)\b|\b(?:alter|create|drop|truncate|insert|update|delete)\s)"
    r"|\b(?:alter|create|drop|rename)\s+(?:table|column|index|view|type|schema|database)\b",
    re.IGNORECASE,
)
"""What changes a database, by its name or command: Alembic, Flyway, Liquibase, Django, Rails, Laravel, Doctrine, Phinx, Prisma,
Drizzle, Knex, Sequelize, TypeORM, MikroORM, Umzug, Entity Framework, DbUp, grate, Ecto, Diesel, sqlx, golang-migrate, goose, dbmate, tern,
Atlas, sqitch, Skeema, sqldef, yoyo, Aerich, pgroll, gh-ost, pt-online-schema-change, Bytebase, Hasura, Supabase, Mongock and their like, and
a database's own client that is given a file or a statement that changes something. A word too many only makes us ask."""

_VERSION = r"(?:(?:schema )?(?:version|revision)\b|(?:group|batch) #?\d|v?\d)"
_OF_A_DATABASE = r"(?:the|its|your|all|database|db|schema|tables?|keyspace|collections?|postgres\w{0,10}|mysql|mariadb|sqlite|mongo\w{0,4})"
_NAMED = r"(?:\\?[\"'`][\w.:/\\ -]{1,160}|#?[\w.:/\\-]{0,120}[1-9])"
MIGRATED = re.compile(
    r"\bRunning (?:upgrade|downgrade|stamp_revision) \S{0,64} ?-> ?\w|\bSuccessfully applied [1-9]\d{0,5} migrations?\b|\bMigrating (?:schema|keyspace) .{1,120} (?:to version|with repeatable)\b"
    r"|== ?\d{6,}[ _-][\w-]{1,120}: migrat(?:ed|ing)\b|\bApplying [\w.]{1,80}\.\d{4}_\w{1,120}\.\.\.|\bChangeSet \S{1,200} ran successfully|\bRunning Changeset: \S"
    r"|(?<!Previously )\bRun: {4,40}[1-9]\d{0,5}\b|\bmigration\(s\) have been applied|\bAll migrations have been successfully applied|\bYour database is now in sync\b"
    r"|\bsuccessfully migrated (?:the )?(?:database|schema)|\bSuccess(?:ful(?:ly)?)? upgrad\w{1,3} (?:to )?\d+_\d"
    r"|\bOK +\d{3,}_[\w-]{1,120}\.(?:sql|go)\b|\bBatch \d+ run: [1-9]\d{0,5} migrations?\b(?! skipped)|\bMigration \S{1,120} has been executed successfully"
    r"|\bMigrat(?:ed|ing)(?: up)?: +\d{4}[\d_-]{4}|\b\d{4}_\d\d_\d\d_\w{1,120} \.{2,}.{0,40}\bDONE\b|\b\d{1,14}/u [\w-]{1,120} \("
    r"|== Migrated \d{6,} in\b|== Running \d{6,} .{1,120} forward\b|\bAppl(?:ied|ying):? +\d{8,}[_/]|\bMigrating to [A-Z]\w{1,120} \(\d{6,}\)"
    r"|\bMigrating (?:up|forwards) to \S{0,120}\d|\*\*\* appl(?:ied|ying) m\d{6}|### MIGRATION \S{1,160} \((?:UP|DOWN)\)|-- migrating version \d"
    r"|\bDeploying changes to db:|\bexecuting \d{3,}_\S{1,120}\.sql (?:up|down)\b|\bExecuting Database Server script\b|\bRunning (?:script )?\d{3,}[\w-]{1,120}\.sql\b"
    r"|\b\d{1,14}: [A-Z]\w{1,120} migrat(?:ed|ing)\b|\bMigration\[\d{1,6}\]: |(?-i:(?<![\w-])(?:RE-)?APPLIED - (?:Change|\{))|\[ChangeSet: id=.{1,200}\] applied\b"
    r"|\bevent[\"']?: ?[\"']migrat(?:ed|ing)[\"'],? ?[\"']?name\b|\bProcessing 'Migration\d|\bApplied 'Migration\d|\byoyo\b.{0,60}\bApplying \S|\bmigrations completed\b.{0,12}\bperformed=[1-9]"
    r"|\bUpdating database\b.{0,12}\bchangelog\b|\bExecuting migration\b.{0,4}\bid=|(?m:^ {0,8}-- (?:(?:add|remove|rename|change)_(?:columns?|index|references?|foreign_key|timestamps|check_constraint|belongs_to|table|column_\w{1,10})|(?:create|drop)_(?:join_)?table)\()"
    # What programs write in words of their own.
    r"|(?<![\d.]0 )(?<!\b0 )(?<!no )(?<!live )(?<!pod )\bmigrations? (?:(?:were|was|have been|has been) )?(?:applied|executed|completed|ran) successfully\b(?!: ?0)|(?<!all )(?<!no )(?<!not )(?<![\d] )\bmigrations applied\b(?! (?:already|earlier|before|so far|successfully: ?0))(?!: ?[0\[])"
    r"|\b(?:applied|ran|executed|completed|performed) [1-9]\d{0,5} (?:new |pending |database |schema |db )?migrations?\b"
    r"|(?<![\w.])[1-9]\d{0,5} (?:new |pending |database |schema |db )?(?:migration(?:s|\(s\))?|change ?sets?) (?:(?:was|were|has been|have been) )?(?:successfully )?(?:applied|executed|run|ran|completed|performed)\b"
    r"(?!.{0,40}\b(?:0|no|none|nothing)\b.{0,12}\bpending\b)(?!.{0,60}\bup[- ]to[- ]date\b)"
    rf"|\b(?:appl(?:ied|ying)|ran|running|execut(?:ed|ing)|perform(?:ed|ing)|complet(?:ed|ing)) (?:the )?(?:new |pending |database |schema |db |sql )?(?:migration|change ?set|evolution):? {_NAMED}"
    r"|\bmigration:? \\?[\"'`]?(?=[\w.:/-]{0,120}\d)[\w.:/-]{1,160}\\?[\"'`]? (?:(?:was|has been) )?(?:successfully )?(?:applied|executed|completed|finished|succeeded|done)\b"
    r"|\b(?:database|schema|db)\b.{0,40}(?<!already )(?<!not )(?<!never )\b(?:migrated|upgraded)\b(?:.{0,24}\bto (?:version|revision)\b| from v?\d[\w.]{0,20} to v?\d)"
    rf"|(?<!already )(?<!not )(?<!cannot be )\b(?:migrat|upgrad)(?:ed|ing)(?: {_OF_A_DATABASE}){{1,4}}(?: version)?(?: up)?(?: from \S{{1,60}}(?: \S{{1,60}})?)? to {_VERSION}"
    rf"|(?<!already )(?<!not )\bmigrat(?:ed|ing)(?: up)?(?: from (?:version |revision )?v?\d[\w.]{{0,40}})? to (?:(?:schema )?(?:version|revision):? {_NAMED}|(?:group|batch) #?\d)"
    rf"|\b(?:updat(?:ed|ing)|bump(?:ed|ing)|chang(?:ed|ing)) (?:the )?(?:database |db )?schema(?: version)?(?: from \S{{1,60}}(?: \S{{1,60}})?)? to {_VERSION}"
    r"|\b(?:schema|database|db) (?:version|revision):? v?(?P<was>\d[\w.]{0,20}) ?(?:->|=>|→) ?v?(?!(?P=was)(?![\w.]))\d"
    # Structured: the words in one field, what was applied in the next one.
    r"|\b(?:migration applied|(?:applied|applying|running|executing) (?:the )?migration|migrated (?:the )?(?:database|schema))\\?[\"'],? {0,2}\\?[\"']?(?:version|name|id|migration|file)\b"
    r"|\bschema migrated: v?(?P<of>\d[\w.]{0,20}) ?(?:->|=>) ?v?(?!(?P=of)(?![\w.]))\d|\b(?:db|database|schema) migrated to v?\d|\b(?:executed|applied|applying) \d{2,14}_[\w-]{1,120}\.sql\b"
    r"|\bupgrade database schema v?\d[\d.]{0,20} ?-> ?v?\d|\bdatabase upgraded successfully\b|\bfinished migration \w{1,100}\d{9,}\b|\bschema updated from v?\d[\d.]{0,20} to v?\d",
    re.IGNORECASE,
)
"""What programs write when they have changed a database, or begin to: Alembic, Flyway, Rails, Sequelize, Umzug, Django, South, Liquibase, Prisma, Entity
Framework, DbUp, FluentMigrator, goose, tern, Knex, node-pg-migrate, TypeORM, MikroORM, Laravel, Doctrine, Phinx, Yii, golang-migrate, Bun, Ecto, dbmate,
sqlx, Diesel, Drizzle, Atlas, sqitch, yoyo, Aerich, Mongock, migrate-mongo. Nothing of a start at which there was nothing to do."""

_NAME = r"[\w.$@\[\]\"'`\\]{1,160}"
STATEMENT = re.compile(
    rf"\balter\s{{1,9}}(?:table|type|keyspace|(?:materialized )?view|sequence|index)\s{{1,9}}(?:if exists\s{{1,9}})?(?:only\s{{1,9}})?{_NAME}\s{{1,9}}"
    r"(?:add|drop|rename|alter|modify|change|set|convert|attach|detach|validate|with|to)\b"
    rf"|\bcreate\s{{1,9}}table\s{{1,9}}(?!if not exists)(?!#){_NAME}\s{{0,9}}\(|\bcreate\s{{1,9}}type\s{{1,9}}(?!if not exists){_NAME}\s{{1,9}}as\b"
    rf"|\bcreate\s{{1,9}}(?:unique\s{{1,9}})?index\s{{1,9}}(?:concurrently\s{{1,9}})?(?!if not exists){_NAME}\s{{1,9}}on\s"
    rf"|\bdrop\s{{1,9}}(?:table|index|type|(?:materialized )?view|sequence|keyspace)\s{{1,9}}(?:concurrently\s{{1,9}})?(?:if exists\s{{1,9}})?{_NAME}(?=\s{{0,4}}(?:;|$|\[took)|\s{{1,4}}(?:cascade|restrict)\b|,? args=)"
    rf"|\brename\s{{1,9}}table\s{{1,9}}{_NAME}\s{{1,9}}to\s|\bsp_rename\s",
    re.IGNORECASE | re.MULTILINE,
)
"""A statement that changes a schema, as Hibernate, SQLAlchemy, Rails, TypeORM, MikroORM, GORM, Ent and their like show the ones they send. Nothing of
one that has nothing to do where the table is there already."""
NOT_SENT = re.compile(
    r"\b(?:please|should|must|needs?|needed|hint|would|dry|skip\w{0,5}|ignor\w{1,4}|already|not|cannot|can't|couldn't|fail\w{0,4}|error\w{0,2}|unable|denied|rejected|invalid|syntax|\w{0,60}exception|to fix|example|e\.g|refus\w{1,3}|without|forbidden|disabled)\b|\bn[o']t\b",
    re.IGNORECASE,
)
"""Words in front of a statement on its line by which it was not sent, or not taken: an advice, an error."""
_COLOUR = re.compile(r"\x1b\[[\d;]{0,20}m")

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
_BEFORE = 200  # characters of a line before a statement


def of_the_schema(text: str) -> str:
    """What a program says of the migrations of its database, as the end of a sentence; empty when it says nothing."""
    text = _COLOUR.sub("", text)
    if told := MIGRATED.search(text) or _sent(text):
        return f'migrated when it started ("{_quoted(told)}"), and an older version may not work with what it changed'
    if told := IN_DOUBT.search(text):
        return f'says of its database\'s migrations "{_quoted(told)}", and whether an older version works with it is not known'
    return ""


def _sent(text: str) -> re.Match[str] | None:
    """The first statement that changes a schema and was sent."""
    found = STATEMENT.finditer(text)
    return next(
        (m for m in found if not NOT_SENT.search(text, _line_before(text, m.start()), m.start())), None
    )


def _line_before(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at) + 1, at - _BEFORE)


def _quoted(told: re.Match[str]) -> str:
    return " ".join(told[0].split())[:_QUOTED]
