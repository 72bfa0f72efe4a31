"""What was written once the trouble was there: it is no better explanation of it than the release, and nothing is restarted for it unasked beside pods that serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from app.domain.plan import Step
from app.kube.lineage import last_write
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.test_errors import log
from tests.unit.causes.world import SPACE, World, at

OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
CRASHED, WRITTEN = 2.0, 0.8
ALL = ("new-0", "new-1", "new-2")


def _entry(manager: str, minutes: float, fields: Obj, subresource: str = "") -> Obj:
    made = {"manager": manager, "operation": "Update", "time": at(minutes=minutes), "fieldsV1": fields}
    return {**made, "subresource": subresource} if subresource else made


def annotated(world: World, kind: str = "ConfigMap", name: str = "web-config") -> World:
    """Its data was written long ago; a controller wrote an annotation just now."""
    data = _entry("helm", 9_000, {"f:data": {"f:A": {}}, "f:metadata": {"f:labels": {"f:app": {}}}})
    note = _entry("reflector", WRITTEN, {"f:metadata": {"f:annotations": {"f:x": {}}}})
    world.cluster.objects[kind, SPACE, name]["metadata"]["managedFields"] = [data, note]
    return world


def configured(world: World, minutes: float, *, by: str = "kubectl-edit", kind: str = "ConfigMap") -> World:
    source = {"ConfigMap": "configMapRef", "Secret": "secretRef"}[kind]
    world.both(lambda s: s["containers"][0].update(envFrom=[{source: {"name": "web-config"}}]))
    return world.put(kind, "web-config", changed=minutes, by=by, data={"QUEUE": "x"})


def crashing(*names: str, said: str = "", code: int = 1) -> World:
    """These crash, the last time two minutes ago; 48 s ago somebody wrote the ConfigMap."""
    world = World()
    world.deployed = 30
    configured(world, WRITTEN)
    world.crash(*names, ended=CRASHED, restarts=3, ran=1.0, first=6, code=code)
    return world.said("app", said) if said else world


async def _restart(world: World) -> Step:
    _, steps = await world.look(PodRestarting())
    return steps["restart"]


@pytest.mark.parametrize("said", ["", "KeyError: 'QUEUE'", "invalid configuration: no such queue"])
async def test_where_no_pod_serves_repaired_configuration_is_tried_by_a_restart(said: str) -> None:
    step = await _restart(crashing(*ALL, said=said))
    assert (step.applies, step.asks) == (True, ""), step.why


@pytest.mark.parametrize(
    ("world", "asked"),
    [
        (lambda: crashing("new-0"), "2 pods ready now would begin anew with what no pod has tried"),
        (lambda: crashing("new-0", "new-1"), "1 pod ready now would begin anew with what no pod has tried"),
        (
            lambda: crashing(*ALL, said="connection to db:5432 refused: connection refused"),
            "what container app said last is not about configuration",
        ),
        (
            lambda: crashing(*ALL, said="panic: runtime error: index out of range [3] with length 3"),
            "what container app said last is not about configuration",
        ),
        (lambda: crashing(*ALL, code=139), "container app ended with"),
    ],
    ids=["one of three", "two of three", "a dependency", "a panic", "a signal"],
)
async def test_a_restart_for_what_was_written_is_asked_about(world: Callable[[], World], asked: str) -> None:
    step = await _restart(world())
    assert step.applies, step.why
    assert asked in step.asks


async def test_an_annotation_is_no_repair() -> None:
    step = await _restart(annotated(crashing(*ALL)))
    assert not step.applies
    assert step.why.startswith("Nothing was fixed since the last crash")


@pytest.mark.parametrize(
    ("entries", "at_minutes"),
    [
        ([_entry("helm", 90, {"f:data": {}}), _entry("reflector", 1, {"f:metadata": {}})], 90),
        ([_entry("helm", 90, {"f:spec": {}}), _entry("lb", 1, {"f:metadata": {}, "f:status": {}})], 90),
        ([_entry("helm", 90, {"f:data": {}}), _entry("edit", 1, {"f:metadata": {}, "f:data": {}})], 1),
        ([_entry("helm", 90, {"f:data": {}}), _entry("unknown", 1, {})], 1),
    ],
)
def test_what_wrote_metadata_alone_changed_nothing(entries: list[Obj], at_minutes: float) -> None:
    found = last_write({"metadata": {"name": "x", "managedFields": entries}})
    assert found is not None
    assert found.at.isoformat() == at(minutes=at_minutes).replace("Z", "+00:00")


def _broken(by: str, keys: tuple[str, ...], said: str, kind: str = "Secret") -> World:
    """A release of five minutes ago whose pods all crash with this; since the last crash its configuration was written."""
    world = World().rolling(deployed=5, old=0, new=3)
    source = {"ConfigMap": "configMap", "Secret": "secret"}[kind]
    where = {"secretName" if kind == "Secret" else "name": "used"}
    world.both(lambda spec: spec.update(volumes=[{"name": "t", source: where}]))
    world.put(kind, "used", changed=0.1, by=by, data=dict.fromkeys(keys, "x"))
    world.fired = 3
    return world.crash(restarts=4, ended=0.5).said("app", said)


TLS, SYNCED = ("tls.crt", "tls.key"), "externalsecrets.external-secrets.io/used"


@pytest.mark.parametrize(
    ("world", "back", "restart", "told"),
    [
        (lambda: _broken("cert-manager-certificates-issuing", TLS, "KeyError: 'RAG_SIZE'"), "acts", "refuses", ""),
        (lambda: _broken("cert-manager-certificates-issuing", TLS, OWN), "acts", "refuses", ""),
        (lambda: _broken("python", ("beat",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken(SYNCED, ("OTHER_KEY",), "KeyError: 'RAG_SIZE'"), "acts", "refuses", ""),
        (lambda: _broken("OpenAPI-Generator", ("beat",), OWN, "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("Kubernetes Java Client", ("beat",), OWN, "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("vault-agent-injector", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("infisical-operator", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("doppler-kubernetes-operator", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("manager", ("beat",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("manager", ("beat",), "ValueError: RAG_SIZE is not set", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("manager", ("config.yaml",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "asks", "asks", "whether a person meant it is not known of manager"),
        (lambda: _broken("manager", ("RAG_SIZE",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "asks", "asks", "whether a person meant it is not known of manager"),
        (lambda: _broken("manager", ("beat",), "invalid configuration: no such queue", "ConfigMap"), "asks", "asks", "not known of manager"),
        (lambda: _broken("kustomize-controller", ("beat",), "invalid configuration: no such queue", "ConfigMap"), "refuses", "acts", ""),
        (lambda: _broken(SYNCED, ("RAG_SIZE",), "KeyError: 'RAG_SIZE'"), "asks", "asks", f"{SYNCED} writes of its own accord"),
        (lambda: _broken("kubectl-edit", ("RAG_SIZE",), "KeyError: 'RAG_SIZE'"), "refuses", "acts", ""),
        (lambda: _broken(SYNCED, ("PASSWORD",), 'FATAL: password authentication failed for user "web"'), "asks", "asks", "own accord"),
    ],
    ids=["a renewed certificate", "of a fault of the program", "a heartbeat", "another key by external-secrets", "by Python's client", "by Java's",
         "by a vault's injector", "by one store's operator", "by another's", "another key by anybody", "another variable by anybody", "a file by anybody", "the very key by anybody",
         "anything by anybody", "anything that was declared", "the very key by it", "the key by a person",
         "a rotated password"],
)  # fmt: skip
async def test_of_a_crash_too_only_what_may_have_repaired_it_is_tried(
    world: Callable[[], World], back: str, restart: str, told: str
) -> None:
    _, steps = await world().look(PodRestarting())
    found = {n: "refuses" if not s.applies else "asks" if s.asks else "acts" for n, s in steps.items()}
    assert (found["roll-back"], found["restart"]) == (back, restart), [
        (s.why, s.asks) for s in steps.values()
    ]
    assert told in steps["restart"].asks


def guilty(minutes: float, kind: str = "ConfigMap", *, alert: float = 8) -> World:
    """A release of ten minutes ago brings errors of its own; the alert fired; so many minutes ago somebody wrote its configuration."""
    world = configured(released(10), minutes, kind=kind)
    world.fired = alert
    world.cluster.log["app", False] = log(OWN, 580)
    world.metrics = Requests(580)
    return world


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_what_was_written_after_the_alert_is_perhaps_a_repair_and_no_cause(kind: str) -> None:
    _, steps = await guilty(2, kind).look(HighErrorRate())
    step = steps["roll-back"]
    assert step.applies, step.why
    assert (
        "after the alert fired 8 min ago something was changed, perhaps to repair it: 2 min ago" in step.asks
    )


async def test_an_annotation_after_the_alert_asks_nobody() -> None:
    _, steps = await annotated(guilty(2)).look(HighErrorRate())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")


async def test_what_was_written_before_the_errors_began_is_the_better_explanation() -> None:
    world = guilty(4, alert=3)
    world.cluster.log["app", False] = log(OWN, 230, clean_from=290)
    world.metrics = None
    _, steps = await world.look(HighErrorRate())
    assert not steps["roll-back"].applies
    assert "something that fits better changed after the rollout: 4 min ago" in steps["roll-back"].why
