"""Whose limited answers they are: of one pod among others, or of a release that they began with; another key ends neither, so that it is asked about."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.evidence import Diagnosis
from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.secret import encoded
from remediations.api_rate_limits import ApiRateLimits
from tests.unit.causes.cluster import NOW
from tests.unit.causes.world import World

LIMITED = (
    "ERROR openai.RateLimitError: Error code: 429 - Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 9."
    " Please try again in 2s."
)
KEYS = {
    "provider": "openai",
    "secret": "llm",
    "active_key": "OPENAI_API_KEY",
    "keys_key": "KEYS",
    "own_quota": True,
}


def world(deployed: float = 9_000) -> World:
    """Three pods of one version, which take their key from a Secret with a list of two."""
    made = World()
    made.deployed, made.fired = deployed, 5
    for name in list(made.pods):
        made.pod(name, made=deployed)

    def takes(spec: Obj) -> None:
        key = {"secretKeyRef": {"name": "llm", "key": "OPENAI_API_KEY"}}
        spec["containers"][0]["env"] = [{"name": "OPENAI_API_KEY", "valueFrom": key}]

    made.both(takes)
    first, second = "sk-" + "a" * 20, "sk-" + "b" * 20
    return made.put(
        "Secret", "llm", data={"OPENAI_API_KEY": encoded(first), "KEYS": encoded(f"{first}\n{second}")}
    )


def limited(made: World, seconds: range, *names: str) -> World:
    for name in names or tuple(made.pods):
        made.cluster.timed[name] = [(NOW - timedelta(seconds=s), LIMITED) for s in reversed(seconds)]
    return made


async def rotation(made: World) -> tuple[Diagnosis, Step]:
    diagnosis, steps = await made.look(ApiRateLimits(), **KEYS)
    return diagnosis, steps["rotate-key"]


async def test_a_steady_limit_of_all_pods_rotates_the_key_unasked() -> None:
    diagnosis, step = await rotation(limited(world(), range(1, 590, 3)))
    assert (step.applies, step.asks) == (True, ""), step.why
    assert "of pod" not in diagnosis.summary


async def test_one_pod_that_asks_so_often_is_named_and_asked_about() -> None:
    diagnosis, step = await rotation(limited(world(), range(1, 590, 3), "new-0"))
    assert step.applies, step.why
    assert "nearly all of them of pod new-0" in diagnosis.summary
    assert (
        "nearly all limited answers are of pod new-0, which uses up the next key as well" in step.asks.lower()
    )


@pytest.mark.parametrize(("first", "asked"), [(330, True), (150, False), (590, False)])
async def test_a_release_that_they_began_with_is_named_and_asked_about(first: int, *, asked: bool) -> None:
    """Those that came before it, or minutes after it, did not begin with it."""
    diagnosis, step = await rotation(limited(world(deployed=6), range(1, first, 3)))
    assert step.applies, step.why
    assert ("after revision 2" in step.asks) is asked, step.asks
    assert (diagnosis.finding("limits.release") is not None) is asked
