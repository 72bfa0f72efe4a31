"""What an alert is about, and what only measured it: `exported_*` wins, an exporter is never the subject."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus, Source, incident_key
from app.domain.subject import NAMES, LabelNames
from app.domain.target import owners_by_name, runs_by_name
from tests.contract.stores import START

KSM = {
    "job": "kube-state-metrics",
    "instance": "10.0.3.4:8080",
    "service": "prometheus-kube-state-metrics",
    "container": "kube-state-metrics",
    "pod": "prometheus-kube-state-metrics-5d9c7b8f6d-x2x4z",
    "namespace": "monitoring",
}

SUBJECTS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "honor_labels false: the exporter's own labels beside exported_*",
        {
            **KSM,
            "exported_namespace": "rag7",
            "exported_pod": "web-5d9c7b8f6d-k4k4z",
            "exported_container": "web",
        },
        {"namespace": "rag7", "pod": "web-5d9c7b8f6d-k4k4z", "container": "web"},
    ),
    (
        "honor_labels true, about a Deployment: the pod is the exporter's",
        {**KSM, "namespace": "rag7", "deployment": "web"},
        {"namespace": "rag7", "deployment": "web"},
    ),
    (
        "honor_labels true, about a container: only job, service and instance are the exporter's",
        {**KSM, "namespace": "rag7", "pod": "web-5d9c7b8f6d-k4k4z", "container": "web"},
        {"namespace": "rag7", "pod": "web-5d9c7b8f6d-k4k4z", "container": "web"},
    ),
    (
        "honor_labels true, about a pod without a container of its own",
        {**KSM, "namespace": "rag7", "pod": "web-5d9c7b8f6d-k4k4z"},
        {"namespace": "rag7", "pod": "web-5d9c7b8f6d-k4k4z"},
    ),
    (
        "the exporter itself crashes, as it tells under exported_*",
        {**KSM, "exported_namespace": "monitoring", "exported_pod": "kube-state-metrics-5d9c7b8f6d-q2q4z"},
        {"namespace": "monitoring", "pod": "kube-state-metrics-5d9c7b8f6d-q2q4z"},
    ),
    (
        "an application's own metrics",
        {"namespace": "rag7", "pod": "web-0", "job": "web", "service": "web", "instance": "10.0.0.1:80"},
        {"namespace": "rag7", "pod": "web-0", "job": "web", "service": "web", "instance": "10.0.0.1:80"},
    ),
    (
        "OpenTelemetry's names, with their dots",
        {"k8s.namespace.name": "rag7", "k8s.pod.name": "web-0", "k8s.deployment.name": "web"},
        {"namespace": "rag7", "pod": "web-0", "deployment": "web"},
    ),
    (
        "OpenTelemetry's names, as Prometheus escapes them",
        {"k8s_namespace_name": "rag7", "k8s_statefulset_name": "db"},
        {"namespace": "rag7", "statefulset": "db"},
    ),
    (
        "kube-state-metrics' owner of a pod, by its kind",
        {"namespace": "rag7", "pod": "web-0", "owner_kind": "StatefulSet", "owner_name": "web"},
        {
            "namespace": "rag7",
            "pod": "web-0",
            "owner_kind": "StatefulSet",
            "owner_name": "web",
            "statefulset": "web",
        },
    ),
    ("an empty exported label is none", {"exported_pod": "", "pod": "web-0"}, {"pod": "web-0"}),
    (
        "a job that failed",
        {**KSM, "namespace": "rag7", "job_name": "migrate"},
        {"namespace": "rag7", "job_name": "migrate"},
    ),
]


@pytest.mark.parametrize(
    ("labels", "subject"), [row[1:] for row in SUBJECTS], ids=[row[0] for row in SUBJECTS]
)
def test_the_subject_is_what_the_series_is_about(labels: dict[str, str], subject: dict[str, str]) -> None:
    found = NAMES.subject(labels)
    named = {k: v for k, v in found.items() if not k.startswith(("exported_", "k8s"))}
    assert named == subject
    assert NAMES.read(NAMES.read(labels)) == NAMES.read(labels)


def test_a_policy_can_name_other_labels_and_exporters() -> None:
    names = LabelNames({"namespace": ("team_ns", "namespace")}, ("thanos-*",))
    labels = {"namespace": "obs", "team_ns": "rag7", "pod": "thanos-rule-0", "service": "thanos-rule"}
    assert names.subject(labels) == {"team_ns": "rag7", "namespace": "rag7"}


def test_alerts_of_two_namespaces_behind_one_exporter_are_two_incidents() -> None:
    def alert(**labels: str) -> Alert:
        return Alert(Source.ALERTMANAGER, "f", AlertStatus.FIRING, START, {"alertname": "A", **KSM, **labels})

    ours = incident_key(alert(exported_namespace="rag7", exported_pod="web-5d9c7b8f6d-k4k4z"))
    theirs = incident_key(alert(exported_namespace="shop", exported_pod="web-5d9c7b8f6d-k4k4z"))
    assert (ours, theirs) == ("A|rag7|Pod/web", "A|shop|Pod/web")


@pytest.mark.parametrize(
    ("pod", "owners"),
    [
        ("web-5d9c7b8f6d-x2x4z", (("Deployment", "web"), ("DaemonSet", "web-5d9c7b8f6d"))),
        ("a-b-c-5d9c7b8f6d-x2x4z", (("Deployment", "a-b-c"), ("DaemonSet", "a-b-c-5d9c7b8f6d"))),
        ("agent-x2x4z", (("DaemonSet", "agent"),)),
        ("db-0", (("StatefulSet", "db"),)),
        ("db-12", (("StatefulSet", "db"),)),
        ("db-01", ()),
        ("api-v2-24568", (("DaemonSet", "api-v2"), ("StatefulSet", "api-v2"))),
        ("langgraph", ()),
        ("my-service", ()),
        ("-x2x4z", ()),
        ("web-29724567-x2x4z", (("DaemonSet", "web-29724567"),)),
        ("web-8659648768-x2x4z", (("Deployment", "web"), ("DaemonSet", "web-8659648768"))),
        ("web-aeiou-x2x4z", (("DaemonSet", "web-aeiou"),)),
    ],
)
def test_a_generated_pod_name_tells_whose_it_can_be(pod: str, owners: Any) -> None:
    assert owners_by_name(pod) == owners


@pytest.mark.parametrize(
    ("pod", "runs"),
    [
        ("web-29724567-x2x4z", (("Job", "web-29724567"), ("Job", "web"))),
        ("web-0-x2x4z", (("Job", "web-0"), ("Job", "web"))),
        ("web-5d9c7b8f6d-x2x4z", (("Job", "web-5d9c7b8f6d"),)),
        ("web-x2x4z", (("Job", "web"),)),
        ("web-0", ()),
        ("web", ()),
    ],
)
def test_a_generated_pod_name_tells_which_jobs_can_have_run_it(pod: str, runs: Any) -> None:
    assert runs_by_name(pod) == runs
