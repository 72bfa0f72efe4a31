"""A certificate that is renewed, as it is each few weeks or hours, brings nothing but errors about certificates."""

from __future__ import annotations

import pytest

from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.test_errors import KEY, told
from tests.unit.causes.test_while_they_run import fresh
from tests.unit.causes.world import World

TLS = ("tls.crt", "tls.key", "ca.crt")
ABOUT = (
    "ssl.SSLCertVerificationError: certificate verify failed",
    "x509: certificate signed by unknown authority",
    "tls: private key does not match public key",
    "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
    "Error: unable to load keystore",
)


def _mounts(world: World, keys: tuple[str, ...], changed: float) -> World:
    """Pods with a Secret in a volume that was written so many minutes ago."""
    world.both(lambda spec: spec.update(volumes=[{"name": "t", "secret": {"secretName": "tls"}}]))
    return world.config("tls", changed=changed, keys=keys, kind="Secret")


async def _asks(world: World) -> str:
    diagnosis, _ = await world.look(HighErrorRate())
    origin = diagnosis.finding("errors.origin")
    assert origin is not None
    return str(origin.data["asks"])


@pytest.mark.parametrize("changed", [7, 20, 300, 1_400])
async def test_a_renewed_certificate_is_no_question_for_an_error_about_something_else(changed: float) -> None:
    assert await _asks(_mounts(told(KEY, 350, 360, deployed=6), TLS, changed)) == ""


@pytest.mark.parametrize("error", ABOUT)
async def test_for_one_about_certificates_it_is(error: str) -> None:
    assert "Secret tls was changed 14 min before the rollout" in await _asks(
        _mounts(told(error, 350, 360, deployed=6), TLS, 20)
    )


async def test_one_among_the_errors_is_enough() -> None:
    world = _mounts(told(KEY, 350, 360, deployed=6), TLS, 20)
    for rows in world.cluster.timed.values():
        rows.append((rows[-1][0], f"ERROR {ABOUT[0]}"))
    assert "Secret tls was changed" in await _asks(world)


async def test_a_secret_with_anything_else_in_it_is_a_question() -> None:
    world = _mounts(told(KEY, 350, 360, deployed=6), (*TLS, "password"), 20)
    assert "Secret tls was changed" in await _asks(world)


@pytest.mark.parametrize(
    ("said", "asks"), [("NameError: name 'x' is not defined", False), (ABOUT[2], True), ("", True)]
)
async def test_of_a_crash_its_last_words_tell(said: str, asks: bool) -> None:
    """Where it said nothing it may have been the certificate."""
    world = _mounts(fresh(), TLS, 17).crash(restarts=4)
    _, steps = await (world.said("app", said) if said else world).look(PodRestarting())
    step = steps["roll-back"]
    assert (step.applies, "Secret tls was changed 12 min before" in step.asks) == (True, asks), (
        step.asks,
        step.why,
    )
