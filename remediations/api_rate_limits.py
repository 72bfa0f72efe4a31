"""API Rate Limiting: which provider limits us, since when and until when, whose limit it is, and what the cache keeps from it.

Implements the runbook's section of that name. Called by the flow. A wait that a provider asks for is waited first. Then the next key of a
Secret's list becomes the active one, and the workload is restarted so that its pods take it: only where the limit of this key is the
cause, which a limit of the whole account, of our address or a provider in trouble is not. More quota, code that waits, and a cache that
does not hold are a person's work, told with the numbers they need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from app.domain.cache import CacheAddress, CacheTls
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Params, Remediation, Scene
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.actions import Impossible, rollout_restart, rotate_key
from app.kube.actions.rotate_key import KeyList
from remediations.causes import first_findings, investigate
from remediations.causes.limited import CHANGED, what_brought
from remediations.causes.report import stands_by_design
from remediations.evidence.caches import CACHE, CacheLimits, cache_finding
from remediations.evidence.keys import KEYS, Rest, keys_of
from remediations.evidence.limit_providers import Whose
from remediations.evidence.limits import (
    ANSWERS,
    RELEASE,
    Group,
    clock,
    groups_in,
    limits_finding,
    most_of,
)
from remediations.evidence.pods import pods_finding, troubles, unread_pods
from remediations.evidence.usage import Metric, count, joined, measured, metric_finding, span
from remediations.shared import (
    LIMITED,
    DataKey,
    ObjectName,
    Query,
    Seconds,
    Share,
    act,
    host_in,
    limits_counted,
    refuse,
)

ROTATE, PROVIDER, BACKOFF, CACHING = "rotate-key", "ask-provider", "wait-in-code", "mend-cache"
_Provider = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]*$")]


class ApiRateLimitsParams(Params):
    """The key: `provider` (its name or host) has given it, `secret` holds it under `active_key`, and all keys of the list under `keys_key`,
    one a line, or each under one of `keys`. `own_quota`: each key of the list has a quota of its own (another account, organisation or
    project), so that an account's limit is the key's. `retired_for`: so long a key is left alone that was rotated away from.
    `least`: fewer limited answers are no reason; `longest_wait`: longer waits are not waited. The cache: `cache_host` or the name of a
    `cache_service`, `cache_port`, and its login in `cache_secret`, under `cache_url_key` or under user and password keys. `hits`,
    `full`, `clients`: shares from which on the cache is in trouble."""

    provider: _Provider = ""
    secret: ObjectName = ""
    active_key: DataKey = ""
    keys_key: DataKey = ""
    keys: tuple[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")], ...] = ()
    own_quota: bool = False
    retired_for: Seconds = 3_600
    least: int = Field(default=5, ge=1, le=100_000)
    longest_wait: Seconds = 300
    limited_query: Query = LIMITED
    cache_host: ObjectName = ""
    cache_service: ObjectName = "redis"
    cache_port: int = Field(default=0, ge=0, le=65_535)
    cache_secret: ObjectName = ""
    cache_url_key: DataKey = ""
    cache_user_key: DataKey = ""
    cache_password_key: DataKey = ""
    cache_ca_key: DataKey = ""
    cache_tls: Literal["disable", "require", "verify-full"] = "disable"
    hits: Share = 0.5
    full: Share = 0.9
    clients: Share = 0.9
    logs: Seconds = 600

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """A list of keys is named whole or not at all."""
        if bool(self.keys_key) and bool(self.keys):
            raise ValueError("the list of keys is under keys_key or under keys, not under both")
        named = (self.secret, self.active_key, self.keys_key or self.keys)
        if any(named) and not (all(named) and self.provider):
            raise ValueError(
                "a key is rotated by provider, secret, active_key and keys_key (or keys) together"
            )
        return self

    @property
    def key_list(self) -> KeyList | None:
        """Where the keys are; None when the rule names no list."""
        return KeyList(self.secret, self.active_key, self.keys_key, self.keys) if self.secret else None

    def cache(self, namespace: str) -> CacheAddress:
        """The address of the cache, seen from a namespace."""
        return CacheAddress(
            namespace, host_in(namespace, self.cache_host, self.cache_service), self.cache_port, self.cache_secret,
            self.cache_url_key, self.cache_user_key, self.cache_password_key, CacheTls(self.cache_tls), self.cache_ca_key,
        )  # fmt: skip

    @property
    def cache_limits(self) -> CacheLimits:
        """From when on the cache is in trouble."""
        return CacheLimits(self.hits, self.full, self.clients)


class ApiRateLimits(Remediation[ApiRateLimitsParams]):
    """The handler."""

    name = "api-rate-limits"
    runbook = "API Rate Limiting"
    steps: tuple[str, ...] = (ROTATE, CACHING, BACKOFF, PROVIDER)
    params: type[ApiRateLimitsParams] = ApiRateLimitsParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.ROTATE_KEY, ActionKind.ROLLOUT_RESTART})
    reads_config = True
    secret_params: tuple[str, ...] = ("secret", "cache_secret")
    written_secrets: tuple[str, ...] = ("secret",)
    fixed_params: frozenset[str] = frozenset(
        {
            "provider",
            "secret",
            "active_key",
            "keys_key",
            "keys",
            "own_quota",
            "limited_query",
            "cache_host",
            "cache_service",
            "cache_port",
            "cache_secret",
            "cache_url_key",
            "cache_user_key",
            "cache_password_key",
            "cache_ca_key",
            "cache_tls",
        }
    )

    async def diagnose(self, scene: Scene, params: ApiRateLimitsParams) -> Diagnosis:
        """What the providers answered, the keys, the cache, and the state of the pods."""
        at = params.cache(scene.workload.target.namespace)
        looked, cache, metric = await asyncio.gather(
            investigate(scene),
            cache_finding(scene.caches, scene.cluster, at, params.cache_limits),
            metric_finding(scene, _metric(params)),
        )
        more = [cache, *([metric] if metric else [])]
        if why := looked.seen.unread.get("pods"):
            state = unread_pods(why)
            return Diagnosis(state.text, (state, *more))
        pods = looked.seen.pods
        window = scene.window(params.logs)
        answers = await limits_finding(scene.cluster, pods, scene.now, window, scene.fired_at)
        keys = await _keys(scene, params, pods)
        state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
        told = [answers.text, cache.text if cache.data["troubles"] else "", keys.text if keys else ""]
        own = next(iter(_groups(params, answers)), None)
        brought = what_brought(looked.seen, own, answers, window, params.secret)
        findings = (answers, *([keys] if keys else []), *brought, *more, state, *first_findings(looked))
        unread = answers.certainty is Certainty.UNKNOWN or answers.data["unreadable"]
        limited = [] if unread else [(group.title, group.count) for group in groups_in(answers)]
        counted = () if unread else limits_counted(limited, window)
        found = Diagnosis("", findings)
        stopped = stands_by_design(found, scene.now, measured(found, "metrics.limits"), params.least)
        rest = stopped or _rest(scene, params, answers)
        return Diagnosis(stopped or joined(told), findings, rest, counted)

    async def ladder(self, scene: Scene, params: ApiRateLimitsParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Rotate the key, or tell a person: of the cache, of code that waits, of the provider."""
        return (
            await _rotate(scene, params, diagnosis),
            _mend_cache(diagnosis),
            _wait_in_code(diagnosis),
            _ask_provider(params, diagnosis),
        )


