"""The port for one look at a Service of the cluster: HTTP health checks, and the certificate that it serves.

An address is made from a Service object alone (`app.kube.service_address`), never from free text, so that nobody can make this
service ask a host of their choice. Never reads the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.domain.certificate import Issued


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where to ask: the cluster IP and port of a Service, and the path. `namespace` and `service` are for words."""

    namespace: str
    service: str
    ip: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"http://{self.service}.{self.namespace}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The status, or None with the reason in `fault` when there was no answer. `milliseconds` is how long it took."""

    status: int | None
    fault: str = ""
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """The certificate that a TLS handshake showed, or None with the reason in `fault`."""

    certificate: Issued | None
    fault: str = ""


class HttpChecks(Protocol):
    """One look each: no redirect is followed, no body is kept, no credential is sent."""

    async def certificate(self, address: HttpAddress, name: str) -> ServedCertificate:
        """One TLS handshake that asks for the server name `name`; whether anybody trusts the certificate is not judged. Raises
        nothing."""
        ...

    async def get(self, address: HttpAddress) -> HttpAnswer:
        """Ask once. Raises nothing: no answer is an answer too."""
        ...
