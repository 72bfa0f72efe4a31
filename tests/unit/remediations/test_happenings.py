"""Which warnings of the cluster are told."""

from __future__ import annotations

from typing import Any

from app.domain.evidence import Certainty
from app.domain.target import Kind
from app.sim import SimCluster, VirtualClock
from remediations.evidence.happenings import events_finding
from tests.unit.remediations.snapshots import NOW, ago, pod, workload
from tests.unit.remediations.stage import Stage


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
