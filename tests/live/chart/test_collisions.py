"""What a user sets and the chart sets too: refused with a sentence, or merged; never twice in one object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.chart.helm import CI, Helm

pytestmark = pytest.mark.live
WAYS = [path.name.removesuffix("-values.yaml") for path in CI]


class Strict(yaml.SafeLoader):
    """YAML as the API server's strict decoding has it: no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """One mapping. Raises where a key stands in it twice."""
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{sorted(keys)} in line {node.start_mark.line + 1}"
        return super().construct_mapping(node, deep)


def _strict(text: str) -> list[Any]:
    return [one for one in yaml.load_all(text, Loader=Strict) if one]


_LOGIN = (
    "secret.keys.OIDC_CLIENT_SECRET=o,settings.OIDC_ISSUER=https://id.example.org,settings.OIDC_CLIENT_ID=x,"
    'settings.OIDC_GROUPS=\\{"sre":"read"\\},settings.EXTERNAL_URL=https://r.example.org'
)


@pytest.mark.parametrize("name", ["REMEDIATOR_MODE", "REMEDIATOR_PROMETHEUS_URL", "REMEDIATOR_TOKENS_FILE"])
def test_a_setting_is_no_extra_variable(helm: Helm, name: str) -> None:
    told = helm.refuses("--set", f"extraEnv[0].name={name},extraEnv[0].value=x")
    assert f"extraEnv: {name} is a setting of the service: say it as settings." in told


@pytest.mark.parametrize("values", ["commonLabels", "podLabels", "service.labels", "dashboard.labels"])
@pytest.mark.parametrize("label", ["app.kubernetes.io/name", "helm.sh/chart", "app.kubernetes.io/managed-by"])
def test_a_label_of_the_charts_own_is_refused(helm: Helm, values: str, label: str) -> None:
    escaped = label.replace(".", "\\.")
    told = helm.refuses("--set", f"dashboard.enabled=true,{values}.{escaped}=mine")
    assert f"the label {label} is the chart's own: leave it out of commonLabels, podLabels" in told


@pytest.mark.parametrize("way", WAYS)
def test_no_key_stands_in_an_object_twice(helm: Helm, way: str) -> None:
    """Labels and annotations of one object win over those of all."""
    again = (
        *("--set", "commonLabels.team=all,podLabels.team=pods,service.labels.team=service"),
        *("--set", "podAnnotations.kubectl\\.kubernetes\\.io/default-container=sidecar"),
        *(
            "--set",
            "prometheusRule.enabled=true,prometheusRule.render=always,prometheusRule.alertLabels.severity=page",
        ),
        *("--set", "tests.annotations.helm\\.sh/hook=post-install,auditVerify.enabled=true"),
    )
    found = helm.template(*again, values=way)
    assert _strict(found.text)
    pods = found.workload["spec"]["template"]["metadata"]
    assert pods["labels"]["team"] == "pods"
    assert pods["annotations"]["kubectl.kubernetes.io/default-container"] == "remediator"
    assert found.of("Service", found.workload["metadata"]["name"])["metadata"]["labels"]["team"] == "service"
    assert found.of("Pod")["metadata"]["annotations"]["helm.sh/hook"] == "test"


