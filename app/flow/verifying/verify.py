"""Verify: look at rollout and alert after an action, and judge all looks so far.

The judgement itself is `app.domain.verification.judge`, pure. Time between looks is taken from the monotonic clock of this
process; what nobody watched counts as nothing. Never touches the cluster otherwise than by reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.actuator import Effect
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.events import EventKind
from app.domain.evidence import LookedAgain
from app.domain.json import JsonValue
from app.domain.outcome import Result
from app.domain.plan import ROLLING, Action
from app.domain.target import Kind
from app.domain.verification import (
    READINGS,
    AlertCondition,
    Measurement,
    Reading,
    Watch,
    Worth,
    judge,
    may_have_helped,
    weigh,
    with_reading,
    worth,
)
from app.domain.workload import RolloutState, RolloutStatus, Workload
from app.flow.actuators import ACTUATORS
from app.flow.deciding.decide import firing_alerts
from app.flow.notifying.record import tell
from app.flow.running import journal
from app.flow.running.life import Event, Found
from app.flow.services import Services
from app.flow.verifying import standing
from app.flow.verifying.symptoms import (
    NOTHING_LEFT,
    alert_now,
    counted_again,
    effect_of,
    goes_on,
    gone,
    gone_with_it,
    kept_by_handler,
    rollout_now,
    value_now,
)
from app.kube import read
from app.kube.hands import Hand, Ours, hand_after_ours, taken_on
from app.kube.startup import NewPods, new_pods
from app.notify.timeline import Topic, Verification
from app.policy.model import Rule, Verify
from app.store import facts as counts
from app.store import incidents, runs
from app.store.incidents import Incident, StoredAlert
from app.store.runs import Run
from app.store.tx import Tx

_GAP = 3  # polls without a look that still count as watched
_EVENTS = {
    Result.FIXED: Event.FIXED,
    Result.CONTAINED: Event.CONTAINED,
    Result.STILL_FIRING: Event.STILL_FIRING,
    Result.IN_PART: Event.IN_PART,
    Result.NOT_FIXED: Event.NOT_FIXED,
    Result.INCONCLUSIVE: Event.INCONCLUSIVE,
    Result.PROBE_ERROR: Event.PROBE_ERROR,
    Result.TAKEN_OVER: Event.TAKEN_OVER,
}


async def look(services: Services, run: Run) -> Found:
    """One measurement, and the result when it can be told."""
    rule = Rule.from_json(run.settings["rule"]).verify
    watch, seen = await _watch(services, run, _GAP * rule.poll.total_seconds(), rule.settle)
    deleted = seen.hand is not None and seen.hand.gone
    watch, verdict, again = await _judged(services, run, watch, rule, deleted=deleted)
    before = Watch.from_json(run.life.get("watch", {})).last
    news = watch.last is not None and (before is None or _changed(before, watch.last))
    failed = verdict is not None and verdict[0] is Result.NOT_FIXED
    kept = await kept_by_handler(services, run) if failed else ""

    def also(tx: Tx, held: Run) -> None:
        if news and watch.last is not None:
            data = watch.last.to_json()
            tx.audit(EventKind.MEASURED, incident_id=run.incident_id, run_id=run.id, data=data)
        if verdict is not None:
            _conclude(tx, held, verdict, watch, (worth(verdict[0], watch, again), kept), gone=deleted)

    keeps: dict[str, JsonValue] = {
        "watch": watch.to_json(),
        **({"by_hand": False} if seen.hand is None else seen.hand.kept),
        "gone": deleted,
        READINGS: with_reading(run.life.get(READINGS, ()), seen.reading),
        journal.SILENCED: bool(watch.last and watch.last.alert is AlertCondition.SILENCED),
    }
    if verdict is None:
        return Found(seconds=rule.poll.total_seconds(), waits_for="its verification", keeps=keeps, also=also)
    services.metrics.verifications.labels(run.remediation, verdict[0].value).inc()
    return Found(_EVENTS[verdict[0]], verdict[1], keeps=keeps, also=also)


async def _judged(
    services: Services, run: Run, watch: Watch, rule: Verify, *, deleted: bool = False
) -> tuple[Watch, tuple[Result, str] | None, LookedAgain | None]:
    """The result so far, with what became of what the step was for, where that was looked at: where only the alert speaks for the step or
    against it. That an alert is gone is no health while what it told of is counted as before, or cannot be counted any more."""
    verdict, again = judge(watch, rule.settle, rule.timeout), None
    absent = watch.last is not None and watch.last.alert is AlertCondition.GONE
    if verdict is not None and verdict[0] is Result.FIXED and absent:
        again = await _again(services, run, counted_again)
        if again.gone is False:
            watch = watch.doubted(f"the alert is gone, and what it told of goes on: {again.text}")
            verdict = judge(watch, rule.settle, rule.timeout)
        elif again.unread:
            why = f"the alert is gone, and whether what it told of goes on could not be counted: {again.text}"
            watch = watch.doubted(why, AlertCondition.UNREADABLE)
            verdict = judge(watch, rule.settle, rule.timeout)
    elif verdict is not None and may_have_helped(verdict, watch):
        again = await _again(services, run, gone)
        verdict = weigh(verdict, watch, again)
    if verdict is None:
        return watch, None, again
    left, back = await services.store.read(
        lambda conn: (
            standing.tasks(run, runs.entries(conn, run.id)),
            standing.way_back(run, journal.in_place(conn, run.id)),
        )
    )
    unseen = verdict[0] is Result.PROBE_ERROR or deleted
    if unseen and back and (lost := await gone_with_it(services, run)):
        return watch, (verdict[0], f"{verdict[1]}. {lost}"), again
    told_back = verdict[0] in (Result.PROBE_ERROR, Result.INCONCLUSIVE) and not deleted
    return (
        watch,
        _told_apart(verdict, run, left, back if told_back else ""),
        again,
    )


async def no_better_now(services: Services, run: Run) -> str:
    """Looked at once more, apart from the verification: why its step is not known to be no better than before; empty when it is so."""
    about = await services.store.read(lambda conn: _load(conn, run))
    workload, rollout, _ = await rollout_now(services, run)
    effects = await _effects(services, run, workload, about)
    if any(effect.good is False or effect.over for effect in effects):
        return ""
    if workload is None:
        return rollout.text
    new = await _new_pods(services, run, workload, rollout, about.acted_at)
    if rollout.state is not RolloutState.COMPLETE and (new.serving == 0 or about.incident.manual is not None):
        return ""
    again = await gone(services, run, workload, about.incident, about.acted_at)
    return "" if again.gone is False else again.text


Look = Callable[[Services, Run, Workload, Incident, datetime], Awaitable[LookedAgain]]


async def _again(services: Services, run: Run, look: Look) -> LookedAgain:
    """What became of what the step was for."""
    about = await services.store.read(lambda conn: _load(conn, run))
    workload, rollout, _ = await rollout_now(services, run)
    if workload is None:
        return LookedAgain(None, rollout.text, unread=True)
    return await look(services, run, workload, about.incident, about.acted_at)


def _told_apart(verdict: tuple[Result, str], run: Run, left: Sequence[str], back: str) -> tuple[Result, str]:
    """Relief that buys time is not called a fix, and says what a person has still to do; also what is `left` to do after earlier steps. What
    nobody can tell is left in place, with the way `back`, told where it is that."""
    result, text = verdict
    if back:
        return result, f"{text}. What was done stays in place. To take it back: {back}"
    if result not in (Result.FIXED, Result.STILL_FIRING, Result.IN_PART):
        return verdict
    if task := run.step.open_task:
        text = f"{text}. The cause is still there: {task}"
        result = Result.CONTAINED if result is Result.FIXED else result
    text = ". ".join([text, *left])
    if result in (Result.STILL_FIRING, Result.IN_PART) and Rule.from_json(run.settings["rule"]).temporary:
        more = " or a later step helps" if result is Result.IN_PART else ""
        text = f"{text}. It was to be temporary, and stays until somebody takes it back{more}: remediator undo {run.id}"
    return result, text


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look: what is judged, somebody else's hand, and the numbers that people see."""

    measured: Measurement
    hand: Hand | None
    reading: Reading


