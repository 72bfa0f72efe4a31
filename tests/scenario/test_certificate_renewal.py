"""A certificate's renewal from the order to a new serial number that is served, or to the reason why there is none."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.certificate import Issued
from app.domain.http_check import HttpAddress, ServedCertificate
from app.domain.json import JsonValue, Obj
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.kube.certificates import issued
from app.policy.load import load_policy
from app.store.runs import Run
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.orders import ORDERS, Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run

RULE = """
version: 1
scope: {namespaces: [rag7]}
rules:
  - name: certificates
    remediation: certificate-renewal
    params: {secret: langgraph-tls, deletable: langgraph-tls, service: langgraph-gateway}
"""
NAME = "certificate-renewal"
TARGET = ORDERS[NAME].target


async def born(path: Path) -> Rig:
    rig = Rig(path / "rig.sqlite", world=scenario_of(NAME), stride=5.0)
    rig.policy = load_policy({"rag7.yaml": RULE}, CATALOGUE)
    return await rig.born()


async def order(rig: Rig, late: Callable[[Rig], None] | None = None, **params: JsonValue) -> Run:
    """Order it, approve what is asked after what came `late`, and let it come to rest."""
    wish = Order(TARGET, {"certificate": "langgraph-tls", **params})
    await rig.store.ingest(wish.delivery(NAME, rig.clock))

    async def rests() -> bool:
        found = await all_runs(rig)
        for run in found:
            if run.state is RunState.WAITING and not run.answer:
                if late is not None:
                    late(rig)
                await rig.operations.approve(run.id, "kim", run.plan_hash)
        return bool(found) and all(r.state.ended for r in found)

    await rig.until(rests, 3_600)
    return await the_run(rig)


def serial(rig: Rig) -> str:
    secret = rig.cluster.peek(Kind.SECRET, "rag7", "langgraph-tls")
    assert secret is not None
    return issued(secret).serial


def writes(rig: Rig) -> list[str]:
    return [f"{m.verb} {m.kind}" for m in rig.cluster.mutations if not m.dry_run and m.kind is not Kind.EVENT]


def stored(folder: Path) -> bytes:
    """Our database and its journal."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_a_certificate_is_renewed_after_a_yes_and_fixed_when_a_new_serial_is_served(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    before = serial(rig)
    run = await order(rig)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED), run.result
    assert serial(rig) != before
    assert f"Service langgraph-gateway serves serial {serial(rig)}" in run.result
    assert writes(rig) == ["patch Certificate"]
    assert "nothing to undo" in rig.notebook.text
    await rig.close()


async def test_promise_6_a_service_that_keeps_the_old_one_is_not_fixed_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    secret = rig.cluster.peek(Kind.SECRET, "rag7", "langgraph-tls")
    assert secret is not None
    rig.cluster.http.served["langgraph-gateway"] = Issued(serial(rig), issued(secret).not_after)
    run = await order(rig)
    assert run.state is RunState.NOT_FIXED
    assert "they have to be restarted" in rig.notebook.text
    assert writes(rig) == ["patch Certificate"]
    await rig.close()


@pytest.mark.parametrize("days", [-60, 3_650])
@pytest.mark.parametrize("secret", ["secret: langgraph-tls, deletable: langgraph-tls, ", ""])
async def test_promise_6_another_certificate_than_the_new_one_is_not_fixed(
    tmp_path: Path, days: int, secret: str
) -> None:
    """Two pods that do not read the Secret again may serve two old ones, and a proxy serves one of its own when it has none."""
    rig = Rig(tmp_path / "rig.sqlite", world=scenario_of(NAME), stride=5.0)
    plain = RULE.replace("secret: langgraph-tls, deletable: langgraph-tls, ", secret)
    rig.policy = load_policy({"rag7.yaml": plain}, CATALOGUE)
    rig = await rig.born()
    manifest = rig.cluster.peek(Kind.SECRET, "rag7", "langgraph-tls")
    assert manifest is not None
    former = issued(manifest)
    other = Issued("a0a0a0a", former.not_after + timedelta(days=days))

    async def certificate(address: HttpAddress, name: str) -> ServedCertificate:
        del address, name  # which pod answers is not ours to choose
        return ServedCertificate(other if "patch Certificate" in writes(rig) else former)

    rig.cluster.http.certificate = certificate  # type: ignore[method-assign]
    run = await order(rig)
    assert run.state is RunState.NOT_FIXED, run.result
    assert "serves serial a0a0a0a" in run.result
    await rig.close()


