"""Which rule is for an alert, and which target its labels name."""

from __future__ import annotations

from textwrap import dedent

import pytest

from app.domain.decision import Mode
from app.domain.subject import UNREAD
from app.domain.target import Kind
from app.policy.match import Hint, NoHint, guessed, match_rule, rule_for_order, target_hint
from tests.unit.policy.cases import policy_of

MORE = dedent(
    """
    - {name: critical errors, when: 'alertname=~"High.*", severity="critical"', remediation: restart, target: {name: {default: x}}}
    - {name: anything high, when: 'alertname=~"High.*"', remediation: restart, target: {name: {default: x}}}
    """
)
POLICY = policy_of(more_rules=MORE)


@pytest.mark.parametrize(
    ("labels", "rule", "also"),
    [
        ({"alertname": "HighErrorRate"}, "errors", ("anything high",)),
        (
            {"alertname": "HighErrorRate", "severity": "critical"},
            "errors",
            ("critical errors", "anything high"),
        ),
        ({"alertname": "HighLatency", "severity": "critical"}, "critical errors", ("anything high",)),
        ({"alertname": "HighLatency"}, "anything high", ()),
    ],
)
def test_the_first_matching_rule_wins_and_the_others_are_told(
    labels: dict[str, str], rule: str, also: tuple[str, ...]
) -> None:
    matched = match_rule(POLICY, labels)
    assert matched is not None
    assert (matched.rule.name, matched.also) == (rule, also)


@pytest.mark.parametrize("labels", [{}, {"alertname": "Watchdog"}, {"alertname": "highlatency"}])
def test_an_alert_that_no_rule_is_for_matches_nothing(labels: dict[str, str]) -> None:
    assert match_rule(POLICY, labels) is None


DEFAULT_NS = "namespace by the rule's default"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            {},
            Hint(
                "rag7",
                Kind.DEPLOYMENT,
                "langgraph",
                f"name by the rule's default, {DEFAULT_NS}",
                by_default=True,
            ),
        ),
        (
            {"deployment": "api"},
            Hint("rag7", Kind.DEPLOYMENT, "api", f'name by label "deployment", {DEFAULT_NS}'),
        ),
        ({"pod": "api-5d-x"}, Hint("rag7", Kind.POD, "api-5d-x", f'name by label "pod", {DEFAULT_NS}')),
        (
            {"pod": "api-5d-x", "deployment": "api"},
            Hint("rag7", Kind.DEPLOYMENT, "api", f'name by label "deployment", {DEFAULT_NS}'),
        ),
        (
            {"namespace": "kube-system"},
            Hint(
                "kube-system",
                Kind.DEPLOYMENT,
                "langgraph",
                'name by the rule\'s default, namespace by label "namespace"',
                by_default=True,
            ),
        ),
    ],
)
def test_labels_name_the_target_and_defaults_fill_in(labels: dict[str, str], expected: Hint) -> None:
    assert target_hint(POLICY.rules[0], labels) == expected


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"deployment": "../../secrets"}, "cannot be the name"),
        ({"deployment": "API"}, "cannot be the name"),
        ({"deployment": "x" * 254}, "cannot be the name"),
        ({"namespace": "a/b"}, "cannot be the namespace"),
        ({"namespace": "x" * 64}, "cannot be the namespace"),
        ({"deployment": "api\n"}, "cannot be the name"),
    ],
)
def test_a_value_that_is_no_kubernetes_name_is_no_target(labels: dict[str, str], why: str) -> None:
    found = target_hint(POLICY.rules[0], labels)
    assert isinstance(found, NoHint)
    assert why in found.why


def test_without_label_and_default_there_is_no_target() -> None:
    rule = policy_of(
        more_rules="\n- {name: b, when: a=b, remediation: restart, target: {name: {label: app}}}\n"
    ).rules[1]
    assert target_hint(rule, {"namespace": "rag7"}) == NoHint(
        'no name: the alert has no label "app" and the rule has no default'
    )
    assert target_hint(rule, {"app": "x"}) == NoHint(
        'no namespace: the alert has no label "namespace" and the rule has no default'
    )


def test_an_order_runs_under_the_rule_for_its_remediation() -> None:
    rule = rule_for_order(
        policy_of(rule="params: {scale_to: 7}\n"), "high-error-rate", {"recent_deployment": "2h"}
    )
    assert (rule.name, rule.mode) == ("errors", Mode.AUTO)
    assert rule.params == {"scale_to": 7, "recent_deployment": "2h"}


