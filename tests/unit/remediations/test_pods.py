"""What is concluded from container states: an OOM kill is told by its reason, old endings are over, restarts count."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.target import Kind, ObjectRef
from app.domain.workload import ContainerSpec, ContainerState, Terminated
from app.kube.known_good import of_revision
from remediations.evidence.leaks import limits_finding
from remediations.evidence.pods import Fault, pods_finding, troubles
from remediations.shared import pods_counted
from tests.unit.remediations.snapshots import MIB, ago, ended, pod, revision, state, workload

SINCE = ago(hours=1)


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        (state(), None),
        (state(ready=False, waiting="ContainerCreating"), None),
        (state(ready=False, waiting="CrashLoopBackOff", restarts=5), Fault.CRASH),
        (state(ready=False, waiting="RunContainerError"), Fault.CRASH),
        (state(ready=False, waiting="CreateContainerError", waiting_message="no such file"), Fault.CRASH),
        (state(ready=False, waiting="ImagePullBackOff"), Fault.IMAGE),
        (state(ready=False, waiting="ErrImagePull"), Fault.IMAGE),
        (state(ready=False, waiting="InvalidImageName"), Fault.IMAGE),
        (
            state(
                ready=False,
                waiting="CreateContainerConfigError",
                waiting_message="couldn't find key A in ConfigMap rag7/c",
            ),
            Fault.CONFIG,
        ),
        (
            state(
                ready=False,
                waiting="CreateContainerConfigError",
                waiting_message="container has runAsNonRoot and image will run as root",
            ),
            Fault.CRASH,
        ),
        # Between two crashes there is no waiting reason.
        (state(restarts=3, last_terminated=ended()), Fault.CRASH),
        (state(restarts=3, last_terminated=ended(at=ago(hours=2))), None),
        (state(restarts=1, last_terminated=ended("Completed", 0)), None),
        (state(ready=False, terminated=ended()), Fault.CRASH),
        (state(ready=False, terminated=ended("Completed", 0)), None),
        (state(restarts=1, last_terminated=ended("OOMKilled", 137)), Fault.OUT_OF_MEMORY),
        (state(ready=False, terminated=ended("OOMKilled", 137)), Fault.OUT_OF_MEMORY),
        (
            state(ready=False, waiting="CrashLoopBackOff", last_terminated=ended("OOMKilled", 137)),
            Fault.OUT_OF_MEMORY,
        ),
        (state(restarts=1, last_terminated=ended("OOMKilled", 137, ago(hours=2))), None),
        # 137 alone is any SIGKILL, e.g. of a failed liveness probe.
        (state(restarts=1, last_terminated=ended("Error", 137)), Fault.CRASH),
    ],
)
def test_a_container_is_in_trouble_or_not(container: ContainerState, fault: Fault | None) -> None:
    found = troubles([pod("app-a", container)], SINCE)
    assert [t.fault for t in found] == ([fault] if fault else [])


def test_init_containers_count_and_terminating_pods_do_not() -> None:
    broken = state("migrate", init=True, ready=False, waiting="CrashLoopBackOff", restarts=2)
    found = troubles([pod("app-a", broken), pod("app-b", broken, terminating=True)], SINCE)
    assert [t.text for t in found] == ["app-a/migrate: CrashLoopBackOff, 2 restarts"]


@pytest.mark.parametrize(
    ("container", "text"),
    [
        (
            state(ready=False, waiting="CrashLoopBackOff", restarts=7, last_terminated=ended(code=1)),
            "app-a/app: CrashLoopBackOff, exit code 1, 7 restarts",
        ),
        (
            state(restarts=1, last_terminated=ended(code=137)),
            "app-a/app: exit code 137 (SIGKILL, not for memory), 1 restart",
        ),
        (state(restarts=1, last_terminated=ended("OOMKilled", 137)), "app-a/app: OOMKilled, 1 restart"),
        (state(ready=False, waiting="ImagePullBackOff"), "app-a/app: ImagePullBackOff"),
    ],
)
def test_a_trouble_is_one_row(container: ContainerState, text: str) -> None:
    (found,) = troubles([pod("app-a", container)], SINCE)
    assert found.text == text


def test_the_state_of_the_pods_is_one_sentence_with_numbers() -> None:
    crashing = state(ready=False, waiting="CrashLoopBackOff", restarts=7, last_terminated=ended())
    killed = state(restarts=2, last_terminated=ended("OOMKilled", 137))
    pods = [pod("app-a", crashing), pod("app-b", killed), pod("app-c"), pod("app-d", terminating=True)]

    finding = pods_finding(workload(desired=3), pods, troubles(pods, SINCE))

    assert finding.text == (
        "2 of 3 pods ready, 1 container killed for memory, 1 container crashing, at most 7 restarts"
    )
    assert finding.data["last_end"] == ago(minutes=1).isoformat()
    assert finding.data["pods"] == 3


def test_limits_are_told_for_each_container() -> None:
    containers = (
        ContainerSpec(
            "app", "i", memory_limit=512 * MIB, memory_request=256 * MIB, cpu_limit=500, cpu_request=250
        ),
        ContainerSpec("proxy", "i"),
        ContainerSpec("migrate", "i", init=True),
    )
    assert limits_finding(workload(containers=containers)).text == (
        "Requests and limits: app: memory 256 MiB to 512 MiB, CPU 250m to 500m; "
        "proxy: memory no request to no limit, CPU no request to no limit"
    )


@pytest.mark.parametrize(
    ("template_hash", "owner", "name", "same"),
    [
        ("7c9f6d5b8c", "", "app-7c9f6d5b8c", True),
        ("app-7c9f6d5b8c", "", "app-7c9f6d5b8c", True),
        ("6d5b8c", "", "app-7c9f6d5b8c", False),
        ("", "app-7c9f6d5b8c", "app-7c9f6d5b8c", True),
        ("", "", "app-7c9f6d5b8c", False),
    ],
)
def test_a_pod_is_known_to_be_of_a_revision(template_hash: str, owner: str, name: str, same: bool) -> None:
    ref = ObjectRef(Kind.REPLICA_SET, "rag7", owner, "u", "") if owner else None
    one = pod("app-a", template_hash=template_hash, owner=ref)
    assert of_revision(one, revision(2, name=name)) is same


def test_what_crashed_and_is_ready_again_does_not_crash_now() -> None:
    over = state(restarts=4, last_terminated=ended(code=1))
    pods = [pod("app-a", over), pod("app-b", over), pod("app-c")]
    text = pods_finding(workload(desired=3), pods, troubles(pods, SINCE)).text
    assert text == "3 of 3 pods ready, 2 containers that crashed and are ready again, at most 4 restarts"


def test_kills_for_memory_are_counted_by_how_long_the_containers_ran_before() -> None:
    """Twice as long is half as often; chance in the first half minute counts as nothing."""

    def kills(seconds: float) -> float:
        killed = replace(ended("OOMKilled", 137), started_at=ago(minutes=1) - timedelta(seconds=seconds))
        pods = [pod("a", state(restarts=2, last_terminated=killed))]
        counted = pods_counted(pods_finding(workload(), pods, troubles(pods, SINCE)))
        return next(one.value for one in counted if one.what == counted[0].finer)

    assert kills(120) == pytest.approx(kills(60) / 2)
    assert kills(3) == kills(20)


@pytest.mark.parametrize(
    "other", [ended("Error", 1), ended("OOMKilled", 137)], ids=["a crash", "a kill without times"]
)
def test_containers_that_nobody_knows_the_times_of_are_only_counted(other: Terminated) -> None:
    pods = [pod("a", state(restarts=2, last_terminated=other))]
    in_trouble, *_ = pods_counted(pods_finding(workload(), pods, troubles(pods, SINCE)))
    assert (in_trouble.value, in_trouble.finer) == (1, "")
