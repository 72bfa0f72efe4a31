"""The configuration backup without a cluster: what is left out, what is cleaned, and that only a whole, decrypted backup is published."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.backup.bucket import MANIFEST, Bucket
from app.backup.configuration.cleaning import cleaned
from app.backup.configuration.lines import Entry, Reader, Unpacker, head, line_of, packed, tail
from app.backup.configuration.order import Order
from app.backup.configuration.restore import Difference, Restorer, Word, read_backup
from app.backup.configuration.sealed import fresh, identities_in, seal, unseal
from app.backup.configuration.upload import Parts, back_up
from app.backup.failure import BackupFailed
from app.backup.order import Keep, Place
from app.domain.errors import AccessDenied, ClusterUnavailable, ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.kube.paths import Resource
from app.kube.wire import How
from app.sim import VirtualClock

CANARY = "canary-5d1c"
SERVER = {
    "uid": "1",
    "resourceVersion": "7",
    "creationTimestamp": "x",
    "generation": 2,
    "managedFields": [{}],
}


def thing(name: str, **fields: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": "rag7", **SERVER}, **fields}


KINDS = {"deployments": "Deployment", "secrets": "Secret"}


class Api:
    """An API server of a few kinds, one object a page."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Obj]] = {
            "configmaps": {
                "settings": thing("settings", data={"LOG": "INFO"}),
                "kube-root-ca.crt": thing("kube-root-ca.crt", data={}),
            },
            "secrets": {"login": thing("login", type="Opaque", data={"password": CANARY})},
            "pods": {
                "web-1": thing("web-1", spec={"nodeName": "n"}, status={"phase": "Running"}),
                "once": thing("once", status={"phase": "Succeeded"}),
            },
            "replicasets.apps": {"bare": thing("bare", spec={"replicas": 1})},
            "routes.example.test": {"db": thing("db", spec={"a": 1})},
            "deployments.apps": {"web": thing("web", spec={"replicas": 2}, status={"replicas": 2})},
            "gadgets.example.test": {"one": thing("one", spec={"a": 1})},
        }
        self.denied: set[str] = set()
        self.unlisted: dict[str, RemediatorError] = {}
        self.dead: dict[str, RemediatorError] = {}
        self.closed = False

    async def document(self, path: str) -> Obj:
        kinds = {
            "/api/v1": [
                ("configmaps", "ConfigMap"),
                ("secrets", "Secret"),
                ("pods", "Pod"),
                ("pods/log", "Pod"),
            ],
            "/apis/apps/v1": [("deployments", "Deployment"), ("replicasets", "ReplicaSet")],
            "/apis/example.test/v2": [("gadgets", "Gadget")],
            "/apis/example.test/v1": [("gadgets", "Gadget"), ("routes", "Route")],
        }
        if path == "/apis":
            groups = [("apps", "v1"), ("example.test", "v2"), ("silent.test", "v1")]
            served = {"example.test": [{"version": "v1"}, {"version": "v2"}]}
            return {
                "groups": [
                    {"name": n, "preferredVersion": {"version": v}, "versions": served.get(n)}
                    for n, v in groups
                ]
            }
        if path in self.dead:
            raise self.dead[path]
        if path not in kinds:
            raise ObjectMissing("no answer")
        verbs = ["create", "get", "list", "patch"]
        return {
            "resources": [{"name": n, "kind": k, "namespaced": True, "verbs": verbs} for n, k in kinds[path]]
        }

    async def read(
        self, resource: Resource, namespace: str, name: str, query: Sequence[tuple[str, str]]
    ) -> Obj:
        assert namespace == "rag7"
        if resource.full_name in self.denied:
            raise AccessDenied("forbidden")
        if resource.full_name in self.unlisted:
            raise self.unlisted[resource.full_name]
        held = self.objects[resource.full_name]
        if name:
            if name not in held:
                raise ObjectMissing("not found")
            return {"apiVersion": resource.api_version, "kind": KINDS[resource.plural], **held[name]}
        asked = dict(query)
        at = int(asked.get("continue", "0"))
        names = sorted(held)
        more = {"continue": str(at + 1)} if at + 1 < len(names) else {}
        return {"items": [held[n] for n in names[at : at + 1]], "metadata": more}

    async def put_as(
        self, at: tuple[Resource, str], body: Obj, how: How = How.APPLIED, *, manager: str, dry_run: bool
    ) -> Obj:
        assert (manager, how) == ("alert-remediator-restore", How.APPLIED)
        resource = at[0]
        held, name = self.objects[resource.full_name], body["metadata"]["name"]
        after = {**held.get(name, {}), **{k: v for k, v in body.items() if k not in ("apiVersion", "kind")}}
        after["metadata"] = {**after["metadata"], **SERVER}
        if not dry_run:
            held[name] = after
        return {"apiVersion": resource.api_version, "kind": body["kind"], **after}

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def order(folder: Path, *recipients: str, secrets: bool = False) -> Order:
    name = "cluster_configuration-20260304T030000Z-abcdef"
    return Order(name, "rag7", Place(f"file://{folder}"), Keep(), recipients, secrets)


