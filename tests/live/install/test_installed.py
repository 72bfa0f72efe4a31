"""The real helm against the real API server: install and upgrade wait for the pods, a bad upgrade goes back, uninstall cleans up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.chart.helm import CHART, Helm
from tests.live.stack import ControlPlane

pytestmark = pytest.mark.live
RELEASE = "second"
NAME = f"{RELEASE}-alert-remediator"


class Release:
    """One release, and what the API server has of it."""

    def __init__(self, helm: Helm, plane: ControlPlane) -> None:
        self._helm, self._plane = helm, plane
        self.name = RELEASE
        self.namespace = plane.create_namespace("release")
        self.scope = plane.create_namespace("scope")

    def __call__(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm against this API server."""
        env = {**os.environ, "KUBECONFIG": str(self._plane.kubeconfig())}
        command = [str(self._helm.path), verb, self.name, *arguments, "--namespace", self.namespace]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=150)

    def apply(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Install or upgrade, and wait for the pods."""
        values = str(CHART / "ci" / "postgres-values.yaml")
        policy = f"version: 1\nscope: {{namespaces: [{self.scope}]}}"
        given = ("--values", values, "--set-string", f"policy.files.policy\\.yaml={policy}")
        return self(verb, str(CHART), *given, *arguments, "--wait", "--timeout", "90s")

    def get(self, path: str) -> Any:
        """An object, None when there is none."""
        answer = self._plane.client().get(path)
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    @property
    def workload(self) -> Any:
        """The StatefulSet."""
        return self.get(f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets/{NAME}")


@pytest.fixture
def release(helm: Helm, control_plane: ControlPlane) -> Iterator[Release]:
    """A release that is gone after the test, whatever happened."""
    found = Release(helm, control_plane)
    yield found
    found("uninstall", "--ignore-not-found")


def test_install_upgrade_and_the_way_back(release: Release) -> None:
    installed = release.apply("install", "--set", "replicas=2")
    assert installed.returncode == 0, installed.stderr
    assert "What it may do:" in installed.stdout
    assert release.workload["status"]["readyReplicas"] == 2
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{release.scope}/roles/{NAME}"
    assert release.get(role)["rules"]

    upgraded = release.apply("upgrade", "--set", "image.tag=0.1.1", "--set", "replicas=1")
    assert upgraded.returncode == 0, upgraded.stderr
    assert release.workload["status"]["readyReplicas"] == 1
    (container,) = release.workload["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(":0.1.1")

    # A node that does not exist: the pods cannot start, and what ran before comes back.
    bad = ("--set", "image.tag=0.1.2", "--set", "nodeSelector.nowhere=yes", "--set", "policy.check=false")
    refused = release.apply("upgrade", *bad, "--rollback-on-failure", "--timeout", "15s")
    assert refused.returncode != 0
    (container,) = release.workload["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(":0.1.1")

    gone = release("uninstall", "--wait")
    assert gone.returncode == 0, gone.stderr
    assert release.workload is None
    assert release.get(role) is None