async def test_a_failed_issuance_ends_the_run_at_once_with_the_issuers_words(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    annotation = [
        {"op": "add", "path": "/metadata/annotations", "value": {"simulated/fails": "order is invalid"}}
    ]
    rig.cluster.edit(Kind.ISSUER, "rag7", "letsencrypt", annotation)
    run = await order(rig)
    assert run.state is RunState.NOT_FIXED
    assert "cert-manager could not issue langgraph-tls" in run.result
    assert "order is invalid" in run.result
    assert writes(rig) == ["patch Certificate"]
    await rig.close()


async def test_an_issuance_that_hangs_ends_the_run_with_what_its_request_waits_for(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    real = rig.cluster.patch_status

    async def asked(*args: Any, **kwargs: Any) -> Obj:
        answer = await real(*args, **kwargs)
        if not kwargs.get("dry_run"):
            not_ready(rig)
        return answer

    rig.cluster.patch_status = asked  # type: ignore[method-assign]
    run = await order(rig)
    assert run.state is RunState.NOT_FIXED
    assert (
        "(an issuance is under way: Referenced issuer does not have a Ready status condition)" in run.result
    )
    assert writes(rig) == ["patch Certificate"]
    await rig.close()


async def test_the_deletion_of_the_secret_is_one_write_and_makes_a_new_one(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    before = serial(rig)
    run = await order(rig, delete_secret=True)
    assert run.state is RunState.FIXED, run.result
    assert serial(rig) != before
    assert writes(rig) == ["delete Secret"]
    key = base64.b64encode(b"a simulated private key")
    assert b"simulated private key" not in rig.notebook.text.encode()
    await rig.close()
    assert key not in stored(tmp_path), "promise 12: nothing of the Secret is kept, not even for an undo"


def not_ready(rig: Rig) -> None:
    found = rig.cluster.peek(Kind.ISSUER, "rag7", "letsencrypt")
    assert found is not None
    status = {"conditions": [{"type": "Ready", "status": "False", "reason": "ErrRegister"}]}
    rig.cluster._world.set_status(found, status, "cert-manager")


def another_issuer(rig: Rig) -> None:
    change = {"op": "replace", "path": "/spec/issuerRef/name", "value": "internal-ca"}
    rig.cluster.edit(Kind.CERTIFICATE, "rag7", "langgraph-tls", [change])


def shared(rig: Rig) -> None:
    spec = {"secretName": "langgraph-tls", "dnsNames": ["o.test"], "issuerRef": {"name": "letsencrypt"}}
    made(rig, "cert-manager.io/v1", "Certificate", spec, {})


def pending(rig: Rig) -> None:
    made(rig, ACME, "Order", {"dnsNames": ["langgraph.example.test"]}, {"state": "pending"})


def at_the_limit(rig: Rig) -> None:
    for number in range(4):
        made(
            rig, ACME, "Order", {"dnsNames": ["langgraph.example.test"]}, {"state": "valid"}, f"late-{number}"
        )


def unreadable(rig: Rig) -> None:
    rig.cluster.deny("get", Kind.ISSUER)


ACME = "acme.cert-manager.io/v1"


def made(rig: Rig, version: str, kind: str, spec: Obj, status: Obj, name: str = "late") -> None:
    meta = {"name": name, "namespace": "rag7"}
    rig.cluster.create(
        {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec, "status": status}
    )


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize(
    ("late", "why"),
    [
        (not_ready, "is not ready (ErrRegister"),
        (another_issuer, "another issuer than at the decision"),
        (shared, "belongs to langgraph-tls and to late as well"),
        (pending, "under way: Order late"),
        (at_the_limit, "ACME Orders for the same names were made within 7 days"),
        (unreadable, "so whether it is ready is not known"),
    ],
)
async def test_promise_5_what_refuses_a_plan_refuses_the_write_too(
    tmp_path: Path, late: Callable[[Rig], None], why: str, delete: bool
) -> None:
    rig = await born(tmp_path)
    before = serial(rig)
    run = await order(rig, late, delete_secret=delete)
    assert writes(rig) == []
    assert serial(rig) == before
    assert run.state is not RunState.FIXED
    assert why in run.result
    await rig.close()
