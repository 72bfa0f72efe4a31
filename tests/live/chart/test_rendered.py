"""What the real helm makes of the chart: each promise of it, for the values of ci/."""

from __future__ import annotations

import re
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.decision import Mode
from app.policy.load import load_policy
from app.policytools.rbac import grants, namespaces_of
from app.settings import SECRETS, load_settings
from remediations import CATALOGUE
from tests.live import build
from tests.live.chart.helm import CHART, CI, NAME, NAMESPACE, Helm
from tests.unit.chart.test_values import with_values

pytestmark = pytest.mark.live
WAYS = [path.name.removesuffix("-values.yaml") for path in CI]


@pytest.mark.parametrize("path", CI, ids=lambda p: p.name)
def test_lint_is_strict(helm: Helm, path: Path) -> None:
    ended = helm("lint", "--strict", str(CHART), "--values", str(path))
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- rights ---


@pytest.mark.parametrize("way", [w for w in WAYS if w != "upgrade"])
def test_the_roles_are_those_that_the_command_prints(helm: Helm, way: str) -> None:
    given = with_values(CHART / "ci" / f"{way}-values.yaml")
    policy = load_policy(given["policy"]["files"], CATALOGUE)
    if given["settings"].get("MODE") == "observe":
        policy = policy.model_copy(update={"mode": Mode.OBSERVE})
    wanted = {n: grants(policy, CATALOGUE, n) for n in namespaces_of(policy, given["rbac"]["namespaces"])}
    found = helm.template(values=way)
    roles = {o["metadata"]["namespace"]: o["rules"] for o in found.all("Role")}
    assert roles == {n: [g.rule() for g in gs] for n, gs in wanted.items()}
    comments = re.findall(r"- \{apiGroups.*\}  # (.*)$", found.text, re.MULTILINE)
    assert comments == [g.comment for n in sorted(wanted) for g in wanted[n]]


def test_rights_that_the_command_printed_are_taken_as_they_are(helm: Helm) -> None:
    given = yaml.safe_load((CHART / "ci" / "upgrade-values.yaml").read_text("utf-8"))["rbac"]["roles"]
    (role,) = helm.template(values="upgrade").all("Role")
    assert role["rules"] == [{k: v for k, v in r.items() if k != "neededBy"} for r in given["rag7"]]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_cluster_wide_and_nothing_a_wildcard(helm: Helm, way: str) -> None:
    found = helm.template(values=way)
    assert not [o["kind"] for o in found.objects if o["kind"].startswith("Cluster")]
    rules = [rule for role in found.all("Role") for rule in role["rules"]]
    assert rules
    assert "*" not in str(rules)
    secrets = [rule for rule in rules if "secrets" in rule["resources"]]
    assert all(rule["resourceNames"] and set(rule["verbs"]) <= {"get", "patch"} for rule in secrets)
    assert {n for rule in secrets if "patch" in rule["verbs"] for n in rule["resourceNames"]} <= {"api-keys"}


def test_who_only_observes_gets_no_write(helm: Helm) -> None:
    rules = [r for role in helm.template(values="minimal-rights").all("Role") for r in role["rules"]]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}


def test_each_role_is_bound_to_the_service_account_alone(helm: Helm) -> None:
    found = helm.template(values="everything")
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    bound = {o["metadata"]["namespace"]: o for o in found.all("RoleBinding")}
    assert set(bound) == {"rag7", "team-a"}
    for binding in bound.values():
        assert binding["subjects"] == [account]
        assert binding["roleRef"]["kind"] == "Role"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "rbac.namespaces={other}"), "rbac.namespaces: the policy does not act in other"),
        (
            ("--set", "policy.files.policy\\.yaml=version: 1\nscope: {namespaces: ['team-*']}"),
            "RBAC knows no patterns",
        ),
        (
            (
                "--set-string",
                "policy.files.policy\\.yaml=version: 1\nscope: {namespaces: [a]}\nrules: [{name: x\\, remediation: nope}]",
            ),
            'rule "x" names the remediation "nope"; there are adjust-hpa, api-rate-limits',
        ),
        (("--set", "policy.files.policy\\.yaml=a: ["), "policy.files.policy.yaml is no YAML"),
        (("--set", "replicas=2"), "at '/replicas': maximum: got 2, want 1"),
        (("--set", "nonsense=2"), "additional properties 'nonsense' not allowed"),
        (
            ("--set", "serviceMonitor.enabled=true,serviceMonitor.render=fail"),
            "the cluster does not know monitoring.coreos.com/v1",
        ),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(
    helm: Helm, arguments: tuple[str, ...], told: str
) -> None:
    assert told in helm.refuses(*arguments)


