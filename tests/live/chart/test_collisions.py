"""What a user sets and the chart sets too: refused with a sentence, or merged; never twice in one object."""

from __future__ import annotations

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
