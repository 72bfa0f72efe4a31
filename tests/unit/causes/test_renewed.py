"""A certificate that is renewed, as it is each few weeks or hours, brings nothing but errors about certificates."""

from __future__ import annotations

from typing import Any

import pytest

from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.test_errors import KEY, told
from tests.unit.causes.test_while_they_run import fresh
from tests.unit.causes.test_written_later import OWN
from tests.unit.causes.world import SPACE, World, at

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


RENEWER, SYNCED = "cert-manager-certificates-issuing", "externalsecrets.external-secrets.io/used"


def _written(kind: str, by: str, minutes: float, keys: tuple[str, ...], error: str = KEY) -> World:
    """A release of six minutes ago brings this error; its pods' configuration was written so many minutes ago."""
    world = told(error, 350, 360, deployed=6)
    if keys == TLS:
        world.both(lambda spec: spec.update(volumes=[{"name": "t", "secret": {"secretName": "used"}}]))
    else:
        source = {"ConfigMap": "configMapRef", "Secret": "secretRef"}[kind]
        world.both(lambda spec: spec["containers"][0].update(envFrom=[{source: {"name": "used"}}]))
    return world.put(kind, "used", changed=minutes, by=by, data=dict.fromkeys(keys, "x"))


LOGIN = 'OperationalError: password authentication failed for user "web"'


@pytest.mark.parametrize(
    ("world", "applies", "asked"),
    [
        (lambda: _written("Secret", RENEWER, 3, TLS), True, ""),
        (lambda: _written("Secret", RENEWER, 5.5, TLS), True, ""),
        (lambda: _written("Secret", RENEWER, 3, TLS, ABOUT[0]), None, "perhaps to repair it"),
        (lambda: _written("Secret", "external-secrets", 2, ("A",)), True, ""),
        (lambda: _written("Secret", "external-secrets", 2, ("A",), LOGIN), None, "perhaps to repair it"),
        (lambda: _written("Secret", SYNCED, 2, ("A",)), True, ""),
        (lambda: _written("Secret", SYNCED, 2, ("STRIPE_KEY",), "KeyError: 'STRIPE_KEY'"), True, "perhaps to repair it"),
        (lambda: _written("Secret", "external-secrets", 2, ("STRIPE_KEY",), "ValidationError: stripe_key Field required"), None, "perhaps to repair it"),
        (lambda: _written("Secret", SYNCED, 2, ("OTHER_KEY",), "KeyError: 'STRIPE_KEY'"), True, ""),
        (lambda: _written("Secret", SYNCED, 2, ("token",), "KeyError: 'TOKENS'"), True, ""),
        (lambda: _by_variable(_written("Secret", SYNCED, 2, ("stripe",), "KeyError: 'PAY_KEY'")), True, "perhaps to repair it"),
        (lambda: _written("ConfigMap", "java", 2, ("QUEUE_SIZE",), "KeyError: 'QUEUE_SIZE'"), True, "perhaps to repair it"),
        (lambda: _written("Secret", "kubectl-edit", 2, ("A",)), True, "perhaps to repair it"),
        (lambda: _written("ConfigMap", "python-kubernetes", 0.1, ("A",)), True, ""),
        (lambda: _written("ConfigMap", "app", 0.1, ("A",)), True, ""),
        (lambda: _written("ConfigMap", "argocd-controller", 2, ("A",)), True, "perhaps to repair it"),
        (lambda: _beneath(_written("ConfigMap", "app", 0.1, ("A",))), True, "2 min ago: ConfigMap used"),
        (lambda: _written("ConfigMap", "OpenAPI-Generator", 0.1, ("A",), OWN), True, ""),
        (lambda: _written("Secret", "doppler-kubernetes-operator", 0.1, ("A",), OWN), True, ""),
        (lambda: _written("ConfigMap", "manager", 0.1, ("A",)), True, ""),
        (lambda: _written("ConfigMap", "manager", 2, ("A",), OWN), True, "perhaps to repair it"),
        (lambda: _beneath(_written("ConfigMap", "manager", 0.1, ("A",))), True, "2 min ago: ConfigMap used"),
    ],
    ids=["renewed since the alert", "renewed before it", "and the errors are about certificates", "refreshed", "and the errors are about a login",
         "refreshed by its real name", "the key that they name", "that key in other letters", "another key", "a word of many", "the variable that they name",
         "a portal's", "edited", "a counter", "the application's own", "declared", "edited beneath its heartbeat", "a heartbeat by Python's client",
         "refreshed by another store's", "another key by anybody", "anything by anybody", "edited beneath a heartbeat of anybody"],
)  # fmt: skip
async def test_one_rule_tells_what_brought_errors_and_what_may_have_repaired_them(
    world: Any, applies: bool | None, asked: str
) -> None:
    made = world()
    made.fired = 4
    diagnosis, steps = await made.look(HighErrorRate())
    origin, step = diagnosis.finding("errors.origin"), steps["roll-back"]
    assert origin is not None
    told_of = f"{origin.data['asks']} {step.asks}"
    assert asked in told_of, (step.why, told_of)
    if applies is not None:
        assert (step.applies, bool(step.asks)) == (applies, bool(asked)), (step.why, step.asks)
    assert not asked or asked.startswith("2 min") or "after the alert fired 4 min ago something" in told_of


def _by_variable(world: World) -> World:
    """Its key is read into a variable of another name."""
    source = {"valueFrom": {"secretKeyRef": {"name": "used", "key": "stripe"}}}
    return world.both(lambda spec: spec["containers"][0].update(env=[{"name": "PAY_KEY", **source}]))


def _beneath(world: World) -> World:
    """Somebody edited it two minutes ago, before its own last write."""
    entries = world.cluster.objects["ConfigMap", SPACE, "used"]["metadata"]["managedFields"]
    entries.append({"manager": "kubectl-edit", "time": at(minutes=2), "fieldsV1": {"f:data": {}}})
    return world


async def test_a_certificate_that_was_renewed_since_is_no_better_explanation_of_a_crash() -> None:
    world = (
        _mounts(fresh(), TLS, 3).crash(restarts=4, first=2).said("app", "NameError: name 'x' is not defined")
    )
    _, steps = await world.look(PodRestarting())
    assert steps["roll-back"].applies, steps["roll-back"].why
