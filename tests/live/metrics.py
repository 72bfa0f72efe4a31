"""Owns the metrics API (metrics.k8s.io): the real metrics-server, fed by kwok with what pods claim to use.

A pod uses what its annotations say, per container: kwok.x-k8s.io/usage-cpu (default "1m") and
kwok.x-k8s.io/usage-memory (default "1Mi"). metrics-server looks every 10 s, and CPU needs two looks.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.live.build import binary
from tests.live.controlplane import ControlPlane
from tests.live.process import Process, free_ports, wait_until

_GROUP = "metrics.k8s.io"
_NAME = "metrics-server"


class MetricsServer:
    """A metrics-server for one control plane, registered there as the API's provider."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._port = free_ports(1)[0]
        self._certificates = Path(tempfile.mkdtemp(prefix="live-metrics-"))
        kubeconfig = plane.kubeconfig(_NAME)
        self.process = Process(
            [
                binary(_NAME),
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--cert-dir={self._certificates}",
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                "--authentication-skip-lookup=true",
                "--kubelet-insecure-tls",
                "--kubelet-use-node-status-port",
                "--kubelet-preferred-address-types=InternalIP",
                # The least that it takes.
                "--metric-resolution=10s",
                "--kubelet-request-timeout=5s",
            ],
            plane.folder / f"{_NAME}.log",
        )

    def start(self) -> Self:
        """Starts the server and registers it; returns when the API answers, which is before it has numbers."""
        self._allow_proxy()
        self._register()
        self.process.start()
        try:
            wait_until(self._answers, 60.0, what="the metrics API")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server and takes the API away."""
        client = self._plane.client()
        client.delete(f"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.{_GROUP}")
        client.delete(f"/api/v1/namespaces/kube-system/services/{_NAME}")
        self.process.stop()
        shutil.rmtree(self._certificates, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _allow_proxy(self) -> None:
        # The API server has authorized the caller by then, but has no client certificate by which to vouch
        # for the name, so metrics-server sees nobody in particular.
        discovery = ["/apis", f"/apis/{_GROUP}", f"/apis/{_GROUP}/*", "/openapi/*"]
        rules = [
            {"apiGroups": [_GROUP], "resources": ["*"], "verbs": ["get", "list"]},
            {"nonResourceURLs": discovery, "verbs": ["get"]},
        ]
        self._plane.grant("system:anonymous", rules)

    def _register(self) -> None:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _NAME},
            # The only kind of Service that may lead to loopback.
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        self._plane.create("/api/v1/namespaces/kube-system/services", service)
        provider: dict[str, Any] = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{_GROUP}"},
            "spec": {
                "group": _GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": _NAME, "namespace": "kube-system", "port": self._port},
            },
        }
        self._plane.create("/apis/apiregistration.k8s.io/v1/apiservices", provider)

    def _answers(self) -> bool:
        self.process.check()
        return self._plane.client().get(f"/apis/{_GROUP}/v1beta1/pods").is_success
