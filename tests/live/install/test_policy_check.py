"""A policy that the service would refuse ends an installation or upgrade before anything has changed, and never a restart."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.chart.helm import NAME, Helm
from tests.live.chart.test_rendered import WAYS
from tests.live.install.test_installed import Release, release

__all__ = ["release"]
pytestmark = pytest.mark.live
CHECK = f"{NAME}-policy-check"
HOOK = "helm.sh/hook"


def _checked(helm: Helm, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the hook's container does with the files of the hook's ConfigMap."""
    found = helm.template(*arguments)
    (container,) = found.of("Job")["spec"]["template"]["spec"]["containers"]
    for name, text in found.of("ConfigMap", CHECK)["data"].items():
        (folder / name).write_text(text, "utf-8")
    given = {e["name"]: e["value"].replace("/policies", str(folder)) for e in container["env"]}
    command = [Path(sys.executable).with_name("remediator"), *container["args"]]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=240)


def _values(folder: Path, text: str) -> tuple[str, str]:
    file = folder / f"{zlib.crc32(text.encode())}.txt"
    file.write_text(yaml.safe_dump({"policy": {"files": {"policy.yaml": text}}}), "utf-8")
    return "--values", str(file)


RULE = "{name: x, when: a=b, target: {name: {label: d}}, remediation: high-latency"
POLICY = f"version: 1\nscope: {{namespaces: [rag7]}}\nrules:\n  - {RULE}}}\n"


def test_the_hook_tells_a_good_policy_from_one_that_the_templates_cannot_judge(
    helm: Helm, tmp_path: Path
) -> None:
    good = _checked(helm, tmp_path, *_values(tmp_path, POLICY))
    assert (good.returncode, "ok: 1 rules" in good.stdout) == (0, True), good.stderr
    faulty = _checked(
        helm, tmp_path, *_values(tmp_path, POLICY.replace(RULE, f"{RULE}, params: {{scale: 3}}"))
    )
    assert faulty.returncode == 1
    assert "policy.yaml:4" in faulty.stdout + faulty.stderr


@pytest.mark.parametrize("way", WAYS)
def test_it_is_a_hook_of_installation_and_upgrade_with_the_new_policy_and_image(helm: Helm, way: str) -> None:
    """Not of a rollback, which has to work always; and no pod of the service waits for it."""
    found = helm.template(values=way)
    job, own = found.of("Job"), found.all("ConfigMap")
    hooks = [job, *(c for c in own if c["metadata"]["name"].endswith("-policy-check"))]
    for one in hooks:
        annotations = one["metadata"]["annotations"]
        assert annotations[HOOK] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert job["metadata"]["annotations"]["helm.sh/hook-output-log-policy"] == "hook-failed"
    spec = job["spec"]["template"]["spec"]
    (container,), (volume,) = spec["containers"], spec["volumes"]
    assert (container["image"], container["args"]) == (found.container["image"], ["policy", "check"])
    named = {"name": "remediator-policy", "optional": True} if way == "upgrade" else {"name": CHECK}
    assert volume == {"name": "policy", "configMap": named}
    if way != "upgrade":
        texts = {c["metadata"]["name"]: c["data"] for c in own if "policy" in c["metadata"]["name"]}
        assert texts[CHECK] == texts[f"{NAME}-policy"]
        weights = [int(h["metadata"]["annotations"]["helm.sh/hook-weight"]) for h in hooks]
        assert weights == sorted(weights, reverse=True)
        assert len(set(weights)) == 2
    assert [c["name"] for c in found.pod.get("initContainers", ())] in ([], ["migrate"])


def test_it_gets_no_secret_no_token_and_no_account_that_is_not_there_yet(helm: Helm) -> None:
    spec = helm.template(values="everything").of("Job")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert [e["name"] for e in container["env"]] == ["REMEDIATOR_POLICY_DIR"]
    theirs = ("--set", "serviceAccount.create=false,serviceAccount.name=theirs")
    job = helm.template(*theirs).of("Job")
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"


def test_it_can_be_switched_off(helm: Helm) -> None:
    found = helm.template("--set", "policy.check=false")
    assert found.all("Job") == []
    assert [c["metadata"]["name"] for c in found.all("ConfigMap")] == [f"{NAME}-policy"]


def test_a_check_that_fails_ends_the_upgrade_before_anything_has_changed(release: Release) -> None:
    installed = release.apply("install", "--set", "replicas=1")
    assert installed.returncode == 0, installed.stderr
    jobs = f"/apis/batch/v1/namespaces/{release.namespace}/jobs"
    assert release.get(jobs)["items"] == []
    before = _state(release)
    fails = ("--set", "commonAnnotations.kwok\\.test/fault=fail", "--set", "image.tag=0.1.3")
    refused = release.apply("upgrade", *fails)
    assert refused.returncode != 0
    assert "pre-upgrade" in refused.stderr
    assert _state(release) == before
    (left,) = release.get(jobs)["items"]
    assert left["status"]["failed"] == 1
    again = release.apply("upgrade", "--set", "image.tag=0.1.4")
    assert again.returncode == 0, again.stderr
    assert release.get(jobs)["items"] == []


def _state(release: Release) -> tuple[Any, Any]:
    """What runs, and its policy."""
    maps = release.get(f"/api/v1/namespaces/{release.namespace}/configmaps")["items"]
    policies = {m["metadata"]["name"]: m["data"] for m in maps if m["metadata"]["name"].endswith("-policy")}
    return release.workload["spec"], policies
