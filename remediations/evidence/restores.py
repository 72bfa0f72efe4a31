"""What a restore has to know before anything is changed: the backup, the server, the versions, the room, and who is connected.

Used by the handler `database-restore`. Nothing is written, and no dump is read: all of it is read by the Job of the first action.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeGuard

from app.backup.order import KIND, Form, database_of, folder_of
from app.domain.backups import LATER, UNSEEN, Shelf, Stored, server_of
from app.domain.copies import Server, Wal
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable, RemediatorError, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj, digest
from app.domain.owner import HELD_AT
from app.domain.redact import redact
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.domain.text import sql_name, visible
from app.domain.workload import Workload
from app.kube.scaled_objects import maker_of, of_target, paused
from remediations.backups import obstacle
from remediations.evidence.usage import count, memory, short
from remediations.shared import aim

SERVER, BACKUP, VERSIONS, SPACE = "restore.server", "restore.backup", "restore.versions", "restore.space"
SCALER: Final = "restore.autoscaler"
_FREE: Final = (
    'kubelet_volume_stats_available_bytes{namespace="$namespace", persistentvolumeclaim=~".*-SERVER-[0-9]+"}'
)
_MAJOR: Final = re.compile(r"\d+")
_KEPT: Final = re.compile(r"_(before|restored)_\d{8}t\d{6}(_[0-9a-f]{6})?\Z")
_SHOWN: Final = 10
_LONGEST_WORDS: Final = 200
_LONGEST_KEY: Final = 200
_MAX_TOLD: Final = 1_200  # characters, with a key in whole, which an order can name
_WAYS: Final = {
    "altered": "name the backup in the order, or remove that manifest",
    LATER: "name the backup in the order, once you know by its manifest when it was made; set the clock that is wrong",
    UNSEEN: "name the backup in the order: older ones were not looked at",
}
_BY_SECRET: Final = "the database of Secret "


async def scaler_findings(scene: Scene, replicas: int | None) -> list[Finding]:
    """Who could start the application again, or stop it again once it is started with so many `replicas`. A HorizontalPodAutoscaler leaves what
    is at 0 alone; KEDA does not."""
    target, scaler = scene.workload.target, scene.workload.autoscaler
    if target.kind is Kind.DAEMON_SET:
        return [obstacle(SCALER, f"{target} runs one pod a node: it cannot be scaled to 0")]
    try:
        of_keda = await of_target(scene.cluster, target)
    except RemediatorError:  # without the right to read them KEDA is known by its autoscaler alone
        of_keda = ()
    if of_keda:
        return [_of_keda(scene.workload, manifest, replicas) for manifest in of_keda]
    if scaler is None:
        return []
    try:
        hpa = await scene.cluster.get(Kind.HPA, scaler.ref.namespace, scaler.ref.name)
    except RemediatorError as error:
        return [Finding(SCALER, f"{scaler.ref} cannot be read ({error.code})", Certainty.UNKNOWN)]
    if owner := maker_of(hpa):
        return [_starts_again(target, owner, f"ScaledObject {owner} of KEDA would start {target} again")]
    text = (
        f"Autoscaler {scaler.ref.name} leaves {target} alone while it is at 0, and may move it until then: it is stopped from the number of "
        "replicas that it has by then, and started with that number again"
    )
    return [Finding(SCALER, text)]


def _of_keda(workload: Workload, manifest: Obj, replicas: int | None) -> Finding:
    """What a ScaledObject of the application would do meanwhile: one that is paused at a size keeps it there, and starts nothing at 0."""
    target, meta = workload.target, manifest["metadata"]
    name, at = f"ScaledObject {meta['name']} of KEDA", (meta.get("annotations") or {}).get(HELD_AT)
    if not (how := paused(manifest)):
        return _starts_again(target, meta["name"], f"{name} would start {target} again")
    if at is None and (workload.desired or replicas):  # the gate of ownership says the same, and knows no way
        return _starts_again(
            target,
            meta["name"],
            f"{name} is paused, and how many pods there are is still KEDA's to say ({how})",
        )
    if at is None:
        return Finding(SCALER, f"{name} is paused ({how}) and leaves {target} at 0")
    if at != "0":
        return _starts_again(
            target, meta["name"], f"{name} would start {target} again, which it is to keep at a size ({how})"
        )
    if workload.desired:
        return obstacle(
            SCALER,
            f"{name} is to hold {target} at 0 ({how}), which is at {workload.desired}: order it once it stands at 0",
        )
    if replicas:
        return obstacle(
            SCALER,
            f"{name} holds {target} at 0 ({how}) and would stop it again: order it without replicas, and resume it afterwards",
        )
    resume = f"kubectl annotate scaledobject {meta['name']} -n {target.namespace} {HELD_AT}-"
    return Finding(
        SCALER, f"{name} holds {target} at 0 ({how}) until it is resumed: {resume}", data={"resume": resume}
    )


def _starts_again(target: Target, owner: str, text: str) -> Finding:
    pause = f'kubectl annotate --overwrite scaledobject {owner} -n {target.namespace} {HELD_AT}="0"'
    return obstacle(SCALER, text, f"{text}: pause it first ({pause}), and resume it afterwards")


async def server_finding(scene: Scene, at: DatabaseAddress, entry: str) -> tuple[Finding, Server | None]:
    """The server and its databases; who is connected to the one that is replaced."""
    if scene.databases is None:
        return Finding(SERVER, f"{at} was not looked at: no database can be asked", Certainty.UNKNOWN), None
    try:
        server = await scene.databases.copies.look(scene.cluster, at, entry)
    except ProbeUnavailable as error:
        advice = f"make the check of {at} work: it connects to the database {entry} of the server"
        text = f"{at} could not be looked at: {error.message}"
        return Finding(SERVER, text, Certainty.UNKNOWN, {"advice": advice, "code": error.code}), None
    return _told(server), server


def _told(server: Server) -> Finding:
    live = server.live
    if live is None:
        state = f"there is no database {server.database}"
    else:
        clients = live.clients or {}
        named = ", ".join(f"{number} {name}" for name, number in list(clients.items())[:_SHOWN])
        total = count(sum(clients.values()), "connection")
        state = f"{live.name} ({_size(live.size)}) has {total} of others{f': {named}' if named else ''}"
        if live.closed:
            state += f", and takes none ({live.closed})"
    kept = tuple(
        f"{short(d.name, 63)} is still there: {_size(d.size)}; drop it when nobody needs it any more"
        for d in server.databases
        if _KEPT.search(d.name)
    )
    data: dict[str, JsonValue] = {
        "database": server.database,
        "there": live is not None,
        "id": live.id if live else 0,
        "closed": live.closed if live else "",
        "open": live is None or live.open,
        "kept_back": list(live.kept_back) if live else [],
        "left_behind": list(live.left_behind) if live else [],
    }
    return Finding(SERVER, f"PostgreSQL {server.version}: {state}", data=data, details=kept[:_SHOWN])


def rights_obstacle(server: Server, *, superuser: bool) -> str:
    """Why this login cannot, or should not, restore; empty when it may."""
    if server.no_writes:
        return server.no_writes
    if server.superuser and not superuser:
        return (
            "the login is a superuser: a dump that it restores could run programs on the server; name the Secret of an owner that "
            "is none, or write superuser: true into the rule"
        )
    if server.powers and not superuser:
        named = ", ".join(server.powers[:_SHOWN])
        return (
            f"the login may do what only a superuser should ({named}), and so may a dump that it restores; name the Secret of an owner "
            "without that, or write superuser: true into the rule"
        )
    if not server.may_create:
        return "the login may not make a database (CREATEDB)"
    if (live := server.live) is None:
        return ""
    if live.owner != server.login or not live.owned:
        return (
            f"{live.name} belongs to {live.owner or 'another role'}, and the login is {server.login or 'not that one'}: its copy "
            f"would belong to the login, so the application could be locked out; name the Secret of {live.owner or 'its owner'}"
        )
    if live.foreign:
        named = ", ".join(f"{number} of {role}" for role, number in list(live.foreign.items())[:_SHOWN])
        return (
            f"sessions in {live.name} that the login may not end would block the exchange ({named}): end them, or let the login end "
            f"those of plain roles (GRANT pg_signal_backend TO {sql_name(server.login)})"
        )
    if live.in_the_way:
        return f"{live.name} cannot get another name: in it is {'; '.join(live.in_the_way[:_SHOWN])}"
    return ""


async def backup_finding(
    scene: Scene, shelf: Shelf, key: str, of: tuple[str, DatabaseAddress, str]
) -> tuple[Finding, Stored | None]:
    """The backup that is restored: there, complete, one that pg_restore reads, and `of` this database: its name, its address, and where
    else it may be from by the rule."""
    if scene.backups is None:
        return Finding(BACKUP, "No object store can be asked", Certainty.UNKNOWN), None
    if not shelf.secret:
        text = "the rule's params name no store_secret, so the service cannot look for a backup"
        return obstacle(BACKUP, text), None
    try:
        found = await scene.backups.find(scene.cluster, shelf, key, scene.now)
    except ProbeUnavailable as error:
        what = f"backup {_said(key, _LONGEST_KEY)}" if key else f"backups in {shelf.url}/{shelf.folder}"
        text = f"The {what} could not be looked at: {error.message}"
        advice = _WAYS.get(error.code, "make the store answer")
        return Finding(BACKUP, text, Certainty.UNKNOWN, {"advice": advice}), None
    if found is None:
        return obstacle(BACKUP, f"there is no backup with a manifest in {shelf.url}/{shelf.folder}"), None
    if why := _against(found, of[0]) or _from_elsewhere(found, *of[1:]):
        return obstacle(BACKUP, f"{_said(found.key, _LONGEST_KEY)}: {why}"), None
    told = found.manifest
    rows = sum(told["rows"].values())
    tried = ", restored once to try it" if told.get("restored") else ""
    text = (
        f"{found.key}: {memory(told['bytes'])}, sha256 {str(told['sha256'])[:16]}, complete {_said(told.get('ended', '?'))[:16]}, "
        f"{rows} rows of {count(len(told['rows']), 'table')}, PostgreSQL {_said(told['server'])}{tried}"
    )
    if found.later:
        text += f"; {found.later} stamped later than now, of which nobody knows when they were made: each is taken by name alone"
    text += "".join(f"; {visible(redact(one, longest=_MAX_TOLD))}" for one in found.instead)
    return Finding(
        BACKUP, text, data={"key": found.key, "sha256": told["sha256"], "bytes": told["bytes"]}
    ), found


def _against(found: Stored, database: str) -> str:
    """Why this is no backup that can be restored here; empty when it is one."""
    told, name = found.manifest, found.key.rpartition("/")[2].partition(".")[0]
    if told.get("kind") != KIND or told.get("version") != 1 or told.get("name") != name:
        return "its manifest is not one of ours"
    if told.get("form") != Form.CUSTOM.value:
        return "a plain dump is a script and is not restored by a machine (restore it by hand)"
    if not _whole(told):
        return "its manifest is not whole"
    if found.bytes != told["bytes"]:
        there = "nothing" if found.bytes is None else f"{found.bytes} bytes"
        return f"there are {there} under its key, and its manifest says {told['bytes']}: it is truncated or altered"
    try:
        of = database_of(name)
    except ValueError:
        return "its name is not one of ours"
    own = folder_of("", database).lstrip("/")
    if of != own:
        return f"it is a backup of {of}, not of {own}"
    if told.get("name_digest") not in (
        None,
        digest([database]),
    ):  # a name may look like another one that was made safe
        return f"it is a backup of another database than {own}, whose name looks the same in a key"
    return ""


def _from_elsewhere(found: Stored, at: DatabaseAddress, origin: str) -> str:
    """Why it is, or may be, of a database of the same name in another namespace or on another server; empty when it is not, or the rule names
    that. Servers are the same by their address or by their Secret; where one of both names the one and the other the other, nobody knows."""
    place = str(replace(at, database=""))
    told = server_of(found.manifest)
    namespace = found.key.partition("/")[0]
    there, here = f"{namespace}/{told}", f"{at.namespace}/{place}"
    if there in (here, origin):
        return ""
    if namespace == at.namespace and (not at.host) != told.startswith(_BY_SECRET):
        return f"it is a backup of {_said(there, 200)}, and whether that is {here} is not known; the rule's param origin says that it is"
    return (
        f"it is a backup of {_said(there, 200)}, not of {here}; the rule's param origin allows that other one"
    )


def _whole(told: Mapping[str, Any]) -> bool:
    rows = told.get("rows")
    return (
        isinstance(rows, dict)
        and all(map(_is_count, rows.values()))
        and _is_count(told.get("bytes"))
        and re.fullmatch(r"[0-9a-f]{64}", str(told.get("sha256"))) is not None
        and _MAJOR.match(str(told.get("server", ""))) is not None
    )


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < 2**63


def _said(text: Any, longest: int = 80) -> str:
    """A manifest's own words, or a key: whoever may write to the bucket wrote them."""
    return short(visible(redact(str(text), longest=_LONGEST_WORDS)), longest)


