"""Errors that speak of the cluster's DNS or of a certificate: a person is sent there, and not to the program."""

from __future__ import annotations

import pytest

from remediations.evidence.directions import where_to_look
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_errors import told
from tests.unit.causes.world import World

DNS = (
    "getaddrinfo EAI_AGAIN db.shop.svc.cluster.local",
    "socket.gaierror: [Errno -3] Temporary failure in name resolution",
    "dial tcp: lookup payments.shop.svc on 10.96.0.10:53: read udp 10.1.0.3:41->10.96.0.10:53: i/o timeout",
    "dial tcp: lookup payments on 10.96.0.10:53: server misbehaving",
)
CERTIFICATE = (
    "x509: certificate has expired or is not yet valid: current time 2026-03-04T03:00:00Z is after 2026-03-01T00:00:00Z",
    "ssl.SSLCertVerificationError: certificate verify failed: certificate has expired (_ssl.c:1000)",
    "Error: unable to verify the first certificate",
    "sun.security.validator.ValidatorException: PKIX path building failed",
)
NEITHER = (
    "getaddrinfo ENOTFOUND paymentz",
    "lookup payments on 10.96.0.10:53: no such host",
    "KeyError: 'certificate_id'",
    "TypeError: connect() got an unexpected keyword argument 'pool_size'",
    "Connection refused",
)


@pytest.mark.parametrize(
    ("said", "where"), [*((s, "DNS") for s in DNS), *((s, "certificate") for s in CERTIFICATE)]
)
def test_what_an_error_speaks_of_is_where_a_person_looks(said: str, where: str) -> None:
    assert where in where_to_look(said)


@pytest.mark.parametrize("said", NEITHER)
def test_an_answer_of_dns_and_a_fault_of_the_program_point_to_neither(said: str) -> None:
    assert where_to_look(said) == ""


@pytest.mark.parametrize(
    ("said", "where"), [(DNS[0], "the cluster's DNS"), (CERTIFICATE[1], "the certificate of whom")]
)
async def test_who_crashes_by_it_is_not_told_to_fix_the_code(said: str, where: str) -> None:
    world = World()
    world.deployed = 900
    _, steps = await world.crash(restarts=4).said("app", f"ERROR {said}").look(PodRestarting())
    assert where in steps["fix-by-hand"].advice
    assert "fix the code" not in steps["fix-by-hand"].advice


@pytest.mark.parametrize("deployed", [6, 900])
@pytest.mark.parametrize(
    ("said", "where"), [(DNS[2], "the cluster's DNS"), (CERTIFICATE[0], "the certificate of whom")]
)
async def test_errors_of_it_are_told_with_where_to_look(said: str, where: str, deployed: float) -> None:
    world = told(said, 300, 3000, deployed=deployed)
    world.fired, world.metrics = 3, Requests(300)
    _, steps = await world.look(HighErrorRate())
    assert where in steps["scale-up"].advice


async def test_a_container_that_somebody_put_in_is_asked_about_where_it_comes_from() -> None:
    world = World()
    for name, pod in world.pods.items():
        pod["spec"].setdefault("containers", []).append(
            {"name": "istio-proxy", "image": "registry.test/proxy:1"}
        )
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
        ended = {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "finishedAt": pod["metadata"]["creationTimestamp"],
            }
        }
        pod["status"]["containerStatuses"].append(
            {"name": "istio-proxy", "ready": False, "restartCount": 4, "state": state, "lastState": ended}
        )
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        assert name
    diagnosis, _ = await world.look(PodRestarting())
    assert "ask who puts istio-proxy into the pods" in str(diagnosis)