def test_an_order_without_a_rule_needs_an_approval_under_the_defaults() -> None:
    policy = policy_of("cooldown: 20m\n")
    rule = rule_for_order(policy, "restart", {})
    assert (rule.name, rule.remediation, rule.mode) == ("manual restart", "restart", Mode.APPROVE)
    assert rule.cooldown == policy.rules[0].cooldown
    assert type(rule).from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    ("rule", "labels", "mode"),
    [
        ("", {}, Mode.APPROVE),
        ("", {"deployment": ""}, Mode.APPROVE),
        ("", {"deployment": "api"}, Mode.AUTO),
        ("", {"pod": "api-5d-x"}, Mode.AUTO),
        ("target: {name: {label: deployment, default: langgraph}, on_default: act}\n", {}, Mode.AUTO),
        ("target: {name: {default: langgraph}}\n", {}, Mode.AUTO),
        ("mode: observe\n", {}, Mode.OBSERVE),
    ],
)
def test_a_default_target_is_a_guess_that_a_person_is_asked_about(
    rule: str, labels: dict[str, str], mode: Mode
) -> None:
    target = "target: {name: {label: deployment, default: langgraph}, pod: {label: pod}}\n"
    policy = policy_of(rule=rule if "target:" in rule else target + rule)
    matched = match_rule(policy, {"alertname": "HighErrorRate", **labels})
    assert matched is not None
    assert matched.rule.mode is mode
    guess = "no label names the workload, and langgraph is the rule's default"
    assert guessed(matched.rule, labels) == (
        guess if mode is Mode.APPROVE or rule.startswith("mode: obs") else ""
    )


DEFAULTING = "target: {name: {label: deployment, default: langgraph}, pod: {label: pod}, on_default: act}\n"
KSM = {"job": "kube-state-metrics", "pod": "kube-state-metrics-5d9c7b8f6d-x2x4z", "namespace": "rag7"}


@pytest.mark.parametrize(
    ("labels", "kind", "name"),
    [
        ({"statefulset": "db", **KSM}, Kind.STATEFUL_SET, "db"),
        ({"daemonset": "agent", **KSM}, Kind.DAEMON_SET, "agent"),
        ({"horizontalpodautoscaler": "web", **KSM}, Kind.HPA, "web"),
        ({"deployment": "web", **KSM}, Kind.DEPLOYMENT, "web"),
        ({"namespace": "monitoring", "exported_namespace": "rag7", "exported_pod": "web-0", "pod": "x-0"}, Kind.POD, "web-0"),
        ({"k8s.namespace.name": "rag7", "k8s.deployment.name": "web"}, Kind.DEPLOYMENT, "web"),
        ({"kubernetes_namespace": "rag7", "kubernetes_pod_name": "web-0"}, Kind.POD, "web-0"),
        ({"namespace_name": "rag7", "pod_name": "web-0"}, Kind.POD, "web-0"),
        ({"kube_namespace": "rag7", "kube_deployment": "web"}, Kind.DEPLOYMENT, "web"),
        ({"kube_namespace": "rag7", "kube_stateful_set": "db"}, Kind.STATEFUL_SET, "db"),
        ({"namespace": "rag7", "workload": "db", "workload_type": "statefulset"}, Kind.STATEFUL_SET, "db"),
        ({"namespace": "rag7", "workload": "web"}, Kind.DEPLOYMENT, "web"),
        ({"namespace": "rag7", "owner_kind": "DaemonSet", "owner_name": "agent"}, Kind.DAEMON_SET, "agent"),
        ({"namespace": "rag7", "owner_kind": "<none>", "owner_name": "<none>", "pod": "web-0"}, Kind.POD, "web-0"),
        (
            {"namespace": "front", "pod": "gate-0", "destination_workload": "web", "destination_workload_namespace": "rag7"},
            Kind.DEPLOYMENT,
            "web",
        ),
    ],
)  # fmt: skip
def test_what_the_labels_name_is_the_target_and_never_the_default_nor_the_exporter(
    labels: dict[str, str], kind: Kind, name: str
) -> None:
    found = target_hint(policy_of(rule=DEFAULTING).rules[0], labels)
    assert isinstance(found, Hint)
    assert (found.namespace, found.kind, found.name) == ("rag7", kind, name)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({**KSM, "job_name": "migrate"}, "the alert is about Job migrate, and no label names a workload"),
        ({**KSM, "cronjob": "nightly"}, "the alert is about CronJob nightly, and no label names a workload"),
        (KSM, "the labels name only the exporter that measured the alert"),
        ({"kube_job": "migrate"}, "the alert is about Job migrate, and no label names a workload"),
        ({"namespace": "rag7", "kubernetes_namespace": "pay"}, 'label "namespace" names rag7 and label "kubernetes_namespace" pay'),
        *(
            ({label: "checkout"}, f'label "{label}" names checkout, so the rule\'s default langgraph is not meant, and no label names a workload')
            for label in (
                "service", "exported_service", "service_name", "service.name", "destination_service_name", "app", "label_app",
                "application", "app_kubernetes_io_name", "app.kubernetes.io/name", "container", "ingress", "job", "node", "Deployment",
                "rollout", "microservice", "team_namespace", "app_kubernetes_io_instance", "component", "release", "host", "url", "target",
                "name", "resource", "tenant", "cluster", "env", "pagerduty_service", "grafana_folder", "helm_release", "route", "queue",
                "serviceName", "upstream_cluster", "k8s.cluster.name", "path", "endpoint", "équipe",
            )
        ),
        (
            {"workload": "checkout", "workload_type": "rollout"},
            'label "workload" names checkout, so the rule\'s default langgraph is not meant, and no label names a workload',
        ),
        *(
            ({label: value}, f'label "{label}" names {value}, so the rule\'s default langgraph is not meant, and no label names a workload')
            for label, value in (
                ("envoy_cluster_name", "outbound|80||checkout.payments.svc.cluster.local"), ("instance", "checkout.payments:8080"),
                ("instance", "checkout:8080"), ("instance", "https://checkout.example.com/health"), ("service", "document-exporter"),
                ("environment", "staging"), ("cluster", "prod-2"), ("service", "unknown"), ("instance", "langgraph.payments:80"),
            )
        ),
        ({UNREAD: "not read, or told differently: x"}, "not read, or told differently: x: what the alert is about is not known, and the rule's default langgraph does not stand in for it"),
        ({"pod": "langgraph-29724567-x2x4z", "job_name": "langgraph-29724567"}, "the alert is about Job langgraph-29724567, and no label names a workload"),
        ({"pod": "langgraph-29724567-x2x4z", "cronjob": "langgraph"}, "the alert is about CronJob langgraph, and no label names a workload"),
        (
            {"instance": "langgraph.pay.svc.cluster.local:80"},
            'label "instance" names langgraph.pay.svc.cluster.local:80, so the rule\'s default langgraph is not meant, and no label names a workload',
        ),
    ],
)  # fmt: skip
def test_no_default_stands_in_for_what_the_labels_name(labels: dict[str, str], why: str) -> None:
    assert target_hint(policy_of(rule=DEFAULTING).rules[0], {"namespace": "rag7", **labels}) == NoHint(why)


