"""A rig whose people are called: a policy with steps, PagerDuty's double without a connection, and a status page that writes down.

The incident is one that no rule is for, in an empty cluster; a person is called for it as the flow does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.domain import page_marks
from app.domain.json import canonical
from app.flow.notifying.record import escalate
from app.flow.services import Reach
from app.intake import pagerduty
from app.notify.client import Found, Posted
from app.notify.message import Message
from app.notify.pagerduty import PagerDutyAccess, PagerDutyClient
from app.notify.status_page import StatusPageClient
from app.notify.timeline import Escalation
from app.observe.pagerduty_on_call import OnCallNames
from app.observe.pagerduty_rest import PagerDutyRest
from app.policy.escalation import EscalationPolicy
from app.policy.model import Policy
from app.sim.scenario import Scenario
from app.store import escalations, incidents
from app.store.escalations import StoredEscalation
from app.store.incidents import Incident
from tests.doubles.pagerduty import API_TOKEN, ROUTING_KEY, USER, PagerDutyDouble
from tests.doubles.slack import SlackDouble
from tests.scenario import scenes
from tests.scenario.slack_rig import SlackNotebook, SlackRig

ON_CALL, SECOND, MANAGER = "on-call engineer", "secondary on-call", "engineering manager"
STEPS: list[dict[str, Any]] = [
    {
        "name": ON_CALL,
        "who": ["slack:U0ANA", "pagerduty-schedule:PSCHED1"],
        "page": True,
        "answer_within": "15m",
    },
    {"name": SECOND, "who": ["slack-group:S0SRE"], "answer_within": "30m"},
    {"name": MANAGER, "who": ["slack:U0MGR"], "answer_within": "1h"},
]
"""The runbook's path."""
STATUS_URL = "http://status.example.org/hook"
STATUS_TOKEN = "status-page-canary"
MINUTE = 60.0


def steps(*written: dict[str, Any], **others: Any) -> EscalationPolicy:
    """An escalation as a policy writes it."""
    return EscalationPolicy.model_validate_json(json.dumps({"steps": list(written) or STEPS, **others}))


