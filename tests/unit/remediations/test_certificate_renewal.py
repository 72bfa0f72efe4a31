"""Certificate renewal: what the evidence says, and each reason for which nothing is renewed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.certificate import of_der, of_pem
from app.domain.errors import BadInput
from app.domain.evidence import Certainty
from app.domain.target import Kind
from app.kube.certificates import Certificate, orders_under_way, parse_certificate
from app.sim.certificates import certificate_pem
from app.sim.faults import Fault, FaultKind
from remediations.certificate_renewal import (
    DELETE,
    RENEW,
    CertificateRenewal,
    CertificateRenewalParams,
)
from remediations.evidence.certificates import asked_name
from tests.unit.remediations.stage import Stage, stage_of

CERT = (Kind.CERTIFICATE, "langgraph-tls")
BACKOFF = {"lastFailureTime": "2026-03-04T02:30:00Z", "failedIssuanceAttempts": 2}


def stage() -> Stage:
    return stage_of("certificate-renewal")


def status(play: Stage, **changes: Any) -> None:
    """cert-manager writes these fields of the status."""
    world = play.cluster._world
    found = play.cluster.peek(Kind.CERTIFICATE, "rag7", "langgraph-tls")
    assert found is not None
    world.set_status(found, {**found["status"], **changes}, "cert-manager")


def condition(kind: str, word: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": word, "reason": reason, "message": "m", "lastTransitionTime": "x"}


def orders(play: Stage, number: int, state: str = "valid", names: tuple[str, ...] = ()) -> None:
    for n in range(number):
        order = {
            "apiVersion": "acme.cert-manager.io/v1",
            "kind": "Order",
            "metadata": {"name": f"more-{state}-{n}-{len(names)}", "namespace": "rag7"},
            "spec": {"dnsNames": list(names or ("LANGGRAPH.example.test",))},
            "status": {"state": state},
        }
        play.cluster.create(order)


async def test_all_certificates_are_told_with_their_ends_and_the_one_with_its_serial_numbers() -> None:
    diagnosis, steps = await stage().look(secret="langgraph-tls")
    overview = diagnosis.finding("certificates.all")
    assert overview is not None
    assert overview.text == (
        "4 Certificates in rag7; the first to end is docs-tls, in 39 d 23 h; not ready: internal-tls"
    )
    assert overview.details[0].startswith("internal-tls: not issued yet; not ready (DoesNotExist)")
    assert overview.details[2] == (
        "langgraph-tls: ends 2026-04-13 (in 39 d 23 h); cert-manager renews it by itself on 2026-03-14; ready; "
        "Secret langgraph-tls, Issuer letsencrypt"
    )
    renew = steps[RENEW]
    assert renew.applies, renew.why
    assert "Issuer letsencrypt (ACME) is ready" in renew.why
    (action,) = renew.actions
    assert action.params["serial"] == action.params["served"]
    assert action.params["server_name"] == "langgraph.example.test"
    assert "nothing to undo" in action.undo
    assert steps[DELETE].why == "The deletion of its Secret was not ordered (delete_secret)"


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ("docs-tls", "Secret shared-tls belongs to docs-tls and to wiki-tls as well"),
        ("internal-tls", "Issuer internal-ca is not ready (ErrGetKeyPair"),
        ("nothing-tls", "There is no Certificate nothing-tls in rag7"),
    ],
)
async def test_one_that_cannot_be_renewed_is_refused_with_the_reason(certificate: str, why: str) -> None:
    _, steps = await stage().look(certificate=certificate)
    assert not steps[RENEW].applies
    assert not steps[DELETE].applies
    assert why in steps[RENEW].why


async def test_what_is_under_way_is_not_asked_for_again() -> None:
    play = stage()
    status(play, conditions=[condition("Issuing", "True", "Renewing"), condition("Ready", "True", "Ready")])
    _, steps = await play.look()
    assert "n issuance of langgraph-tls is under way (Renewing)" in steps[RENEW].why


async def test_a_request_or_an_order_that_has_not_ended_is_under_way() -> None:
    play = stage()
    orders(play, 1, "pending")
    _, steps = await play.look()
    assert "under way: Order more-pending-0-0" in steps[RENEW].why
    request = play.cluster.peek(Kind.CERTIFICATE_REQUEST, "rag7", "langgraph-tls-1")
    assert request is not None
    play.cluster._world.set_status(request, {"conditions": [condition("Ready", "False", "Pending")]})
    _, steps = await play.look()
    assert "under way: CertificateRequest langgraph-tls-1, Order more-pending-0-0" in steps[RENEW].why


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        (BACKOFF, "2026-03-04 04:30:00 UTC"),
        ({**BACKOFF, "failedIssuanceAttempts": 50}, "2026-03-05 10:30:00 UTC"),
        ({**BACKOFF, "failedIssuanceAttempts": 1}, "2026-03-04 03:30:00 UTC"),
    ],
)
async def test_after_a_failure_it_waits_as_long_as_cert_manager_does(
    changes: dict[str, Any], until: str
) -> None:
    play = stage()
    status(play, **changes)
    _, steps = await play.look()
    assert f"cert-manager waits until {until}" in steps[RENEW].why


async def test_after_the_back_off_it_is_renewed() -> None:
    play = stage()
    status(play, lastFailureTime="2026-03-04T00:00:00Z", failedIssuanceAttempts=1)
    _, steps = await play.look()
    assert steps[RENEW].applies, steps[RENEW].why


async def test_near_the_limit_of_acme_nothing_is_ordered() -> None:
    play = stage()
    orders(play, 3)
    _, steps = await play.look()
    assert steps[RENEW].applies, steps[RENEW].why
    orders(play, 5, names=("other.example.test",))
    orders(play, 5, "invalid")
    _, steps = await play.look()
    assert steps[RENEW].applies, "other names and failed orders are no duplicates"
    _, steps = await play.look(weekly=3)
    assert "3 ACME Orders for the same names were made within 7 days" in steps[RENEW].why
    assert "wait until" in steps[RENEW].advice.lower()


async def test_promise_4_what_cannot_be_read_asks_or_closes() -> None:
    play = stage()
    play.cluster.deny("get", Kind.ISSUER)
    _, steps = await play.look()
    assert "whether it is ready is not known" in steps[RENEW].asks
    play.cluster.deny("list", Kind.ACME_ORDER)
    _, steps = await play.look()
    assert "how many ACME certificates" in steps[RENEW].asks
    play.cluster.deny("list", Kind.CERTIFICATE_REQUEST)
    _, steps = await play.look()
    assert "whether an issuance is under way is not known" in steps[RENEW].why.lower()
    play.cluster.deny("list", Kind.CERTIFICATE)
    diagnosis, steps = await play.look()
    assert diagnosis.findings[0].certainty is Certainty.UNKNOWN
    assert not steps[RENEW].applies


async def test_a_cluster_without_cert_manager_says_so() -> None:
    play = Stage(
        "certificate-renewal", stage_of("deploy").cluster._simulation._scenario, "rag7/Deployment/langgraph"
    )
    diagnosis, steps = await play.look()
    assert "cert-manager is not installed" in diagnosis.summary
    assert not steps[RENEW].applies


async def test_promise_6_nothing_is_renewed_that_nobody_could_see_served() -> None:
    _, steps = await stage().look(service="", secret="")
    assert "whether a new certificate is served could not be seen" in steps[RENEW].why.lower()
    assert "its Secret langgraph-tls in the rule (secret)" in steps[RENEW].advice


async def test_a_service_that_leads_elsewhere_gets_no_handshake_and_a_person_is_asked() -> None:
    play = stage()
    change = {"op": "add", "path": "/spec/type", "value": "ExternalName"}
    play.edit(Kind.SERVICE, "langgraph-gateway", change)
    _, steps = await play.look()
    assert "it leads out of the cluster" in steps[RENEW].asks


async def test_the_secret_is_deleted_only_where_order_rule_and_secret_agree() -> None:
    play = stage()
    wanted: dict[str, Any] = {"delete_secret": True, "secret": "langgraph-tls"}
    _, steps = await play.look(**wanted)
    assert "rule does not let Secret langgraph-tls be deleted" in steps[DELETE].why
    assert "ordered instead" in steps[RENEW].why
    _, steps = await play.look(**wanted, deletable="langgraph-tls")
    (action,) = steps[DELETE].actions
    assert "the private key is gone" in action.undo
    _, steps = await play.look(delete_secret=True, deletable="langgraph-tls")
    assert "whose it is is not known" in steps[DELETE].why
    play.edit(Kind.SECRET, "langgraph-tls", {"op": "remove", "path": "/metadata/annotations"})
    _, steps = await play.look(**wanted, deletable="langgraph-tls")
    assert "does not say that it belongs to Certificate langgraph-tls" in steps[DELETE].why


async def test_promise_12_of_the_secret_nothing_but_its_certificate_is_told() -> None:
    play = stage()
    diagnosis, steps = await play.look(secret="langgraph-tls", deletable="langgraph-tls", delete_secret=True)
    assert "simulated private key" not in repr(diagnosis) + repr(steps)
    assert "YSBzaW11bGF0ZWQ" not in repr(diagnosis) + repr(steps)
    play.cluster.faults.add(Fault(FaultKind.DENIED, verb="get", kind=Kind.SECRET))
    diagnosis, _ = await play.look(secret="langgraph-tls")
    found = diagnosis.finding("certificate.secret")
    assert found is not None
    assert found.certainty is Certainty.UNKNOWN


def unread(play: Stage) -> None:
    change = {"op": "replace", "path": "/data/tls.crt", "value": "AAAA"}
    play.edit(Kind.SECRET, "langgraph-tls", change)


async def test_promise_6_a_serial_that_could_not_be_read_for_the_plan_proves_no_new_one() -> None:
    play = stage()
    play.cluster.faults.add(Fault(FaultKind.DENIED, verb="get", kind=Kind.SECRET, times=9))
    params = CertificateRenewalParams(certificate="langgraph-tls", secret="langgraph-tls")
    _, steps = await play.look(secret="langgraph-tls")
    assert "serial" not in steps[RENEW].actions[0].params
    scene, same = play.scene(), steps[RENEW]
    play.cluster.faults.clear()
    effect = await CertificateRenewal().effect(await scene, params, same)
    assert effect is not None
    assert effect.good is None
    assert "what it held before is not known" in effect.text


async def test_what_was_no_certificate_for_the_plan_is_told_from_what_was_not_read() -> None:
    play = stage()
    unread(play)
    diagnosis, steps = await play.look(secret="langgraph-tls")
    assert steps[RENEW].actions[0].params["serial"] == ""
    found = diagnosis.finding("certificate.secret")
    assert found is not None
    assert "no certificate" in found.text


def named(**spec: Any) -> Certificate:
    meta = {"name": "c", "uid": "1"}
    return parse_certificate({"metadata": meta, "spec": {"secretName": "c", **spec}})


@pytest.mark.parametrize(
    ("spec", "ordered", "same"),
    [
        ({"dnsNames": ["A.test"]}, {"dnsNames": ["a.test"]}, True),
        ({"dnsNames": ["a.test"], "ipAddresses": ["10.0.0.1"]}, {"dnsNames": ["a.test"]}, False),
        ({"ipAddresses": ["10.0.0.1"]}, {"ipAddresses": ["10.9.9.9"]}, False),
        ({"ipAddresses": ["2001:db8::1"]}, {"ipAddresses": ["2001:DB8:0::1"]}, True),
        ({"uris": ["spiffe://x/y"]}, {"ipAddresses": ["10.9.9.9"]}, False),
        ({"uris": ["spiffe://x/y"]}, {}, False),
        ({}, {}, False),
    ],
)
def test_an_order_is_for_the_same_names_when_all_of_them_are(spec: Any, ordered: Any, same: bool) -> None:
    order = {"metadata": {"name": "o"}, "spec": ordered, "status": {"state": "pending"}}
    assert orders_under_way([order], named(**spec)) == (["o"] if same else [])


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"dnsNames": ["*.a.test", "b.test"]}, "b.test"),
        ({"dnsNames": ["*.a.test"]}, "certificate-check.a.test"),
        ({"ipAddresses": ["10.0.0.1"], "uris": ["spiffe://x/y"]}, ""),
        ({}, ""),
    ],
)
def test_a_server_is_asked_for_a_name_that_the_certificate_covers(spec: Any, name: str) -> None:
    assert asked_name(named(**spec)) == name


@pytest.mark.parametrize("version", [1, 3, 4, 127])
def test_a_certificate_of_a_version_that_is_none_is_unreadable_and_raises_nothing_else(version: int) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    pem = certificate_pem("seed", ["a.test"], moment, moment + timedelta(days=1))
    der = bytearray(ssl.PEM_cert_to_DER_cert(pem.decode()))
    at = der.index(b"\xa0\x03\x02\x01\x02")
    der[at + 4] = version
    for read, data in ((of_der, bytes(der)), (of_pem, ssl.DER_cert_to_PEM_cert(bytes(der)).encode())):
        with pytest.raises(BadInput, match="not a certificate"):
            read(data)
