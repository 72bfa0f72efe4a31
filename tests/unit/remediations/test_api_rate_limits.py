"""Rate limits: when the next key is taken, when not and why, and what a person is told instead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.cache import CacheState
from app.domain.change import DigestKey, Replaced, hidden
from app.domain.evidence import Certainty
from app.domain.plan import Step
from app.domain.remediation import History
from app.domain.secret import encoded
from app.domain.target import Kind
from app.sim import Scenario, load_scenario
from app.sim.behaviour import ErrorLine
from app.sim.caches import CacheServer
from remediations.api_rate_limits import ApiRateLimitsParams
from remediations.evidence.caches import CacheLimits, cache_finding
from remediations.evidence.limit_lines import Limited, limit_in
from remediations.evidence.limit_providers import Whose
from remediations.evidence.limits import Group, grouped
from tests.unit.remediations.stage import Metrics, Stage, told

NAME, SECRET = "api-rate-limits", "langgraph-api-keys"
AT = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
ACCOUNT = "openai.RateLimitError: Error code: 429 - Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 9."


def world(*lines: str, **changes: Any) -> Scenario:
    """The shipped scenario whose pods write these error lines."""
    base = load_scenario(NAME)
    kinds = tuple(ErrorLine(line=f"{{time}} ERROR {line}") for line in lines)
    behaviours = tuple(
        b.model_copy(update={"error_lines": kinds}) if b.error_lines and lines else b for b in base.behaviours
    )
    return base.model_copy(update={"behaviours": behaviours, **changes})


async def rotation(*lines: str, **params: Any) -> Step:
    _, steps = await Stage(NAME, world(*lines)).look(**params)
    return steps["rotate-key"]


@pytest.mark.parametrize(
    ("line", "params", "words"),
    [
        (ACCOUNT, {"own_quota": False}, "OpenAI limits the account, and the rule does not say that each key"),
        (ACCOUNT, {"provider": "anthropic"}, "no answer of anthropic, whose key it is, is a limit"),
        (ACCOUNT, {"least": 100_000}, "100000 are the least"),
        (
            "status=529 https://api.openai.com/v1 overloaded",
            {},
            "OpenAI is overloaded or failing, which another key does not change",
        ),
        (
            "status 429 https://api.openai.com/v1 your IP is being rate limited",
            {},
            "limits our address, which another key does not change",
        ),
        (ACCOUNT, {"active_key": "NOPE"}, "no pod of rag7/Deployment/langgraph-agent takes NOPE"),
        (ACCOUNT, {"keys_key": "OPENAI_API_KEY"}, "the list has no other key (1 key)"),
        (
            f"{ACCOUNT} Please try again in 14m0s",
            {"longest_wait": 900},
            "until then nothing is rotated",
        ),
    ],
)  # fmt: skip
async def test_another_key_is_no_answer(line: str, params: dict[str, Any], words: str) -> None:
    step = await rotation(line, **params)
    assert (step.applies, words.lower() in step.why.lower()) == (False, True), step.why


async def test_a_rule_without_a_list_rotates_nothing_and_tells_a_person_all() -> None:
    none = {"provider": "", "secret": "", "active_key": "", "keys_key": ""}
    diagnosis, steps = await Stage(NAME).look(**none)
    assert not any(step.applies for step in steps.values())
    text = told(diagnosis, steps)
    assert "the rule names no list of keys" in text.lower()
    for words in (
        "wait exponentially longer, with jitter",
        "limit tokens per min (TPM): Limit 30000; model gpt-4o; endpoint /v1/chat/completions",
        "ask for a higher usage tier",
        "raise maxmemory, or set maxmemory-policy to allkeys-lru",
        "only 41 % of 100,000 lookups hit",
    ):
        assert words in text
    assert diagnosis.finding("keys.list") is None


async def test_whose_limit_it_is_is_asked_where_nobody_tells() -> None:
    line = "status=429 url=https://geo.example.net/v1"
    step = await rotation(line, provider="geo.example.net", own_quota=False)
    assert step.applies
    assert "does not say whose limit it is" in step.asks
    sure = await rotation(line, provider="geo.example.net")
    assert (sure.applies, sure.asks) == (True, "")
    own = await rotation(f"{line} this API key is limited", provider="geo.example.net", own_quota=False)
    assert (own.applies, own.asks) == (True, "")


CREDIT = (
    "openai.RateLimitError: Error code: 429 - 'You exceeded your current quota', 'code': 'insufficient_quota'"
)
TRIED = 'httpx HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 429 Too Many Requests"'


async def test_credit_that_is_used_up_comes_back_by_no_waiting_and_by_no_key_of_the_account() -> None:
    diagnosis, steps = await Stage(NAME, world(CREDIT, TRIED, TRIED)).look(own_quota=False)
    assert "the credit or the budget of the account is used up" in diagnosis.summary
    assert not any(step.applies for step in steps.values())
    text = told(diagnosis, steps)
    assert "add credit to the account, or raise its budget" in text
    assert "exponentially" not in text
    assert "usage tier" not in text
    own = await rotation(CREDIT, TRIED, TRIED)
    assert own.applies
    assert "the credit of the next key ends too" in own.open_task


async def test_a_wait_under_way_is_no_persons_work() -> None:
    diagnosis, steps = await Stage(NAME, world(f"{ACCOUNT} Please try again in 14m0s")).look(longest_wait=900)
    assert "OpenAI says to try again at" in diagnosis.rest
    assert not steps["rotate-key"].applies
    longer, steps = await Stage(NAME, world(f"{ACCOUNT} Please try again in 6h0m0s")).look()
    assert longer.rest == ""
    assert steps["rotate-key"].applies, "longer than longest_wait is not waited for"


def _left(value: str, ago: float, now: datetime) -> History:
    key = DigestKey(b"of this test")
    path = "/data/OPENAI_API_KEY"
    return History(replaced=Replaced(key, {hidden(path, encoded(value), key): now - timedelta(seconds=ago)}))


@pytest.mark.parametrize(
    ("left", "ago", "summary"),
    [
        ("simulated-key-2", 60.0, "to key 3 of 3"),
        ("simulated-key-2", 3_700.0, "to key 2 of 3"),
        ("simulated-key-2\n", 60.0, "to key 3 of 3"),
        ("simulated-key-2\r\n", 60.0, "to key 3 of 3"),
        ("simulated-key-2\n", 3_700.0, "to key 2 of 3"),
        ("another", 60.0, "to key 2 of 3"),
    ],
)
async def test_a_key_that_was_left_lately_is_passed_over(left: str, ago: float, summary: str) -> None:
    stage = Stage(NAME)
    stage.history = _left(left, ago, stage.clock.now())
    _, steps = await stage.look()
    assert steps["rotate-key"].actions[0].summary.endswith(summary)


async def test_when_every_other_key_was_left_nothing_is_rotated() -> None:
    stage = Stage(NAME)
    one, two = (_left(f"simulated-key-{n}", 60, stage.clock.now()).replaced for n in (2, 3))
    stage.history = History(replaced=replace(one, times={**one.times, **two.times}))
    _, steps = await stage.look()
    assert "ach of the other 2 keys was rotated away from within 1 h" in steps["rotate-key"].why


@pytest.mark.parametrize(
    ("patch", "words", "asks"),
    [
        ({"op": "add", "path": "/immutable", "value": True}, "is immutable", ""),
        (
            {"op": "add", "path": "/metadata/ownerReferences", "value": [{"kind": "SealedSecret", "name": "keys", "uid": "1", "apiVersion": "v1"}]},
            "kept by SealedSecret keys", "",
        ),
        (
            {"op": "add", "path": "/metadata/annotations", "value": {"meta.helm.sh/release-name": "agent"}},
            "", "the next helm upgrade sets the former key back",
        ),
        (
            {"op": "add", "path": "/metadata/annotations", "value": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "", "the next kubectl apply sets the former key back",
        ),
        (
            {"op": "replace", "path": "/data/OPENAI_API_KEYS", "value": encoded("# none\nwith blank\n\nsimulated-key-1\nsimulated-key-1")},
            "the list has no other key (1 key; 1 part of the list not taken: it has to hold one key alone on each line", "",
        ),
        (
            {"op": "replace", "path": "/data/OPENAI_API_KEYS", "value": encoded('["simulated-key-1", "simulated-key-2"]')},
            "the list has no other key (0 keys; 1 part of the list not taken", "",
        ),
        (
            {"op": "replace", "path": "/data/OPENAI_API_KEYS", "value": encoded("simulated-key-1\nsimulated-key-2\nsimulated-key-3,")},
            "", "1 part of the list not taken: it has to hold one key alone on each line, without blanks, commas, quotes and brackets",
        ),
        ({"op": "replace", "path": "/data/OPENAI_API_KEYS", "value": "%%%"},
         "the list has no other key (0 keys; Secret langgraph-api-keys has no text under OPENAI_API_KEYS)", ""),
        ({"op": "remove", "path": "/data/OPENAI_API_KEY"}, "has no key OPENAI_API_KEY", ""),
    ],
)  # fmt: skip
async def test_a_secret_that_is_somebody_elses_is_not_changed_behind_their_back(
    patch: dict[str, Any], words: str, asks: str
) -> None:
    stage = Stage(NAME)
    stage.edit(Kind.SECRET, SECRET, patch)
    diagnosis, steps = await stage.look()
    step = steps["rotate-key"]
    assert step.applies is not bool(words), step.why
    assert words in step.why[:1].lower() + step.why[1:]
    assert asks in step.asks
    assert "simulated-key" not in told(diagnosis, steps)


@pytest.mark.parametrize(
    ("spec", "how"),
    [
        (
            {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "OPENAI_API_KEY"}}}]},
            "the variable K of container agent",
        ),
        ({"envFrom": [{"secretRef": {"name": SECRET}}]}, "all variables of the Secret in container agent"),
        ({"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}, "a file in container agent"),
        ({"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "OTHER"}}}]}, ""),
    ],
)  # fmt: skip
async def test_pods_take_the_key_by_a_variable_by_all_of_them_or_by_a_file(
    spec: dict[str, Any], how: str
) -> None:
    stage = Stage(NAME)
    pod: dict[str, Any] = {"containers": [{"name": "agent", "image": "a:1", **spec}]}
    if "volumeMounts" in spec:
        pod["volumes"] = [{"name": "keys", "secret": {"secretName": SECRET}}]
    scene = await stage.scene()
    manifest = scene.workload.manifest
    manifest["spec"]["template"]["spec"] = pod
    from remediations import CATALOGUE
    from tests.unit.remediations.stage import NAMED

    handler = CATALOGUE[NAME]
    diagnosis = await handler.diagnose(scene, handler.params(**NAMED[NAME]))
    found = diagnosis.finding("keys.list")
    assert found is not None
    assert (f"pods take it by {how}" in found.details) is bool(how)
    assert ("no pod of" in found.text) is not bool(how)


async def test_promise_4_logs_that_cannot_be_read_close_the_step() -> None:
    stage = Stage(NAME)
    stage.cluster.deny("logs", Kind.POD)
    diagnosis, steps = await stage.look()
    found = diagnosis.finding("limits.answers")
    assert found is not None
    assert found.certainty is Certainty.UNKNOWN
    assert not any(step.applies for step in steps.values())


async def test_promise_4_a_secret_that_may_not_be_read_closes_the_step() -> None:
    stage = Stage(NAME)
    stage.cluster.deny("get", Kind.SECRET)
    _, steps = await stage.look()
    assert "could not be looked at" in steps["rotate-key"].why


async def test_what_prometheus_counts_is_told_beside() -> None:
    stage = Stage(NAME)
    stage.metrics = Metrics({"rate_limit_errors_total": 42.0})
    diagnosis, _ = await stage.look()
    found = diagnosis.finding("metrics.limits")
    assert found is not None
    assert found.text == "42 answers were rate limits"


async def test_our_own_limit_to_our_clients_is_no_providers() -> None:
    line = 'uvicorn 10.0.0.7 - "POST /chat HTTP/1.1" 429 Too Many Requests'
    diagnosis, steps = await Stage(NAME, world(line)).look()
    assert "of our own to clients are a limit of ours" in diagnosis.summary
    assert "look at our own limit" in steps["ask-provider"].advice.lower()
    assert not steps["rotate-key"].applies


@pytest.mark.parametrize(
    "params",
    [
        {"secret": "a"},
        {"secret": "a", "active_key": "b", "provider": "openai"},
        {"secret": "a", "active_key": "b", "keys_key": "c"},
        {"provider": "openai", "secret": "a", "active_key": "b", "keys_key": "c", "keys": ["d"]},
    ],
)
def test_a_list_of_keys_is_named_whole_or_not_at_all(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"a key is rotated by|under both"):
        ApiRateLimitsParams(**params)


def _limited(*lines: tuple[float, str]) -> list[Limited]:
    found = [limit_in(f"{(AT + timedelta(seconds=s)).isoformat()} ERROR {text}") for s, text in lines]
    return [one for one in found if isinstance(one, Limited)]


def _group(*lines: tuple[float, str]) -> Group:
    (group,) = grouped(_limited(*lines), AT)
    return group


@pytest.mark.parametrize(
    ("lines", "now", "waits", "over", "outlived"),
    [
        ([(0, "try again in 60s")], 30, True, False, False),
        ([(0, "try again in 60s")], 61, False, True, False),
        ([(0, "try again in 60s"), (62, "try again in 60s")], 63, False, False, True),
        ([(0, "try again in 60s"), (59, "try again in 1s")], 59, True, False, False),
        ([(0, "try again in 2h0m0s")], 30, False, False, False),
        ([(s, "try again in 2s") for s in range(0, 60, 5)], 56, False, False, True),
        ([(s, "try again in 2s") for s in range(0, 60, 5)], 59, False, False, True),
        ([(s, "try again in 2s") for s in range(0, 60, 5)], 60, False, False, True),
        ([(s, "try again in 2s") for s in range(0, 60, 5)], 120, False, True, True),
        ([(s, "try again in 20s") for s in range(0, 240, 30)], 235, False, False, True),
        ([(s / 10, "try again in 60s") for s in range(20)], 63, False, True, False),
        ([(0, "")], 30, False, False, False),
    ],
)
def test_a_wait_is_waited_once(
    lines: list[tuple[float, str]], now: float, waits: bool, over: bool, outlived: bool
) -> None:
    """Until it ends; whoever limits again after it has been waited for in vain."""
    group = _group(*((s, f"status 429 https://api.openai.com/v1 {text}") for s, text in lines))
    at = AT + timedelta(seconds=now)
    assert (group.waits(at, 300), group.over(at), group.outlived) == (waits, over, outlived)
    assert Group.from_json(group.to_json()) == group


def test_lines_without_a_time_wait_from_the_alert_on() -> None:
    lines = [limit_in("ERROR status 429 https://api.openai.com/v1 Retry-After: 60")]
    (group,) = grouped([one for one in lines if isinstance(one, Limited)], AT)
    assert group.until == AT + timedelta(seconds=60)
    assert group.waits(AT + timedelta(seconds=30), 300)
    assert not group.waits(AT + timedelta(seconds=61), 300)


def test_half_of_the_lines_make_it_an_outage() -> None:
    answer = "status 429 https://api.openai.com/v1 in organization org-1"
    down = "status 503 https://api.openai.com/v1"
    assert _group((0, answer), (1, answer), (2, down)).whose is Whose.ACCOUNT
    assert _group((0, answer), (1, down)).whose is Whose.PROVIDER


class _Cache:
    """A cache in this state."""

    def __init__(self, **state: Any) -> None:
        base = CacheState("7.2", 3_600, 1, 0, "noeviction", 0, 0, 0, 1, 100)
        self.state = replace(base, **state)

    async def look(self, cluster: Any, at: Any) -> CacheState:
        return self.state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, ()),
        ({"used_memory": 95, "max_memory": 100}, ("policy is noeviction, so that it refuses writes",)),
        ({"used_memory": 95, "max_memory": 100, "policy": "allkeys-lru"}, ()),
        (
            {"used_memory": 95, "max_memory": 100, "policy": "allkeys-lru", "evicted": 7},
            ("has evicted 7 keys",),
        ),
        ({"used_memory": 89, "max_memory": 100}, ()),
        ({"hits": 499, "misses": 501}, ("only 50 % of 1,000 lookups hit",)),
        ({"hits": 500, "misses": 500}, ()),
        ({"hits": 1, "misses": 99}, ()),
        ({"clients": 90}, ("90 of 100 clients are connected",)),
        ({"clients": 89}, ()),
        ({"clients": 90, "max_clients": None}, ()),
    ],
)
async def test_a_cache_in_trouble_is_told_with_its_numbers(
    state: dict[str, Any], words: tuple[str, ...]
) -> None:
    stage = Stage(NAME)
    at = ApiRateLimitsParams().cache("rag7")
    found = await cache_finding(_Cache(**state), stage.cluster, at, CacheLimits(0.5, 0.9, 0.9))
    troubles: Any = found.data["troubles"]
    assert len(troubles) == len(words)
    for word, trouble in zip(words, troubles, strict=True):
        assert word in trouble


async def test_promise_4_a_cache_that_cannot_be_asked_is_unknown_and_closes_no_rotation() -> None:
    servers = (CacheServer(app="redis", password="simulated"),)
    diagnosis, steps = await Stage(NAME, world(caches=servers)).look()
    found = diagnosis.finding("cache.state")
    assert found is not None
    assert (found.certainty, "says nothing of it" in found.text) == (Certainty.UNKNOWN, True)
    assert steps["rotate-key"].applies
