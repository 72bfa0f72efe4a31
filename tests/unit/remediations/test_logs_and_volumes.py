"""Logs and volumes: sizes where somebody measures them, words where nobody does, and never a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime

import pytest

from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Diagnosis
from app.domain.json import Obj
from app.domain.ports import Sample
from app.domain.target import Kind
from tests.births import scenario_of
from tests.unit.remediations.stage import Stage

GIB = 1024**3


class Kubelet:
    """A Prometheus that has the kubelet's metrics; None: it does not answer."""

    def __init__(self, rows: Mapping[str, float] | None) -> None:
        self.rows = rows

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        if self.rows is None:
            raise ProbeUnavailable("Prometheus did not answer within 5 s")
        claim, pod = {"persistentvolumeclaim": "store-data"}, {"pod": "langgraph-store-1"}
        metric = query.partition("{")[0].rpartition("(")[2].removeprefix("kubelet_")
        found = [value for name, value in self.rows.items() if metric == name]
        return [({**(pod if "log_filesystem" in query else claim), "namespace": "rag7"}, v) for v in found]

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        raise AssertionError(query, start, end, step)


CLAIM: Obj = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "store-data", "namespace": "rag7"},
    "spec": {
        "storageClassName": "standard",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
    },
}


def _stage() -> Stage:
    """The shipped world, where the pods have a volume too; it is bound, and smaller than it is asked for by now."""
    base = scenario_of("logs-and-volumes")
    objects = deepcopy(base.objects)
    store = next(o for o in objects if o["metadata"]["name"] == "langgraph-store")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "store-data"}}
    store["spec"]["template"]["spec"]["volumes"].append(volume)
    play = Stage(
        "logs-and-volumes", base.model_copy(update={"objects": (*objects, deepcopy(CLAIM)), "age": 0.0})
    )
    read = play.cluster.get

    async def get(kind: Kind, namespace: str, name: str) -> Obj:
        found = await read(kind, namespace, name)
        if kind is Kind.PVC:
            found["status"] = {"phase": "Bound", "capacity": {"storage": "10Gi"}}
        return found

    vars(play.cluster)["get"] = get
    return play


async def _look(rows: Mapping[str, float] | None = None, *, configured: bool = True) -> tuple[Diagnosis, str]:
    play = _stage()
    play.metrics = Kubelet(rows) if configured else None
    diagnosis, steps = await play.look()
    (step,) = steps.values()
    assert (step.name, step.applies, play.cluster.mutations) == ("free-by-hand", False, [])
    return diagnosis, step.advice


def _text(diagnosis: Diagnosis, code: str) -> str:
    found = diagnosis.finding(code)
    assert found is not None
    return "\n".join([found.text, *found.details])


@pytest.mark.parametrize(
    ("used", "inodes", "words", "advice"),
    [
        (9.0, 0.1, "1 volume, 1 of 1 measured at 85 % or more: store-data", "enlarge store-data"),
        (1.0, 0.9, "1 volume, 1 of 1 measured at 85 % or more: store-data", "enlarge store-data"),
        (1.0, 0.1, "1 volume, 0 of 1 measured at 85 % or more", ""),
    ],
)
async def test_a_volume_is_full_by_its_bytes_or_by_its_inodes(
    used: float, inodes: float, words: str, advice: str
) -> None:
    rows = {
        "volume_stats_used_bytes": used * GIB,
        "volume_stats_capacity_bytes": 10.0 * GIB,
        "volume_stats_inodes_used": inodes,
    }
    diagnosis, told = await _look(rows)
    assert _text(diagnosis, "volumes.state").startswith(words)
    assert f"10Gi, class standard, 20Gi asked for, {used:.0f} GiB used" in _text(diagnosis, "volumes.state")
    assert advice in told
    assert bool(told) == bool(advice)


async def test_logs_are_told_by_pod_and_what_is_rotated_by_itself() -> None:
    diagnosis, _ = await _look({"container_log_filesystem_used_bytes": 30.0 * 1024**2})
    text = _text(diagnosis, "logs.size")
    assert text.startswith("Its logs take up 30 MiB on 1 pod, 30 MiB of langgraph-store-1")
    assert "the kubelet rotates what containers write to stdout and stderr by itself" in text


@pytest.mark.parametrize(
    ("configured", "why"),
    [(False, "no Prometheus is configured"), (True, "Prometheus has no value for them")],
)
async def test_promise_4_what_nobody_measures_is_unknown_and_the_claims_are_told(
    configured: bool, why: str
) -> None:
    diagnosis, advice = await _look(None, configured=configured)
    found = diagnosis.finding("volumes.state")
    assert found is not None
    assert (found.certainty, advice) == (Certainty.UNKNOWN, "")
    assert why in found.text
    assert "store-data: 10Gi, class standard, 20Gi asked for" in found.details


async def test_what_has_no_limit_is_told() -> None:
    diagnosis, _ = await _look()
    text = _text(diagnosis, "ephemeral.state")
    assert text.startswith("0 containers without a limit of ephemeral storage, 0 evicted pods")
    assert "container store: at most 2 GiB of ephemeral storage" in text
    assert "emptyDir scratch on the node's disk: no limit" in text
    assert "emptyDir cache in memory: at most 64 MiB" in text


async def test_a_claim_that_may_not_be_read_is_told_by_its_name() -> None:
    play = _stage()
    play.cluster.deny("get", Kind.PVC)
    diagnosis, _ = await play.look()
    assert "store-data: cannot be read (access_denied)" in _text(diagnosis, "volumes.state")