def _metric(params: ApiRateLimitsParams) -> Metric:
    return Metric(
        "metrics.limits",
        "Rate limited answers",
        params.limited_query,
        lambda v: f"{v:,.0f} answers were rate limits",
    )


async def _keys(scene: Scene, params: ApiRateLimitsParams, pods: Sequence[Pod]) -> Finding | None:
    if params.key_list is None:
        return None
    rest = Rest(scene.history.replaced, params.retired_for, scene.now)
    return await keys_of(scene.cluster, scene.workload, pods, params.key_list, rest)


def _groups(params: ApiRateLimitsParams, answers: Finding | None) -> list[Group]:
    """Those of the rule's provider, or all where it names none."""
    return [g for g in groups_in(answers) if params.provider in ("", g.provider)]


def _rest(scene: Scene, params: ApiRateLimitsParams, answers: Finding) -> str:
    """That the provider said to wait, and until when, or that it has not limited us since; empty when there is something to do."""
    group = next(iter(_groups(params, answers)), None)
    if group is None:
        return ""
    if wait := _waits(group, scene, params):
        return wait
    return _over(group, scene)


def _over(group: Group, scene: Scene) -> str:
    """That the limit has ended, with how that is known."""
    if not group.over(scene.now) or group.last is None:
        return ""
    if group.until is not None:
        return f"{group.title} said to wait until {clock(group.until)}, and has not limited us since"
    kind = "failing" if group.whose is Whose.PROVIDER else "limited"
    return f"{group.title} has given no {kind} answer for {span((scene.now - group.last).total_seconds())}"


