"""What stands on this machine: settings that do not fit together, the policy against them, the store and its disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from app.doctor import database
from app.doctor.findings import Area, Finding, Level, Voice
from app.doctor.patient import Patient
from app.domain.errors import RemediatorError
from app.domain.urls import is_loopback
from app.flow.people.approvers import OIDC
from app.intake.auth import Scope
from app.intake.oidc import is_audited_name
from app.main import open_store
from app.policy.facts import may_act
from app.policy.model import PROTECTED_NAMESPACES, SLACK_GROUP, OwnedMode, Policy, Rule
from app.setting_texts import PREFIX, open_to_others
from app.settings import FILES, Settings
from app.store.migrate import SchemaDeniedError

_SETTINGS, _POLICY, _STORE = Voice(Area.SETTINGS), Voice(Area.POLICY), Voice(Area.STORE)
_LOW, _LITTLE = 100 * 1024**2, 1024**3  # bytes


def settings(patient: Patient) -> Iterator[Finding]:
    """Settings that are good in themselves and do not do together what somebody wants."""
    given = patient.settings
    yield _SETTINGS.ok("settings_read", "all settings can be read")
    if "KUBERNETES_SERVICE_HOST" in os.environ and is_loopback(given.host):
        fix = "set REMEDIATOR_HOST to 0.0.0.0 or ::"
        yield _SETTINGS.fail(
            "host_loopback", "it listens on loopback inside a pod, so nobody can reach it", fix
        )
    yield from _files()
    yield from _callers(given)
    yield from _keys(given)


def _files() -> Iterator[Finding]:
    named = ((f"{PREFIX}{name.upper()}_FILE", name) for name in FILES)
    open_ones = [
        (variable, may) for variable, _ in named if (may := open_to_others(os.environ.get(variable, "")))
    ]
    for variable, may in open_ones:
        text = f"everybody on this machine may {may} the file that {variable} names"
        yield _SETTINGS.warn(
            "secret_file_open",
            text,
            "take it from others: chmod o-rwx, and no link to it that they may change",
        )


def _callers(given: Settings) -> Iterator[Finding]:
    table = given.access.tokens
    principals = [p for _, p in table.entries] if table else []
    scopes = {scope for p in principals for scope in p.scopes}
    others = given.pagerduty_webhook_secrets or given.orchestration_secret
    if table and Scope.INGEST not in scopes and not others:
        fix = "give a token of REMEDIATOR_TOKENS the scope ingest, or set a PagerDuty secret"
        yield _SETTINGS.fail("nobody_sends", "nobody can send an alert: no token has the scope ingest", fix)
    if table and Scope.READ not in scopes and given.login is None:
        text = "nobody can open the page or ask the API: no token has the scope read, and nobody logs in at an OpenID provider"
        fix = "give a person's token the scopes read and operate"
        yield _SETTINGS.warn("nobody_reads", text, fix)
    if table and Scope.OPERATE not in scopes:
        fix = "give a person's token the scope operate"
        yield _SETTINGS.warn(
            "nobody_operates", "nobody can approve, undo or pause from the command line", fix
        )
    known = {p.name for p in principals}
    for name in sorted(given.persons):
        if name.startswith(OIDC) and given.login is None:
            text = f"REMEDIATOR_PEOPLE names {name}, and nobody logs in at an OpenID provider"
            yield _SETTINGS.warn("person_unknown", text, "set REMEDIATOR_OIDC_ISSUER, or remove the name")
        if ":" not in name and table and name not in known:
            fix = "name the token as REMEDIATOR_TOKENS does"
            yield _SETTINGS.warn("person_unknown", f"REMEDIATOR_PEOPLE names {name}, which is no token", fix)


def _keys(given: Settings) -> Iterator[Finding]:
    if given.audit_key is None:
        fix = "set REMEDIATOR_AUDIT_KEY_FILE"
        text = "the audit trail has no key: whoever can write the database can make all hashes anew"
        yield _SETTINGS.warn("audit_key_missing", text, fix)
    if given.encryption_key is None:
        fix = "set REMEDIATOR_ENCRYPTION_KEY_FILE"
        text = "what is kept to undo a change is not encrypted in the database"
        yield _SETTINGS.warn("encryption_key_missing", text, fix)


def policy(patient: Patient) -> Iterator[Finding]:
    """The policy against the settings: what a rule wants and nobody has configured."""
    rules = patient.policy
    if rules is None:
        return
    yield _POLICY.ok("policy_valid", f"{len(rules.rules)} rules, version {rules.version}")
    given = patient.settings
    if not rules.rules:
        yield _POLICY.warn("no_rules", "no rule: every alert is only observed", "add a rule")
    if kept := sorted(set(rules.scope.namespaces) & set(PROTECTED_NAMESPACES)):
        text = f"nothing is ever done in {', '.join(kept)}, whatever the scope says"
        yield _POLICY.warn("namespace_protected", text, "take it from scope.namespaces")
    if not rules.heartbeats:
        text = "no heartbeat: when alerts no longer arrive, nobody is told"
        fix = "add heartbeats: [{alertname: Watchdog}] and route Prometheus' Watchdog to this service"
        yield _POLICY.warn("heartbeat_none", text, fix)
    blocked = sorted({r.name for r in rules.rules if r.blocked_by})
    if blocked and not given.alertmanager_url:
        text = f"{', '.join(blocked)}: blocked by other alerts, and nobody can be asked for them, so it never acts"
        yield _POLICY.fail("blocked_without_alertmanager", text, "set REMEDIATOR_ALERTMANAGER_URL")
    asks = sorted(
        {r.name for r in rules.rules if may_act(r, rules) and r.new_pods.unknown is not OwnedMode.ALLOW}
    )
    if asks and not rules.scope.secrets:
        text = "no Secret is named in scope.secrets: steps that make pods ask a person where the pods use one"
        yield _POLICY.warn(
            "secrets_not_named", text, "name them, so that their keys (never values) are looked at"
        )
    yield from _approvers(rules, given)
    wanted = {str(d) for r in rules.rules for d in r.params.get("dependencies", ())}
    for name in sorted(wanted - set(given.dsns)):
        text = f"rules check the dependency {name}, which is not configured: it counts as unknown"
        yield _POLICY.warn("dependency_missing", text, f"add {name} to REMEDIATOR_DEPENDENCIES")


def _approvers(rules: Policy, given: Settings) -> Iterator[Finding]:
    table = given.access.tokens
    known = {p.name for _, p in table.entries if Scope.OPERATE in p.scopes} if table else set()
    for rule in rules.rules:
        strangers = [n for n in rule.approval.by if ":" not in n and n not in known]
        login = given.login
        strangers += [
            n
            for n in rule.approval.by
            if n.startswith(OIDC) and not (login and is_audited_name(n, login.name_claim))
        ]
        by_slack = [n for n in rule.approval.by if n.startswith(("slack:", SLACK_GROUP))]
        if rule.approval.by and len(strangers) == len(rule.approval.by):
            text = f"{rule.name}: nobody can approve, {', '.join(strangers)} has no token with the scope operate, or cannot log in"
            yield _POLICY.fail("nobody_approves", text, "name a token, Slack user or group that exists")
        yield from _too_few(rule, known, strangers, slack=given.interactive, login=given.login is not None)
        if by_slack and not given.interactive:
            text = f"{rule.name}: approved by people in Slack, whose clicks nobody receives"
            fix = "set REMEDIATOR_SLACK_SIGNING_SECRET or REMEDIATOR_SLACK_APP_TOKEN"
            yield _POLICY.fail("clicks_not_received", text, fix)


def _too_few(
    rule: Rule, known: set[str], strangers: list[str], *, slack: bool, login: bool
) -> Iterator[Finding]:
    """More approvals than people who could give one: its questions only ever expire. A group has any number, and so has who may log in."""
    named, asked = set(rule.approval.by), rule.approval.approvals
    if any(n.startswith(SLACK_GROUP) for n in named) or (not named and (slack or login)):
        return
    people = len(named - set(strangers)) if named else len(known)
    if 0 < people < asked:
        text = (
            f"{rule.name}: asks for {asked} approvals, and {people} could approve: they never come together"
        )
        yield _POLICY.fail("too_few_approvers", text, "name more people, or lower approvals")


async def store(patient: Patient) -> list[Finding]:
    """Is there a store of this version, can it write, and how much space is left?"""
    given = patient.settings
    found = [] if given.database_url else [*_disk(given.state_dir), *_open_to_others(given)]
    if any(f.level is Level.FAIL for f in found):
        return found
    if not _there(given.store_url):
        return [*found, _STORE.ok("store_new", "there is no store yet; the first start makes it")]
    try:
        opened = await asyncio.to_thread(open_store, given, migrate=False)  # what is asked beside goes on
    except RemediatorError as error:
        fix = f"look at {error.where if error.code == 'bad_setting' and error.where else 'REMEDIATOR_DATABASE_URL'}"
        if error.code == "schema_old":
            fix = "run remediator db upgrade"
        elif error.code == "schema_unknown":
            fix = "run the newer version again, or restore a backup from before its upgrade"
        told = error.message
        if isinstance(error, SchemaDeniedError):
            told, fix = f"its role {error.told}", error.grant
        return [*found, _STORE.fail("store_closed", f"the store cannot be opened: {told}", fix)]
    try:
        found += await database.rights(opened)
        if not any(f.level is Level.FAIL for f in found):
            await opened.probe_write()
            found.append(_STORE.ok("store_writes", f"{opened.backend} takes writes"))
    except RemediatorError as error:
        fix = "look at disk space, permissions and locks of the store"
        found.append(_STORE.fail("store_not_writable", f"the store cannot write: {error.message}", fix))
    finally:
        opened.close()
    return found


def _open_to_others(given: Settings) -> Iterator[Finding]:
    """The service makes its files for itself alone. A group may write where a volume is given to one (fsGroup)."""
    file = Path(given.store_url.removeprefix("sqlite:///"))
    places = (given.state_dir, file, *(file.with_name(f"{file.name}-{end}") for end in ("wal", "shm")))
    if told := [p.name for p in places if p.exists() and p.stat().st_mode & stat.S_IWOTH]:
        text = f"everybody on this machine may write {', '.join(told)}, and with it the audit trail and what people approved"
        yield _STORE.warn(
            "store_open", text, "take the right from others: chmod -R o-rwx on the state folder"
        )


def _there(url: str) -> bool:
    """A file of SQLite that nobody has made yet is no fault."""
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def _no_place(there: Path) -> tuple[str, str] | None:
    """Why no state can be kept in a folder, and what to do; what it lies on comes first, as no right helps against that."""
    held = os.statvfs(there)
    elsewhere = "set REMEDIATOR_STATE_DIR to a folder on a volume"
    if not held.f_blocks:
        return f"the state folder cannot be written: {there} is no folder on a disk", elsewhere
    if held.f_flag & os.ST_RDONLY:
        text = f"the state folder cannot be written: what {there} lies on is mounted to be read only"
        return text, f"mount it to be written, or {elsewhere}"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"the state folder cannot be written: {there}", f"make it writable for user {os.getuid()}"
    return None


def _disk(folder: Path) -> Iterator[Finding]:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if why := _no_place(there):
        yield _STORE.fail("state_not_writable", *why)
        return
    free = shutil.disk_usage(there).free
    text = f"{free // 1024**2} MiB are free for the state"
    if free < _LOW:
        yield _STORE.fail("disk_full", text, "make room, or use a larger volume")
    elif free < _LITTLE:
        yield _STORE.warn("disk_low", text, "use a larger volume, or a shorter REMEDIATOR_RETENTION_DAYS")
    else:
        yield _STORE.ok("disk_free", text)
