"""Fixtures of the page's tests: a service on the broken release that asks before it acts, and browsers on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.domain.decision import Mode
from app.domain.outcome import RunState
from tests.doubles.oidc import Provider, serving
from tests.scenario.played import played
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, policy
from tests.scenario.web import URL, app_of
from tests.unit.page.browser import Browser, access
from tests.unit.page.login_there import sign_in_of


def _made(path: Path) -> Rig:
    rig = Rig(path, scenarios=("high-error-rate",))
    rig.policy = policy(mode=Mode.APPROVE)
    return rig


async def _waits(rig: Rig) -> None:
    async def waits() -> bool:
        return any(r.state is RunState.WAITING for r in await all_runs(rig))

    await rig.until(waits)


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """A service that asks a person before everything; for whom wants the run that waits, it has asked."""
    path = tmp_path / "rig.sqlite"
    if "asked" in request.fixturenames:
        made = await played("a plan that waits", path, _made, _waits)
    else:
        made = await _made(path).born()
    yield made
    await made.close()


@pytest.fixture
async def browser(rig: Rig) -> AsyncIterator[Browser]:
    """A browser that is not logged in."""
    made = Browser(app_of(rig, access()))
    yield made
    await made.close()


@pytest.fixture
async def asked(rig: Rig) -> str:
    """The run that waits for an answer."""
    await _waits(rig)
    return (await all_runs(rig))[-1].id


@pytest.fixture
async def provider(rig: Rig) -> AsyncIterator[Provider]:
    """A provider that does everything right."""
    async with serving(rig.clock, f"{URL}/login/oidc/callback") as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The service's client."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


@pytest.fixture
async def person(rig: Rig, provider: Provider, http: httpx.AsyncClient) -> AsyncIterator[Browser]:
    """A browser on a service with this provider."""
    made = Browser(app_of(rig, access(), sign_in=sign_in_of(rig, provider, http)))
    yield made
    await made.close()