@pytest.mark.parametrize(
    "labels",
    [
        {"service": "langgraph", "app": "rag7", "job": "rag7/langgraph", "container": "langgraph"},
        {
            "handler": "/v1/chat",
            "uri": "/runs",
            "http_route": "/api/{id}",
            "path": "/billing",
            "grafana_folder": "RAG7 alerts",
        },
        {
            "instance": "10.0.0.4:8080",
            "cluster": "prod",
            "env": "Production",
            "severity": "critical",
            "team": "rag",
        },
        {
            "instance": "[fd00::1]:8080",
            "prometheus": "monitoring/k8s",
            "prometheus_replica": "k8s-0",
            "region": "eu-1",
        },
        {
            "instance": "langgraph:8080",
            "service": "Langgraph",
            "host": "langgraph.rag7",
            "endpoint": "http",
            "code": "500",
        },
        {
            "envoy_cluster_name": "outbound|80||langgraph.rag7.svc.cluster.local",
            "le": "0.5",
            "quantile": "0.99",
        },
        {
            "runbook_url": "https://runbooks.example.com/checkout",
            "monitor": "eu",
            "alertgroup": "checkout",
            "value": "44.2",
        },
        {"instance": "http://langgraph.rag7.svc:8080/health", "job": "kubernetes-pods"},
        {
            "service_type": "ClusterIP",
            "app_version": "2",
            "workload_type": "deployment",
            "pod_template_hash": "5d9c7b8f6d",
        },
        {"job": "blackbox-exporter", "source_workload": "gate", "pagerduty_urgency": "high"},
    ],
)
def test_labels_that_name_nothing_else_leave_the_default(labels: dict[str, str]) -> None:
    found = target_hint(policy_of(rule=DEFAULTING).rules[0], {"namespace": "rag7", **labels})
    assert isinstance(found, Hint)
    assert (found.namespace, found.name) == ("rag7", "langgraph")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({}, ""),
        ({"service": "checkout", "cluster": "eu-1"}, ""),
        ({"instance": "web.rag7.svc:80"}, ""),
        ({"instance": "web.payments.svc:80"}, 'label "instance" names web.payments.svc:80, so the rule\'s default rag7 is not meant'),
        ({"job": "rag7/web", "service": "rag7/web", "image": "library/nginx", "path": "api/v1", "handler": "app/index"}, ""),
        ({"job": "integrations/kubernetes", "source_workload_namespace": "payments", "project": "payments"}, ""),
        ({"job": "shop/checkout"}, 'label "job" names shop/checkout, so the rule\'s default rag7 is not meant'),
        ({"exported_service": "shop/checkout"}, 'label "exported_service" names shop/checkout, so the rule\'s default rag7 is not meant'),
        ({"team_namespace": "payments"}, 'label "team_namespace" names payments, so the rule\'s default rag7 is not meant'),
        (
            {UNREAD: "not read, or told differently: namespace"},
            "not read, or told differently: namespace: what the alert is about is not known, and the rule's default rag7 does not stand in for it",
        ),
    ],
)  # fmt: skip
def test_no_default_namespace_stands_in_for_one_that_was_lost(labels: dict[str, str], why: str) -> None:
    target = "target: {name: {label: deployment}, namespace: {label: namespace, default: rag7}}\n"
    found = target_hint(policy_of(rule=target).rules[0], {"deployment": "web", **labels})
    expected = Hint(
        "rag7", Kind.DEPLOYMENT, "web", 'name by label "deployment", namespace by the rule\'s default'
    )
    assert found == (NoHint(why) if why else expected)


