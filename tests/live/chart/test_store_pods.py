"""The pods that read or migrate the store beside the service: where they run, what they are given, and what they are not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.live.chart.helm import CHART, NAME, Helm
from tests.unit.chart.test_values import with_values

pytestmark = pytest.mark.live
PLACE = ("imagePullSecrets", "tolerations", "nodeSelector", "priorityClassName")
CA = {"name": "ca", "mountPath": "/ca", "readOnly": True}


def _audit(helm: Helm, *arguments: str, values: str = "everything") -> Any:
    found = helm.template("--set", "auditVerify.enabled=true", *arguments, values=values).of("CronJob")
    return found["spec"]["jobTemplate"]["spec"]


def _secrets(container: Any, volumes: Any) -> set[str]:
    """Keys of the Secret that a container gets."""
    refs = [e["valueFrom"]["secretKeyRef"]["key"] for e in container["env"] if "valueFrom" in e]
    mounted = {m["name"] for m in container["volumeMounts"]}
    files = [v["secret"]["items"] for v in volumes if "secret" in v and v["name"] in mounted]
    return {*refs, *(item["key"] for items in files for item in items)}


def test_the_audit_and_the_test_run_where_the_service_runs(helm: Helm) -> None:
    found = helm.template(values="everything")
    given = with_values(CHART / "ci" / "everything-values.yaml")
    audit = _audit(helm)["template"]["spec"]
    for key in PLACE:
        assert found.pod[key] == audit[key] == found.of("Pod")["spec"][key], key
    assert audit["affinity"] == found.pod["affinity"] == given["affinity"]
    on_a_volume = _audit(helm, values="default")["template"]["spec"]["affinity"]
    (near,) = on_a_volume["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    service = helm.template().workload["spec"]["selector"]["matchLabels"]
    assert near["labelSelector"]["matchLabels"] == service


@pytest.mark.parametrize("as_env", ["true", "false"])
def test_the_audit_gets_what_it_reads_and_neither_other_secrets_nor_a_token(helm: Helm, as_env: str) -> None:
    spec = _audit(helm, "--set", f"secret.asEnv={as_env}")["template"]["spec"]
    (container,) = spec["containers"]
    assert _secrets(container, spec["volumes"]) == {"url", "audit-key"}
    assert spec["automountServiceAccountToken"] is False
    assert not [v for v in spec["volumes"] if "projected" in v]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"} in container["env"]
    assert CA in container["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "ca"}} in spec["volumes"]


def test_an_audit_that_hangs_makes_way_for_the_next(helm: Helm) -> None:
    assert _audit(helm)["activeDeadlineSeconds"] == 3600
    assert _audit(helm, "--set", "auditVerify.deadlineSeconds=90")["activeDeadlineSeconds"] == 90


def test_somebody_hears_of_a_trail_that_nobody_verified_for_two_days(helm: Helm) -> None:
    (group,) = helm.template(values="everything").of("PrometheusRule")["spec"]["groups"]
    (rule,) = [r for r in group["rules"] if r["alert"] == "AlertRemediatorAuditOverdue"]
    assert rule["expr"].endswith("> 172800")
    assert rule["expr"].count(f'cronjob="{NAME}-audit"') == 2
    (missing,) = [r for r in group["rules"] if r["alert"] == "AlertRemediatorAuditMissing"]
    assert f'cronjob="{NAME}-audit"' in missing["expr"]
    without = helm.template("--set", "auditVerify.enabled=false", values="everything").of("PrometheusRule")
    assert "AuditOverdue" not in str(without)
    assert "AuditMissing" not in str(without)


def test_the_audit_talks_to_the_store_alone(helm: Helm) -> None:
    def egress(values: str) -> Any:
        found = helm.template("--set", "auditVerify.enabled=true", values=values)
        return found.of("NetworkPolicy", f"{NAME}-audit")["spec"].get("egress", [])

    assert egress("default") == []
    assert [{p["port"] for p in rule["ports"]} for rule in egress("everything")] == [
        {53},
        {5353},
        {5432},
        {6379},
    ]


@pytest.mark.parametrize("as_env", ["true", "false"])
def test_the_migration_reaches_a_postgres_behind_a_ca_of_its_own(helm: Helm, as_env: str) -> None:
    found = helm.template("--set", f"secret.asEnv={as_env},store.migrateKey=migrate-url", values="everything")
    (migrate,) = found.pod["initContainers"]
    assert CA in migrate["volumeMounts"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"} in migrate["env"]
    assert _secrets(migrate, found.pod["volumes"]) == {"migrate-url"}


def test_the_audit_has_a_name_that_a_cronjob_may_have_however_long_the_releases_is(helm: Helm) -> None:
    def named(full: str) -> str:
        rendered = helm.template("--set", f"fullnameOverride={full}", values="everything")
        name: str = rendered.of("CronJob")["metadata"]["name"]
        assert f"{name}" in yaml.safe_dump(rendered.of("PrometheusRule"), width=10_000)
        assert rendered.of("NetworkPolicy", name)
        return name

    assert named("d" * 46) == f"{'d' * 46}-audit"
    long = [named(f"{'c' * 47}{last}") for last in "xy"]
    assert [len(name) for name in long] == [52, 52]
    assert len(set(long)) == 2
