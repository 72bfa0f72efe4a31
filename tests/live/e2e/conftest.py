"""Owns the fixtures of the end-to-end tests: the doubles of Slack and Prometheus, places for services, and the stage that tells the scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live.certmanager import CertManager
from tests.live.e2e.prometheus import PrometheusServer
from tests.live.e2e.scene import Tools
from tests.live.e2e.service import Place
from tests.live.e2e.slack import SlackServer
from tests.live.e2e.stage import Stage, selected
from tests.live.stack import AlertmanagerFactory, ControlPlane, MetricsServer, Postgres, Redis


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    """The Slack double, for all tests; each service has a channel of its own."""
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def prometheus() -> Iterator[PrometheusServer]:
    """The Prometheus of all services: every workload is at its CPU limit."""
    with PrometheusServer() as server:
        yield server


@pytest.fixture(scope="session")
def new_place(
    control_plane: ControlPlane,
    slack: SlackServer,
    prometheus: PrometheusServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Place]:
    """Makes places with a folder and a channel of their own."""
    numbers = iter(range(1000))

    def make(**options: Any) -> Place:
        name = f"place-{next(numbers)}"
        folder, channel = tmp_path_factory.mktemp(name), slack.channel(name)
        return Place(folder, control_plane, slack.url, channel, prometheus_url=prometheus.url, **options)

    return make


@pytest.fixture(scope="session")
def stage(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    slack: SlackServer,
    new_place: Callable[..., Place],
    alertmanager: AlertmanagerFactory,
    metrics_api: MetricsServer,
) -> Iterator[Stage]:
    """All selected scenes, told side by side, on a cluster that knows what its pods use."""
    del metrics_api

    def postgres() -> Postgres:
        found: Postgres = request.getfixturevalue("postgres")
        return found

    def redis() -> Redis:
        found: Redis = request.getfixturevalue("redis")
        return found

    def cert_manager() -> CertManager:
        found: CertManager = request.getfixturevalue("cert_manager")
        return found

    tools = Tools(control_plane, slack, new_place, alertmanager, postgres, redis, cert_manager)
    told = Stage(tools, list(selected(request.session.items)))
    yield told
    told.close()
