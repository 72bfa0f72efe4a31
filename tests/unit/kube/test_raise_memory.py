"""Raising memory limits: within the cap and the namespace's rules, with the numbers."""

from __future__ import annotations

from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.json import Obj
from app.domain.plan import FieldChange
from app.domain.workload import Workload
from app.kube.actions import Impossible, raise_memory
from app.kube.limits import MemoryRule, QuotaRoom
from tests.unit.kube import manifests as m
from tests.unit.kube.test_actions import built, refused

_APP = "/spec/template/spec/containers/[name=app]/resources"
CAP = 4 * m.GIB


def _workload(limit: str | None = "512Mi", request: str | None = "256Mi", **spec: Any) -> Workload:
    resources: Obj = {}
    if limit:
        resources["limits"] = {"memory": limit}
    if request:
        resources["requests"] = {"memory": request}
    side = m.container("side", resources={"limits": {"memory": "128Mi"}})
    return m.workload(m.deployment(m.template(m.container(resources=resources), side), **spec))


def test_the_limit_is_multiplied_and_written_canonically() -> None:
    action = built(raise_memory(_workload(), ["app"], 1.5, CAP))
    assert action.changes == (FieldChange(f"{_APP}/limits/memory", "512Mi", "768Mi"),)
    assert (action.summary, action.undo) == snapshot(
        (
            "Raise memory limit of rag7/Deployment/langgraph: app 512 MiB -> 768 MiB (3 pods)",
            "set back to app 512 MiB",
        )
    )
    assert (action.pods_affected, action.reversible) == (3, True)
    assert action.params["limits"] == {"app": [512 * m.MIB, 768 * m.MIB]}


def test_a_request_equal_to_its_limit_is_raised_with_it() -> None:
    action = built(raise_memory(_workload("512Mi", "0.5Gi"), ["app"], 2, CAP))
    assert action.changes == (
        FieldChange(f"{_APP}/limits/memory", "512Mi", "1Gi"),
        FieldChange(f"{_APP}/requests/memory", "0.5Gi", "1Gi"),
    )


def test_several_containers_and_init_containers_are_raised_together() -> None:
    init = m.container("migrate", resources={"limits": {"memory": "100M"}})
    workload = m.workload(m.deployment(m.template(m.container(), initContainers=[init])))
    action = built(raise_memory(workload, {"migrate", "app"}, 1.1, CAP))
    assert [(c.path.split("/")[4], c.after) for c in action.changes] == [
        ("containers", "564Mi"),
        ("initContainers", "105Mi"),
    ]


@pytest.mark.parametrize(
    ("cap", "rules", "said"),
    [
        (600 * m.MIB, (), "app 512 MiB -> 600 MiB [1 GiB were wanted, the cap 600 MiB allows no more]"),
        (
            CAP,
            (MemoryRule("range", "Container", 700 * m.MIB),),
            "app 512 MiB -> 700 MiB [1 GiB were wanted, LimitRange range's maximum 700 MiB allows no more]",
        ),
        (CAP, (), "app 512 MiB -> 1 GiB ("),
    ],
)
def test_a_bound_that_shaped_the_step_is_told(cap: int, rules: tuple[MemoryRule, ...], said: str) -> None:
    assert said in built(raise_memory(_workload(), ["app"], 2, cap, rules)).summary


@pytest.mark.parametrize(
    ("cap", "rules", "after"),
    [
        (600 * m.MIB, (), "600Mi"),
        (CAP, (MemoryRule("range", "Container", 700 * m.MIB),), "700Mi"),
        (CAP, (MemoryRule("range", "Pod", 2 * m.GIB),), "1Gi"),
    ],
)
def test_the_nearest_bound_wins(cap: int, rules: tuple[MemoryRule, ...], after: str) -> None:
    assert built(raise_memory(_workload(), ["app"], 2, cap, rules)).changes[0].after == after


@pytest.mark.parametrize(
    ("workload", "cap", "rules", "why"),
    [
        (_workload(), 512 * m.MIB, (), "container app has 512 MiB; 1 GiB is beyond the cap 512 MiB"),
        (
            _workload(),
            CAP,
            (MemoryRule("range", "Container", 512 * m.MIB),),
            "container app has 512 MiB; 1 GiB is beyond LimitRange range's maximum 512 MiB",
        ),
        (
            _workload(),
            CAP,
            (MemoryRule("range", "Pod", m.GIB),),
            "a pod of rag7/Deployment/langgraph would have 1.1 GiB; LimitRange range allows 1 GiB a pod",
        ),
        (
            _workload(),
            CAP,
            (MemoryRule("range", "Container", None, 2.0),),
            "container app would have a limit of 1 GiB with a request of 256 MiB; LimitRange range allows 2 times the request",
        ),
        (
            _workload(None),
            CAP,
            (),
            "container app has no memory limit: it was the node that ran out of memory",
        ),
        (_workload(paused=True), CAP, (), "is paused, so a new limit would not roll out"),
    ],
)
def test_what_cannot_be_raised_says_its_numbers(
    workload: Workload, cap: int, rules: tuple[MemoryRule, ...], why: str
) -> None:
    no = raise_memory(workload, ["app"], 2, cap, rules)
    assert why in refused(no)
    assert isinstance(no, Impossible)
    assert no.advice


