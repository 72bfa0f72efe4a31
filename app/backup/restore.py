"""The way of a restore, in the Job's pod: read all of the backup, or make a validated copy of it beside the database.

Called by `app.backup.__main__`. The backup has to be the one that was approved, by its digest: all of it is read and digested before
pg_restore sees a byte, and what it sees afterwards is compared piece by piece with what was digested. Only archives of pg_dump's custom format are
taken, and pg_restore sends them to the server over its connection: nothing of them reaches a shell or psql, whose scripts run
commands (CVE-2025-8714). A copy that is not validated is dropped, and the database that it was to replace is never touched here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.backup.beside import Beside, beside, validate
from app.backup.bucket import Bucket, Counted
from app.backup.contents import cannot
from app.backup.failure import BackupFailed
from app.backup.logins import Logins, client_version, pod_login
from app.backup.order import LOGIN
from app.backup.over import WORK
from app.backup.packing import archive, unpacked
from app.backup.pipes import Pipes
from app.backup.progress import Say, size_words, told
from app.backup.restore_order import Phase, RestoreOrder
from app.backup.source import LOCALE
from app.database.login import Options, with_authority
from app.domain.copies import drop_command
from app.domain.ports import Clock
from app.domain.text import bounded

_MAJOR: Final = re.compile(r"\d+")
_DROP_AGAIN: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)
"""Seconds after each try to drop a copy."""
_SHORT: Final = 120


@dataclass(frozen=True, slots=True)
class Restoring:
    """What one restore is made with: its order, the pod's variables, the time, and where progress is told."""

    order: RestoreOrder
    environment: Mapping[str, str]
    clock: Clock
    say: Say
    pause: Callable[[float], object] = time.sleep


def restore(parts: Restoring) -> str:
    """Rehearse or restore; the sentence that says what was verified. Raises BackupFailed."""
    order = parts.order
    options, authority = pod_login(order.database, parts.environment)
    with (
        Pipes(Path(parts.environment[WORK])) as pipes,
        with_authority({**options, "dbname": order.entry}, authority) as entry,
    ):
        major, client = client_version(pipes.client())
        bucket = Bucket(order.place)
        manifest = _approved(bucket, order)
        with beside(entry, order) as copy:
            _refuse_versions(manifest, (major, client), copy.version)
            if order.phase is Phase.REHEARSE:
                return _rehearse(parts, (pipes, bucket), copy)
            logins = Logins(Path(parts.environment[LOGIN]), authority, major)
            return _restore(_Work(parts, pipes, bucket, copy, manifest), entry, logins)


def _approved(bucket: Bucket, order: RestoreOrder) -> Mapping[str, Any]:
    """The manifest, which still tells of the backup that was approved."""
    manifest = bucket.manifest(order.key)
    if (manifest.get("sha256"), manifest.get("bytes")) != (order.sha256, order.bytes):
        raise BackupFailed("the manifest is not the one that was approved", code="altered")
    if not isinstance(manifest.get("rows"), dict):
        raise BackupFailed("the manifest tells no rows", code="altered")
    return manifest


def _refuse_versions(manifest: Mapping[str, Any], client: tuple[int, str], server: tuple[int, str]) -> None:
    """Neither the client nor the server may be older than what the dump came from."""
    dumped = str(manifest.get("server", ""))
    found = _MAJOR.match(dumped)
    for what, code, (major, whole) in (
        ("the image's pg_restore", "client_too_old", client),
        ("the server", "server_too_old", server),
    ):
        if found is None or major < int(found[0]):
            text = f"{what} is {whole} and the dump is of PostgreSQL {dumped or 'unknown'}: it is older, or that is not known"
            raise BackupFailed(text, code=code)


