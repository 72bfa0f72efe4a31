"""Owns cert-manager on a control plane: its own kinds, and its real controllers for SelfSigned and CA issuers as one process.

There is one for all tests of a control plane. Whoever freezes it is alone with it: scenes that are told side by side never do.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from app.domain.json import Obj
from tests.contract.cache.certificates import issued
from tests.live.build import CERT_MANAGER, binary, resources
from tests.live.controlplane import ControlPlane
from tests.live.process import Process, wait_until

CANNOT_SIGN = "Error signing certificate: error creating x509 certificate: x509: provided PrivateKey doesn't match parent's PublicKey"
"""What cert-manager's CA issuer says by the Secret of `unfit_authority`."""
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def unfit_authority() -> Obj:
    """A Secret with a CA's certificate and the key of another: an Issuer with it says that it is ready, and cannot sign."""
    with tempfile.TemporaryDirectory() as folder:
        issued(Path(folder))
        halves = {"tls.crt": "authority.pem", "tls.key": "server.key"}
        data = {k: base64.b64encode((Path(folder) / f).read_bytes()).decode() for k, f in halves.items()}
    metadata = {"name": "unfit-authority"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": data,
    }


class CertManager:
    """cert-manager's kinds and controllers on one control plane, until it ends."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        argv: list[str | Path] = [binary(CERT_MANAGER), f"--kubeconfig={plane.kubeconfig(CERT_MANAGER)}"]
        self._process = Process(argv, plane.folder / f"{CERT_MANAGER}.log")

    def __enter__(self) -> Self:
        for path in sorted(resources(CERT_MANAGER, "crds").glob("*.yaml")):
            self._plane.create(_CRDS, yaml.load(path.read_bytes(), yaml.CSafeLoader))
        wait_until(self._established, 60.0, what="cert-manager's kinds")
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()

    def freeze(self) -> None:
        """From now on it does nothing, until it goes on; what it has sent is carried out."""
        self._process.pause()

    def go_on(self) -> None:
        """It does what it has missed. Raises when it has exited."""
        self._process.check()
        self._process.resume()

    def _established(self) -> bool:
        found = self._plane.client().get(_CRDS).raise_for_status().json()["items"]
        return all(
            any(
                c["type"] == "Established" and c["status"] == "True"
                for c in d["status"].get("conditions") or ()
            )
            for d in found
            if d["spec"]["group"].endswith("cert-manager.io")
        )
