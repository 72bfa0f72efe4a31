"""A real store, a Slack and a PagerDuty double, and delivery services over them, for the tests of `app.flow.notifying.deliver`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx
from sqlalchemy import Connection

from app.domain.alert import Alert, AlertStatus, Delivery, Source
from app.domain.errors import Missing
from app.flow.calling import calls
from app.flow.notifying.deliver import deliver_once
from app.flow.notifying.sending import DeliverServices
from app.notify.pagerduty import PagerDutyAccess, PagerDutyClient
from app.notify.slack import SlackClient
from app.notify.timeline import Escalation, Fact, Timeline, Topic, fact_to_json, payload
from app.store import audit, escalations, incidents, outbox
from app.store.database import Store
from app.store.outbox import Message as Row
from app.store.tx import Tx
from tests.doubles import pagerduty as pagerduty_double
from tests.doubles import slack as slack_double
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.slack import SlackDouble
from tests.empty_store import put_empty_store
from tests.unit.notify import timelines
from tests.unit.notify.clock import SteppingClock

CHANNEL = "C0INCIDENTS"


class Counted:
    """Port `Ids`: ids in order."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):05d}"


@dataclass
class Rig:
    """`told` is what `story_of` tells; a test changes it as the incident moves."""

    store: Store
    clock: SteppingClock
    slack: SlackDouble
    pagerduty: PagerDutyDouble
    services: DeliverServices
    told: dict[str, Timeline] = field(default_factory=dict)
    attempts: list[tuple[str, str]] = field(default_factory=list)

    async def incident(self, name: str = "langgraph", timeline: Timeline = timelines.DECIDED) -> str:
        """Open an incident on Deployment `name`."""
        labels = {"alertname": "HighErrorRate", "namespace": "rag7", "deployment": name}
        alert = Alert(Source.ALERTMANAGER, name, AlertStatus.FIRING, timelines.OPENED, labels)
        receipt = await self.store.ingest(
            Delivery(
                Source.ALERTMANAGER, self.clock.now(), "test", (alert,), dedupe_key=name, body_digest=name
            )
        )
        incident_id = receipt.incident_ids[0]
        self.told[incident_id] = replace(timeline, incident_id=incident_id, target=f"rag7/Deployment/{name}")
        return incident_id

    def move(self, incident_id: str, timeline: Timeline) -> None:
        """The story goes on: the incident now stands as `story` does."""
        self.told[incident_id] = replace(
            timeline, incident_id=incident_id, target=self.told[incident_id].target
        )

    async def put(self, incident_id: str, topic: Topic, fact: Fact | None = None) -> str:
        """Queue a message as the flow does."""
        message_id = f"{incident_id}:{topic.value}"
        await self.store.write(lambda tx: tx.put(message_id, incident_id, topic.value, payload(topic, fact)))
        return message_id

    async def call(self, incident_id: str, fact: Escalation) -> str:
        """Queue the thread's entry, the page and the note of an escalation whose first step pages; the id of the page's row."""

        def write(tx: Tx) -> None:
            escalations.begin(tx, incident_id, incident_id, fact_to_json(Topic.ESCALATED, fact))
            (of,) = escalations.of_incident(tx.conn, incident_id)
            escalations.ask(tx, of, "on-call", page_key=incident_id, due_at=None)
            calls.put_page(tx, of, incident_id, calls.Do.TRIGGER)
            calls.put_note(tx, of, "called")

        await self.put(incident_id, Topic.ESCALATED, fact)
        await self.store.write(write)
        return f"{incident_id}:page"

    async def deliver(self, services: DeliverServices | None = None, *, passes: int = 20) -> None:
        """Deliver until nothing is due now."""
        for _ in range(passes):
            if not await deliver_once(services or self.services):
                return
        raise AssertionError(f"still busy after {passes} passes")

    async def row(self, message_id: str) -> Row:
        return await self.store.read(lambda conn: outbox.get(conn, message_id))

    async def thread_of(self, incident_id: str) -> tuple[str, str]:
        incident = await self.store.read(lambda conn: incidents.get(conn, incident_id))
        return incident.thread_channel, incident.thread_ts

    async def audited(self, incident_id: str) -> list[str]:
        """Kinds of the incident's audit events about messages, with what went wrong."""
        records = await self.store.read(lambda conn: list(audit.each_of_incident(conn, incident_id)))
        return [
            f"{r.kind}: {r.data.get('error') or r.data.get('channel')}"
            for r in records
            if r.kind.startswith("message.")
        ]


@asynccontextmanager
async def rig_at(folder: Path) -> AsyncIterator[Rig]:
    """Everything set up, closed at the end."""
    clock = SteppingClock()
    slack, pagerduty = SlackDouble(clock.now, pace=1), PagerDutyDouble()
    store = Store.open(put_empty_store(folder / "state.db"), clock=clock, ids=Counted())
    try:
        async with (
            slack_double.serving(slack) as slack_url,
            pagerduty_double.serving(pagerduty) as pd_url,
            httpx.AsyncClient(timeout=1) as http,
        ):
            told: dict[str, Timeline] = {}
            attempts: list[tuple[str, str]] = []

            def timeline_of(_conn: Connection, incident_id: str) -> Timeline:
                if incident_id not in told:
                    raise Missing("no such incident", where=incident_id)
                return told[incident_id]

            access = PagerDutyAccess(
                pd_url,
                pd_url,
                pagerduty_double.ROUTING_KEY,
                pagerduty_double.API_TOKEN,
                pagerduty_double.USER,
            )
            services = DeliverServices(
                store=store,
                clock=clock,
                client=SlackClient(token=slack_double.TOKEN, base_url=slack_url, clock=clock, timeout=1),
                timeline_of=timeline_of,
                channel="#incidents",
                replica="remediator-0",
                boot="boot-1",
                pager=PagerDutyClient(access, http, clock),
                attempted=lambda channel, result: attempts.append((channel, result)),
            )
            yield Rig(store, clock, slack, pagerduty, services, told, attempts)
    finally:
        store.close()
