"""Clicks: a button clicked in Slack, from who clicked it to what it did, and a word to them when it did not.

Called by the web and, for Socket Mode, by the composition root. Every click is taken once, whichever way and however often
it is delivered: the transaction that does what it asks for also marks it as taken. A click has no rights of its own: the
rule and the settings say who may do what, and the answer counts only for the plan that was shown under the button. What takes longer than a few commits goes on after Slack got its 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from app.domain.errors import BadInput, CommitUnclear, Refused, RemediatorError, TryLater
from app.domain.events import EventKind
from app.domain.free_text import one_line
from app.domain.target import Target
from app.domain.units import utc
from app.flow.calling import escalation
from app.flow.notifying.record import announce
from app.flow.people import approve, approvers, explain, promotion
from app.flow.people.approve import Said
from app.flow.people.approvers import Approver
from app.flow.services import Services
from app.flow.undoing import undo_order
from app.intake import slack
from app.notify.buttons import Click as Button
from app.notify.buttons import Token, read_subject, read_token
from app.notify.groups import Groups
from app.notify.replies import Place, Replies
from app.notify.timeline import Topic
from app.policy.model import SLACK_GROUP, Rule
from app.store import approvals, people, runs
from app.store.approvals import Click, Repeated, Word
from app.store.tx import Tx

log = structlog.get_logger(__name__)

PAUSE = timedelta(hours=1)
_ANSWERS: dict[Button, Word] = {
    Button.APPROVE: "approved",
    Button.REJECT: "rejected",
    Button.SNOOZE: "snoozed",
}
_KNOWN = frozenset(button.value for button in Button)


@dataclass(slots=True)
class Interactions:
    """Takes clicks. `operators` are Slack users and user groups (`U…`, `S…`) who may undo and pause, and answer where a
    rule names nobody; empty means nobody may."""

    services: Services
    replies: Replies
    groups: Groups
    operators: frozenset[str] = frozenset()
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, payload: Any) -> asyncio.Task[None]:
        """Start to deal with an interaction. The task ends when everything is stored; it goes on when nobody waits."""
        return self._spawn(self._take_all(payload), "click")

    async def receive(self, payload: Any) -> None:
        """Deal with an interaction that came without HTTP."""
        await asyncio.wait({self.begin(payload)})

    async def idle(self) -> None:
        """Wait until every click was dealt with and every reply was tried."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self, seconds: float = 5.0) -> None:
        """Give what is under way a little time, then end it."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("click_failed", task=task.get_name(), exc_info=error)
            self._count("unknown", "failed")

    async def _take_all(self, payload: Any) -> None:
        try:
            found = slack.clicks(payload)
        except BadInput as error:
            log.warning("click_not_understood", where=error.where, error=error.message)
            self._count("unknown", "ignored")
            return
        for click in found:
            with structlog.contextvars.bound_contextvars(click=click.action, user=click.user):
                await self._take(click)

    async def _take(self, click: slack.Click) -> None:
        """One click: once, and with a reply when its clicker would otherwise not learn what became of it."""
        name = click.action.removeprefix("remediator.") if click.action in _KNOWN else "unknown"
        try:
            text = await self._do(click)
        except Repeated:
            self._count(name, "repeated")
            return
        except Refused as refusal:
            self._count(name, "refused")
            text = await self._refusal(click, refusal)
        except RemediatorError as error:
            self._count(name, "failed")
            log.warning("click_not_done", code=error.code, error=error.message)
            text = _not_done(click, error)
        else:
            self._count(name, "taken" if name != "unknown" else "ignored")
        if text:
            place = Place(click.user, click.channel, click.thread, click.url)
            self._spawn(self.replies.reply(place, text), "reply")

    def _count(self, action: str, result: str) -> None:
        self.services.metrics.clicks.labels(action, result).inc()

    async def _do(self, click: slack.Click) -> str:
        """What to reply; empty when the edited message says it all."""
        token = read_token(click.value)
        if click.action == Button.ACKNOWLEDGE and (subject := read_subject(click.value)):
            return await self._acknowledge(click, subject)
        if click.action not in _KNOWN or token is None:
            await self.services.store.write(lambda tx: _ignored(tx, click))
            return ""
        button = Button(click.action)
        if button in _ANSWERS:
            return await self._answer(click, token, _ANSWERS[button])
        if button is Button.EXPLAIN:
            text = await self.services.store.read(lambda conn: explain.explained(conn, token.run_id))
            await self.services.store.write(lambda tx: approvals.take(tx, click.key))
            return text
        if button is Button.PROMOTE:
            return await self._promote(click, token)
        await self.services.store.read(lambda conn: runs.get(conn, token.run_id))
        await self._require_operator(click, token)
        who = self._name(click.user)
        if button is Button.UNDO:
            await undo_order.request(self.services, token.run_id, who, Click(click.key))
            self.services.deliver_nudge()
            return "Undoing; the message tells how it ends."
        if button is Button.WITHDRAW:
            return await self._withdraw(click, token, who)
        return await self._pause(click, token, who)

    async def _answer(self, click: slack.Click, token: Token, word: Word) -> str:
        run = await self.services.store.read(lambda conn: runs.get(conn, token.run_id))
        named = Rule.from_json(run.settings["rule"]).approval.by if run.settings else ()
        approver = await self._approver(click.user, named)
        said = Said(word, approver, token.plan_hash, token.step_index, click.key)
        done = await approve.answer(self.services, token.run_id, said)
        return f"Counted: {done['text']}." if done["answer"] == "counted" else ""

    async def _promote(self, click: slack.Click, token: Token) -> str:
        """Confirm a promotion that waits: by the rule's approvers, once, for the very question that was shown."""
        named = await self.services.store.read(
            lambda conn: promotion.approvers_of(self.services, conn, token.run_id, token.plan_hash)
        )
        approver = await self._approver(click.user, tuple(named))
        done = await promotion.confirm(self.services, token.run_id, token.plan_hash, approver, click.key)
        return f"Counted: {done['text']}." if done["answer"] == "counted" else ""

    async def _acknowledge(self, click: slack.Click, subject: str) -> str:
        """Take an incident or storm. Whom the policy's steps ask may answer, and so may the operators."""
        policy = self.services.policy().escalation
        unread: list[str] = []
        named = policy.named if policy is not None else frozenset()
        asked = f"{approvers.SLACK}{click.user}" in named or any(
            [
                await self._is_in(name.removeprefix(SLACK_GROUP), click.user, unread)
                for name in sorted(named)
                if name.startswith(SLACK_GROUP)
            ]
        )
        if not asked and not await self._is_operator(click.user, unread):
            text = "; ".join(
                [
                    "only whom the escalation asks, and REMEDIATOR_SLACK_OPERATORS, take an incident from Slack",
                    *unread,
                ]
            )
            refusal = Refused(text, code="not_asked", where=click.user)
            await self.services.store.write(lambda tx: _not_taken(tx, click, subject, refusal))
            raise refusal
        who = self._name(click.user)
        done = await escalation.acknowledge(self.services, subject, who, "Slack", Click(click.key))
        return f"{done['by']} has it already." if done["answer"] == "already" else ""

    async def _approver(self, user: str, named: tuple[str, ...]) -> Approver:
        """Who clicked, under all names that this rule may list; groups are read only when nothing else is enough."""
        name, by_id = self._name(user), f"{approvers.SLACK}{user}"
        names = {name, *approvers.names_of(by_id, self.services.people)}
        unread: list[str] = []
        if not names & set(named):
            for group in (n for n in named if n.startswith(SLACK_GROUP)):
                if await self._is_in(group.removeprefix(SLACK_GROUP), user, unread):
                    names.add(group)
                    break
        operator = not named and await self._is_operator(user, unread)
        return Approver(name, frozenset(names), operator, tuple(unread))

    def _name(self, user: str) -> str:
        """The name for the audit trail: that of the person when a setting knows them."""
        by_id = f"{approvers.SLACK}{user}"
        return self.services.people.get(by_id, by_id)

    async def _is_operator(self, user: str, unread: list[str]) -> bool:
        if user in self.operators:
            return True
        groups = sorted(o for o in self.operators if o.startswith("S"))
        return any([await self._is_in(group, user, unread) for group in groups])

    async def _is_in(self, group: str, user: str, unread: list[str]) -> bool:
        """A group that cannot be read has nobody in it, and the clicker is told so."""
        try:
            return await self.groups.has(group, user)
        except RemediatorError as error:
            unread.append(f"user group {group} could not be read: {error.message}")
            return False

    async def _require_operator(self, click: slack.Click, token: Token) -> None:
        unread: list[str] = []
        if await self._is_operator(click.user, unread):
            return
        why = "it is empty" if not self.operators else "; ".join(["you are not in it", *unread])
        text = f"undo and pause from Slack are for REMEDIATOR_SLACK_OPERATORS, and {why}"
        refusal = Refused(text, code="not_an_operator", where=click.user)
        await self.services.store.write(lambda tx: _refused(tx, click, token, refusal))
        raise refusal

    async def _withdraw(self, click: slack.Click, token: Token, who: str) -> str:
        if await undo_order.withdraw(self.services, token.run_id, who, Click(click.key)) is None:
            raise Refused("no undo of this run waits any more", code="not_waiting", where=token.run_id)
        return ""

    async def _pause(self, click: slack.Click, token: Token, who: str) -> str:
        def write(tx: Tx) -> str:
            approvals.take(tx, click.key)
            run = runs.get(tx.conn, token.run_id)
            namespace = Target.parse(run.target_key).namespace
            until = tx.now + PAUSE
            people.pause(tx, f"namespace:{namespace}", "paused from Slack", who, until)
            text = f"Namespace {namespace} is paused until {utc(until)}"
            _clicked(tx, run.incident_id, run.id, who, {"action": Button.PAUSE.value, "paused": text})
            return f"{text}. Lift it with: remediator resume --scope namespace:{namespace}"

        text = await self.services.store.write(write)
        self.services.deliver_nudge()
        return text

    async def _refusal(self, click: slack.Click, refusal: Refused) -> str:
        """Why it did not count; for an older plan, also what is different in the one that stands."""
        token = read_token(click.value)
        told = ""
        if token is not None and click.action in {b.value for b in _ANSWERS}:
            told = await self.services.store.read(lambda conn: explain.newer_plan(conn, token))
        return f"This did not count: {refusal.message}." + (f"\n{told}" if told else "")