async def _watch(services: Services, run: Run, gap: float, settle: timedelta) -> tuple[Watch, _Seen]:
    """All looks so far and this one, and this one by itself."""
    began = services.clock.monotonic()
    seen = await _look_once(services, run, settle)
    now = services.clock.monotonic()
    gap += now - began  # a slow look is no gap
    last = services.last_looks.get(_key(run))
    services.last_looks[_key(run)] = now
    so_far = Watch.from_json(run.life.get("watch", {}))
    if so_far.looks == 0:
        return so_far.look(seen.measured, 0.0, gap), seen
    return so_far.look(seen.measured, None if last is None else now - last, gap), seen


def forget(services: Services, run: Run) -> None:
    """The verification of this step is over: when it was last looked at is of no use any more."""
    services.last_looks.pop(_key(run), None)


def _key(run: Run) -> str:
    return f"{run.id}/{run.step_index}"


def _changed(before: Measurement, now: Measurement) -> bool:
    return (before.rollout, before.alert, before.effect) != (now.rollout, now.alert, now.effect)


async def _look_once(services: Services, run: Run, settle: timedelta) -> _Seen:
    """One look at rollout and alert, at what became of our values, at the pods made since, and at what the step was for."""
    about = await services.store.read(lambda conn: _load(conn, run))
    workload, rollout, hand = await rollout_now(services, run)
    condition, text = await alert_now(services, about.incident, about.alerts, about.acted_at)
    new, memory = NewPods(None, "", ""), None
    if workload is not None:
        hand, unread = await _other_hand(services, workload, about)
        if unread:
            rollout = RolloutStatus(RolloutState.UNKNOWN, unread)
        new = await _new_pods(services, run, workload, rollout, about.acted_at)
        memory = await _sample(services, workload)
        if condition is AlertCondition.GONE and rollout.state is RolloutState.COMPLETE:
            condition, text = await goes_on(services, run, workload, (about.acted_at, settle)) or (
                condition,
                text,
            )
    effects = await _effects(services, run, workload, about)
    words = "; ".join(filter(None, [rollout.text, new.text, text, *(e.text for e in effects)]))
    by, now = hand.text if hand else "", services.clock.now()
    seen = Measurement(now, rollout.state, condition, words, by, new.doomed, _all_good(effects))
    seen = replace(seen, serving=new.serving, deadline=_deadline(run, workload))
    reading = await _reading(services, run, workload, memory)
    return _Seen(replace(seen, over=any(e.over for e in effects)), hand, reading)


