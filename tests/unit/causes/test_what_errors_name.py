"""What decides or leaves open whether a release is guilty: the error's own words that name what it changed, and configuration that only the
newest pods started with.

The image changed too in every row, which alone is a question where the words speak of something else.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from remediations.causes import CauseCode as C
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_directions import BACK, app, pod
from tests.unit.causes.world import World


def mounted_ca() -> Callable[[Obj], None]:
    def change(spec: Obj) -> None:
        spec["volumes"] = [{"name": "ca", "configMap": {"name": "ca"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "ca", "mountPath": "/etc/ssl/ca"}]

    return change


def env(name: str, value: str) -> Callable[[Obj], None]:
    return app(env=[{"name": name, "value": value}])


def says(world: World, words: str) -> World:
    return world.crash("new-0").said("app", words)


def variable(name: str, old: str, new: str, words: str) -> World:
    """The image changed too: that alone would be a question."""
    world = World().rolling()
    env(name, old)(world.before["spec"])
    return says(world.only_new(env(name, new)), words)


LEASES = 'leases.coordination.k8s.io "web" is forbidden: User "system:serviceaccount:shop:{}" cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "shop"'
OTHERS = "speaks of something else"
WORDS = [
    Row("the file system was made read-only", lambda: says(World().rolling().only_new(app(securityContext={"readOnlyRootFilesystem": True})), "OSError: [Errno 30] Read-only file system: '/app/cache'"), C.CRASH, "Pod new-0", BACK,
        ("the error names containers[app].securityContext.readOnlyRootFilesystem",)),
    Row("another user, and a file that it may not write", lambda: says(World().rolling().only_new(pod(securityContext={"runAsUser": 1000})), "mkdir: can't create directory '/data/db': Permission denied"), C.CRASH, "Pod new-0", BACK,
        ("the error names securityContext.runAsUser",)),
    Row("another user, and a table of the database", lambda: says(World().rolling().only_new(pod(securityContext={"runAsUser": 1000})), "FATAL permission denied for table orders"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("the file system was made writable", lambda: says(readonly_before(), "OSError: [Errno 30] Read-only file system: '/data'"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a host's name", lambda: variable("DB_HOST", "postgres", "postgers", 'could not translate host name "postgers" to address: Name or service not known'), C.DEPENDENCY, "Service postgers", BACK,
        ("correct containers[app].env[DB_HOST] of the pod template, which the error names",)),
    Row("a host's name that stayed", lambda: variable("LOG_DIR", "/var/a", "/var/b", 'could not translate host name "postgres.example.test" to address: Name or service not known'), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a port", lambda: variable("REDIS_URL", "redis://redis:6379/0", "redis://redis:6380/0", "Error 111 connecting to redis:6380. Connection refused."), C.CRASH, "Pod new-0", BACK),
    Row("the port before", lambda: variable("REDIS_URL", "redis://redis:6379/0", "redis://redis:6380/0", "Error 111 connecting to redis:6379. Connection refused."), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a login in quotes", lambda: variable("DB_USER", "web", "wbe", 'FATAL: password authentication failed for user "wbe"'), C.CRASH, "Pod new-0", BACK),
    Row("a short value that is not quoted", lambda: variable("MODE", "a", "ssl", "FATAL ssl handshake with db failed: connection reset"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a word that any error has", lambda: variable("LOG_LEVEL", "info", "error", "error connection to db:5432 refused: connection refused"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a part of a longer word", lambda: variable("POOL", "x", "main", "connection to maintenance-db:5432 refused: connection refused"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("the version of an image", lambda: says(World().rolling(), "web v2 registry.test/web:v2: connection to db:5432 refused: connection refused"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("an authority that was mounted", lambda: says(without_ca(), "x509: certificate signed by unknown authority"), C.CRASH, "Pod new-0", BACK),
    Row("an authority, and another volume was taken away", lambda: says(World().rolling().only_new(pod(volumes=[{"name": "tmp", "emptyDir": {}}])), "x509: certificate signed by unknown authority"), C.CRASH, "Pod new-0", BACK, asks=OTHERS),
    Row("a value that decides, and configuration changed before", lambda: with_config(variable("DB_HOST", "postgres.a", "postgers.b", "no such host postgers.b")), C.CRASH, "Pod new-0", BACK),
    Row("a right of an account that the release names", lambda: says(World().rolling().only_new(pod(serviceAccountName="runner")), LEASES.format("runner")), C.RIGHT, "ServiceAccount runner", BACK),
    Row("a right of an account that both name", lambda: says(World().rolling().both(pod(serviceAccountName="runner")), LEASES.format("runner")), C.RIGHT, "ServiceAccount runner", BACK,
        asks="whether the revision before asks for the right to get leases as well is not known"),
]  # fmt: skip


def readonly_before() -> World:
    world = World().rolling()
    app(securityContext={"readOnlyRootFilesystem": True})(world.before["spec"])
    return world


def without_ca() -> World:
    world = World().rolling().config("ca")
    mounted_ca()(world.before["spec"])
    return world


def with_config(world: World) -> World:
    return world.both(app(envFrom=[{"configMapRef": {"name": "web-config"}}])).config(changed=17)


def configured(by: str, changed: float, *, old: int = 3, sub: str = "", kind: str = "ConfigMap") -> World:
    """A crash of new pods only, where configuration of both templates was written so many minutes ago."""
    ref = (
        {"configMap": {"name": "web-config"}}
        if kind == "ConfigMap"
        else {"secret": {"secretName": "web-config"}}
    )
    mount = {"name": "c", "mountPath": "/etc/web", **({"subPath": sub} if sub else {})}
    how = app(envFrom=[{"configMapRef": {"name": "web-config"}}])
    if by == "volume":
        how = lambda s: (s.update(volumes=[{"name": "c", **ref}]), app(volumeMounts=[mount])(s))  # type: ignore[assignment]  # noqa: E731
    world = World().rolling(old=old, new=1 if old else 3).both(how)
    return world.config(changed=changed, kind=kind).crash(*(["new-0"] if old else []))


def hashed() -> World:
    """A ConfigMap under a new name comes with the release, as kustomize makes it."""
    world = World().rolling()
    app(envFrom=[{"configMapRef": {"name": "web-config-1"}}])(world.before["spec"])
    world.only_new(app(envFrom=[{"configMapRef": {"name": "web-config-2"}}]))
    return world.config("web-config-1").config("web-config-2", changed=5.1).crash("new-0")


CHANGED = "ConfigMap web-config was changed"
CONFIGURED = [
    Row("configuration that only the release refers to", hashed, C.CRASH, "Pod new-0", BACK),
    Row("a certificate in a volume, renewed two days before", lambda: configured("volume", 2880, kind="Secret"), C.CRASH, "Pod new-0", BACK),
    Row("configuration in a volume that old pods have and stay ready", lambda: configured("volume", 45), C.CRASH, "Pod new-0", BACK),
    Row("configuration in a volume, and no old pod is left", lambda: configured("volume", 45, old=0), C.CRASH, "Pod new-0", BACK, asks=CHANGED),
    Row("configuration in a volume by a subPath, which is never renewed", lambda: configured("volume", 45, sub="a.yaml", old=2), C.CRASH, "Pod new-0", BACK, asks=CHANGED),
    Row("configuration in the environment, changed before, and going back starts a pod", lambda: configured("environment", 45, old=2), C.CRASH, "Pod new-0", BACK, asks=CHANGED),
    Row("configuration in the environment, changed before, and going back starts no pod", lambda: configured("environment", 45), C.CRASH, "Pod new-0", BACK),
    Row("configuration in the environment, changed two days before", lambda: configured("environment", 2880), C.CRASH, "Pod new-0", BACK),
]  # fmt: skip


@pytest.mark.parametrize("row", [*WORDS, *CONFIGURED], ids=lambda row: row.name)
async def test_words_that_name_a_change_decide_and_what_older_pods_have_tried_is_no_question(
    row: Row,
) -> None:
    await holds(row)


async def test_promise_12_of_a_value_that_an_error_names_only_the_place_is_told() -> None:
    words = "connection to hunter2-host refused: connection refused"
    diagnosis, steps = await variable("DB_HOST", "plain", "x-hunter2-host hunter2-host", words).look()
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert "the error names containers[app].env[DB_HOST]" in steps["roll-back"].why
    told = [
        steps["roll-back"].why,
        steps["roll-back"].asks,
        *(f"{f.text} {f.details} {f.data}" for f in diagnosis.findings),
    ]
    assert "x-hunter2-host" not in "\n".join(told)