def versions_finding(stored: Stored, server: Server, client: Finding) -> Finding:
    """Neither the client nor the server may be older than what the dump came from."""
    found = _MAJOR.match(str(stored.manifest["server"]))
    dumped = int(found[0]) if found else 0
    told = f"the dump is of PostgreSQL {_said(stored.manifest['server'])}"
    ours = client.data.get("major")
    if isinstance(ours, int) and ours < dumped:
        return obstacle(
            VERSIONS, f"the image's pg_restore {ours} is too old: {told}; name a newer param image"
        )
    if server.major < dumped:
        return obstacle(VERSIONS, f"the server is PostgreSQL {server.version}, which is older: {told}")
    with_client = f"pg_restore {ours}" if isinstance(ours, int) else "a pg_restore that the Job asks first"
    return Finding(
        VERSIONS, f"The versions fit: {told}, the server is {server.version}, read by {with_client}"
    )


async def space_finding(scene: Scene, stored: Stored, server: str, factor: float, wal: Wal) -> Finding:
    """The room that a copy beside and its log need, against what is free on the server's volumes where Prometheus knows."""
    told = stored.manifest.get("database_bytes")
    copy = int(told * 1.2) if _is_count(told) else int(stored.manifest["bytes"] * factor)
    needed = copy + (log := wal.of_copy(copy))
    kept = f", which {wal.kept_by} keeps" if wal.kept_by else ""
    text = f"A copy beside needs about {memory(needed)}, {memory(log)} of it for its WAL{kept}"
    free: list[float] = []
    if scene.metrics is not None and server:
        try:
            query = aim(_FREE.replace("SERVER", re.escape(server)), scene.workload.target)
            free = [value for _, value in await scene.metrics.instant(query)]
        except TryLater:
            free = []
    if not free:
        return Finding(
            SPACE, f"{text}; how much is free on the server's volume is not known", Certainty.UNKNOWN
        )
    least = int(min(free))
    if least < needed:
        return obstacle(SPACE, f"{text[0].lower()}{text[1:]}; {memory(least)} is free on the server's volume")
    return Finding(SPACE, f"{text}; {memory(least)} is free on the server's volume")


def _size(size: int | None) -> str:
    return "size not known" if size is None else memory(size)
