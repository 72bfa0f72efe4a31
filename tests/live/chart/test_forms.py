"""The tables of forms on a real API server: what they call taken is taken, and what they call refused is refused without the chart's checks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.live.chart.helm import CHART, Helm
from tests.live.chart.test_on_the_cluster import ONE_FAMILY, plane, refused_objects
from tests.live.stack import ControlPlane
from tests.unit.chart import test_kinds
from tests.unit.chart.forms import NEVER, REFUSED, TAKEN, TOGETHER

pytestmark = pytest.mark.live
__all__ = ["plane"]
ELSEWHERE = (
    *(
        "fullnameOverride",
        "image__",
        "store__",
        "settings__",
        "rbac__namespaces",
        "auditVerify__deadlineSeconds",
    ),
    *("httpRoute__", "prometheusRule__", "serviceMonitor__", "alertmanagerConfig__", "extraVolume"),
)
"""Values that the API server does not judge: the kubelet does, an operator, the service or the chart; and volumes, which need each other."""
SENT = [case for case in test_kinds.REFUSED if not case[0].startswith(ELSEWHERE)]


def _said(case: tuple[Any, ...]) -> str:
    return f"{case[0]}={json.dumps(case[1])}"[:110]


def _values(folder: Path, case: tuple[Any, ...]) -> tuple[str, ...]:
    given = case[1]
    for word in reversed(case[0].split("__")):
        given = {word: given}
    file = folder / "values.txt"
    file.write_text(json.dumps(given), "utf-8")
    return (*ONE_FAMILY, "--values", str(file))


@pytest.fixture(scope="module")
def unchecked(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The chart without its schema and without what compares values."""
    chart = tmp_path_factory.mktemp("unchecked") / CHART.name
    shutil.copytree(CHART, chart)
    (chart / "values.schema.json").unlink()
    checks = chart / "templates" / "_cluster.tpl"
    named = re.findall('define ("[^"]+")', checks.read_text("utf-8"))
    checks.write_text("\n".join(f"{{{{- define {name} }}}}{{{{ end }}}}" for name in named), "utf-8")
    return Helm(helm.path, chart)


@pytest.mark.parametrize("case", [*SENT, *REFUSED, *TOGETHER], ids=_said)
def test_what_is_refused_the_api_server_would_refuse(
    unchecked: Helm, plane: ControlPlane, tmp_path: Path, case: tuple[Any, ...]
) -> None:
    assert refused_objects(plane, unchecked.template(*_values(tmp_path, case), values="everything"))


@pytest.mark.parametrize("case", [*TAKEN, *NEVER], ids=_said)
def test_what_is_taken_the_api_server_takes(
    unchecked: Helm, plane: ControlPlane, tmp_path: Path, case: tuple[Any, ...]
) -> None:
    assert refused_objects(plane, unchecked.template(*_values(tmp_path, case), values="everything")) == []


@pytest.mark.parametrize("case", TAKEN, ids=_said)
def test_what_is_taken_is_rendered(helm: Helm, tmp_path: Path, case: tuple[Any, ...]) -> None:
    assert helm.template(*_values(tmp_path, case), values="everything").objects


@pytest.mark.parametrize("case", TOGETHER, ids=_said)
def test_what_has_to_be_compared_is_refused_with_its_key(
    helm: Helm, tmp_path: Path, case: tuple[str, Any, str]
) -> None:
    assert case[2] in helm.refuses(*_values(tmp_path, case), values="everything")