# --- the pods ---


def test_one_replica_on_sqlite_is_replaced_before_the_next_begins(helm: Helm) -> None:
    found = helm.template()
    assert (found.workload["kind"], found.workload["spec"]["strategy"]) == (
        "Deployment",
        {"type": "Recreate"},
    )
    claim = found.of("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert found.env()["REMEDIATOR_REPLICA"] == NAME  # the same after every restart


def test_replicas_on_postgres_have_stable_names_and_migrate_before_they_start(helm: Helm) -> None:
    found = helm.template(values="postgres")
    spec = found.workload["spec"]
    assert (found.workload["kind"], spec["replicas"], spec["podManagementPolicy"]) == (
        "StatefulSet",
        3,
        "OrderedReady",
    )
    assert found.of("Service", spec["serviceName"])["spec"]["clusterIP"] == "None"
    assert found.env()["REMEDIATOR_REPLICA"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert found.all("PersistentVolumeClaim") == []
    (migrate,) = found.pod["initContainers"]
    assert migrate["args"] == ["db", "upgrade"]
    volumes = {v["name"]: v for v in found.pod["volumes"]}
    assert volumes["migrate"]["secret"]["items"] == [{"key": "migrate-url", "path": "database_url"}]


@pytest.mark.parametrize("way", WAYS)
def test_every_pod_is_restricted_and_can_write_to_nothing_but_its_volumes(helm: Helm, way: str) -> None:
    found = helm.template(values=way)
    for spec in found.pods:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            given = container["securityContext"]
            assert given["readOnlyRootFilesystem"] is True
            assert given["allowPrivilegeEscalation"] is False
            assert given["capabilities"] == {"drop": ["ALL"]}


def test_the_token_is_mounted_by_name_and_runs_out(helm: Helm) -> None:
    found = helm.template()
    (token,) = [v["projected"] for v in found.pod["volumes"] if v["name"] == "token"]
    assert token["sources"][0] == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    assert found.of("ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_made_and_each_is_a_file_unless_asked_otherwise(helm: Helm, way: str) -> None:
    found, given = helm.template(values=way), with_values(CHART / "ci" / f"{way}-values.yaml")
    assert found.all("Secret") == []
    env = found.env()
    for name, key in given["secret"]["keys"].items():
        assert name.lower() in SECRETS
        if given["secret"]["asEnv"]:
            assert env[f"REMEDIATOR_{name}"] == {"secretKeyRef": {"name": "alert-remediator", "key": key}}
        else:
            assert env[f"REMEDIATOR_{name}_FILE"] == f"/secrets/{name.lower()}"
            (volume,) = [v["secret"] for v in found.pod["volumes"] if v["name"] == "secrets"]
            assert {"key": key, "path": name.lower()} in volume["items"]


IMAGE = {"REMEDIATOR_STATE_DIR": "/state", "REMEDIATOR_POLICY_DIR": "/policies", "REMEDIATOR_HOST": "0.0.0.0"}
SECRET = {
    "TOKENS": f"alertmanager:ingest:{'0' * 64}",
    "DATABASE_URL": "postgresql://u@db/remediator",
    "DEPENDENCIES": '{"postgres": "postgres://u@db/app"}',
    "TRACES_HEADERS": "x-key=a%20b",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_container_has_settings_that_its_command_takes(
    helm: Helm, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On top of what the image sets, with a file or a variable for each secret that the manifest names."""
    found = helm.template(values=way)
    loaded = []
    for container in [
        c for spec in found.pods for c in (*spec.get("initContainers", ()), *spec["containers"])
    ]:
        if "command" in container or container["name"] in ("sidecar", "check"):  # the check reads no setting
            continue
        with monkeypatch.context() as patch:
            for name, value in {**IMAGE, **_environment(container, tmp_path)}.items():
                patch.setenv(name, value)
            loaded.append((container["args"][0], load_settings()))
    commands = {command for command, _ in loaded}
    assert commands >= {"serve", "doctor"}
    for command, settings in loaded:
        assert str(settings.state_dir) == "/state"
        assert settings.cluster == ("" if command in ("db", "audit") else "in-cluster")


def _environment(container: Any, folder: Path) -> dict[str, str]:
    given = {}
    for one in container["env"]:
        secret = one["name"].removeprefix("REMEDIATOR_").removesuffix("_FILE")
        if secret.lower() not in SECRETS:
            given[one["name"]] = one.get("value", "x")
            continue
        text = SECRET.get(secret, urlsafe_b64encode(bytes(range(32))).decode())
        file = folder / secret
        file.write_text(text, "utf-8")
        given[one["name"]] = str(file) if one["name"].endswith("_FILE") else text
    return given


def test_the_image_is_named_by_its_digest(helm: Helm) -> None:
    digest = with_values(CHART / "ci" / "everything-values.yaml")["image"]["digest"]
    assert (
        helm.template(values="everything").container["image"]
        == f"registry.example.org/alert-remediator@{digest}"
    )
    assert helm.template().container["image"] == "alert-remediator:0.1.0"


def test_a_changed_policy_restarts_nobody_and_a_changed_setting_does(helm: Helm) -> None:
    def template(*arguments: str) -> Any:
        return helm.template(*arguments).workload["spec"]["template"]

    policy = template("--set", "policy.files.policy\\.yaml=version: 1\nscope: {namespaces: [rag7]}")
    assert policy == template()
    assert template("--set", "settings.RETENTION_DAYS=7") != template()


def test_pods_end_later_than_the_service_needs(helm: Helm) -> None:
    assert helm.template().pod["terminationGracePeriodSeconds"] == 75


# --- network ---


def test_from_outside_only_the_webhooks_are_reached(helm: Helm) -> None:
    found = helm.template(values="everything")
    (rule,) = found.of("Ingress")["spec"]["rules"]
    paths = {(p["path"], p["pathType"]) for p in rule["http"]["paths"]}
    assert paths == {
        ("/webhooks/pagerduty", "Exact"),
        ("/webhooks/pagerduty/orchestration", "Exact"),
        ("/webhooks/slack/interactions", "Exact"),
    }
    matches = found.of("HTTPRoute")["spec"]["rules"][0]["matches"]
    assert {(m["path"]["value"], m["path"]["type"], m["method"]) for m in matches} == {
        (path, kind, "POST") for path, kind in paths
    }


# --- labels, extras, monitoring ---


def test_common_labels_and_annotations_are_everywhere(helm: Helm) -> None:
    for one in helm.template(values="everything").objects:
        if one["metadata"]["name"] == "remediator-extra":
            continue
        assert one["metadata"]["labels"]["team"] == "platform", one["kind"]
        assert one["metadata"]["annotations"]["example.org/owner"] == "platform", one["kind"]
    pods = helm.template(values="everything").workload["spec"]["template"]["metadata"]
    assert pods["labels"] | {"team": "platform", "example.org/l": "x"} == pods["labels"]
    assert pods["annotations"]["example.org/owner"] == "platform"


def test_more_of_everything_is_put_in(helm: Helm) -> None:
    found = helm.template(values="everything")
    assert found.of("ConfigMap", "remediator-extra")["data"] == {"a": "b"}
    assert [c["name"] for c in found.pod["containers"]] == ["remediator", "sidecar"]
    assert found.env()["HTTPS_PROXY"] == "http://proxy.example.org:3128"
    assert {"name": "ca", "mountPath": "/ca", "readOnly": True} in found.container["volumeMounts"]
    assert found.pod["priorityClassName"] == "system-cluster-critical"
    assert len(found.pod["topologySpreadConstraints"]) == 2
    assert found.of("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_no_selector_catches_the_pods_of_tests_and_checks(helm: Helm) -> None:
    found = helm.template(values="everything")
    selector = found.of("Service", NAME)["spec"]["selector"]
    others = [found.of("Pod")["metadata"]["labels"]]
    others += [
        o["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for o in found.all("CronJob")
    ]
    others += [o["spec"]["template"]["metadata"]["labels"] for o in found.all("Job")]
    assert len(others) == 3
    assert not [labels for labels in others if selector.items() <= labels.items()]


def test_both_ip_families_are_served(helm: Helm) -> None:
    found = helm.template(values="everything")
    service = found.of("Service", NAME)["spec"]
    assert (service["ipFamilyPolicy"], service["ipFamilies"]) == ("PreferDualStack", ["IPv6", "IPv4"])
    assert found.env()["REMEDIATOR_HOST"] == "::"


@pytest.mark.parametrize("render", ["skip", "always"])
def test_kinds_that_the_cluster_may_not_know_are_rendered_as_asked(helm: Helm, render: str) -> None:
    wanted = {"ServiceMonitor", "PrometheusRule", "AlertmanagerConfig"}
    keys = ("serviceMonitor", "prometheusRule", "alertmanagerConfig")
    chosen = ",".join(f"{key}.render={render}" for key in keys)
    bare = helm.template("--set", chosen, values="everything")
    assert {o["kind"] for o in bare.objects} & wanted == (wanted if render == "always" else set())
    known = ("--api-versions", "monitoring.coreos.com/v1", "--api-versions", "monitoring.coreos.com/v1alpha1")
    assert {o["kind"] for o in helm.template("--set", chosen, *known, values="everything").objects} >= wanted


def test_the_alerts_are_put_in_with_job_and_runbook(helm: Helm) -> None:
    (group,) = helm.template(values="everything").of("PrometheusRule")["spec"]["groups"]
    rules = {r["alert"]: r for r in group["rules"]}
    assert rules["AlertRemediatorReplicaGone"]["expr"] == f'count(up{{job="{NAME}"}} == 1) < 2'
    assert "[15m]" in rules["AlertRemediatorHearsNothing"]["expr"]
    assert f"{NAME}-audit-.*" in rules["AlertRemediatorAuditBroken"]["expr"]
    without = helm.template("--set", "auditVerify.enabled=false", values="everything").of("PrometheusRule")
    assert "AlertRemediatorAuditBroken" not in str(without)
    for rule in group["rules"]:
        assert rule["labels"]["team"] == "platform"
        assert rule["annotations"]["runbook_url"].endswith(f"docs/alerts.md#{rule['alert'].lower()}")
        assert not re.search(r"\b(JOB|QUIET|REPLICAS|AUDIT|NAMESPACE)\b", str(rule))


def test_the_notes_say_the_rights_in_words_and_what_comes_next(helm: Helm) -> None:
    told = helm.notes("default")
    for words in (
        "patch daemonsets, deployments",
        "in rag7",
        "no Secret by this role",
        "helm test remediator",
    ):
        assert words in told
    assert "settings.ALERTMANAGER_URL is not set" in told
    assert "log in with a token of scope read" in told
    assert "change nothing" in helm.notes("minimal-rights")
    assert "get the Secret langgraph-secrets" in helm.notes("everything")


def test_helm_test_asks_for_readiness_sends_one_alert_and_calls_the_doctor(helm: Helm) -> None:
    pod = helm.template(values="everything").of("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    intake, doctor = pod["spec"]["containers"]
    compile(intake["args"][0], "helm_test", "exec")
    assert [e["name"] for e in intake["env"]] == ["SERVICE_URL", "NAMESPACE", "INGEST_TOKEN"]
    assert doctor["args"] == ["doctor", "--without", "store"]
    assert doctor["volumeMounts"]


def test_the_example_of_alertmanager_is_a_good_configuration(helm: Helm) -> None:
    if build.missing(["alertmanager"]):
        pytest.skip("LIVE STACK MISSING: amtool")
    command = [str(build.binary("amtool")), "check-config", str(CHART / "examples" / "alertmanager.yml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