@pytest.mark.parametrize("label", ["job", "service", "kube_app", "target", "k8s.workload.name"])
def test_a_constant_namespace_is_not_meant_where_a_label_names_an_object_of_another(label: str) -> None:
    target = "target: {name: {label: deployment}, namespace: {default: rag7}}\n"
    rule = policy_of(rule=target).rules[0]
    found = target_hint(rule, {"deployment": "web", label: "shop/checkout"})
    assert found == NoHint(f'label "{label}" names shop/checkout, so the rule\'s default rag7 is not meant')
    said = target_hint(rule, {"deployment": "web", "namespace": "rag7", "job": "monitoring/pods"})
    assert isinstance(said, Hint), "the job is the scraper's, and the namespace stands beside it"


def test_what_is_unread_does_not_matter_where_the_labels_name_the_target() -> None:
    found = target_hint(
        policy_of(rule=DEFAULTING).rules[0], {"namespace": "rag7", "deployment": "web", UNREAD: "x"}
    )
    assert isinstance(found, Hint)
    assert (found.namespace, found.name) == ("rag7", "web")


def test_a_label_that_the_rule_itself_asks_for_names_nothing_else() -> None:
    pinned = """
  - when: ['alertname="x", cluster="eu-1"', 'alertname=~"x|y", cluster="eu-1", team="rag"']
    name: ours
    remediation: restart
    target: {name: {label: deployment, default: langgraph}, on_default: act}
"""
    rule = policy_of(more_rules=pinned).rules[1]
    labels = {"alertname": "x", "namespace": "rag7", "cluster": "eu-1"}
    assert isinstance(target_hint(rule, labels), Hint)
    assert isinstance(target_hint(rule, {**labels, "team": "rag"}), Hint)
    assert isinstance(target_hint(rule, {**labels, "service": "checkout"}), NoHint)
    assert isinstance(target_hint(rule, {**labels, "cluster": "eu-2"}), NoHint)


def test_matchers_see_the_labels_as_the_policy_reads_them() -> None:
    policy = policy_of(
        more_rules="\n- {name: ours, when: 'alertname=x, namespace=rag7', remediation: restart, target: {name: {default: x}}}\n"
    )
    labels = {"alertname": "x", "namespace": "monitoring", "exported_namespace": "rag7"}
    matched = match_rule(policy, labels)
    assert matched is not None
    assert matched.rule.name == "ours"


def test_a_policy_names_its_own_labels() -> None:
    policy = policy_of("labels: {namespace: [team_ns], deployment: [app_name], exporters: ['thanos-*']}\n")
    labels = {"team_ns": "shop", "namespace": "obs", "app_name": "api", "pod": "thanos-rule-0"}
    found = target_hint(policy.rules[0], labels)
    assert isinstance(found, Hint)
    assert (found.namespace, found.kind, found.name) == ("shop", Kind.DEPLOYMENT, "api")


def test_a_policy_can_read_the_labels_of_the_scrape_only() -> None:
    policy = policy_of("labels: {namespace: [namespace], pod: [pod]}\n", rule=DEFAULTING)
    labels = {"namespace": "rag7", "pod": "web-0", "exported_namespace": "shop", "exported_pod": "pay-0"}
    found = target_hint(policy.rules[0], labels)
    assert isinstance(found, Hint)
    assert (found.namespace, found.kind, found.name) == ("rag7", Kind.POD, "web-0")


def test_our_own_cluster_keeps_no_default_from_standing_in() -> None:
    rule = (
        "target: {name: {label: deployment, default: web}, namespace: {label: namespace}, on_default: act}\n"
    )
    ours = policy_of("labels: {our_cluster: eu-1}\n", rule=rule).rules[0]
    labels = {"namespace": "rag7", "cluster": "eu-1"}
    assert isinstance(target_hint(ours, labels), Hint)
    assert isinstance(target_hint(ours, {**labels, "redis_cluster": "cache"}), NoHint)
    assert isinstance(target_hint(policy_of(rule=rule).rules[0], labels), NoHint)