def test_a_container_that_does_not_exist_is_told() -> None:
    assert "has no container nothing" in refused(raise_memory(_workload(), ["nothing"], 2, CAP))
    assert "a factor of 1 does not raise the 512 MiB" in refused(raise_memory(_workload(), ["app"], 1, CAP))
    assert "no container was named" in refused(raise_memory(_workload(), [], 2, CAP))


def _room(resource: str, left: int) -> list[QuotaRoom]:
    return [QuotaRoom("small", resource, 8 * m.GIB, 8 * m.GIB - left)]


# 3 pods grow by 512 MiB each, and one surge pod (25 % of 3, rounded up) of 1 GiB + 128 MiB runs besides.
_NEEDED = 3 * 512 * m.MIB + 1152 * m.MIB


def test_the_quota_must_hold_the_rollout_too() -> None:
    built(raise_memory(_workload(), ["app"], 2, CAP, (), _room("limits.memory", _NEEDED)))
    no = raise_memory(_workload(), ["app"], 2, CAP, (), _room("limits.memory", _NEEDED - m.MIB))
    assert isinstance(no, Impossible)
    assert (no.why, no.advice) == snapshot(
        (
            "3 pods need 2688 MiB more limits.memory during the rollout; quota small has 2687 MiB of 8 GiB left",
            "raise limits.memory of quota small by 1 MiB",
        )
    )


def test_a_quota_on_requests_counts_only_raised_requests() -> None:
    built(raise_memory(_workload(), ["app"], 2, CAP, (), _room("requests.memory", 0)))
    guaranteed = _workload("512Mi", "512Mi")
    assert "requests.memory" in refused(
        raise_memory(guaranteed, ["app"], 2, CAP, (), _room("requests.memory", 0))
    )
    unset = _workload("512Mi", None)  # the API server takes the limit for the request
    assert "requests.memory" in refused(raise_memory(unset, ["app"], 2, CAP, (), _room("requests.memory", 0)))


@pytest.mark.parametrize(
    ("strategy", "surge"),
    [
        ({"type": "Recreate"}, 0),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}}, 0),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}, 2),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}}, 2),
    ],
)
def test_surge_pods_are_counted_as_the_strategy_says(strategy: Obj, surge: int) -> None:
    workload = _workload(strategy=strategy)
    needed = 3 * 512 * m.MIB + surge * 1152 * m.MIB
    built(raise_memory(workload, ["app"], 2, CAP, (), _room("limits.memory", needed)))
    refused(raise_memory(workload, ["app"], 2, CAP, (), _room("limits.memory", needed - 1)))


def test_stateful_sets_have_no_surge_and_daemon_sets_their_own() -> None:
    for manifest, needed in (
        (m.stateful_set(), 2 * 512 * m.MIB),
        (m.daemon_set(), 3 * 512 * m.MIB),
        (m.daemon_set(updateStrategy={"rollingUpdate": {"maxSurge": 1}}), 3 * 512 * m.MIB + m.GIB),
    ):
        workload = m.workload(manifest)
        built(raise_memory(workload, ["app"], 2, CAP, (), _room("limits.memory", needed)))
        refused(raise_memory(workload, ["app"], 2, CAP, (), _room("limits.memory", needed - 1)))


def test_f10_the_limit_of_the_whole_pod_is_named_and_is_no_shortage_of_the_node() -> None:
    whole = {"limits": {"memory": "300Mi"}, "requests": {"memory": "300Mi"}}
    spec = m.template(m.container(resources={}))
    spec["spec"]["resources"] = whole
    no = raise_memory(m.workload(m.deployment(spec)), ["app"], 1.5, CAP)
    assert no == Impossible(
        "container app has no memory limit of its own, and its pod as a whole has 300 MiB",
        "raise spec.resources.limits.memory of the pod template of rag7/Deployment/langgraph beyond 300 MiB",
    )


def test_f10_a_limit_that_a_limit_range_gave_is_named_with_it() -> None:
    rules = [MemoryRule("sizes", "Pod", default=m.GIB), MemoryRule("caps", "Container", default=512 * m.MIB)]
    assert raise_memory(_workload(limit=None), ["app"], 1.5, CAP, rules) == Impossible(
        "container app sets no memory limit and gets 512 MiB from LimitRange caps",
        "set a memory limit for app in the pod template of rag7/Deployment/langgraph, or raise the default of LimitRange caps",
    )
