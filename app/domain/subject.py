"""Which labels of an alert say what it is about, and which only say who measured it.

A series that is scraped from an exporter carries the exporter's own namespace, pod, container, service, job and instance;
where those clash with what the series is about, Prometheus keeps the latter as `exported_*` (`honor_labels: false`). So
`exported_*` wins, and what names an exporter of other objects' states is never the subject. A label that could name something else
than a rule's default keeps the default from standing in. Used to group alerts, to match rules and to find targets. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_address

from app.domain.text import bounded

NAMESPACE, POD, JOB = "namespace", "pod", "job_name"
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


_ALIASES: Mapping[str, tuple[str, ...]] = {
    NAMESPACE: ("kubernetes_namespace", "kubernetes_namespace_name", "namespace_name", "kube_namespace"),
    POD: ("kubernetes_pod_name", "pod_name", "kubernetes_pod", "kube_pod_name", "k8s_pod"),
    "container": ("kubernetes_container_name", "container_name", "kube_container_name"),
    "deployment": ("deployment_name", "kube_deployment"),
    "statefulset": ("statefulset_name", "kube_stateful_set", "kube_statefulset"),
    "daemonset": ("daemonset_name", "kube_daemon_set", "kube_daemonset"),
    "replicaset": ("replicaset_name", "kube_replica_set", "kube_replicaset"),
    "horizontalpodautoscaler": ("hpa", "hpa_name", "k8s.hpa.name", "k8s_hpa_name"),
    "job_name": ("kube_job", "k8s.job.name", "k8s_job_name"),
    "cronjob": ("kube_cronjob", "k8s.cronjob.name", "k8s_cronjob_name"),
}
"""Other names of the same: of Prometheus' examples, Fluent, Google Cloud and Datadog."""
_FORMS = ("kubernetes_{}", "kubernetes_{}_name", "kubernetes.{}.name", "k8s_{}")
"""More of them, of what names a workload: of Elastic and of hand-written relabelling."""
_DESTINATION = "destination_workload_namespace"
"""Istio's: its series are about where the requests go; their namespace and pod are those of the proxy that counted."""


def _sources() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in (NAMESPACE, POD, "container", "deployment", "statefulset", "daemonset", "replicaset"):
        first = (f"exported_{name}", _DESTINATION) if name == NAMESPACE else (f"exported_{name}",)
        found[name] = (*first, name, f"k8s.{name}.name", f"k8s_{name}_name", *_ALIASES[name])
        if name in WORKLOAD_LABELS:
            found[name] += tuple(form.format(name) for form in _FORMS)
    rest = ("horizontalpodautoscaler", *OTHER_OBJECTS)
    return found | {name: (f"exported_{name}", name, *_ALIASES.get(name, ())) for name in rest}


DEFAULT_SOURCES: Mapping[str, tuple[str, ...]] = _sources()
"""For each label that names an object, the labels that are read for it, the first that is there wins. The dotted names are
OpenTelemetry's, also as Prometheus escapes them."""
WORKLOAD, _WORKLOAD_KIND = "workload", "workload_type"
_TYPED: Mapping[str, str] = {
    "destination_workload": "",
    WORKLOAD: _WORKLOAD_KIND,
    "owner_name": "owner_kind",
    "created_by_name": "created_by_kind",
    "kube_ownerref_name": "kube_ownerref_kind",
    "top_level_controller_name": "top_level_controller_type",
    "scaletargetref_name": "scaletargetref_kind",
}
"""Labels that name a workload, with the label beside them that tells its kind, if any does: those of Istio, kubernetes-mixin,
kube-state-metrics, Datadog and Google Cloud."""
_KIND_LABELS = {label: label for label in WORKLOAD_LABELS} | {"job": "job_name", "cronjob": "cronjob"}
_KINDS: Mapping[str, str] = {**WORKLOAD_LABELS, JOB: "Job", "cronjob": "CronJob", POD: "Pod"}
"""The labels by which a workload, one of its own, or a run to completion is named, with the kind each names."""
_CLUSTERS = """k8s kube kubernetes destination eks gke aks openshift ocp rancher aws gcp azure managed member workload tenant origin
target prometheus remote spoke"""
_OF_CLUSTERS = frozenset(_CLUSTERS.split())
"""Words beside `cluster` in the name of a label that tells Kubernetes clusters apart: `redis_cluster` does not."""
_BEFORE = """k8s kubernetes kube io container label pod service workload object involved resource metadata target destination dst
upstream"""
ABOUT = frozenset(_BEFORE.split())
"""Words that may stand before a kind in the name of a label without making it somebody else's: `destination_service_namespace` is about
what the alert is about, `controller_pod` is not."""
_WORKLOAD_WORDS = {name: name for name in (*WORKLOAD_LABELS, "cronjob", POD, WORKLOAD)}
_WORKLOAD_WORDS |= {
    "hpa": "horizontalpodautoscaler",
    "rollout": WORKLOAD,
    "podname": POD,
    "deploymentconfig": WORKLOAD,
}
"""Last words of labels that name a workload or one of its own, with the label that is read for it."""
UNKNOWN = "unknown"  # Istio's word for what it does not know
DEFAULT_EXPORTERS = ("*kube-state-metrics*",)
NONE = "<none>"  # kube-state-metrics' word for no owner


