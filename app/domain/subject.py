"""Which labels of an alert say what it is about, and which only say who measured it.

A series that is scraped from an exporter carries the exporter's own namespace, pod, container, service, job and instance;
where those clash with what the series is about, Prometheus keeps the latter as `exported_*` (`honor_labels: false`). So
`exported_*` wins, and what names an exporter of other objects' states is never the subject. Used to group alerts, to match
rules and to find targets. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

NAMESPACE, POD = "namespace", "pod"
WORKLOAD_LABELS: Mapping[str, str] = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "horizontalpodautoscaler": "HorizontalPodAutoscaler",
    "replicaset": "ReplicaSet",
}
"""Labels that name a workload or its controller, the most telling first, with the kind each names."""
OTHER_OBJECTS: Mapping[str, str] = {
    "job_name": "Job",
    "cronjob": "CronJob",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "poddisruptionbudget": "PodDisruptionBudget",
    "resourcequota": "ResourceQuota",
}
"""Labels that name an object of another kind: an alert with one of them and no workload is about that object."""
MEASURED_BY = ("pod", "container", "service", "job")
"""Labels that tell an exporter of other objects' states by its name."""
_OWN = (*MEASURED_BY, "instance", "endpoint")


def _sources() -> dict[str, tuple[str, ...]]:
    found = {
        name: (f"exported_{name}", name, f"k8s.{name}.name", f"k8s_{name}_name")
        for name in (NAMESPACE, POD, "container", "deployment", "statefulset", "daemonset", "replicaset")
    }
    rest = ("horizontalpodautoscaler", *OTHER_OBJECTS)
    return found | {name: (f"exported_{name}", name) for name in rest}


DEFAULT_SOURCES: Mapping[str, tuple[str, ...]] = _sources()
"""For each label that names an object, the labels that are read for it, the first that is there wins. The dotted names are
OpenTelemetry's, also as Prometheus escapes them."""
DEFAULT_EXPORTERS = ("*kube-state-metrics*",)


@lru_cache(maxsize=4096)
def _is_exporter(patterns: tuple[str, ...], value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class LabelNames:
    """How labels are read. `exporters` are patterns of names that are never what an alert is about."""

    sources: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: DEFAULT_SOURCES)
    exporters: tuple[str, ...] = DEFAULT_EXPORTERS

    def read(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels, with each that names an object taken from its sources. Reading twice changes nothing."""
        found = dict(labels)
        for name, sources in self.sources.items():
            for source in sources:
                if value := labels.get(source):
                    found[name] = value
                    break
        return found

    def subject(self, labels: Mapping[str, str]) -> dict[str, str]:
        """As `read`, without the labels that an exporter set about itself."""
        found = self.read(labels)
        own = [n for n in MEASURED_BY if (value := labels.get(n)) and _is_exporter(self.exporters, value)]
        if own:
            # With `honor_labels` pod and container are the subject's, where the series has them, and the others never are.
            about = _OWN if POD in own else (*own, "job", "service", "instance", "endpoint")
            for name in about:
                if found.get(name) == labels.get(name):
                    found.pop(name, None)
        return found


NAMES = LabelNames()
"""As a policy without `labels` reads them."""


_SAFE = frozenset("bcdfghjklmnpqrstvwxz2456789")  # the alphabet of generated name suffixes
_SUFFIX, _HASH = 5, range(6, 11)  # characters of a pod's suffix and of a ReplicaSet's hash


def owners_by_name(pod: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of the workloads that a pod of this name can belong to, the likeliest first; none when the name was not
    generated. Pods are named ReplicaSet-suffix (the ReplicaSet Deployment-hash), DaemonSet-suffix or StatefulSet-ordinal."""
    stem, _, last = pod.rpartition("-")
    if not stem:
        return ()
    found: list[tuple[str, str]] = []
    if len(last) == _SUFFIX and set(last) <= _SAFE:
        name, _, middle = stem.rpartition("-")
        if name and len(middle) in _HASH and set(middle) <= _SAFE:
            found.append(("Deployment", name))
        found.append(("DaemonSet", stem))
    if last.isascii() and last.isdigit() and (last == "0" or last[0] != "0"):
        found.append(("StatefulSet", stem))
    return tuple(found)
