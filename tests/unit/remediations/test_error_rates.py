"""Error lines a minute and pod: by the time that was really read, of the present runs alone, the same before a change and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.cluster import LogQuery
from app.domain.errors import TryLater
from app.domain.workload import Pod
from app.sim import SimCluster, VirtualClock
from remediations.evidence.error_rates import MAX_BYTES, MAX_LINES, MAX_PODS, error_rate
from tests.unit.remediations.snapshots import NOW, ended, pod, state

Line = Callable[[int], str]


def every(number: int, *, length: int = 0) -> Line:
    """Each so many-th line is an error; no line says when it was written."""
    return lambda i: f"ERROR ToolTimeout: {'e' * length}" if i % number == 0 else f"INFO 200 {'i' * length}"


@dataclass(frozen=True)
class Writing:
    """A container that writes so many lines a second since it began; `before` is the log of the run before it."""

    line: Line
    seconds: float
    each_second: int = 1
    before: str = ""


class Kubelet(SimCluster):
    """Answers about logs as a kubelet does: the newest lines since then, and of these the first bytes."""

    def __init__(self, writing: Writing, **of: Writing | None) -> None:
        super().__init__(VirtualClock())
        self.writing, self.of = writing, of
        self.asked: list[LogQuery] = []

    async def logs(self, query: LogQuery) -> str:
        self.asked.append(query)
        one = self.of.get(query.pod, self.writing)
        if one is None:
            raise TryLater("the node does not answer")
        if query.previous:
            return one.before
        seconds = min(one.seconds, query.since_seconds or one.seconds)
        whole = range(int((one.seconds - seconds) * one.each_second), int(one.seconds * one.each_second))
        kept = whole[-query.tail_lines :] if query.tail_lines else whole

        def row(i: int) -> str:
            at = NOW - timedelta(seconds=one.seconds - i / one.each_second)
            return f"{f'{at.isoformat()} ' if query.timestamps else ''}{one.line(i)}\n"

        text, size = list[str](), 0
        for i in kept:
            text.append(row(i))
            size += len(text[-1])
            if size > query.limit_bytes:
                break
        return "".join(text)[: query.limit_bytes]


def running(name: str, seconds: float, **fields: Any) -> Pod:
    return pod(name, state(running_since=NOW - timedelta(seconds=seconds), **fields))


async def rate(cluster: Kubelet, *pods: Pod, window: float = 120, now: datetime = NOW) -> float | str:
    return await error_rate(cluster, pods, now, window)


async def test_pods_that_are_younger_than_the_window_are_counted_by_their_own_time() -> None:
    """8 error lines a minute are 8 also where the pods have run for 80 s of the 120."""
    cluster = Kubelet(Writing(every(10), 80), old=Writing(every(10), 3_600))
    assert await rate(cluster, running("old", 3_600)) == 6.0
    assert await rate(cluster, running("new", 80)) == 6.0


@pytest.mark.parametrize(("each_second", "length"), [(1, 0), (20, 0), (150, 30), (3, 1_000), (30, 500)])
@pytest.mark.parametrize("window", [120, 300])
async def test_a_log_that_is_cut_counts_for_the_time_that_was_read(
    each_second: int, length: int, window: int
) -> None:
    line = every(10 * each_second, length=length)
    found = await rate(
        Kubelet(Writing(line, 3_600, each_second)), running("a", 3_600), running("b", 3_600), window=window
    )
    assert isinstance(found, float)
    assert found == pytest.approx(6.0, rel=0.15)


async def test_the_newest_of_a_long_log_is_what_counts() -> None:
    """A log that is cut in bytes ends early: errors that came since would not be seen."""
    broken_since = 3_600 - 40

    def line(i: int) -> str:
        return f"{'ERROR failed' if i // 20 >= broken_since and i % 20 == 0 else 'INFO 200'} {'x' * 900}"

    found = await rate(Kubelet(Writing(line, 3_600, 20)), running("a", 3_600))
    assert isinstance(found, float)
    assert found > 40


async def test_a_log_of_which_only_seconds_can_be_read_tells_nothing() -> None:
    found = await rate(Kubelet(Writing(every(10, length=20_000), 3_600, 20)), running("a", 3_600))
    assert isinstance(found, str)
    assert "0 of 1 pod tell them (the log of a/app is so long that" in found


async def test_a_run_that_has_just_begun_tells_nothing_and_is_not_asked() -> None:
    cluster = Kubelet(Writing(every(10), 20))
    found = await rate(cluster, running("a", 20))
    assert found == "0 of 1 pod tell them (a/app began 20 s ago, 60 s are needed)"
    assert cluster.asked == []


async def test_what_a_run_that_is_over_wrote_does_not_count() -> None:
    """Its lines without a time were taken for those of the last five minutes, however old they were."""
    old = "ERROR ToolTimeout: no answer\n" * 500
    cluster = Kubelet(Writing(every(10), 3_000, before=old))
    found = await rate(cluster, running("a", 3_000, restarts=3, last_terminated=ended()), window=300)
    assert found == 6.0
    assert not any(q.previous for q in cluster.asked)


async def test_between_two_runs_the_last_one_counts_from_when_it_began() -> None:
    began = NOW - timedelta(seconds=200)
    last = replace(ended(), started_at=began)
    between = pod("a", state(waiting="CrashLoopBackOff", restarts=4, last_terminated=last, ready=False))
    assert (
        await rate(Kubelet(Writing(lambda i: "ERROR failed" if i < 5 else "INFO", 200)), between, window=300)
        == 1.5
    )


async def test_pods_that_cannot_be_read_are_no_pods_without_errors() -> None:
    cluster = Kubelet(Writing(every(10), 3_600), b=None, c=None)
    a, b, c = (running(name, 3_600) for name in "abc")
    assert await rate(cluster, a, b) == 6.0
    found = await rate(cluster, a, b, c)
    assert found == ("1 of 3 pods tell them (the log of b/app could not be read: the node does not answer)")
    assert await rate(cluster, pod("d", state(waiting="ContainerCreating", ready=False))) == "no pod runs"


async def test_pods_that_end_are_not_the_release() -> None:
    """They were read first, as pods that are not ready, and made a bad release look half as bad."""
    old = replace(running("old", 3_600), terminating=True, ready=False)
    cluster = Kubelet(Writing(every(10), 3_600), old=Writing(lambda _: "INFO 200", 3_600))
    assert await rate(cluster, old, running("new", 3_600)) == 6.0


async def test_which_pods_are_read_does_not_depend_on_how_they_are() -> None:
    """Read first, the broken ones before a release would be compared with all pods after it."""
    pods = [running(f"p{i:02}", 3_600, ready=i < MAX_PODS) for i in range(2 * MAX_PODS)]
    broken = {p.name: Writing(every(1), 3_600) for p in pods if not p.ready}
    cluster = Kubelet(Writing(every(10), 3_600), **broken)
    assert await rate(cluster, *pods) == 6.0
    assert sum(q.limit_bytes for q in cluster.asked) <= MAX_BYTES
    assert max(q.tail_lines or 0 for q in cluster.asked) <= MAX_LINES