_CONFIG = (
    "alertmanagerConfig.enabled=true,alertmanagerConfig.render=always,alertmanagerConfig.tokenSecret.name=x"
)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "serviceMonitor.interval=5s",
            "serviceMonitor.scrapeTimeout: 10s is longer than serviceMonitor.interval (5s)",
        ),
        ("serviceMonitor.scrapeTimeout=2m", "serviceMonitor.scrapeTimeout: 2m is longer than"),
        (
            f"{_CONFIG},alertmanagerConfig.repeatInterval=4h",
            "repeatInterval: an alert that is repeated after 4h counts as stale after 15m",
        ),
        (f"{_CONFIG},alertmanagerConfig.repeatInterval=15m", "set less than that"),
        ("service.ipFamilies={IPv6},settings.HOST=0.0.0.0", "settings.HOST: 0.0.0.0 takes no IPv6"),
        (
            "extraVolumes[0].name=state",
            "extraVolumes: the volume state is the chart's own, as are policy, tmp, token, state, secrets",
        ),
        ("extraVolumes[0].name=mine,extraVolumes[1].name=token", "extraVolumes: the volume token"),
        (
            "extraContainers[0].name=remediator,extraContainers[0].image=x",
            "extraContainers: the container remediator is the chart's own",
        ),
        (
            "extraVolumeMounts[0].name=x,extraVolumeMounts[0].mountPath=/state",
            "extraVolumeMounts: /state is where the chart mounts",
        ),
        (
            "extraVolumeMounts[0].name=x,extraVolumeMounts[0].mountPath=/tmp/../policies/",
            "extraVolumeMounts: /policies is",
        ),
        ("extraVolumes[0].name=a,extraVolumes[1].name=a", "extraVolumes: the volume a is there twice"),
        (
            "extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/x",
            "extraVolumeMounts: /x mounts the volume a, and extraVolumes has none",
        ),
        (
            (
                "extraVolumes[0].name=a,extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/x,"
                "extraVolumeMounts[1].name=a,extraVolumeMounts[1].mountPath=/x/"
            ),
            "extraVolumeMounts: two are mounted at /x",
        ),
        (
            "extraVolumes[0].name=a,extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/secrets",
            "extraVolumeMounts: /secrets is where the chart mounts",
        ),
        ("extraVolumes[0].name=secrets", "extraVolumes: the volume secrets is the chart's own"),
        (
            "serviceMonitor.interval=1y,serviceMonitor.scrapeTimeout=53w",
            "scrapeTimeout: 53w is longer than",
        ),
        ("service.ipFamilies={IPv6,IPv4}", "service.ipFamilyPolicy: two of service.ipFamilies need"),
        (
            "service.ipFamilies={IPv6,IPv4},service.ipFamilyPolicy=SingleStack",
            "need PreferDualStack or RequireDualStack",
        ),
        (
            "service.ipFamilyPolicy=RequireDualStack,settings.HOST=0.0.0.0",
            "settings.HOST: 0.0.0.0 takes no IPv6",
        ),
        (
            "resources.requests.memory=1Gi",
            "resources.requests.memory: 1Gi is more than resources.limits.memory (512Mi)",
        ),
        (
            "resources.limits.cpu=0.05",
            "resources.requests.cpu: 100m is more than resources.limits.cpu (0.05)",
        ),
        (
            "resources.requests.memory=1e9",
            "resources.requests.memory: 1e9 is more than resources.limits.memory",
        ),
        (
            "resources.requests.cpu=1.,resources.limits.cpu=.5",
            "resources.requests.cpu: 1. is more than resources",
        ),
        ("secret.keys.DATABASE_URL=u", "secret.keys.DATABASE_URL: store.kind is sqlite"),
        ("secret.keys.TOKENS=null", "secret.keys.TOKENS: without tokens"),
        (
            f"secret.keys.TOKENS=null,{_LOGIN}",
            "secret.keys.TOKENS: without tokens",
        ),
        (
            "settings.PROMETHEUS_URL=http://u:geheim@prometheus:9090",
            "name the key of the Secret that has the URL in secret.keys.PROMETHEUS_URL",
        ),
        (
            "settings.PROMETHEUS_URL=http://prometheus:9090,secret.keys.PROMETHEUS_URL=x",
            "settings.PROMETHEUS_URL: secret.keys.PROMETHEUS_URL gives it too",
        ),
    ],
    ids=lambda v: v[:50],
)
def test_what_cannot_work_together_is_refused_with_its_key(helm: Helm, given: str, told: str) -> None:
    refused = helm.refuses("--set", given)
    assert told in refused
    assert "geheim" not in refused