async def _reading(services: Services, run: Run, workload: Workload | None, memory: int | None) -> Reading:
    """The numbers of this look."""
    value, now = await value_now(services, run.step.symptom), services.clock.now()
    if workload is None:
        return Reading(now, value=value)
    return Reading(now, workload.ready, workload.desired, value, memory)


async def _effects(services: Services, run: Run, workload: Workload | None, about: _About) -> list[Effect]:
    """What the step was for, where its actuators or its handler measure it."""
    found = [await ACTUATORS[a.kind].effect(services.clients, a) for a in run.step.actions]
    if workload is not None:
        found.append(await effect_of(services, run, workload, about.incident, about.acted_at))
    return [effect for effect in found if effect is not None]


def _all_good(effects: Sequence[Effect]) -> bool | None:
    """Whether all of it is so; None when some of it could not be measured and nothing is known to be bad."""
    return next((word for word in (False, None) if any(e.good is word for e in effects)), True)


@dataclass(frozen=True, slots=True)
class _About:
    """What a look goes by: the incident, what fires of it, the actions that are in place with what each write left, and when the
    last one was."""

    incident: Incident
    alerts: tuple[StoredAlert, ...]
    actions: tuple[tuple[Action, Ours], ...]
    acted_at: datetime


def _load(conn: Any, run: Run) -> _About:
    acted = journal.carried_out(conn, run.id)
    at = acted[-1].ended_at if acted and acted[-1].ended_at else run.requested_at
    # What the rule's undo took back before this step is not somebody else's doing.
    there = {entry.name for entry in journal.in_place(conn, run.id)}
    actions = tuple(
        (Action.from_json(e.intent["action"]), Ours(e.ended_at or at, e.generation, e.left))
        for e in acted
        if e.name in there
    )
    return _About(incidents.get(conn, run.incident_id), firing_alerts(conn, run.incident_id), actions, at)


