"""Where the service may connect to: what settings, secrets and the policy name is open, or the notes say what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.json import Obj
from app.policy.load import load_policy
from remediations import CATALOGUE
from tests.live.chart.helm import CHART, NAME, Helm

pytestmark = pytest.mark.live
CIDRS = ("--set", "networkPolicy.apiServer.cidrs={10.0.0.1/32}")


@pytest.mark.parametrize(
    "secret",
    [
        "STATUS_PAGE_URL",
        "SLACK_BOT_TOKEN",
        "PAGERDUTY_ROUTING_KEY",
        "PROMETHEUS_URL",
        "ALERTMANAGER_URL",
    ],
)
def test_what_a_secret_says_where_to_post_to_is_reached(helm: Helm, secret: str) -> None:
    found = helm.template(*CIDRS, "--set", f"secret.keys.{secret}=x").of("NetworkPolicy", NAME)
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} in found["spec"]["egress"]


def _policy(folder: Path, remediation: str, params: str) -> tuple[str, str]:
    rule = f"{{name: x, when: a=b, target: {{name: {{label: d}}}}, remediation: {remediation}, params: {params}}}"
    text = f"version: 1\nscope: {{namespaces: [rag7, rag8]}}\nrules:\n  - {rule}\n"
    load_policy({"policy.yaml": text}, CATALOGUE)
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump({"policy": {"files": {"policy.yaml": text}}}), "utf-8")
    return "--values", str(file)


NAMESPACE_LABEL = "kubernetes.io/metadata.name"
INSIDE = {"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "In", "values": ["rag7", "rag8"]}]}


@pytest.mark.parametrize(
    ("remediation", "params", "port", "space"),
    [
        ("database-connections", "{service: postgres}", 5432, INSIDE),
        ("database-connections", "{host: db.data.svc, port: 6432}", 6432, {"matchLabels": {NAMESPACE_LABEL: "data"}}),
        ("database-vacuum", "{host: db.example.org}", 5432, None),
        ("api-rate-limits", "{}", 6379, INSIDE),
        ("api-rate-limits", "{cache_host: cache.example.org, cache_port: 6380}", 6380, None),
        ("rollback", "{service: web, port: 8080}", 8080, INSIDE),
    ],
)  # fmt: skip
def test_what_a_rule_says_where_it_is_is_reached(
    helm: Helm, tmp_path: Path, remediation: str, params: str, port: int, space: Any
) -> None:
    found = helm.template(*_policy(tmp_path, remediation, params)).of("NetworkPolicy", NAME)
    wanted = {"ports": [{"port": port, "protocol": "TCP"}]}
    assert found["spec"]["egress"][3:] == [wanted | ({"to": [{"namespaceSelector": space}]} if space else {})]


@pytest.mark.parametrize(
    ("remediation", "params", "told"),
    [
        ("database-connections", "{}", 'Not reached: the database of rule "x"'),
        ("configuration-backup", "{}", ""),
        (
            "configuration-backup",
            "{endpoint: 'http://minio.store:9000'}",
            'Not reached: the object store of rule "x"',
        ),
        ("high-latency", "{}", ""),
        ("database-connections", "{service: postgres}", ""),
    ],
)
def test_the_notes_list_what_is_not_reached(
    helm: Helm, tmp_path: Path, remediation: str, params: str, told: str
) -> None:
    given = _policy(tmp_path, remediation, params)
    arguments = (str(CHART), "--dry-run=client", "--set", "secret.name=s", *given)
    notes = helm("install", "x", *arguments).stdout.partition("\nNOTES:\n")[2]
    assert notes
    assert (told in notes) if told else ("Not reached" not in notes)
    more = helm("install", "x", *arguments, "--set-json", 'networkPolicy.egress=[{"ports":[{"port":5432}]}]')
    assert "Not reached" not in more.stdout


def test_the_notes_say_what_a_policy_that_the_chart_cannot_read_may_need(helm: Helm) -> None:
    assert "policy in the ConfigMap names are not reached" in helm.notes("upgrade")


def test_only_what_settings_and_rules_name_is_reached(helm: Helm) -> None:
    def ports(rule: Any) -> set[int]:
        return {p["port"] for p in rule.get("ports", ())}

    def egress(way: str) -> Any:
        return helm.template(values=way).of("NetworkPolicy", NAME)["spec"]["egress"]

    assert [ports(r) for r in egress("default")] == [{53}, {5353}, {443, 6443}]
    assert [ports(r) for r in egress("postgres")] == [{53}, {5353}, {443, 6443}, {443}, {5432}]
    every = egress("everything")
    assert [ports(r) for r in every] == [
        {53},
        {5353},
        {6443},
        {443},
        {5432},
        set(),
        {9090},
        {443},
        {443},
        set(),
        {4318},
        {5432},
        {6379},
        {5432},
        {6379},
    ]
    assert every[2]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    spaces = [every[n]["to"][0]["namespaceSelector"]["matchLabels"] for n in (5, 9)]
    assert [s["kubernetes.io/metadata.name"] for s in spaces] == ["monitoring", "tracing"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://prometheus:9090", {"to": [{"podSelector": {}}]}),
        ("http://p.mon.svc.cluster.local:9090/x", "mon"),
        ("http://p.example.org", 80),
        ("https://p.example.org:8443/prom", 8443),
    ],
)
def test_the_way_to_prometheus_follows_its_url(helm: Helm, url: str, rule: Any) -> None:
    found = helm.template("--set", f"settings.PROMETHEUS_URL={url}").of("NetworkPolicy")["spec"]["egress"][-1]
    if isinstance(rule, str):
        rule = {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rule}}}]}
    assert found == ({"ports": [{"port": rule, "protocol": "TCP"}]} if isinstance(rule, int) else rule)


@pytest.mark.parametrize("url", ["https://gitlab.com", "http://gitlab.com:443/x", "https://slack.com/api"])
def test_a_host_of_two_labels_is_reached_as_a_service_and_as_any_host(helm: Helm, url: str) -> None:
    found = helm.template("--set", f"settings.PROMETHEUS_URL={url}").of("NetworkPolicy")["spec"]["egress"][
        -2:
    ]
    inside = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "com"}}}
    assert found == [{"to": [inside]}, {"ports": [{"port": 443, "protocol": "TCP"}]}]


@pytest.mark.parametrize("secret", ["PROMETHEUS_URL", "ALERTMANAGER_URL", "STATUS_PAGE_URL"])
def test_the_notes_say_that_a_url_of_the_secret_is_reached_on_443_alone(helm: Helm, secret: str) -> None:
    given = (str(CHART), "--dry-run=client", "--set", f"secret.name=s,secret.keys.{secret}=x")
    more = ("--values", str(CHART / "ci" / "default-values.yaml"))
    told = f"Reached on port 443 alone: what secret.keys.{secret} names."
    assert told in helm("install", "x", *given, *more).stdout
    opened = ("--set-json", 'networkPolicy.egress=[{"ports":[{"port":9090}]}]')
    assert "Reached on port" not in helm("install", "x", *given, *more, *opened).stdout


PORTS = {n: [{"port": n, "protocol": "UDP"}, {"port": n, "protocol": "TCP"}] for n in (53, 5353)}
NODE_LOCAL = {"ipBlock": {"cidr": "169.254.20.10/32"}}


@pytest.mark.parametrize("policy", [NAME, f"{NAME}-audit"])
def test_names_are_resolved_wherever_the_cluster_has_its_resolvers(helm: Helm, policy: str) -> None:
    """Pods of a DNS Service, OpenShift's on their own port, a cache on the node, and what somebody adds."""

    def names(*arguments: str) -> Any:
        return helm.template(*arguments, values="everything").of("NetworkPolicy", policy)["spec"]["egress"][
            :2
        ]

    openshift = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "openshift-dns"}}}
    of_pods: Obj = {"namespaceSelector": {}}
    assert names() == [
        {"to": [of_pods, NODE_LOCAL], "ports": PORTS[53]},
        {"to": [openshift], "ports": PORTS[5353]},
    ]
    more = names("--set", "networkPolicy.dns.cidrs={169.254.169.254/32,fd00::53/128}")[0]["to"]
    assert [p["ipBlock"]["cidr"] for p in more[1:]] == ["169.254.169.254/32", "fd00::53/128"]
