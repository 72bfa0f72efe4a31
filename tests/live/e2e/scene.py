"""Owns scenes: one workload, the service that looks after it, and the people in its channel, for a script to act with.

A script does what can be done at once and yields a question whenever it has to wait; it goes on once the answer is true.
`tests.live.e2e.stage` tells many side by side. Each has a namespace, a database, a Slack channel and people of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.domain.json import Obj
from app.notify.buttons import Click
from app.web.slack import SlackInteractions
from tests.doubles import slack_click
from tests.doubles.slack import Stored
from tests.doubles.slack_click import SECRET, Signed
from tests.live.certmanager import CertManager
from tests.live.e2e.service import INGEST, Place, Service, body_of, policy
from tests.live.e2e.shop import Shop
from tests.live.e2e.slack import SlackServer
from tests.live.stack import AlertmanagerFactory, ControlPlane, Mutation, Postgres, Redis

Question = Callable[[], object]
Script = Generator[Question, None, None]

_SERVE = ("tests.live.e2e.command", "serve")
NOT_YET = (httpx.TransportError, httpx.HTTPStatusError, IndexError, KeyError, ValueError)
"""What a question may raise while its answer is not there: nobody serves, nothing was posted."""


@dataclass(frozen=True)
class Tools:
    """What scenes are made with. Servers are started by the first scene that wants them."""

    plane: ControlPlane
    slack: SlackServer
    new_place: Callable[..., Place]
    alertmanager: AlertmanagerFactory
    postgres: Callable[[], Postgres]
    redis: Callable[[], Redis]
    cert_manager: Callable[[], CertManager]


@dataclass(frozen=True)
class Cast:
    """Who takes part. `of_rules` are keys of every rule; `of_policy` are keys beside the rules.

    `asks`: the service asks Alertmanager's API, which has the alerts then. `writes`: it may write in the namespace.
    """

    replicas: int = 1
    on_postgres: bool = False
    asks: bool = False
    writes: bool = True
    of_rules: Mapping[str, Any] = field(default_factory=dict)
    of_policy: Callable[[Shop], Mapping[str, Any]] = lambda _shop: {}


def _ruled(cast: Cast, shop: Shop) -> str:
    document = json.loads(policy(**cast.of_policy(shop)))
    for rule in document["rules"]:
        rule.update(cast.of_rules)
    return json.dumps(document, indent=1)


class Scene:
    """One workload, the replicas that look after it, and the people in its channel."""

    def __init__(self, tools: Tools, cast: Cast) -> None:
        self.tools = tools
        self.shop = Shop(tools.plane, writes=cast.writes)
        self.database = self.fresh_database() if cast.on_postgres else ""
        self.place = tools.new_place(policy_text=_ruled(cast, self.shop), database_url=self.database)
        self.ana, self.ben = (f"U0{name}{self.place.channel}" for name in ("ANA", "BEN"))
        self.services = [Service(self.place, f"replica-{n}") for n in range(cast.replicas)]
        self.alertmanager = tools.alertmanager(self.services[0].webhook, INGEST) if cast.asks else None
        extra = {"SLACK_SIGNING_SECRET": SECRET, "SLACK_OPERATORS": f"{self.ana},{self.ben}"}
        if self.alertmanager is not None:
            dependencies = {"postgres": tools.postgres().dsn, "redis": tools.redis().url}
            extra |= {"ALERTMANAGER_URL": self.alertmanager.url, "DEPENDENCIES": json.dumps(dependencies)}
        self.place.extra = extra
        self.began = datetime.now(UTC)
        self._fired = False

    def fresh_database(self) -> str:
        """An empty database on Postgres."""
        return self.tools.postgres().fresh_database()

    def opens(self, **of_shop: Any) -> Script:
        """The workload is up and every replica serves."""
        self.shop.begin(**of_shop)
        for service in self.services:
            service.fork(_SERVE)
        for service in self.services:
            yield _up(service)
        yield self.shop.settled
        self.began = datetime.now(UTC)

    def closes(self) -> None:
        """The scene is over: nobody needs the processes any more."""
        for service in self.services:
            if not service.dead:
                service.kill_and_leave()
        if self.alertmanager is not None:
            self.alertmanager.stop()

    @property
    def service(self) -> Service:
        """A replica that lives."""
        return next(s for s in self.services if not s.dead)

    def dies(self, service: Service) -> Script:
        """The process is killed as by kill -9."""
        service.kill_and_leave()
        yield lambda: service.dead

    def comes_back(self, service: Service) -> Script:
        """The same replica on what it left behind."""
        service.fork(_SERVE)
        yield _up(service)

    def passes_expiry(self) -> None:
        """The end of the question passes while nobody serves: moved into the past, as a minute would be long."""
        with closing(sqlite3.connect(self.place.folder / "state" / "remediator.sqlite")) as store, store:
            store.execute("UPDATE runs SET expires_at = requested_at")

    def ask(self, *arguments: str) -> Generator[Question, None, tuple[int, str]]:
        """`remediator ...` as a person gives it: exit code, and stdout and stderr together."""
        forked = self.service.ask(*arguments)
        yield lambda: not forked.running
        return int(forked.exit_code or 0), forked.log.read_text("utf-8")

    def owner(self) -> Service:
        """The replica that drives the run, by the workflow library's own table."""
        query = (
            f"SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid LIKE '{self.run['id']}~%'"
            " ORDER BY created_at DESC LIMIT 1"
        )
        name = self.tools.postgres().execute(query, self.database)
        return next(s for s in self.services if s.replica == name)

    def labels(self, alertname: str = "HighLatency") -> dict[str, str]:
        """Labels of an alert about the workload."""
        return {"alertname": alertname, **self.shop.labels}

    def fire(self, alertname: str = "HighLatency", *, resolved: bool = False) -> None:
        """Send the alert, or its end."""
        labels = self.labels(alertname)
        if not (self._fired or resolved):  # what was done to the workload before is no hand
            self.shop.wait_out_last_second()
            self.began, self._fired = datetime.now(UTC), True
        if self.alertmanager is not None:
            tell = self.alertmanager.resolve if resolved else self.alertmanager.fire
            tell(labels, {"summary": f"{alertname} in {self.shop.namespace}"})
            return
        answer = self.service.post(body_of(labels, self.began, resolved=resolved))
        assert answer.status_code == 202, answer.text

    def fixed(self, changed: Question, alertname: str = "HighLatency") -> Script:
        """From the change to the end of the run: the alert resolves. Slack, which takes a message a second, is told later."""
        yield changed
        self.fire(alertname, resolved=True)
        yield lambda: self.run["state"] in ("fixed", "contained")

    def says(self, word: str) -> Question:
        """Whether the message begins with this word."""
        return lambda: self.parent.startswith(f"*{word}")

    def scaled(self, replicas: int) -> Question:
        """Whether the workload wants so many pods."""
        return lambda: self.shop.get()["spec"]["replicas"] == replicas

    @property
    def state(self) -> str:
        """The newest incident's state."""
        return str(self.service.incidents(self.shop.namespace)[0]["state"])

    @property
    def run(self) -> Obj:
        """The newest run."""
        return self.service.run_of(self.service.incidents(self.shop.namespace)[0])

    def ended(self, state: str) -> Question:
        """Whether the newest run is in this state."""
        return lambda: self.run["state"] == state

    @property
    def root(self) -> Stored:
        """The incident's message in the channel."""
        (root,) = self.tools.slack.state.roots(self.place.channel)
        return root

    @property
    def parent(self) -> str:
        """What the incident's message says now."""
        return self.root.readable()

    @property
    def entries(self) -> list[str]:
        """The replies below it, oldest first."""
        return self.tools.slack.entries(self.place.channel)

    @property
    def thread(self) -> str:
        """All of them as one text."""
        return "\n".join(self.entries)

    def last(self, words: str) -> Question:
        """Whether the newest reply has these words."""
        return lambda: words in self.entries[-1]

    @property
    def buttons(self) -> list[str]:
        """Labels of the buttons there now."""
        return slack_click.labels_of(self.root)

    def asks(self) -> bool:
        """Whether a question stands in the channel."""
        return "Approve" in self.buttons

    def value(self) -> str:
        """What a button of the newest run carries, also when it is shown no more."""
        run = self.run
        return f"{run['id']}:{run['step_index']}:{run['plan_hash'][:16]}"

    def signed(self, button: Click, user: str = "", value: str | None = None) -> Signed:
        """A click as Slack would send it now."""
        return self.tools.slack.state.click(self.root, button.value, user or self.ana, value=value)

    def forged(self, button: Click, *, secret: str = SECRET, age: float = 0.0) -> Signed:
        """A click that somebody else signed, or that was signed so many seconds ago."""
        now = datetime.now(UTC)
        body = slack_click.payload(self.root, button.value, self.ana, now=now)
        return slack_click.signed(body, now=now - timedelta(seconds=age), secret=secret)

    def send(self, request: Signed) -> int:
        """Deliver a click; the status that Slack gets."""
        return self.service.deliver(SlackInteractions.path, request.body, request.headers)

    def click(self, button: Click, user: str = "", value: str | None = None) -> None:
        """Click a button."""
        assert self.send(self.signed(button, user, value)) == 200

    def told(self, user: str) -> str:
        """What only this person was told."""
        return "\n".join(text for who, text in self.tools.slack.state.whispers if who == user)

    @property
    def written(self) -> list[Mutation]:
        """What the service has changed, by the API server's audit log."""
        return self.shop.written

    def trust_level(self) -> str:
        """Where things stand, for whoever reads of a failure."""
        told = [f"logs: {', '.join(str(s.log) for s in self.services)}"]
        with suppress(*NOT_YET, StopIteration):
            told.append(f"incident {self.state}, run {self.run}")
        return "; ".join(told)


def _up(service: Service) -> Question:
    """Whether it serves. Raises RuntimeError with the end of its log when it has exited."""

    def approvals() -> bool:
        if service.process is not None:
            service.process.check()
        return service.serves()

    return approvals