@lru_cache(maxsize=4096)
def is_exporter(patterns: tuple[str, ...], value: str) -> bool:
    """Whether one of these patterns is of this name."""
    return any(fnmatchcase(value, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class LabelNames:
    """How labels are read. `exporters` are patterns of names that are never what an alert is about."""

    sources: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: DEFAULT_SOURCES)
    exporters: tuple[str, ...] = DEFAULT_EXPORTERS
    places: Mapping[str, tuple[tuple[str, int], ...]] = field(init=False, compare=False, repr=False)
    """For each label that is read, what it names and how late it is asked for that."""

    def __post_init__(self) -> None:
        """Turn the sources round."""
        found: dict[str, tuple[tuple[str, int], ...]] = {}
        for name, sources in self.sources.items():
            for rank, source in enumerate(sources):
                found[source] = (*found.get(source, ()), (name, rank))
        object.__setattr__(self, "places", found)

    def read(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels, with each that names an object taken from its sources. Reading twice changes nothing."""
        found = dict(labels)
        best: dict[str, int] = {}
        for label, value in labels.items():  # there are fewer of them than there are sources
            for name, rank in self.places.get(label, ()) if value else ():
                if rank < best.get(name, rank + 1):
                    best[name], found[name] = rank, value
        if not _TYPED.keys().isdisjoint(labels):
            _add_typed(labels, found)
        return found

    def subject(self, labels: Mapping[str, str]) -> dict[str, str]:
        """As `read`, without the labels that an exporter set about itself."""
        found = self.read(labels)
        own = [n for n in MEASURED_BY if (value := labels.get(n)) and is_exporter(self.exporters, value)]
        if own:
            # With `honor_labels` pod and container are the subject's, where the series has them, and the others never are.
            about = _OWN if POD in own else (*own, "job", "service", "instance", "endpoint")
            for name in about:
                if found.get(name) == labels.get(name):
                    found.pop(name, None)
        return found

    def all_named(self, labels: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """Label, kind and name of each workload, pod or run that the labels name, under every name of the label; the kind is empty
        where none is told. What matches `exporters` is not among them."""
        found: list[tuple[str, str, str]] = []
        for label, value in labels.items():
            if not value or value in (NONE, UNKNOWN) or is_exporter(self.exporters, value):
                continue
            known = [_KINDS[name] for name, _ in self.places.get(label, ()) if name in _KINDS]
            typed = label.removeprefix("exported_").lower()
            if typed in _TYPED:
                kind = labels.get(label[: -len(typed)] + _TYPED[typed]) or labels.get(_TYPED[typed], "")
                known.append(_KINDS.get(_KIND_LABELS.get(kind.lower(), ""), kind))
            elif not self.places.get(label) and self._as_told(told := _workload_told_by(label)):
                known.append(_KINDS.get(told, ""))
            found += [(label, kind, value) for kind in known]
        return found

    def _as_told(self, name: str) -> bool:
        """Whether labels of any tool may name this: where the policy chose which are read, it left no doubt."""
        return bool(name) and self.sources.get(name) == DEFAULT_SOURCES.get(name)


def namespaces_beside(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Label and value of each label that names a namespace of what the alert is about, whatever tool wrote it."""
    return [(k, v) for k, v in labels.items() if v and v != UNKNOWN and _tells_the_namespace(k)]


@lru_cache(maxsize=4096)
def _tells_the_namespace(label: str) -> bool:
    words = [word for word in words_of(label) if word != "name"]
    return words[-1:] in ([NAMESPACE], ["ns"]) and ABOUT.issuperset(words[:-1])


@lru_cache(maxsize=4096)
def _workload_told_by(label: str) -> str:
    """What a label of any tool names by its last words (`exported_stateful_set_name`); empty when it names no workload."""
    words = [word for word in words_of(label) if word != "name"]
    for count in (2, 1):  # `stateful_set` is one kind
        name = _WORKLOAD_WORDS.get("".join(words[-count:]), "")
        if name and ABOUT.issuperset(words[:-count]):
            return name
    return ""


def clusters_named(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Label and name of each Kubernetes cluster that the labels name. Who calls from where (`source_cluster`) names none."""
    return [(label, value) for label, value in labels.items() if value and _tells_the_cluster(label)]


@lru_cache(maxsize=4096)
def _tells_the_cluster(label: str) -> bool:
    words = [word for word in words_of(label) if word not in ("name", "id", "uid", "uuid", "label")]
    return words[-1:] in (["cluster"], ["clustername"], ["clusterid"]) and _OF_CLUSTERS.issuperset(words[:-1])


def _add_typed(labels: Mapping[str, str], found: dict[str, str]) -> None:
    """Add the workload that a label names beside its kind, where no label of that kind does."""
    for label, kind_label in _TYPED.items():
        value = labels.get(label, "")
        if not value or value == NONE:
            continue
        kind = labels.get(kind_label, "").lower() if kind_label else ""
        if name := _KIND_LABELS.get(kind):
            found.setdefault(name, value)
        elif not kind:
            found.setdefault(WORKLOAD, value)


def workload_of_any_kind(subject: Mapping[str, str]) -> str:
    """The name of a workload whose kind no label tells; empty when there is none."""
    return "" if subject.get(_WORKLOAD_KIND) else subject.get(WORKLOAD, "")


# What could name another object than a rule's default: every label whose name or value does not tell that it names none.

UNREAD = "unread_labels"
"""The label by which the intake says that the sender told more than could be read, or different things: what the alert is about
is not known then, which is not the same as that it names nothing."""
_MAX_TOLD, _LONGEST_TOLD = 6, 60
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_WHOLE = """alertgroup alert_group alert_name rulename rule_name rule_group rule_uid ref_id datasource_uid team squad receiver
prometheus monitor reporter le quantile value threshold unit for metrics_path num_firing num_resolved
runbook_url dashboard_url panel_url channel slack_channel notify page oncall"""
_ENDS = """alertname severity level priority urgency criticality impact region zone az datacenter dc replica type version hash kind code status
state phase condition reason flags policy method verb protocol scheme mode window runbook dashboard number"""
_NEUTRAL, _NEUTRAL_ENDS = frozenset(_WHOLE.split()), frozenset(_ENDS.split())
"""Names of labels that say who is told, who measured and how: whole, and by their last word (`status_code`)."""
_PLACES = frozenset({"env", "environment", "stage", "cluster"})
_HERE = frozenset({"prod", "production", "prd", "live"})
"""Values of such labels that name no other place than the one where the default runs."""
_PATHS = frozenset({"handler", "uri", "path", "route", "target", "url", "endpoint"})
"""Last words of labels that name a part of one server by its path, where the value is one."""
_FOLDER = "grafana_folder"
"""On every alert that Grafana manages: where its rule is kept, which is only by chance called as a workload can be."""
_CALLABLE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_CALLERS = ("source", "client")
"""First words of labels about who calls, such as Istio's."""
_PORTS = frozenset({"http", "https", "web", "http-web", "grpc", "metrics", "http-metrics", "https-metrics"})
_EXPORTERS = "blackbox postgres postgresql redis node mysql mysqld mongodb kafka rabbitmq elasticsearch nginx"
SCRAPED_BY = (
    *("kubernetes-*", "integrations/*", "*kube-state-metrics*", "*cadvisor*", "*kubelet*", "blackbox"),
    *(f"*{what}[-_]exporter*" for what in _EXPORTERS.split()),
)
"""Values of `MEASURED_BY` that tell how a series was scraped, and nothing about what it is about."""
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(\[[0-9a-fA-F:.]+\]|[^/:?#\s]+)(?::\d+)?(?:[/?#].*)?", re.ASCII
)
_QUALIFIED = re.compile(r"([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/[a-z0-9][-a-z0-9.]*", re.ASCII)
"""An object with its namespace: the Prometheus Operator's `job`, and many hand-written labels."""
_QUALIFIABLE = frozenset(
    {*WORKLOAD_LABELS, "job", "service", "app", "application", "component", "target", POD, WORKLOAD}
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[a-z%]{1,2})?|true|false", re.ASCII)


def unread(lost: Sequence[str]) -> str:
    """The value of UNREAD: what could not be read, in words."""
    more = f" and {len(lost) - _MAX_TOLD} more" if len(lost) > _MAX_TOLD else ""
    names = ", ".join(bounded(name, _LONGEST_TOLD) for name in lost[:_MAX_TOLD])
    return f"not read, or told differently: {names}{more}"


def names_another(
    labels: Mapping[str, str], namespace: str, name: str = "", pinned: Mapping[str, str] | None = None
) -> str:
    """The first label, as `label "service" names checkout`, that could name another namespace or another object than these; empty
    when there is none. Without a `name` only what tells a namespace counts. `pinned` are labels that the rule itself asks for."""
    asked = pinned or {}
    for label, value in labels.items():
        if not value or asked.get(label) == value:
            continue
        what = _named_by(label)
        if not (
            _same_namespace(label, what, value, namespace)
            if not name
            else _same(label, what, value, namespace, name)
        ):
            return f'label "{label[:80]}" names {value[:80]}'
    return ""


def could_name(label: str, value: str) -> bool:
    """Whether a label of this name and value could name an object or a namespace."""
    if not value or value == NONE or value.lower() in (_HERE if _last_word(label) in _PLACES else ()):
        return False
    if label in MEASURED_BY and is_exporter(SCRAPED_BY, value):
        return False
    if label == "endpoint" and value in _PORTS:
        return False
    if (value.startswith("/") and _last_word(label) in _PATHS) or (
        label == _FOLDER and not _CALLABLE.fullmatch(value)
    ):
        return False
    return bool(_named_by(label)) and not _NUMBER.fullmatch(value) and not _is_ip(host_of(value))


def _same(label: str, what: str, value: str, namespace: str, name: str) -> bool:
    if not could_name(label, value):
        return True
    if what == NAMESPACE:
        return value == namespace
    if value.lower() in (name, namespace, f"{namespace}/{name}"):
        return True
    host, _, rest = host_of(value).partition(".")
    return host == name and (not rest or rest == namespace or rest.startswith(f"{namespace}.svc"))


def _same_namespace(label: str, what: str, value: str, namespace: str) -> bool:
    if what == NAMESPACE:
        return value == namespace
    if not what:
        return True
    parts = host_of(value).split(".")
    if parts[2:3] == ["svc"]:
        return parts[1] == namespace
    both = (
        _QUALIFIED.fullmatch(value)
        if _last_word(label) in _QUALIFIABLE and could_name(label, value)
        else None
    )
    return both is None or both[1] == namespace


def host_of(value: str) -> str:
    """The host of an address or URL, of Envoy's `outbound|80||host` the last part; a text that is none as it is."""
    last = value.rpartition("|")[2]
    found = _ADDRESS.fullmatch(last)
    return found[1].strip("[]") if found else last


@lru_cache(maxsize=4096)
def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def words_of(label: str) -> tuple[str, ...]:
    """Its words in lower case, without those in front that only tell where the label is from."""
    words = [word.lower() for word in _WORDS.findall(label)]
    while len(words) > 1 and words[0] in ("exported", "label"):
        words.pop(0)
    return tuple(words)


def _last_word(label: str) -> str:
    """Of `k8s.cluster.name` it is `cluster`."""
    words = [word for word in words_of(label) if word not in ("name", "label")]
    return words[-1] if words else ""


@lru_cache(maxsize=4096)
def _named_by(label: str) -> str:
    """`namespace`, `object` for what could be one, or empty for a name of which it is known that it names neither."""
    words = words_of(label)
    called = len(words) > 1 and words[0] in _CALLERS
    if called or "_".join(words) in _NEUTRAL or (words[-1:] and words[-1] in _NEUTRAL_ENDS):
        return ""
    return NAMESPACE if _last_word(label) in (NAMESPACE, "ns") else "object"


NAMES = LabelNames()
"""As a policy without `labels` reads them."""
