"""The rig with a Slack: messages go to the Slack double, clicks come back signed, through the service's own endpoint.

All in one process and on virtual time, so that two clicks 50 ms apart, a kill while a question stands and an hour's
snooze are as exact as everything else of the rig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from app.domain.decision import Mode
from app.domain.errors import ProbeUnavailable
from app.flow.people.clicks import Interactions
from app.intake.auth import Access
from app.notify.blocks import to_slack
from app.notify.buttons import Click
from app.notify.client import Found, Posted
from app.notify.groups import Groups
from app.notify.message import Message
from app.notify.replies import Place
from app.policy.model import Approval, Policy
from app.store.runs import Run
from app.web.app import create_app
from app.web.services import WebServices
from tests.doubles import slack_click
from tests.doubles.slack import TOKEN, SlackDouble, Stored
from tests.doubles.slack_click import SECRET, Signed
from tests.scenario import scenes
from tests.scenario.notebook import Notebook
from tests.scenario.rig import Rig

ANA, BEN, EVE = "U0ANA", "U0BEN", "U0EVE"
HOUR = 3600.0


class SlackNotebook(Notebook):
    """A message door straight into the double, with its limits and its answers."""

    def __init__(self, double: SlackDouble) -> None:
        super().__init__()
        self.double = double

    def _call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.double._answer(method, {"Authorization": f"Bearer {TOKEN}"}, dict(body))
        assert answer["ok"], answer
        return answer

    def knows(self, posted: Posted) -> bool:
        return posted.channel == "C0INCIDENTS"

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        await super().post(channel, message, thread_ts, client_tag)
        shown = to_slack(message)
        body = {"channel": channel, "text": shown.text, "blocks": list(shown.blocks), "thread_ts": thread_ts}
        answer = self._call("chat.postMessage", body)
        return Posted(answer["channel"], answer["ts"])

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        shown = to_slack(message)
        body = {"channel": posted.channel, "ts": posted.ts, "text": shown.text, "blocks": list(shown.blocks)}
        self._call("chat.update", body)
        return posted

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: object) -> Found:
        return Found(unknown="the double keeps no tags here")


@dataclass
class Whispers:
    """Replies, by person."""

    got: list[tuple[str, str]] = field(default_factory=list)

    async def reply(self, place: Place, text: str) -> None:
        """Note it."""
        self.got.append((place.user, text))

    def to(self, user: str) -> str:
        """All that this person was told."""
        return "\n".join(text for who, text in self.got if who == user)


@dataclass
class Groupbook:
    """User groups; `away` makes them unreadable."""

    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    away: bool = False
    asked: int = 0

    async def members(self, group: str) -> frozenset[str]:
        """Ids in the group."""
        self.asked += 1
        if self.away:
            raise ProbeUnavailable("Slack did not answer")
        return self.groups[group]


@dataclass(slots=True)
class SlackRig(Rig):
    """A rig whose people are in Slack."""

    operators: frozenset[str] = frozenset({ANA})
    people: dict[str, str] = field(default_factory=dict)
    slack: SlackDouble = field(init=False)
    whispers: Whispers = field(default_factory=Whispers)
    groupbook: Groupbook = field(default_factory=Groupbook)
    interactions: Interactions = field(init=False)
    client: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.slack = SlackDouble(self.clock.now)
        self.notebook = SlackNotebook(self.slack)
        Rig.__post_init__(self)

    async def born(self) -> SlackRig:
        """Start (again)."""
        await Rig.born(self)
        known = {alias: name for name, user in self.people.items() for alias in (name, f"slack:{user}")}
        self.services.people.update(known)  # type: ignore[attr-defined]  # a dict, as the rig makes it
        self.interactions = Interactions(
            self.services, self.whispers, Groups(self.groupbook, self.clock), self.operators
        )
        nothing = cast("Any", None)
        web = WebServices(
            store=self.store,
            access=Access(slack_secret=SECRET),
            clock=self.clock,
            ids=self.services.ids,
            metrics=self.services.metrics,
            nudge=lambda: None,
            ready=nothing,
            operations=nothing,
            views=nothing,
            check_order=nothing,
            check_target=nothing,
            interactions=self.interactions,
        )
        transport = httpx.ASGITransport(create_app(web))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://rig")
        return self

    @property
    def parent(self) -> Stored:
        """The newest incident's message."""
        return self.slack.roots()[-1]

    @property
    def buttons(self) -> list[str]:
        """Labels of the buttons there now."""
        return slack_click.labels_of(self.parent)

    def signed(self, button: Click, user: str, value: str | None = None) -> Signed:
        """A click as Slack would send it now."""
        return self.slack.click(self.parent, button.value, user, value=value)

    async def deliver_click(self, request: Signed) -> int:
        """Send it to the service; the status it got."""
        url = "/webhooks/slack/interactions"
        answer = await self.client.post(url, content=request.body, headers=request.headers)
        await self.interactions.idle()
        return answer.status_code

    async def click(self, button: Click, user: str = ANA, value: str | None = None) -> str:
        """Click a button; what the clicker was told."""
        before = len(self.whispers.got)
        assert await self.deliver_click(self.signed(button, user, value)) == 200
        await self.turn()
        return "\n".join(text for _, text in self.whispers.got[before:])

    async def asked(self) -> Run:
        """Let time pass until a question stands in the channel; its run."""
        await self.until(lambda: bool(self.slack.roots()) and "Approve" in self.buttons)
        return (await scenes.all_runs(self))[-1]

    def counted(self, action: str, result: str) -> float:
        """Clicks of this kind so far."""
        found = self.services.metrics.registry.get_sample_value(
            "remediator_clicks_total", {"action": action, "result": result}
        )
        return found or 0.0


def asking(**approval: Any) -> Policy:
    """The shipped policy with every rule asking; `approval` as a rule says it."""
    return scenes.policy(mode=Mode.APPROVE, approval=Approval(**approval))


async def slack_rig(path: Path, *, scenario: str = "high-error-rate", **changes: Any) -> SlackRig:
    """A running one, asking before everything unless `rules` says otherwise."""
    rules = changes.pop("rules", None) or asking()
    rig = SlackRig(path / "rig.sqlite", scenarios=(scenario,), **changes)
    rig.policy = rules
    return await rig.born()