@dataclass
class StatusPage:
    """The status page: what was posted to it; `fails` are answers of the next posts, 0 for one that is lost after it arrived."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    fails: list[int] = field(default_factory=list)
    seen: list[httpx.Request] = field(default_factory=list)

    def transport(self, request: httpx.Request) -> httpx.Response:
        """Take one."""
        self.seen.append(request)
        status = self.fails.pop(0) if self.fails else 200
        if status in (0, 200):
            self.posts.append(json.loads(request.content))
        if status == 0:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(status)


class FindingNotebook(SlackNotebook):
    """The channel can be read: what was posted before a death is found by its tag."""

    def __init__(self, double: SlackDouble) -> None:
        super().__init__(double)
        self.placed: dict[str, Posted] = {}

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        before, self.boundary = self.boundary, lambda _name: None
        before("post before")
        self.placed[client_tag] = await super().post(channel, message, thread_ts, client_tag)
        self.boundary = before
        self.boundary("post after")
        return self.placed[client_tag]

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: object) -> Found:
        return Found(posted=self.placed.get(tag))


@dataclass(slots=True)
class CallingRig(SlackRig):
    """The service with people to call."""

    pagerduty: PagerDutyDouble = field(default_factory=PagerDutyDouble)
    status: StatusPage = field(default_factory=StatusPage)

    def __post_init__(self) -> None:
        SlackRig.__post_init__(self)
        self.notebook = FindingNotebook(self.slack)
        self.notebook.boundary = self._cross
        self.pagerduty.on_call = {"PSCHED1": ["Ann Ops", "Ben Backup"]}
        self.groupbook.groups = {"S0SRE": frozenset({"U0BEN"})}
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.pagerduty.transport))
        access = PagerDutyAccess("http://pd", "http://pd", ROUTING_KEY, API_TOKEN, USER)
        self.pager = PagerDutyClient(access, http, self.clock)
        self.reach = Reach(pages=True, notes=True, status_page=True)
        self.on_call = OnCallNames(PagerDutyRest(http, "http://pd", API_TOKEN, self.clock), self.clock)
        page = httpx.AsyncClient(transport=httpx.MockTransport(self.status.transport))
        self.status_page = StatusPageClient(page, STATUS_URL, STATUS_TOKEN)

    async def handed_over(self, severity: str = "critical", why: str = "nothing helped") -> Incident:
        """An alert that no rule is for, handed to a person; the incident, with the first step asked."""
        alert = scenes.alert(self, alertname="Odd", severity=severity)
        receipt = await self.send(scenes.body(alert))
        await self.turn()
        await self.again(receipt.incident_ids[0], why)
        return await self.incident()

    async def again(self, incident_id: str, why: str, *, stuck: bool = False) -> None:
        """A person is needed for it (again)."""
        fact = Escalation(why, look_at=("remediator explain",), stuck=stuck)
        await self.store.write(
            lambda tx: escalate(tx, incidents.get(tx.conn, incident_id), fact, once=why, reopen=True)
        )
        await self.turn()
        await self.turn()

    async def incident(self) -> Incident:
        """The only one."""
        return await scenes.the_incident(self)

    async def later(self, minutes: float) -> None:
        """So many minutes in one stride, and what is due then."""
        self.clock.advance(minutes * MINUTE)
        for _ in range(3):
            await self.turn()

    @property
    def said(self) -> str:
        """All that stands in Slack, as it was sent."""
        return json.dumps([[m.text, m.blocks] for m in self.slack.channels["C0INCIDENTS"].messages])

    async def rounds(self) -> list[StoredEscalation]:
        """All rounds of the incident."""
        incident = await scenes.the_incident(self)
        return await self.store.read(lambda conn: escalations.of_incident(conn, incident.id))

    @property
    def heads(self) -> list[str]:
        """The heads of what the threads tell of the escalation, in order."""
        words = ("Asked ", "Acknowledged", "Nobody answered")
        heads = [text.splitlines()[0] for _, _, text in self.notebook.posts]
        return [head for head in heads if head.startswith(words)]

    async def pagerduty_says(
        self, kind: str, *, of: str = "", by: str = "Ann Ops", **data: Any
    ) -> Sequence[str]:
        """An event of PagerDuty about the page of this key (the newest one unless given), as it would send it. The touched incidents."""
        key = of or self.pagerduty.woken[-1]
        page = next(e for e in self.pagerduty.events if e["dedup_key"] == key and "payload" in e)
        about = {
            "id": "QPAGE",
            "type": "incident",
            "title": page["payload"]["summary"],
            "created_at": self.clock.now().isoformat(),
            **data,
        }
        agent = {"type": "user_reference", "id": "PUSER", "summary": by} if by else {
            "type": "inbound_integration_reference", "id": "PKEY", "summary": "alert-remediator"
        }  # fmt: skip
        event = {
            "id": self.services.ids.new("evt"),
            "event_type": kind,
            "occurred_at": self.clock.now().isoformat(),
            "data": about,
            "agent": agent,
        }
        delivery = pagerduty.parse(
            canonical({"event": event}).encode(),
            received_at=self.clock.now(),
            own_page=page_marks.reader(self.store.vault.key),
        )
        receipt = await self.store.ingest(delivery)
        await self.step(5)
        await self.turn()
        return receipt.incident_ids


def policy(escalation: EscalationPolicy | None = None, version: str = "one") -> Policy:
    """The shipped policy with these steps."""
    return scenes.policy({"escalation": escalation or steps(), "version": version})


async def calling_rig(path: Path, rules: Policy | None = None, **changes: Any) -> CallingRig:
    """A running one in an empty cluster, where virtual time costs nothing."""
    world = Scenario(name="empty", summary="nothing runs", namespace="rag7")
    rig = CallingRig(
        path / "rig.sqlite", world=world, stride=15.0, sweep=0.0, **{"use_api": False, **changes}
    )
    rig.policy = rules or policy()
    await rig.born()
    return rig