async def _other_hand(services: Services, workload: Workload, about: _About) -> tuple[Hand | None, str]:
    """Somebody else's change of what we wrote to, and in words what could not be looked at for one: such a look counts neither as health
    nor as trouble. What is gone bears nobody's hand."""
    unread = ""
    for (kind, name), ref in {
        (a.object.kind, a.object.name): a.object for a, _ in about.actions if a.changes
    }.items():
        own = [(a, g) for a, g in about.actions if (a.object.kind, a.object.name) == (kind, name)]
        latest, (_, ours) = {c.path: c for a, _ in own for c in a.changes}, own[-1]
        try:
            manifest = (
                workload.manifest
                if ref.kind is workload.target.kind
                else await services.cluster.get(ref.kind, ref.namespace, ref.name)
            )
        except ObjectMissing:
            continue
        except RemediatorError as error:
            unread = f"whether somebody else changed {ref} is not known: {error.message}"
            continue
        ours, key = replace(ours, at=about.acted_at), services.store.vault.key
        if hand := hand_after_ours(manifest, latest.values(), ours, ref.uid, key) or taken_on(
            manifest, latest.values()
        ):
            return hand, ""
    return None, unread


async def _new_pods(
    services: Services, run: Run, workload: Workload, rollout: RolloutStatus, since: datetime
) -> NewPods:
    """What became of the pods that the step made or chose, while its rollout is not complete. Where they cannot be read nobody can tell: the wait for
    the timeout is not cut short then, and nothing counts as not come about."""
    if rollout.state is RolloutState.COMPLETE:
        return NewPods(0, "", "")
    try:
        pods = await read.read_pods(services.cluster, workload)
    except RemediatorError as error:
        return NewPods(None, f"how many of its pods serve is not known: {error.message}", "")
    return new_pods(workload, pods, since, rolls=_rolls(run))


def _rolls(run: Run) -> bool:
    return any(action.kind in ROLLING for action in run.step.actions)


_LONGEST = 3600.0
"""Seconds: a rollout whose own deadline is longer has set none."""


def _deadline(run: Run, workload: Workload | None) -> float:
    """In how many seconds without progress the cluster itself calls this rollout failed: it does so for Deployments, and for no change of a
    size. One that its controller has not seen is not under way."""
    if workload is None or workload.target.kind is not Kind.DEPLOYMENT or not _rolls(run):
        return 0.0
    if workload.observed_generation < workload.ref.generation:
        return 0.0
    return min(float(workload.manifest["spec"].get("progressDeadlineSeconds", 600)), _LONGEST)


def _conclude(
    tx: Tx, run: Run, verdict: tuple[Result, str], watch: Watch, known: tuple[Worth, str], *, gone: bool
) -> None:
    (result, text), (worthy, kept) = verdict, known
    gone = gone or text.endswith(NOTHING_LEFT)
    fact = Verification(result, text, watch.looks, timedelta(seconds=round(watch.watched)), gone)
    number = sum(entry.name.startswith("verified") for entry in runs.entries(tx.conn, run.id))
    once = f"{run.id}/{run.step_index}" + (f".{number}" if number else "")
    runs.begin_entry(tx, run.id, f"verified {once}", {"entry": "verified", "step_index": run.step_index})
    outcome = {
        "result": result.value,
        "rolled_out": watch.rolled_out,
        "effect": watch.last.effect if watch.last else None,
        "serving": watch.last.serving if watch.last else None,
        "worth": worthy.value,
        "kept": kept,
        "text": watch.last.text if watch.last else "",
    }
    runs.end_entry(tx, run.id, f"verified {once}", outcome)
    tell(tx, Topic.VERIFIED, fact, incident_id=run.incident_id, once=once, run_id=run.id)


async def _sample(services: Services, workload: Workload) -> int | None:
    """Keep a memory sample while watching: without Prometheus it is the only history a leak check has. The memory of the fullest pod."""
    target = workload.target
    try:
        usage = await services.cluster.pod_usage(target.namespace, workload.selector)
    except RemediatorError:
        return None
    await services.store.write(
        lambda tx: counts.put_samples(tx, target.key, [(u.pod, u.at, u.total_memory) for u in usage])
    )
    return max((u.total_memory for u in usage), default=None)
