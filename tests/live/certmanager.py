"""Owns cert-manager on a control plane: its own kinds, and its real controllers for SelfSigned and CA issuers as one process.

There is one for all tests of a control plane. Whoever freezes it is alone with it: scenes that are told side by side never do.

It may issue twice what was asked for once: its look at the Secret that it has just written can be older than its look at the Certificate, and then
it takes the Secret for missing (about one in 200). No test counts revisions from a fixed number.
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
_LOOKS = 4
"""How many looks in a row see the same version of a Certificate that cert-manager is done with."""
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


class Rest:
    """Looks at one Certificate in turn, until cert-manager is done with it: issued after `above`, nothing under way, and so for a while."""

    def __init__(self, above: int = 0) -> None:
        self.revision = above
        self._above, self._version, self._alike = above, "", 0

    def sees(self, manifest: Obj) -> bool:
        """Whether it is done, after this look as well; `revision` is then the last one that it issued."""
        status = manifest.get("status") or {}
        busy = any(c["type"] == "Issuing" for c in status.get("conditions", ()))
        self.revision = status.get("revision", 0)
        done = self.revision > self._above and not busy and "nextPrivateKeySecretName" not in status
        version = manifest["metadata"]["resourceVersion"]
        self._alike = self._alike + 1 if done and version == self._version else int(done)
        self._version = version
        return self._alike >= _LOOKS


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
