"""Owns the fixtures of the end-to-end tests: one service for those that do not kill it, and places for the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live.e2e.service import INGEST, Place, Service
from tests.live.e2e.shop import Shop
from tests.live.e2e.slack import SlackServer
from tests.live.stack import Alertmanager, AlertmanagerFactory, ControlPlane, Postgres, Redis, wait_until


@dataclass(frozen=True)
class Site:
    """A service that runs, the Alertmanager that feeds it, and the Slack that hears of it."""

    service: Service
    alertmanager: Alertmanager
    slack: SlackServer
    channel: str

    def told(self, namespace: str, last: str) -> tuple[str, list[str]]:
        """Waits for a reply with these words, and gives parent and replies. Slack takes one message a second."""
        wait_until(
            lambda: last in "".join(self.thread_of(namespace)[1][-1:]),
            90.0,
            what=f"{last!r} in the thread of {namespace}",
            ignoring=(ValueError,),
        )
        return self.thread_of(namespace)

    def thread_of(self, namespace: str) -> tuple[str, list[str]]:
        """Parent and replies of the only thread about a namespace."""
        (root,) = [m for m in self.slack.state.roots(self.channel) if namespace in m.readable()]
        return root.readable(), [m.readable() for m in self.slack.state.thread(root.ts, self.channel)]


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    """The Slack double, for all tests; each service has a channel of its own."""
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def new_place(
    control_plane: ControlPlane, slack: SlackServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Place]:
    """Makes places with a folder and a channel of their own."""
    numbers = iter(range(1000))

    def make(**options: Any) -> Place:
        name = f"place-{next(numbers)}"
        return Place(tmp_path_factory.mktemp(name), control_plane, slack.url, slack.channel(name), **options)

    return make


@pytest.fixture(scope="session")
def site(
    new_place: Callable[..., Place],
    slack: SlackServer,
    alertmanager: AlertmanagerFactory,
    postgres: Postgres,
    redis: Redis,
) -> Iterator[Site]:
    """One service on SQLite that asks Alertmanager's API and knows its dependencies."""
    place = new_place()
    dependencies = {"postgres": postgres.dsn, "redis": redis.url}
    service = Service(place)
    source = alertmanager(service.webhook, INGEST)
    place.extra = {"ALERTMANAGER_URL": source.url, "DEPENDENCIES": json.dumps(dependencies)}
    with ExitStack() as stack:
        stack.callback(service.close)
        service.serve()
        yield Site(service, source, slack, place.channel)


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """A workload in a namespace of its own, where the service may do all that it ever does."""
    return Shop(control_plane)
