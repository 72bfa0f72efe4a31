"""Names and values that look like numbers, dates or booleans stay texts, and names that a Service may not have are made to fit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.chart.helm import CHART, Helm
from tests.live.chart.test_rendered import WAYS
from tests.unit.chart.test_values import merged

pytestmark = pytest.mark.live
SERVICE = re.compile("[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


class Loose(yaml.SafeLoader):
    """YAML 1.1, and the numbers that only the API server's decoder takes for such."""


Loose.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile("[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
Loose.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("0o[0-7]+$"), ["0"])
Loose.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))


def _types(found: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where in a tree which type stands. Keys are part of the path, with their type."""
    if isinstance(found, dict):
        for key, value in found.items():
            assert isinstance(key, str), f"{path}: the key {key!r} is no text"
            yield from _types(value, f"{path}.{key}")
    elif isinstance(found, list):
        for at, value in enumerate(found):
            yield from _types(value, f"{path}[{at}]")
    else:
        yield path, type(found).__name__


def _rendered(helm: Helm, way: str, release: str, namespace: str, *more: str) -> dict[tuple[str, str], Any]:
    """The objects by kind and what their name has behind the full one."""
    values = ("--values", str(CHART / "ci" / f"{way}-values.yaml"))
    ended = helm("template", release, str(CHART), "--namespace", namespace, *values, *more)
    assert ended.returncode == 0, ended.stderr
    loaded = [o for o in yaml.load_all(ended.stdout, Loader=Loose) if o]
    return {(o["kind"], str(number)): o for number, o in enumerate(loaded)}


NAMES = ["1234", "true", "yes", "on", "n", "null", "1e3", "0x10", "0o17", "017", "1.5", "2026-01-01", "a.b.c"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_text_wherever_it_stands(helm: Helm, way: str, name: str) -> None:
    namespace = name.replace(".", "-")
    usual, odd = _rendered(helm, way, "remediator", "ops"), _rendered(helm, way, name, namespace)
    assert {k: dict(_types(o)) for k, o in odd.items()} == {k: dict(_types(o)) for k, o in usual.items()}
    for (kind, _), one in odd.items():
        if kind == "Service":
            assert SERVICE.fullmatch(one["metadata"]["name"])
        if kind in ("Deployment", "StatefulSet"):
            assert one["metadata"]["namespace"] == namespace
            assert one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name


LABELS = {"example.org/odd": "ODD"}
ODD = {
    "nameOverride": "ODD",
    "commonLabels": LABELS,
    "commonAnnotations": LABELS,
    "podLabels": LABELS,
    "podAnnotations": LABELS,
    "annotations": LABELS,
    "nodeSelector": LABELS,
    "tolerations": [{"key": "ODD", "operator": "Equal", "value": "ODD"}],
    "priorityClassName": "ODD",
    "image": {"repository": "ODD", "tag": "ODD", "digest": "", "pullSecrets": ["ODD"]},
    "secret": {"name": "ODD", "asEnv": False, "keys": {"TOKENS": "ODD"}},
    "service": {"labels": LABELS, "annotations": LABELS},
    "serviceAccount": {"name": "ODD", "annotations": LABELS},
    "ingress": {"className": "ODD", "host": "ODD", "labels": LABELS, "tls": [{"hosts": ["ODD"], "secretName": "ODD"}]},
    "settings": {"SLACK_CHANNEL": "ODD", "PROMETHEUS_URL": "http://p.ODD.svc"},
    "extraEnv": [{"name": "ODD", "value": "ODD"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ODD"}}],
    "tests": {"tokenSecret": {"name": "ODD", "key": "ODD"}},
    "alertmanagerConfig": {"namespaces": ["ODD"], "tokenSecret": {"name": "ODD", "key": "ODD"}},
    "prometheusRule": {"labels": LABELS, "alertLabels": {"odd": "ODD"}},
}  # fmt: skip


SQLITE = {"store": {"existingClaim": "ODD", "storageClass": "ODD"}, "auditVerify": {"enabled": True}}
POSTGRES = {"secret": {"keys": {"DATABASE_URL": "ODD"}}}


@pytest.mark.parametrize("text", [n for n in NAMES if "." not in n])
@pytest.mark.parametrize(
    ("way", "more", "least"),
    [("everything", POSTGRES, 100), ("default", SQLITE, 50)],
    ids=["postgres", "sqlite"],
)
def test_a_value_is_a_text_wherever_it_stands(
    helm: Helm, tmp_path: Path, text: str, way: str, more: dict[str, Any], least: int
) -> None:
    def rendered(word: str) -> dict[tuple[str, str], Any]:
        file = tmp_path / f"{word}.txt"
        file.write_text(json.dumps(merged(ODD, more)).replace("ODD", word), "utf-8")
        return _rendered(helm, way, "remediator", "ops", "--values", str(file))

    usual, odd = rendered("usual"), rendered(text)
    assert sum(str(o).count("'usual'") for o in usual.values()) > least
    assert {k: dict(_types(o)) for k, o in odd.items()} == {k: dict(_types(o)) for k, o in usual.items()}


@pytest.mark.parametrize(
    ("release", "more", "name"),
    [
        ("1234", "", "alert-remediator-1234"),
        ("a.b", "", "a-b-alert-remediator"),
        ("eu.alert-remediator.1", "", "eu-alert-remediator-1"),
        ("remediator", "", "remediator-alert-remediator"),
        ("x" * 53, "", "x" * 50),
        (f"{'x' * 48}.-y"[:53].replace(".-", "--"), "", "x" * 48),
        ("1234", "fullnameOverride=mine", "mine"),
    ],
)
def test_the_full_name_is_one_that_a_service_may_have(helm: Helm, release: str, more: str, name: str) -> None:
    given = ("--set-string", more) if more else ()
    found = _rendered(helm, "postgres", release, "ops", *given)
    assert {o["metadata"]["name"] for (kind, _), o in found.items() if kind == "StatefulSet"} == {name}


def test_a_name_that_no_service_may_have_is_refused_with_what_to_set(helm: Helm) -> None:
    path = str(CHART / "ci" / "default-values.yaml")
    ended = helm("template", "1234", str(CHART), "--values", path, "--set-string", "nameOverride=56")
    assert ended.returncode != 0
    assert (
        "fullnameOverride: the name 56-1234 would be a Service's too, which begins with a letter"
        in ended.stderr
    )


def test_a_large_number_is_written_as_one(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    large = {"podDisruptionBudget": {"maxUnavailable": 2000000}, "terminationGracePeriodSeconds": 1000000}
    file.write_text(yaml.safe_dump({**large, "auditVerify": {"deadlineSeconds": 3000000}}), "utf-8")
    found = helm.template("--values", str(file), values="everything")
    assert found.of("PodDisruptionBudget")["spec"]["maxUnavailable"] == 2000000
    assert found.pod["terminationGracePeriodSeconds"] == 1000000
    assert found.of("CronJob")["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 3000000
    assert not re.search(r"[0-9]e[+]", found.text.split("alert-remediator.json")[0])