@pytest.mark.parametrize(
    "given",
    [
        "resources.limits.cpu=1,resources.requests.cpu=1000m",
        "resources.limits.memory=1G,resources.requests.memory=953Mi",
        "resources.requests.memory=1e3",
        "resources.limits.cpu=1.,resources.requests.cpu=.5",
        "resources.limits.memory=1Pi,resources.requests.memory=1T",
        "secret.asEnv=true,extraVolumes[0].name=secrets,extraVolumeMounts[0].name=secrets,extraVolumeMounts[0].mountPath=/secrets",
        "extraVolumes[0].name=migrate,extraVolumeMounts[0].name=migrate,extraVolumeMounts[0].mountPath=/migrate",
        (
            "extraVolumes[0].name=mine,extraContainers[0].name=c,extraContainers[0].image=i,extraContainers[0].volumeMounts[0].name=mine,"
            "extraContainers[0].volumeMounts[0].mountPath=/x"
        ),
        (
            "extraContainers[0].name=c,extraContainers[0].image=i,extraContainers[0].volumeMounts[0].name=policy,"
            "extraContainers[0].volumeMounts[0].mountPath=/policies"
        ),
        "podDisruptionBudget.maxUnavailable=2",
        _LOGIN,
    ],
    ids=lambda v: v[:50],
)
def test_what_works_together_is_taken(helm: Helm, given: str) -> None:
    assert helm.template("--set", given).text


