"""The restore of a configuration by a person: a crafted backup writes nowhere else, and one object that fails stops no other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.backup.configuration.cleaning import ORDERED
from app.backup.configuration.lines import Entry, Reader, head, line_of, tail
from app.backup.configuration.restore import Restorer, Word, left_behind
from app.backup.failure import BackupFailed
from app.domain.errors import (
    AccessDenied,
    ClusterUnavailable,
    ObjectInvalid,
    ObjectMissing,
    OutcomeUnclear,
    RemediatorError,
)
from app.domain.json import Obj
from app.kube.paths import Resource
from app.kube.wire import How

RBAC = "rbac.authorization.k8s.io"


def config_map(name: str, **data: str) -> Entry:
    return Entry(
        "",
        "v1",
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data},
    )


class Api:
    """ConfigMaps and RoleBindings are served in namespaces, ClusterRoleBindings beside them. `at` fails a request of an object: by its
    name and `read`, `try` or `write`; `unappliable` are those that server-side apply cannot express."""

    def __init__(self) -> None:
        self.held: dict[str, Obj] = {}
        self.written: list[str] = []
        self.at: dict[tuple[str, str], RemediatorError] = {}
        self.lost_after = ""
        self.unappliable: set[str] = set()

    async def document(self, path: str) -> Obj:
        listed = {
            "/api/v1": [("configmaps", "ConfigMap", True), ("nodes", "Node", False)],
            f"/apis/{RBAC}/v1": [
                ("rolebindings", "RoleBinding", True),
                ("clusterrolebindings", "ClusterRoleBinding", False),
            ],
        }
        if path not in listed:
            raise ObjectMissing("not found")
        return {"resources": [{"name": n, "kind": k, "namespaced": s} for n, k, s in listed[path]]}

    async def read(
        self, resource: Resource, namespace: str, name: str, query: Sequence[tuple[str, str]]
    ) -> Obj:
        self._fail(name, "read")
        if name not in self.held:
            raise ObjectMissing("not found")
        return self.held[name]

    async def put_as(
        self, at: tuple[Resource, str], body: Obj, how: How = How.APPLIED, *, manager: str, dry_run: bool
    ) -> Obj:
        name = body["metadata"]["name"]
        if name in self.unappliable and how is How.APPLIED:
            raise ObjectInvalid("failed to create typed patch object", code="not_appliable")
        assert (how is How.MADE) <= (name not in self.held)
        assert (how is How.MERGED) <= (name in self.held)
        self._fail(name, "try" if dry_run else "write")
        if not dry_run:
            self.written.append(at[0].path(at[1], name))
            self.held[name] = body
            if name == self.lost_after:
                raise OutcomeUnclear("the connection broke")
        return body

    async def close(self) -> None:
        pass

    def _fail(self, name: str, when: str) -> None:
        if (name, when) in self.at:
            raise self.at[name, when]


def read(*lines: bytes, namespace: str = "rag7") -> list[Entry]:
    found: list[Entry] = []
    reader = Reader(found.append)
    reader.take(head(namespace, "t") + b"".join(lines) + tail(len(lines)))
    reader.end()
    return found


def changed(**fields: Any) -> bytes:
    """The line of a good ConfigMap with some of it written anew."""
    line: dict[str, Any] = {
        "of": ["", "v1", "configmaps"],
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
    }
    line["of"] = fields.pop("of", line["of"])
    line["object"] = fields.pop("object", {**line["object"], **fields})
    return json.dumps(line).encode() + b"\n"


CRAFTED: Mapping[str, bytes] = {
    "plural": changed(of=["", "v1", "../../clusterrolebindings"]),
    "escaped plural": changed(of=["", "v1", "%2e%2e"]),
    "subresource": changed(of=["", "v1", "configmaps/status"]),
    "empty plural": changed(of=["", "v1", ""]),
    "version": changed(of=["", "..", "configmaps"], apiVersion=".."),
    "group": changed(of=["../api", "v1", "configmaps"], apiVersion="../api/v1"),
    "a group that is not the object's": changed(of=["apps", "v1", "configmaps"]),
    "apiVersion": changed(apiVersion="v2"),
    "kind": changed(kind="Config/Map"),
    "no kind": changed(kind=None),
    "a name of two dots": changed(metadata={"name": ".."}),
    "a name of one": changed(metadata={"name": "."}),
    "a name with a slash": changed(metadata={"name": "../x"}),
    "a name with an escape": changed(metadata={"name": "%2e%2e"}),
    "a name with a line feed": changed(metadata={"name": "a\n0 refused"}),
    "an empty name": changed(metadata={"name": ""}),
    "a name that is none": changed(metadata={"name": 1}),
    "no metadata": changed(object={"a": 1}),
    "a list": changed(object=[1]),
    "four parts": changed(of=["", "v1", "configmaps", "x"]),
    "much nesting": b"[" * 200_000 + b"\n",
    "no object": b"1\n",
}


@pytest.mark.parametrize("crafted", CRAFTED.values(), ids=CRAFTED.keys())
def test_a_line_that_names_no_object_of_a_namespace_is_no_backup(crafted: bytes) -> None:
    assert read(changed())[0].object["metadata"] == {"name": "a"}
    with pytest.raises(BackupFailed, match="no configuration backup"):
        read(crafted)


@pytest.mark.parametrize("namespace", ["..", "a/b", "", "%2e", "A"])
def test_a_backup_of_a_namespace_that_can_not_be_is_none(namespace: str) -> None:
    with pytest.raises(BackupFailed, match="no configuration backup"):
        read(namespace=namespace)


@pytest.mark.parametrize("part", ["..", ".", "a/b", "../x", "%2e%2e", "a%2fb"])
def test_no_part_of_a_path_leads_elsewhere(part: str) -> None:
    ordinary = Resource("", "v1", "configmaps")
    for resource, namespace, name in (
        (ordinary, part, "x"),
        (ordinary, "rag7", part),
        (Resource("", part, "configmaps"), "rag7", "x"),
        (Resource(part, "v1", "configmaps"), "rag7", "x"),
        (Resource("", "v1", part), "rag7", "x"),
    ):
        with pytest.raises(ObjectInvalid):
            resource.path(namespace, name)
    with pytest.raises(ObjectInvalid):
        ordinary.path("rag7", "x", part)
    assert ordinary.path("rag7", "system:x?y#z") == "/api/v1/namespaces/rag7/configmaps/system%3Ax%3Fy%23z"


async def test_only_kinds_that_discovery_calls_namespaced_are_written() -> None:
    api = Api()
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "evil"}}
    entries = [
        Entry(RBAC, "v1", "clusterrolebindings", role),
        Entry(RBAC, "v1", "rolebindings", role),
        Entry("", "v1", "nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}),
        Entry(
            "no.test", "v1", "things", {"apiVersion": "no.test/v1", "kind": "T", "metadata": {"name": "t"}}
        ),
        config_map("good"),
    ]
    for entry in entries:
        assert read(line_of(entry)) == [entry], "each of them has names of the API"
    done = await Restorer(api, "rag7").put_back(entries)
    assert [d.word for d in done] == [Word.REFUSED] * 4 + [Word.CREATE]
    assert "no clusterrolebindings.rbac.authorization.k8s.io in namespaces" in done[0].why
    assert "are of kind RoleBinding, not ClusterRoleBinding" in done[1].why
    assert api.written == ["/api/v1/namespaces/rag7/configmaps/good"]


@pytest.mark.parametrize(
    ("when", "error", "word"),
    [
        ("read", AccessDenied("get is not granted"), Word.REFUSED),
        ("try", ObjectInvalid("immutable"), Word.REFUSED),
        ("write", ObjectInvalid("exceeded quota"), Word.REFUSED),
        ("write", OutcomeUnclear("timed out"), Word.FAILED),
        ("write", ClusterUnavailable("HTTP 503"), Word.FAILED),
        ("read", ClusterUnavailable("HTTP 503"), Word.FAILED),
    ],
)
async def test_one_object_that_fails_is_named_and_the_others_are_put_back(
    when: str, error: RemediatorError, word: Word
) -> None:
    api = Api()
    api.at["b", when] = error
    entries = [config_map(name) for name in "abc"]
    done = await Restorer(api, "rag7").put_back(entries)
    assert [(d.word, d.why) for d in done] == [(Word.CREATE, ""), (word, error.message), (Word.CREATE, "")]
    assert sorted(api.held) == ["a", "c"]


async def test_a_write_of_which_the_answer_is_lost_is_read_back() -> None:
    api = Api()
    api.lost_after = "b"
    (done,) = await Restorer(api, "rag7").put_back([config_map("b", x="1")])
    assert done.word is Word.CREATE
    assert len(api.written) == 1


@pytest.mark.parametrize("there", [False, True])
async def test_what_apply_cannot_express_is_put_back_whole_and_holds_nothing_up(*, there: bool) -> None:
    api, names = Api(), "abcde"
    api.unappliable = set("abcd")
    api.held = {n: config_map(n, x="0").object for n in names} if there else {}
    done = await Restorer(api, "rag7").put_back([config_map(n, x="1") for n in names])
    assert [d.word for d in done] == [Word.CHANGE if there else Word.CREATE] * len(names)
    assert {n: api.held[n]["data"] for n in names} == {n: {"x": "1"} for n in names}


async def test_an_api_server_that_is_gone_is_not_asked_for_each_object() -> None:
    api = Api()
    names = [f"n{number}" for number in range(6)]
    api.at = {(name, "read"): ClusterUnavailable("no route") for name in names}
    done = await Restorer(api, "rag7").compare([config_map(name) for name in names])
    assert [d.why for d in done] == ["no route"] * 3 + [
        "not tried, as the API server gave no answer before"
    ] * 3


async def test_a_webhook_that_is_not_back_yet_holds_up_its_own_objects_alone() -> None:
    """It may run in the very namespace that is put back."""
    api = Api()
    down = ClusterUnavailable("failed calling webhook", code="webhook_unavailable")
    api.at = {(name, "try"): down for name in "abcd"}
    done = await Restorer(api, "rag7").put_back([config_map(name) for name in "abcde"])
    assert [d.word for d in done] == [Word.FAILED] * 4 + [Word.CREATE]


def test_role_bindings_to_accounts_of_the_former_namespace_are_named() -> None:
    def binding(name: str, namespace: str) -> Entry:
        subjects = [{"kind": "ServiceAccount", "name": "app", "namespace": namespace}]
        return Entry(RBAC, "v1", "rolebindings", {"metadata": {"name": name}, "subjects": subjects})

    entries = [binding("mine", "rag7"), binding("others", "elsewhere"), config_map("a")]
    assert left_behind(entries, "rag7", "other") == ["mine"]
    assert left_behind(entries, "rag7", "rag7") == []


def test_all_kinds_of_kubernetes_own_that_people_write_are_needed_for_a_whole_backup() -> None:
    assert {"replicationcontrollers", "podtemplates", "resourceclaims.resource.k8s.io"} <= ORDERED