def make(api: Api, wanted: Order, clock: VirtualClock) -> str:
    async def connect() -> Api:
        return api

    return back_up(Parts(wanted, {}, clock, connect))


def files(folder: Path) -> dict[str, Path]:
    return {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}


def test_it_is_published_whole_and_only_a_recipient_can_read_it(tmp_path: Path, clock: VirtualClock) -> None:
    identity, recipient = fresh()
    wanted, api = order(tmp_path, recipient), Api()
    words = make(api, wanted, clock)
    assert set(files(tmp_path)) == {wanted.key, wanted.key + MANIFEST}
    assert "6 objects of 6 kinds" in words
    assert "without Secrets" in words
    assert "not readable: group silent.test" in words
    assert api.closed
    manifest = json.loads((tmp_path / (wanted.key + MANIFEST)).read_text())
    assert manifest["objects"] == {
        "configmaps": 1,
        "deployments.apps": 1,
        "gadgets.example.test": 1,
        "pods": 1,
        "replicasets.apps": 1,
        "routes.example.test": 1,
    }
    assert manifest["left_out"] == {
        "configmaps: made by the cluster in each namespace": 1,
        "pods: a pod that has ended runs again when it is made anew": 1,
        "secrets: the rule does not include Secrets": 0,
    }
    entries: list[Entry] = []
    reader = read_backup(tmp_path / wanted.key, [identity], entries.append)
    assert (reader.namespace, [(e.plural, e.version) for e in entries]) == (
        "rag7",
        [
            ("configmaps", "v1"),
            ("deployments", "v1"),
            ("gadgets", "v2"),
            ("pods", "v1"),
            ("replicasets", "v1"),
            ("routes", "v1"),
        ],
    )
    assert entries[1].object["metadata"] == {"name": "web", "namespace": "rag7"}
    assert "status" not in entries[1].object
    with pytest.raises(BackupFailed, match="another identity"):
        read_backup(tmp_path / wanted.key, [fresh()[0]], entries.append)


def test_promise_12_secrets_are_in_it_only_where_the_rule_says_so_and_never_in_the_clear(
    tmp_path: Path, clock: VirtualClock
) -> None:
    identity, recipient = fresh()
    found: list[Entry] = []
    for secrets in (False, True):
        folder = tmp_path / str(secrets)
        words = make(Api(), order(folder, recipient, secrets=secrets), clock)
        stored = b"".join(p.read_bytes() for p in files(folder).values())
        assert CANARY.encode() not in stored + words.encode()
        found.clear()
        read_backup(folder / order(folder, recipient).key, [identity], found.append)
        assert (CANARY in repr(found)) == secrets


def test_a_kind_without_which_it_is_not_whole_fails_and_publishes_nothing(
    tmp_path: Path, clock: VirtualClock
) -> None:
    _, recipient = fresh()
    api = Api()
    api.denied = {"deployments.apps"}
    with pytest.raises(BackupFailed, match="may not list deployments"):
        make(api, order(tmp_path, recipient), clock)
    assert files(tmp_path) == {}
    api.denied = {"gadgets.example.test"}
    assert "gadgets.example.test" in make(api, order(tmp_path, recipient), clock)


def test_an_api_of_others_that_is_dead_is_told_and_one_of_kubernetes_own_fails_it(
    tmp_path: Path, clock: VirtualClock
) -> None:
    _, recipient = fresh()
    api, gone = Api(), ClusterUnavailable("HTTP 503: the server is currently unable to handle the request")
    api.dead = {"/apis/example.test/v2": gone}
    words = make(api, order(tmp_path, recipient), clock)
    assert "not readable: group example.test, group silent.test" in words
    api.dead = {"/apis/apps/v1": gone}
    with pytest.raises(BackupFailed, match="group apps does not answer"):
        make(api, order(tmp_path / "other", recipient), clock)
    assert files(tmp_path / "other") == {}


def test_a_kind_of_others_of_which_the_list_is_dead_is_told(tmp_path: Path, clock: VirtualClock) -> None:
    _, recipient = fresh()
    api = Api()
    api.unlisted = {"gadgets.example.test": ClusterUnavailable("HTTP 503")}
    assert "gadgets.example.test" in make(api, order(tmp_path, recipient), clock)
    api.unlisted = {"configmaps": ClusterUnavailable("HTTP 503")}
    with pytest.raises(BackupFailed, match="cannot be read: HTTP 503"):
        make(api, order(tmp_path, recipient), clock)


