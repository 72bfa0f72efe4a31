"""Whose limited answers they are: of one pod among others, or of a release that they began with; another key ends neither, so that it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.evidence import Diagnosis
from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.secret import encoded
from remediations.api_rate_limits import ApiRateLimits
from tests.unit.causes.cluster import NOW
from tests.unit.causes.world import V1, World, at

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


def world(deployed: float = 9_000, made: World | None = None) -> World:
    """Three pods of one version, which take their key from a Secret with a list of two."""
    if made is None:
        made = World()
        for name in list(made.pods):
            made.pod(name, made=deployed)
    made.deployed, made.fired = deployed, 5

    def takes(spec: Obj) -> None:
        key = {"secretKeyRef": {"name": "llm", "key": "OPENAI_API_KEY"}}
        spec["containers"][0]["env"] = [{"name": "OPENAI_API_KEY", "valueFrom": key}]

    made.both(takes)
    first, second = "sk-" + "a" * 20, "sk-" + "b" * 20
    return made.put(
        "Secret", "llm", data={"OPENAI_API_KEY": encoded(first), "KEYS": encoded(f"{first}\n{second}")}
    )


def limited(made: World, seconds: range, *names: str, said: str = LIMITED) -> World:
    for name in names or tuple(made.pods):
        made.cluster.timed[name] = [(NOW - timedelta(seconds=s), said) for s in reversed(seconds)]
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


def canary(often: int, seldom: int) -> World:
    """One pod of the release of six minutes ago beside two of before; one limited answer in so many seconds."""
    rolling = World().rolling(deployed=6, old=2, new=0)
    rolling.pod("new-0", made=5.8)
    made = limited(world(6, rolling), range(1, 590, seldom), "old-0", "old-1")
    return limited(made, range(1, 340, often), "new-0")


def by_hand(made: World, replicas: int = 7) -> World:
    """A person set the replicas six minutes ago."""
    made.replicas = replicas
    for n in range(3, replicas):
        made.pod(f"new-{n}", made=6)
    fields: Obj = {"f:spec": {"f:replicas": {}}}
    made.fields.append(
        {"manager": "kubectl", "subresource": "scale", "operation": "Update", "time": at(minutes=6.1), "fieldsV1": fields}
    )  # fmt: skip
    return made


def edited(made: World, by: str = "kubectl-edit") -> World:
    """Its configuration was changed six minutes ago."""
    made.both(lambda spec: spec["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    made.put("ConfigMap", "web-config", changed=6.1, by=by, data={"A": "x"})
    return made


def annotated(made: World) -> World:
    made.template["spec"]["containers"][0]["image"] = V1
    made.template["metadata"]["annotations"] = {"team": "shop"}
    return made


NOT_KNOWN = (
    "whether limited answers of OpenAI began with revision 2 (v1 -> v2), deployed 25 min ago, is not known"
)
OFTENER = "113 of 133 limited answers of OpenAI are of pod new-0 of revision 2 (v1 -> v2), deployed 6 min ago, and 10 a pod of those of an older version"
ROWS: list[tuple[str, Callable[[], World], str]] = [
    ("the release's one pod has most of them", lambda: canary(3, 60), OFTENER),
    ("the release's one pod has as many as the others", lambda: canary(3, 3), ""),
    ("all that was read is full of them, after a release", lambda: limited(world(25), range(1, 599, 3)), NOT_KNOWN),
    ("all that was read is full of them, after a release of annotations", lambda: limited(annotated(world(25)), range(1, 599, 3)), ""),
    ("all that was read is full of them, after a release of hours ago", lambda: limited(world(250), range(1, 599, 3)), ""),
    ("they began long after a release", lambda: limited(world(25), range(1, 240, 3)), ""),
    ("they began as a person scaled up", lambda: limited(by_hand(world()), range(1, 340, 3)), "replicas of web set to 7 by kubectl"),
    ("they began as a person scaled down", lambda: limited(by_hand(world(), 3), range(1, 340, 3)), ""),
    ("they began before a person scaled up", lambda: limited(by_hand(world()), range(1, 590, 3), "new-0", "new-1", "new-2"), ""),
    ("they began as a person changed the configuration", lambda: limited(edited(world()), range(1, 340, 3)), "ConfigMap web-config changed by kubectl-edit"),
    ("they began as a program changed the configuration", lambda: limited(edited(world(), "cert-manager-cainjector"), range(1, 340, 3)), ""),
]  # fmt: skip


@pytest.mark.parametrize(("happens", "asked"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
async def test_what_may_have_brought_them_is_named_and_asked_about(
    happens: Callable[[], World], asked: str
) -> None:
    _, step = await rotation(happens())
    assert step.applies, step.why
    assert asked in step.asks
    assert bool(step.asks) is bool(asked)


@pytest.mark.parametrize(("ended", "over"), [(90, True), (30, False)])
async def test_credit_that_somebody_added_a_moment_ago_is_not_answered_with_another_key(
    ended: int, *, over: bool
) -> None:
    spent = "ERROR openai.RateLimitError: Error code: 429 - You exceeded your current quota, type: insufficient_quota"
    diagnosis, step = await rotation(limited(world(), range(ended, 590, 5), said=spent))
    assert diagnosis.rest == (f"OpenAI has given no limited answer for {ended} s" if over else "")
    assert step.applies is not over