def _not_done(click: slack.Click, error: RemediatorError) -> str:
    """What to reply when the service could not do it, or does not know whether it did. Every button but one counts once however often it
    is clicked."""
    if isinstance(error, CommitUnclear):
        twice = (
            "pressing again gives an hour more if it was"
            if click.action == Button.SNOOZE
            else "pressing again is safe"
        )
        return f"It is not known whether this was taken: the connection to the store was lost. Look first; {twice}."
    again = " Click again in a moment." if isinstance(error, TryLater) else ""
    return f"Nothing was done: {error.message}.{again}"


def _clicked(tx: Tx, incident_id: str, run_id: str, who: str, data: dict[str, str]) -> None:
    """Audit a click that left its traces elsewhere in the trail, and have the message edited."""
    tx.audit(EventKind.CLICKED, incident_id=incident_id, run_id=run_id, actor=who, data=data)
    announce(tx, Topic.MOVED, incident_id=incident_id, once=f"{run_id}/{data['action']}/{tx.stamp}")


def _ignored(tx: Tx, click: slack.Click) -> None:
    approvals.take(tx, click.key)
    actor = f"{approvers.SLACK}{click.user}"
    data = {
        "action": one_line(click.action, 200),
        "value": one_line(click.value, 200),
        "reason": "no such button",
    }
    tx.audit(EventKind.CLICK_IGNORED, actor=actor, data=data)


def _not_taken(tx: Tx, click: slack.Click, subject: str, refusal: Refused) -> None:
    approvals.take(tx, click.key)
    data = {"action": click.action, "code": refusal.code, "reason": refusal.message, "subject": subject}
    tx.audit(EventKind.CLICK_IGNORED, actor=f"{approvers.SLACK}{click.user}", data=data)


def _refused(tx: Tx, click: slack.Click, token: Token, refusal: Refused) -> None:
    """Answers that did not count are audited where they are judged; this is for the other buttons."""
    approvals.take(tx, click.key)
    run = runs.get(tx.conn, token.run_id)
    data = {"action": click.action, "code": refusal.code, "reason": refusal.message}
    actor = f"{approvers.SLACK}{click.user}"
    tx.audit(EventKind.CLICK_IGNORED, incident_id=run.incident_id, run_id=run.id, actor=actor, data=data)