def _waits(group: Group, scene: Scene, params: ApiRateLimitsParams) -> str:
    if group.until is None or not group.waits(scene.now, params.longest_wait):
        return ""
    left = span((group.until - scene.now).total_seconds())
    return f"{group.title} says to try again at {clock(group.until)} (in {left}), and until then nothing is rotated"


async def _rotate(scene: Scene, params: ApiRateLimitsParams, diagnosis: Diagnosis) -> Step:
    keys, answers, listed = params.key_list, diagnosis.finding(ANSWERS), diagnosis.finding(KEYS)
    if keys is None:
        return refuse(ROTATE, "the rule names no list of keys")
    if answers is None or answers.certainty is Certainty.UNKNOWN:
        return refuse(ROTATE, answers.text if answers else diagnosis.summary)
    group = next(iter(_groups(params, answers)), None)
    if group is None:
        return refuse(ROTATE, f"no answer of {params.provider}, whose key it is, is a limit")
    if no := _not_this_key(group, scene, params):
        return refuse(ROTATE, no)
    if listed is None or listed.data["next"] is None:
        why = str(listed.data["why"]) if listed else "the keys were not looked at"
        advice = (
            ""
            if listed is None or listed.certainty is Certainty.UNKNOWN
            else f"look at the list of keys: {why}"
        )
        return refuse(ROTATE, why, advice)
    brought = (diagnosis.finding(code) for code in (RELEASE, CHANGED))
    doubts = [str(found.data["text"]) for found in brought if found is not None]
    return await _rotated(scene, keys, (group, params), listed, doubts)


def _not_this_key(group: Group, scene: Scene, params: ApiRateLimitsParams) -> str:
    """Why the limit of the key in use is not known to be the cause; empty when it is, or when nobody can tell."""
    if group.count < params.least:
        return f"{count(group.count, 'limited answer')} of {group.title}, and {params.least} are the least"
    if wait := _waits(group, scene, params):
        return wait
    if over := _over(group, scene):
        return over
    if group.whose is Whose.PROVIDER:
        return f"{group.title} is overloaded or failing, which another key does not change"
    if group.whose is Whose.ADDRESS:
        return f"{group.title} limits our address, which another key does not change"
    if group.whose is Whose.CREDIT and not params.own_quota:
        return f"the credit or the budget of the account at {group.title} is used up, whichever of its keys is used"
    if group.whose is Whose.ACCOUNT and not params.own_quota:
        return (
            f"{group.title} limits the account, and the rule does not say that each key of the list has a quota of its own"
            " (own_quota)"
        )
    return ""