def test_what_is_altered_on_its_way_is_not_published_and_prunes_nothing(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recipient = fresh()
    make(Api(), order(tmp_path, recipient), clock)
    before = set(files(tmp_path))
    real = Bucket.put

    def cut(self: Any, key: str, blocks: Any, expected: int) -> Any:
        return real(self, key, [b"".join(blocks)[:-20]], expected)

    monkeypatch.setattr(Bucket, "put", cut)
    later = Order(
        "cluster_configuration-20260305T030000Z-abcdef",
        "rag7",
        Place(f"file://{tmp_path}"),
        Keep(1, 0, 0),
        (recipient,),
    )
    with pytest.raises(BackupFailed) as failed:
        make(Api(), later, clock)
    assert failed.value.code == "altered"
    assert set(files(tmp_path)) == before


def test_older_ones_go_and_the_newest_stays(tmp_path: Path, clock: VirtualClock) -> None:
    _, recipient = fresh()
    for day in (1, 2, 3):
        name = f"cluster_configuration-2026030{day}T030000Z-abcdef"
        words = make(
            Api(), Order(name, "rag7", Place(f"file://{tmp_path}"), Keep(1, 0, 0, 0), (recipient,)), clock
        )
    assert "1 older removed" in words
    assert [k for k in files(tmp_path) if k.endswith(MANIFEST)] == [
        f"rag7/cluster-configuration/2026/03/03/{name}.jsonl.gz.age{MANIFEST}"
    ]


def test_a_bad_recipient_and_a_cut_backup_are_told_without_a_key() -> None:
    with pytest.raises(BackupFailed) as failed:
        seal([b"x"], io.BytesIO(), ["age1nonsense"])
    assert failed.value.code == "bad_recipient"
    identity, recipient = fresh()
    lines = [
        head("rag7", "t"),
        line_of(Entry("", "v1", "configmaps", thing("a", apiVersion="v1", kind="ConfigMap"))),
        tail(1),
    ]
    held = io.BytesIO()
    seal(packed(lines), held, [recipient])
    reader = Reader(lambda _entry: None)
    unpacker = Unpacker(reader.take)
    unseal([held.getvalue()], unpacker.take, [identity])
    unpacker.end()
    reader.end()
    cut = Reader(lambda _entry: None)
    cut.take(b"".join(lines[:2]))
    with pytest.raises(BackupFailed, match="cut"):
        cut.end()
    with pytest.raises(BackupFailed, match="no configuration backup"):
        Reader(lambda _entry: None).take(b'{"kind": "something"}\n')
    with pytest.raises(BackupFailed, match="no configuration backup"):
        Reader(lambda _entry: None).take(b"".join([lines[0], lines[1], tail(2)]))


def test_an_identity_file_is_read_and_never_quoted(tmp_path: Path) -> None:
    identity, _ = fresh()
    file = tmp_path / "key.txt"
    file.write_text(f"# created: today\n{identity}\n")
    assert len(identities_in(file)) == 1
    file.write_text("AGE-SECRET-KEY-1NONSENSE\n")
    with pytest.raises(BackupFailed) as failed:
        identities_in(file)
    assert "NONSENSE" not in str(failed.value)
    (tmp_path / "empty").touch()
    with pytest.raises(BackupFailed, match="holds no identity"):
        identities_in(tmp_path / "empty")


async def difference(api: Api, entry: Entry) -> Difference:
    (found,) = await Restorer(api, "rag7").compare([entry])
    return found


async def test_a_restore_tells_the_difference_writes_it_and_then_there_is_none() -> None:
    api = Api()
    web = cleaned("deployments.apps", api.objects["deployments.apps"]["web"])
    backup = Entry("apps", "v1", "deployments", {"apiVersion": "apps/v1", "kind": "Deployment", **web})
    secret = cleaned("secrets", api.objects["secrets"]["login"])
    login = Entry("", "v1", "secrets", {"apiVersion": "v1", "kind": "Secret", **secret})
    assert (await difference(api, backup)).word is Word.SAME
    api.objects["deployments.apps"]["web"]["spec"] = {"replicas": 9}
    found = await difference(api, backup)
    assert (found.word, found.paths) == (Word.CHANGE, ("/spec/replicas: 9 -> 2",))
    api.objects["secrets"]["login"]["data"] = {"password": "other"}
    hidden = await difference(api, login)
    assert (hidden.word, hidden.paths) == (Word.CHANGE, ("/data/password",))
    del api.objects["secrets"]["login"]
    assert (await difference(api, login)).word is Word.CREATE
    for entry in (login, backup):
        await Restorer(api, "rag7").put_back([entry])
        assert (await difference(api, entry)).word is Word.SAME
    assert api.objects["secrets"]["login"]["data"] == {"password": CANARY}
