"""When configuration was last written, what an older template needs, and which warnings are told."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.evidence import Certainty
from app.domain.target import Kind
from app.domain.workload import ConfigRef, ContainerSpec
from app.sim import SimCluster, VirtualClock
from remediations.evidence.config import Change, changed_finding, last_change, missing_refs, needs
from remediations.evidence.happenings import events_finding
from tests.unit.remediations.snapshots import NOW, ago, pod, revision, workload
from tests.unit.remediations.stage import Stage


def meta(created: str | None = "2026-03-01T00:00:00Z", *writes: tuple[str, str]) -> dict[str, Any]:
    fields = [{"manager": manager, "time": at} for manager, at in writes]
    return {"metadata": {"creationTimestamp": created, "managedFields": fields}}


@pytest.mark.parametrize(
    ("manifest", "at", "by"),
    [
        (meta(), "2026-03-01T00:00:00+00:00", ""),
        (
            meta(
                "2026-03-01T00:00:00Z",
                ("helm", "2026-03-02T00:00:00Z"),
                ("kubectl-edit", "2026-03-03T00:00:00Z"),
            ),
            "2026-03-03T00:00:00+00:00",
            "kubectl-edit",
        ),
        (meta(None, ("helm", "2026-03-02T00:00:00Z")), "2026-03-02T00:00:00+00:00", "helm"),
    ],
)
def test_the_newest_write_counts(manifest: dict[str, Any], at: str, by: str) -> None:
    change = last_change(Kind.SECRET, "s", manifest)
    assert change is not None
    assert (change.at.isoformat(), change.by) == (at, by)
    assert isinstance(change, Change)


def test_an_object_without_times_tells_nothing() -> None:
    assert last_change(Kind.SECRET, "s", {"metadata": {}}) is None


async def test_a_workload_without_configuration_says_so() -> None:
    finding = await changed_finding(NOW, SimCluster(VirtualClock()), workload())
    assert finding.text == "The pods use no ConfigMap or Secret"


async def test_configuration_that_may_not_be_read_is_unknown() -> None:
    cluster = SimCluster(VirtualClock())
    cluster.deny("get", Kind.SECRET)
    spec = ContainerSpec("app", "i", config=(ConfigRef(Kind.SECRET, "s"),))
    finding = await changed_finding(NOW, cluster, workload(containers=[spec]))
    assert finding.certainty is Certainty.UNKNOWN


async def test_configuration_that_does_not_exist_has_no_write() -> None:
    spec = ContainerSpec("app", "i", config=(ConfigRef(Kind.SECRET, "s"),))
    finding = await changed_finding(NOW, SimCluster(VirtualClock()), workload(containers=[spec]))
    assert finding.text == "No write to the pods' configuration is recorded"


@pytest.mark.parametrize(
    ("ref", "optional", "needed"),
    [
        (ConfigRef(Kind.CONFIG_MAP, "c", "A"), False, True),
        (ConfigRef(Kind.CONFIG_MAP, "c", "A"), True, False),
        (ConfigRef(Kind.CONFIG_MAP, "c", "B"), False, False),
        (ConfigRef(Kind.SECRET, "c", "A"), False, False),
    ],
)
def test_a_revision_needs_exactly_what_its_template_names(
    ref: ConfigRef, optional: bool, needed: bool
) -> None:
    source = {"configMapKeyRef": {"name": "c", "key": "A", "optional": optional}}
    container = {"name": "app", "image": "i", "env": [{"name": "A", "valueFrom": source}]}
    assert needs(revision(1, template={"spec": {"containers": [container]}}), ref) is needed


def test_without_a_finding_nothing_is_known_to_be_missing() -> None:
    assert missing_refs(None) == []


def event(name: str, reason: str, note: str, kind: str = "Warning") -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "rag7"},
        "eventTime": ago(minutes=3).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "reportingController": "kubelet",
        "reportingInstance": "node-1",
        "action": "Killing",
        "reason": reason,
        "type": kind,
        "note": note,
        "regarding": {"kind": "Pod", "namespace": "rag7", "name": "app-a"},
    }


async def test_only_warnings_about_the_asked_word_are_told_and_without_secrets() -> None:
    cluster = Stage("out-of-memory").cluster
    cluster.create(event("e1", "OOMKilling", "killed app password=geheim1"))
    cluster.create(event("e2", "Unhealthy", "probe failed"))
    cluster.create(event("e3", "OOMKilling", "all fine", "Normal"))

    finding = await events_finding(cluster, workload(), [pod("app-a")], NOW, "OOM")

    assert finding.data["warnings"] == 1
    assert finding.text.startswith("1 warning about OOM recorded, the newest OOMKilling")
    assert finding.text.endswith("killed app password=[redacted]")


async def test_events_that_cannot_be_read_are_unknown() -> None:
    cluster = SimCluster(VirtualClock())
    cluster.deny("list", Kind.EVENT)
    finding = await events_finding(cluster, workload(), [], NOW)
    assert (finding.certainty, finding.text) == (
        Certainty.UNKNOWN,
        "Events could not be read: cannot list events",
    )