async def _rotated(
    scene: Scene,
    keys: KeyList,
    about: tuple[Group, ApiRateLimitsParams],
    listed: Finding,
    doubts: Sequence[str],
) -> Step:
    """The step: the Secret, then the restart by which its pods take the key."""
    group, params = about
    restart = rollout_restart(scene.workload, scene.now)
    if isinstance(restart, Impossible):
        return refuse(ROTATE, restart.why, restart.advice)
    try:
        manifest = await scene.cluster.get(Kind.SECRET, scene.workload.target.namespace, keys.secret)
    except (ClusterRefused, TryLater) as error:
        return refuse(ROTATE, f"Secret {keys.secret} could not be read: {error.message}")
    position: Any = listed.data["next"]
    rotation = rotate_key(scene.workload, manifest, keys, position, str(restart.params["restarted_at"]))
    why = f"{group.note(params.logs)}; {listed.text}"
    task = f"{group.contact}, and let the code wait (exponential backoff): the next key has a limit too"
    if group.whose is Whose.CREDIT:
        task = f"{group.contact}: the credit of the next key ends too"
    step = act(ROTATE, why, rotation, (restart,), open_task=task)
    unsure = [str(listed.data["asks"] or ""), *doubts]
    if group.pod:
        unsure.append(
            f"{most_of(group)} limited answers are of pod {group.pod}, which uses up the next key as well"
        )
    if group.whose is Whose.UNKNOWN and not params.own_quota:
        unsure.append(f"{group.title} does not say whose limit it is, so that another key may meet the same")
    return replace(step, asks=joined(unsure)) if step.applies else step


def _mend_cache(diagnosis: Diagnosis) -> Step:
    """Never acts: what is wrong with the cache, in numbers."""
    cache = diagnosis.finding(CACHE)
    if cache is None:
        return refuse(CACHING, "the cache was not looked at")
    said: Any = cache.data["troubles"]
    return refuse(CACHING, cache.text, f"cache: {'; '.join(said)}" if said else "")


def _wait_in_code(diagnosis: Diagnosis) -> Step:
    """Never acts: a change of the code."""
    answers = groups_in(diagnosis.finding(ANSWERS))
    groups = [g for g in answers if g.whose not in (Whose.PROVIDER, Whose.CREDIT)]
    if not groups:
        spent = any(g.whose is Whose.CREDIT for g in answers)
        why = (
            "used up credit does not come back by waiting" if spent else "no answer of a provider is a limit"
        )
        return refuse(BACKOFF, why)
    names = ", ".join(g.title for g in groups)
    waits = any(g.wait is not None for g in groups)
    advice = (
        f"change the code that asks {names}: wait exponentially longer, with jitter, before each further try"
        + (" and as long as Retry-After says" if waits else "")
        + ", and keep below the limit by a queue"
    )
    return refuse(BACKOFF, "only a change of the code makes it wait", advice)


def _ask_provider(params: ApiRateLimitsParams, diagnosis: Diagnosis) -> Step:
    """Never acts: the note that a person sends, or where to look when it is no provider that limits."""
    answers = diagnosis.finding(ANSWERS)
    groups = groups_in(answers)
    if answers is None or answers.certainty is Certainty.UNKNOWN:
        return refuse(PROVIDER, answers.text if answers else diagnosis.summary)
    if not groups:
        ours = answers.data["ours"]
        advice = (
            f"look at our own limit, which {ours} answers to clients met, and at who asks so often"
            if ours
            else ""
        )
        return refuse(PROVIDER, answers.text, advice)
    advice = "; ".join(
        f"look at {g.title}'s status page: {g.count} answers say that it is overloaded or failing"
        if g.whose is Whose.PROVIDER
        else f"{g.title}: {g.contact}; to send: {g.note(params.logs)!r}"
        for g in groups[:2]
    )
    return refuse(PROVIDER, answers.text, advice)
