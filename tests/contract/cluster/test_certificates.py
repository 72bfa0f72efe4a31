"""Renewals by the simulated cert-manager and by the real one on a real API server: asked for once through the status, found again, followed to a new serial number."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.actuator import CheckResult, Clients, Effect, Means
from app.domain.cluster import FIELD_MANAGER
from app.domain.errors import ObjectChanged, ObjectMissing, OutcomeUnclear
from app.domain.json import Obj
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, Target
from app.kube.certificate_actuator import CertificateActuator, Terms, delete_secret, renew
from app.kube.certificates import issued, parse_certificate
from app.kube.issuance import against, standing
from app.kube.parse import parse_ref
from app.sim import SimCluster, VirtualClock
from tests.contract.cluster.certmanager import Authority, certificate_of
from tests.contract.cluster.sides import Side, settled, workload

ACTUATOR = CertificateActuator()
ID = "run_1/0.0"
TERMS = Terms(4, datetime(2026, 3, 4, 3, tzinfo=UTC))


async def planned(
    side: Side, authority: Authority, kind: ActionKind = ActionKind.RENEW_CERTIFICATE
) -> Action:
    side.create(workload())
    await authority.furnish()
    authority.freeze()
    ref = parse_ref(Kind.DEPLOYMENT, await settled(side))
    target = Target(side.namespace, Kind.DEPLOYMENT, "web")
    certificate = parse_certificate(await side.cluster.get(Kind.CERTIFICATE, side.namespace, "web-tls"))
    found = await standing(side.cluster, side.namespace, certificate, [certificate], TERMS.now)
    if kind is ActionKind.RENEW_CERTIFICATE:
        return renew((ref, target), found, TERMS, {})
    secret = await side.cluster.get(Kind.SECRET, side.namespace, "web-tls")
    return delete_secret((ref, target), found, TERMS, secret, {})


def means(side: Side, asked: list[None]) -> Means:
    async def ask() -> None:
        asked.append(None)

    async def wait(_seconds: float) -> None:
        await side.pause()

    return Means(Clients(side.cluster, SimCluster(VirtualClock()).databases), ask, wait)


async def checked(side: Side, action: Action) -> CheckResult:
    return await ACTUATOR.check(means(side, []).clients, action)


async def certificate(side: Side) -> Obj:
    return await side.cluster.get(Kind.CERTIFICATE, side.namespace, "web-tls")


async def serial(side: Side) -> str:
    return issued(await side.cluster.get(Kind.SECRET, side.namespace, "web-tls")).serial


async def test_a_renewal_is_asked_for_once_as_cert_managers_own_command_does_and_ends_in_a_new_serial(
    side: Side, authority: Authority
) -> None:
    action, asked = await planned(side, authority), list[None]()
    by, before = means(side, asked), await serial(side)
    found = await checked(side, action)
    assert found.ref == action.object, found.text
    version = (await certificate(side))["metadata"]["resourceVersion"]
    assert await ACTUATOR.dry_run(by.clients, action, ID, found) == ""
    assert (await certificate(side))["metadata"]["resourceVersion"] == version
    assert await ACTUATOR.in_place(by.clients, action, ID) == ""
    done = await ACTUATOR.apply(by, action, ID, found)
    assert (done.result, len(asked)) == (ActionResult.APPLIED, 1), done.text
    manifest = await certificate(side)
    (condition,) = (c for c in manifest["status"]["conditions"] if c["type"] == "Issuing")
    assert (condition["status"], condition["reason"]) == ("True", "ManuallyTriggered")
    assert condition["lastTransitionTime"] == "2026-03-04T03:00:00Z"
    assert condition["observedGeneration"] == manifest["metadata"]["generation"]
    assert any(c["type"] == "Ready" for c in manifest["status"]["conditions"])
    entry = next(e for e in manifest["metadata"]["managedFields"] if e["manager"] == FIELD_MANAGER)
    assert entry["subresource"] == "status"
    again = await ACTUATOR.apply(by, action, ID, found)
    assert (again.result, len(asked)) == (ActionResult.APPLIED, 1)
    assert "was asked for already" in await ACTUATOR.in_place(by.clients, action, ID)
    assert (await ACTUATOR.check(by.clients, action, ID)).done
    waiting = await ACTUATOR.effect(by.clients, action)
    assert waiting is not None
    assert (waiting.good, waiting.over) == (False, False)
    revision = await authority.issues()
    good = await ACTUATOR.effect(by.clients, action)
    assert good is not None
    assert good.good, good.text
    assert await serial(side) != before
    assert f"issued revision {revision} since" in await ACTUATOR.in_place(by.clients, action, ID)
    third = await ACTUATOR.apply(by, action, ID, found)
    assert (third.result, len(asked)) == (ActionResult.APPLIED, 1)
    assert (await ACTUATOR.undo(by, action, ID)).result is UndoResult.NOTHING


async def test_what_is_under_way_or_issued_since_is_not_asked_for_again(
    side: Side, authority: Authority
) -> None:
    action = await planned(side, authority)
    by = means(side, [])
    await ACTUATOR.apply(by, action, ID, await checked(side, action))
    other = await ACTUATOR.check(by.clients, action, "run_2/0.0")
    assert (other.ref, other.code, other.text) == (
        None, ObjectChanged.code, "an issuance of web-tls is under way"
    )  # fmt: skip
    refused = await ACTUATOR.apply(by, action, "run_2/0.0", other)
    assert refused.result is ActionResult.REFUSED
    revision = await authority.issues()
    assert f"issued revision {revision} of web-tls since" in (await checked(side, action)).text


async def test_an_issuance_that_fails_is_over_with_its_words(side: Side, authority: Authority) -> None:
    action = await planned(side, authority)
    by = means(side, [])
    await ACTUATOR.apply(by, action, ID, await checked(side, action))
    words = await authority.cannot_sign()
    seen: list[Effect] = []

    async def over() -> bool:
        seen.extend(e for e in (await ACTUATOR.effect(by.clients, action),) if e is not None)
        return seen[-1].over

    await side.until(over, "the failure")
    assert seen[-1].text == (
        "cert-manager could not issue web-tls (Failed: The certificate request has failed to complete and will be retried: "
        f"{words})"
    )
    assert "failed since" in await ACTUATOR.in_place(by.clients, action, ID)
    assert (await ACTUATOR.apply(by, action, ID, CheckResult(None, ""))).result is ActionResult.APPLIED
    failed = parse_certificate(await certificate(side))
    assert failed.failed_at is not None
    found = await standing(side.cluster, side.namespace, failed, [failed], failed.failed_at)
    why, _ = against(found, TERMS.weekly, failed.failed_at) or ("", "")
    assert why.startswith("issuing web-tls failed 1 times in a row")


@pytest.mark.parametrize("kind", [ActionKind.RENEW_CERTIFICATE, ActionKind.DELETE_SECRET])
async def test_an_issuance_that_hangs_is_told_in_cert_managers_words_and_not_asked_for_again(
    side: Side, authority: Authority, kind: ActionKind
) -> None:
    action = await planned(side, authority, kind)
    by = means(side, [])
    await ACTUATOR.apply(by, action, ID, await checked(side, action))
    await authority.loses_its_ca()

    async def told() -> bool:
        seen = await ACTUATOR.effect(by.clients, action)
        assert seen is not None
        assert (seen.good, seen.over) == (False, False)
        return "(an issuance is under way: Referenced " in seen.text

    await side.until(told, "what it waits for")
    other = await ACTUATOR.check(by.clients, action, "run_2/0.0")
    assert (other.ref, other.text) == (None, "an issuance of web-tls is under way")
    ready = parse_certificate(await certificate(side)).ready
    assert (ready.status, ready.reason, ready.text) == (
        ("True", "Ready", "Certificate is up to date and has not expired")
        if kind is ActionKind.RENEW_CERTIFICATE
        else ("False", "DoesNotExist", "Issuing certificate as Secret does not exist")
    )


@pytest.mark.parametrize("kind", [ActionKind.RENEW_CERTIFICATE, ActionKind.DELETE_SECRET])
async def test_an_issuer_that_is_not_ready_any_more_refuses_the_write(
    side: Side, authority: Authority, kind: ActionKind
) -> None:
    action, asked = await planned(side, authority, kind), list[None]()
    said = await authority.loses_its_ca()
    text = 'Error getting keypair for CA issuer: secrets "lost-authority" not found'
    assert (said.reason, said.text) == ("ErrGetKeyPair", text)
    found = await checked(side, action)
    assert (found.ref, found.text) == (None, f"Issuer ca is not ready (ErrGetKeyPair: {text})")
    done = await ACTUATOR.apply(means(side, asked), action, ID, found)
    assert (done.result, asked) == (ActionResult.REFUSED, [])


@pytest.mark.parametrize("kind", [ActionKind.RENEW_CERTIFICATE, ActionKind.DELETE_SECRET])
async def test_a_second_certificate_with_the_same_secret_refuses_the_write(
    side: Side, authority: Authority, kind: ActionKind
) -> None:
    action, asked = await planned(side, authority, kind), list[None]()
    side.create(certificate_of("other-tls", "web-tls"))
    found = await checked(side, action)
    assert found.ref is None
    assert "belongs to web-tls and to other-tls as well" in found.text
    done = await ACTUATOR.apply(means(side, asked), action, ID, found)
    assert (done.result, asked) == (ActionResult.REFUSED, [])


async def test_promise_2_an_answer_that_was_lost_is_read_back_and_nothing_is_sent_twice(
    side: Side, authority: Authority
) -> None:
    action, asked = await planned(side, authority), list[None]()
    found = await checked(side, action)
    by = means(side, asked)

    async def lost(*args: object, **kwargs: object) -> Obj:
        await type(side.cluster).patch_status(side.cluster, *args, **kwargs)  # type: ignore[arg-type]
        raise OutcomeUnclear("the connection broke")

    side.cluster.patch_status = lost  # type: ignore[method-assign]
    done = await ACTUATOR.apply(by, action, ID, found)
    assert (done.result, len(asked)) == (ActionResult.APPLIED, 1)
    assert "was asked for already" in done.text


async def test_the_secret_is_deleted_once_by_its_uid_and_made_anew(side: Side, authority: Authority) -> None:
    action, asked = await planned(side, authority, ActionKind.DELETE_SECRET), list[None]()
    by, before = means(side, asked), await serial(side)
    found = await checked(side, action)
    assert found.ref is not None, found.text
    assert await ACTUATOR.dry_run(by.clients, action, ID, found) == ""
    assert await serial(side) == before
    done = await ACTUATOR.apply(by, action, ID, found)
    assert (done.result, len(asked)) == (ActionResult.APPLIED, 1)
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.SECRET, side.namespace, "web-tls")
    assert "it is gone" in await ACTUATOR.in_place(by.clients, action, ID)
    await authority.issues()
    anew = await serial(side)
    assert anew != before
    again = await ACTUATOR.apply(by, action, ID, found)
    assert again.result is ActionResult.APPLIED
    assert await serial(side) == anew
    good = await ACTUATOR.effect(by.clients, action)
    assert good is not None
    assert good.good, good.text


async def test_the_secret_of_somebody_else_is_not_deleted(side: Side, authority: Authority) -> None:
    action = await planned(side, authority, ActionKind.DELETE_SECRET)
    side.edit(Kind.SECRET, "web-tls", [{"op": "remove", "path": "/metadata/annotations"}])
    found = await checked(side, action)
    assert (found.ref, found.text) == (None, "Secret web-tls does not belong to Certificate web-tls")


async def test_a_deletion_that_is_refused_with_a_conflict_is_no_deletion(
    side: Side, authority: Authority
) -> None:
    action = await planned(side, authority, ActionKind.DELETE_SECRET)
    found = await checked(side, action)

    async def conflict(*args: object, **kwargs: object) -> None:
        raise ObjectChanged("the object changed in the meantime")

    side.cluster.delete_secret = conflict  # type: ignore[method-assign]
    done = await ACTUATOR.apply(means(side, []), action, ID, found)
    assert (done.result, done.code) == (ActionResult.REFUSED, ObjectChanged.code)
    assert await serial(side)
