"""Renewals on a real cluster by the real cert-manager: ordered, approved, one write by the API server's own log, and a new serial number."""

from __future__ import annotations

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.certificates import condition, issued
from app.kube.paths import RESOURCES
from app.notify.buttons import Click
from tests.live.certmanager import CANNOT_SIGN, Rest, unfit_authority
from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.shop import SERVICE_USER, Shop, role_rules
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

RULE: Obj = {
    "name": "certificates",
    "remediation": "certificate-renewal",
    "params": {"secret": "web-tls", "deletable": "web-tls"},
    "verify": {"settle": "1s", "poll": "1s", "timeout": "60s"},
}
CAST = Cast(of_policy=lambda _shop: {"rules": [RULE]})
SELF_SIGNED: Obj = {"selfSigned": {}}
ASKED, DELETED = ("patch", "certificates/status"), ("delete", "secrets")


def put(shop: Shop, manifest: Obj) -> None:
    """Creates it in the namespace."""
    shop.plane.create(RESOURCES[Kind(manifest["kind"])].path(shop.namespace), manifest)


def add(shop: Shop, kind: Kind, name: str, spec: Obj) -> None:
    """Creates one of cert-manager's objects."""
    metadata = {"name": name}
    put(shop, {"apiVersion": "cert-manager.io/v1", "kind": kind.value, "metadata": metadata, "spec": spec})


def read(shop: Shop, kind: Kind, name: str) -> Obj:
    """The object as it is."""
    return shop.get(RESOURCES[kind].path(shop.namespace, name))


def certificate(s: Scene, name: str = "web-tls") -> None:
    """A Certificate that is stored in the Secret web-tls."""
    spec = {"secretName": "web-tls", "dnsNames": ["web.example.test"], "issuerRef": {"name": "ca"}}
    add(s.shop, Kind.CERTIFICATE, name, spec)


def becomes(s: Scene, secret: str, ready: str) -> Script:
    """The Issuer signs with this Secret from now on; it has looked at it."""
    change = [{"op": "replace", "path": "/spec", "value": {"ca": {"secretName": secret}}}]
    path = RESOURCES[Kind.ISSUER].path(s.shop.namespace, "ca")
    headers = {"Content-Type": "application/json-patch+json"}
    s.shop.plane.client().patch(path, json=change, headers=headers).raise_for_status()
    yield (
        lambda: (
            (found := condition(read(s.shop, Kind.ISSUER, "ca"), "Ready")).status == ready
            and (found.reason != "IsReady")
        )
    )


def opens(s: Scene, death: str = "") -> Script:
    """A certificate is issued and the service serves, under the rights that the roles print; it dies at that instant."""
    s.tools.cert_manager()
    namespace = s.shop.namespace
    s.shop.plane.grant(SERVICE_USER, role_rules(namespace, text=s.place.policy_text), namespace)
    add(s.shop, Kind.ISSUER, "ca", SELF_SIGNED)
    certificate(s)
    if death:
        s.shop.begin()
        s.service.fork(("tests.live.e2e.victim",), {"VICTIM_DEATH": death, "VICTIM_ARMED": "1"})
        yield s.service.serves
        yield s.shop.settled
    else:
        yield from s.opens()
    rest = Rest()
    yield lambda: rest.sees(read(s.shop, Kind.CERTIFICATE, "web-tls"))


def ordered(s: Scene, *params: str) -> Script:
    """The order as a person gives it."""
    given = [word for param in ("certificate=web-tls", *params) for word in ("--param", param)]
    target = f"{s.shop.namespace}/Deployment/web"
    order = ("trigger", "certificate-renewal", "--target", target, "--reason", "the key may be known", *given)
    code, said = yield from s.ask(*order)
    assert code == 0, said


def approved(s: Scene) -> Script:
    """Somebody says yes to what is asked."""
    yield s.asks
    s.click(Click.APPROVE, s.ben)


def serial(s: Scene) -> str:
    """The serial number in the Secret."""
    return issued(read(s.shop, Kind.SECRET, "web-tls")).serial


def revision(s: Scene) -> int:
    """How often cert-manager has issued it."""
    return int(read(s.shop, Kind.CERTIFICATE, "web-tls")["status"]["revision"])


def written(s: Scene) -> list[tuple[str, str]]:
    """What the service has changed."""
    return [(m.verb, m.target) for m in s.written]


@scene(CAST, cases=[ASKED, DELETED])
def test_a_renewal_is_one_write_and_ends_with_another_serial(s: Scene, write: tuple[str, str]) -> Script:
    yield from opens(s)
    before, issued_before = serial(s), revision(s)
    yield from ordered(s, *(["delete_secret=true"] if write == DELETED else []))
    yield from approved(s)
    yield s.ended("fixed")
    assert revision(s) > issued_before
    assert serial(s) != before
    assert f"Secret web-tls holds serial {serial(s)}" in s.run["result"]
    assert written(s) == [write]


@scene(CAST, cases=["before-patch", "patched"])
def test_promise_2_a_service_that_dies_around_the_request_asks_once(s: Scene, instant: str) -> Script:
    yield from opens(s, instant)
    service, before, issued_before = s.service, serial(s), revision(s)
    yield from ordered(s)
    yield s.ended("waiting")
    yield from s.ask("approve", s.run["id"])
    yield lambda: service.dead
    yield from s.comes_back(service)
    yield s.ended("fixed")
    assert revision(s) > issued_before
    assert serial(s) != before
    assert written(s) == [ASKED]


@scene(CAST)
def test_an_issuance_that_fails_ends_the_run_with_cert_managers_words(s: Scene) -> Script:
    yield from opens(s)
    before = serial(s)
    put(s.shop, unfit_authority())
    yield from becomes(s, "unfit-authority", "True")
    yield from ordered(s)
    yield from approved(s)
    yield s.ended("not_fixed")
    assert CANNOT_SIGN in s.run["result"]
    assert serial(s) == before
    assert written(s) == [ASKED]


@scene(CAST)
def test_an_issuer_that_is_not_ready_renews_nothing(s: Scene) -> Script:
    yield from opens(s)
    yield from becomes(s, "lost-authority", "False")
    yield from ordered(s)
    yield s.ended("abandoned")
    assert (
        'Issuer ca is not ready (ErrGetKeyPair: Error getting keypair for CA issuer: secrets "lost-authority" not found)'
        in (s.run["result"])
    )
    assert written(s) == []


@scene(CAST)
def test_promise_5_a_certificate_that_shares_the_secret_since_the_question_refuses_the_write(
    s: Scene,
) -> Script:
    yield from opens(s)
    yield from ordered(s)
    yield s.asks
    certificate(s, "other-tls")
    s.click(Click.APPROVE, s.ben)
    yield lambda: s.run["ended_at"] is not None
    assert "Secret web-tls belongs to web-tls and to other-tls as well" in s.run["result"]
    assert written(s) == []