POLICY = """version: 1
scope: {namespaces: [rag7]}
rules:
  - name: slow
    when: alertname="HighLatency"
    target: {name: {label: deployment}}
    remediation: high-latency
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[rag7]", "rag7", "policy.files.policy.yaml: scope.namespaces: expected a list, got rag7"),
        ("[rag7]", "[7]", "policy.files.policy.yaml: scope.namespaces: expected names, got 7"),
        ("[rag7]", "[Rag_7]", 'scope.namespaces: no namespace can be named "Rag_7"'),
        ("[rag7]", "['Rag-*']", 'scope.namespaces: no namespace can be named "Rag-*"'),
        ("[rag7]", f"[{'a' * 64}]", "scope.namespaces: no namespace can be named"),
        ("[rag7]", "[rag7, '']", 'scope.namespaces: no namespace can be named ""'),
        ("[rag7]}", "[rag7], exclude_namespaces: [a.b]}", 'scope.exclude_namespaces: no namespace can be named "a.b"'),
        ("{namespaces: [rag7]}", "rag7", "policy.files.policy.yaml: scope: expected keys with values"),
        ("{name: {label: deployment}}", "web", 'policy.yaml: rule "slow": target: expected keys with values, got web'),
        ("{label: deployment}", "web", 'policy.yaml: rule "slow": target.name: expected {label: ...}'),
        ("high-latency\n", "high-latency\n    params: [a]\n", 'rule "slow": params: expected keys with values'),
        ("high-latency\n", "high-latency\n    freshness: 900\n", 'rule "slow": freshness: expected a duration'),
        (POLICY[POLICY.index("rules:") :], "rules: {}\n", "policy.files.policy.yaml: rules: expected a list of rules"),
        ("rules:", "freshness: 900\nrules:", "policy.files.policy.yaml: freshness: expected a duration such as"),
        ("high-latency\n", "high-latency\n---\nversion: 1\n", "policy.files.policy.yaml: there is a second document"),
        (POLICY, "- version: 1\n", "policy.files.policy.yaml: expected keys with values, such as version and rules"),
        (POLICY, "just text\n", "policy.files.policy.yaml: expected keys with values, such as version and rules"),
        (POLICY, "# nothing\n", 'policy.files.policy.yaml: the key "version" is missing'),
        ("version: 1\n", "", 'policy.files.policy.yaml: the key "version" is missing'),
        ("version: 1\n", "version: '1'\n", 'policy.files.policy.yaml: version: expected 1, got "1"'),
        ("version: 1\n", "version: 2\n", "policy.files.policy.yaml: version: expected 1, got 2"),
        ("version: 1\n", "version: 1\nkind: Policy\n", 'policy.files.policy.yaml: there is no key "kind"; there are approval, b'),
        ("version: 1\n", "version: 1\nmode: off\n", "mode: expected one of observe, approve, auto, got false"),
        ("version: 1\n", "version: 1\nmode: earned\n", 'mode: expected one of observe, approve, auto, got "earned"'),
        ("high-latency\n", "high-latency\n    mode: on\n", 'rule "slow": mode: expected one of observe, approve, auto, earned'),
        ("high-latency\n", "high-latency\n    colour: red\n", 'rule "slow": there is no key "colour"'),
        ("  - name: slow\n    when", "  - when", 'rule "1": the key "name" is missing'),
        ("high-latency\n", "high-latency\n    freshness: 1w\n", 'rule "slow": freshness: expected a duration'),
    ],
    ids=lambda v: v[:40].strip(),
)  # fmt: skip
def test_a_fault_of_the_policy_is_told_with_its_place_and_no_trace_of_templates(
    helm: Helm, tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in POLICY
    refused = _refused(helm, tmp_path, {"policy.yaml": POLICY.replace(old, new)})
    assert told in refused
    assert "error calling" not in refused


@pytest.mark.parametrize("text", [f"---\n{POLICY}", f"# ours\n---\n{POLICY}"])
def test_one_document_behind_its_mark_is_one(helm: Helm, tmp_path: Path, text: str) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(yaml.safe_dump({"policy": {"files": {"policy.yaml": text}}}), "utf-8")
    assert helm.template("--values", str(path)).all("Role")


def test_patterns_of_namespaces_are_no_names(helm: Helm, tmp_path: Path) -> None:
    scope = "[rag7, 'team-*', '*', 'a?', '[!a]b', 'x[0-9]'], exclude_namespaces: ['*-dev']"
    path = tmp_path / "v.yaml"
    text = POLICY.replace("[rag7]", scope)
    path.write_text(yaml.safe_dump({"policy": {"files": {"policy.yaml": text}}}), "utf-8")
    assert helm.template("--values", str(path)).all("Role")


def test_a_file_of_the_policy_whose_name_nobody_reads_is_refused_with_it(helm: Helm, tmp_path: Path) -> None:
    for name in ("a/b.yaml", "policy", "policy.yaml.bak", "..a.yaml", f"{'a' * 250}.yaml"):
        assert f'policy.files: "{name}" is no name of a file that is read' in _refused(
            helm, tmp_path, {name: POLICY}
        )


def test_a_policy_that_no_configmap_can_hold_is_refused(helm: Helm, tmp_path: Path) -> None:
    files = {f"{n}.yaml": f"version: 1\n# {'x' * 400_000}\n" for n in range(3)}
    told = _refused(helm, tmp_path, {"policy.yaml": POLICY, **files})
    assert "bytes are more than a ConfigMap may have (1048576)" in told


def _refused(helm: Helm, folder: Path, files: dict[str, str]) -> str:
    """Why a chart with these files of the policy does not render."""
    path = folder / "v.yaml"
    path.write_text(yaml.safe_dump({"policy": {"files": files}}), "utf-8")
    return helm.refuses("--values", str(path))


def test_a_rule_of_a_shorter_freshness_counts(helm: Helm) -> None:
    rules = "rules: [{name: x, when: 'a=\"b\"', remediation: high-latency, freshness: 4m}]"
    policy = f"version: 1\nscope: {{namespaces: [rag7]}}\n{rules}".replace(",", "\\,")
    given = ("--set", _CONFIG, "--set-string", f"policy.files.policy\\.yaml={policy}")
    assert "repeated after 5m counts as stale after 4m" in helm.refuses(*given)
    assert helm.template("--set", f"{_CONFIG},alertmanagerConfig.repeatInterval=3m", *given[2:]).text


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("service.ipFamilies={IPv6}", "::"),
        ("service.ipFamilies={IPv4,IPv6},service.ipFamilyPolicy=PreferDualStack", "::"),
        ("service.ipFamilyPolicy=RequireDualStack", "::"),
        ("service.ipFamilyPolicy=PreferDualStack", "::"),
        ("replicas=1", "0.0.0.0"),
    ],
)
def test_it_listens_where_its_service_sends(helm: Helm, given: str, host: str) -> None:
    assert helm.template("--set", given).env()["REMEDIATOR_HOST"] == host


def test_what_is_mounted_beside_the_charts_own_is_taken(helm: Helm) -> None:
    given = "extraVolumes[0].name=ca,extraVolumes[0].emptyDir.sizeLimit=1Mi,extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/etc/ca"
    assert "/etc/ca" in helm.template("--set", given).text
