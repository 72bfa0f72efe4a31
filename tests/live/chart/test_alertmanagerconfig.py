"""AlertmanagerConfig: the Prometheus Operator sends each the alerts of its own namespace alone, so there is one in each."""

from __future__ import annotations

import pytest

from tests.live.chart.helm import NAME, NAMESPACE, Helm

pytestmark = pytest.mark.live
ON = (
    "--set",
    "alertmanagerConfig.enabled=true,alertmanagerConfig.render=always,alertmanagerConfig.tokenSecret.name=t",
)


def test_the_alerts_of_every_namespace_of_the_policy_are_sent(helm: Helm) -> None:
    found = helm.template(values="everything")
    made = {o["metadata"]["namespace"]: o["spec"] for o in found.all("AlertmanagerConfig")}
    assert set(made) == {o["metadata"]["namespace"] for o in found.all("Role")} == {"rag7", "team-a"}
    for namespace, spec in made.items():
        assert spec["route"]["matchers"] == [
            {"name": "namespace", "matchType": "=", "value": namespace},
            {"name": "severity", "matchType": "=~", "value": "critical|warning"},
        ]
        (hook,) = spec["receivers"][0]["webhookConfigs"]
        assert hook["url"] == f"http://{NAME}.{NAMESPACE}.svc:8080/webhooks/alertmanager"
    printed = helm.template(*ON, values="upgrade").of("AlertmanagerConfig")
    assert printed["metadata"]["namespace"] == "rag7"


def test_one_that_sees_all_alerts_is_made_where_it_is_named(helm: Helm) -> None:
    made = helm.template(*ON, "--set", "alertmanagerConfig.namespaces={monitoring}").of("AlertmanagerConfig")
    assert made["metadata"]["namespace"] == "monitoring"
    assert "matchers" not in made["spec"]["route"]


def test_a_policy_that_the_chart_cannot_read_has_its_namespaces_named(helm: Helm) -> None:
    unread = ("--set", "rbac.create=false,rbac.roles=null,policy.existingConfigMap=p")
    assert "alertmanagerConfig.namespaces: the chart cannot read" in helm.refuses(
        *ON, *unread, values="upgrade"
    )


def test_the_notes_say_where_the_token_has_to_be(helm: Helm) -> None:
    told = " ".join(helm.notes("everything").split())
    assert (
        "AlertmanagerConfig is made in rag7, team-a. The operator reads the Secret alert-remediator-token"
        in told
    )
    assert "the alerts of its own namespace alone" in told
    assert "AlertmanagerConfig" not in helm.notes("default")
