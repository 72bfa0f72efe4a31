"""cert-manager for the contract: the simulated one on the simulated side, its real kinds and controllers on the real API server.

An Issuer `ca`, SelfSigned, and a Certificate `web-tls` of it. A frozen cert-manager does nothing until somebody waits for what it does; the simulated
one does nothing anyway while no time passes.
"""

from __future__ import annotations

from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.certificates import Condition, condition
from tests.contract.cluster.sides import Side, SimSide
from tests.live.certmanager import CANNOT_SIGN, CertManager, Rest, unfit_authority

NAMES = ["web.example.test"]
_GROUP = "cert-manager.io/v1"


def certificate_of(name: str, secret: str) -> Obj:
    """A Certificate of the Issuer `ca`."""
    spec = {"secretName": secret, "dnsNames": NAMES, "issuerRef": {"name": "ca"}}
    return {"apiVersion": _GROUP, "kind": "Certificate", "metadata": {"name": name}, "spec": spec}


class Authority:
    """What cert-manager does in the namespace of a side, and what is done to it."""

    def __init__(self, side: Side, real: CertManager | None) -> None:
        self._side, self._real = side, real
        self._revision = 0

    async def furnish(self) -> None:
        """Issuer and Certificate, the first revision issued."""
        issuer = {
            "apiVersion": _GROUP,
            "kind": "Issuer",
            "metadata": {"name": "ca"},
            "spec": {"selfSigned": {}},
        }
        self._side.create(issuer)
        self._side.create(certificate_of("web-tls", "web-tls"))
        await self.issues()

    def freeze(self) -> None:
        """From now on it does nothing."""
        if self._real is not None:
            self._real.freeze()

    def go_on(self) -> None:
        """It works again."""
        if self._real is not None:
            self._real.go_on()

    async def issues(self) -> int:
        """Let it work until a revision is issued after the last one that was awaited here, and nothing is left to do; its number."""
        self.go_on()
        rest = Rest(self._revision)

        async def there() -> bool:
            return rest.sees(await self._certificate()) and await self._secret()

        await self._side.until(there, f"a revision after {self._revision}")
        self._revision = rest.revision
        return rest.revision

    async def loses_its_ca(self) -> Condition:
        """The Issuer becomes one whose Secret is missing; what it says of itself then."""
        return await self._becomes("lost-authority", "False")

    async def cannot_sign(self) -> str:
        """From now on an issuance fails; the words with which it does."""
        self._side.create(unfit_authority())
        await self._becomes("unfit-authority", "True")
        if isinstance(self._side, SimSide):  # it has no keys
            annotation = {
                "op": "add",
                "path": "/metadata/annotations",
                "value": {"simulated/fails": CANNOT_SIGN},
            }
            self._side.edit(Kind.ISSUER, "ca", [annotation])
        return CANNOT_SIGN

    async def _becomes(self, secret: str, status: str) -> Condition:
        change = {"op": "replace", "path": "/spec", "value": {"ca": {"secretName": secret}}}
        self._side.edit(Kind.ISSUER, "ca", [change])
        self.go_on()
        said: Condition | None = None

        async def there() -> bool:
            nonlocal said
            found = await self._side.cluster.get(Kind.ISSUER, self._side.namespace, "ca")
            said = condition(found, "Ready")
            return said.status == status and said.reason != "IsReady"

        await self._side.until(there, f"an Issuer that is ready: {status}")
        assert said is not None
        return said

    async def _certificate(self) -> Obj:
        return await self._side.cluster.get(Kind.CERTIFICATE, self._side.namespace, "web-tls")

    async def _secret(self) -> bool:
        try:
            await self._side.cluster.get(Kind.SECRET, self._side.namespace, "web-tls")
        except ObjectMissing:
            return False
        return True