def _rehearse(parts: Restoring, means: tuple[Pipes, Bucket], copy: Beside) -> str:
    order, (pipes, bucket) = parts.order, means
    if not copy.may_create:
        raise BackupFailed("the login may not make a database (CREATEDB)", code="no_right")
    copy.refuse_no_writes()
    copy.refuse_foreign()
    copy.refuse_place()
    copy.refuse_powers()
    rights = copy.rights
    whole = _digested(parts, bucket)
    listing = pipes.listing(archive(unpacked(whole.again(bucket.read(order.key, order.bytes)))))
    if why := cannot(listing, rights, privileges=order.privileges):
        raise BackupFailed(why, code="no_right")
    blocks = told("checked", whole.again(bucket.read(order.key, order.bytes)), parts.clock, parts.say)
    pipes.check(archive(unpacked(blocks)))
    left_out = _left_out(copy.refused_settings())
    return f"{size_words(whole.size)} read, whole, sha256 {whole.sha256[:16]}{left_out}; nothing was changed"


@dataclass(frozen=True, slots=True)
class _Work:
    """What a copy is made with."""

    parts: Restoring
    pipes: Pipes
    bucket: Bucket
    copy: Beside
    manifest: Mapping[str, Any]


def _restore(work: _Work, entry: Options, logins: Logins) -> str:
    order, copy = work.parts.order, work.copy
    if copy.mark == order.mark:
        return f"{order.copy} was restored and validated already"
    copy.refuse_no_writes()
    copy.refuse_foreign()
    copy.refuse_place()
    copy.refuse_powers()
    whole = _digested(work.parts, work.bucket)
    copy.drop()  # what a pod has left behind that was killed
    fresh = {**entry, "dbname": order.copy}
    try:
        copy.make(_locale(work.manifest))
        logins.write({"scratch": fresh})
        blocks = whole.again(work.bucket.read(order.key, order.bytes))
        blocks = told("restored", blocks, work.parts.clock, work.parts.say)
        known = {part for name in work.manifest["rows"] for part in (name, *name.split("."))}
        work.pipes.restore(archive(unpacked(blocks)), privileges=order.privileges, known=known)
        left_out = _left_out(copy.configure())
        work.parts.say("validated: rows and checks")
        validate(fresh, order, work.manifest["rows"])
        work.parts.say("analyzed: the planner has no statistics of what was restored")
        left_out += copy.analyze()
        copy.approve()
    except BaseException as error:  # also at the Job's deadline: what is not validated does not stay
        left = _dropped(work)
        if left and isinstance(
            error, BackupFailed
        ):  # the first error is told first, and leaves room for the second
            raise BackupFailed(f"{bounded(error.message, _SHORT)}; {left}", code=error.code) from None
        raise
    rows = work.manifest["rows"]
    checked = f", {len(order.checks)} checks of the rule answer true" if order.checks else ""
    return (
        f"{order.copy}: {sum(rows.values())} rows of {len(rows)} tables as in the manifest{checked}{left_out}"
    )


def _dropped(work: _Work) -> str:
    """Drop the copy, for a while where the server does not answer: one whose process crashed is back after seconds. What to do where it stays."""
    name = work.parts.order.copy
    for seconds in _DROP_AGAIN:
        try:
            work.copy.drop()
            return ""
        except BackupFailed as error:
            if error.code in ("foreign", "query_failed") and seconds != _DROP_AGAIN[0]:
                break
        work.parts.pause(seconds)
    left = f"the copy {name} could not be dropped and takes room: {drop_command(name)} WITH (FORCE)"
    work.parts.say(left)
    return left


def _left_out(settings: list[str]) -> str:
    return f"; without the settings {', '.join(settings)}, which the login may not give" if settings else ""


def _locale(manifest: Mapping[str, Any]) -> list[Any] | None:
    """As the manifest tells it; older ones do not."""
    found = manifest.get("locale")
    return found if isinstance(found, list) and len(found) == len(LOCALE) else None


def _digested(parts: Restoring, bucket: Bucket) -> Counted:
    """All of the backup, read once and used for nothing: it is the approved one. Its SQL runs as the owner, so a byte of another archive
    would be too many. Raises BackupFailed."""
    order, counted = parts.order, Counted()
    for _ in told("read", counted.through(bucket.read(order.key, order.bytes)), parts.clock, parts.say):
        pass
    if (counted.sha256, counted.size) != (order.sha256, order.bytes):
        raise BackupFailed("the backup is not what its manifest says", code="altered")
    return counted
