"""Error lines of pods: grouped, counted, bounded, without secrets; a log that cannot be read is told."""

from __future__ import annotations

import threading
from collections import UserList
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.cluster import LogQuery
from app.domain.errors import ObjectMissing
from app.domain.evidence import Certainty, look_again
from app.domain.samples import sample
from app.domain.workload import Pod
from app.sim import SimCluster, VirtualClock
from remediations.evidence.error_lines import TOKENS
from remediations.evidence.error_words import Nature
from remediations.evidence.last_words import last_words
from remediations.evidence.logs import (
    MAX_GROUPS,
    MAX_KEYS,
    MAX_PODS,
    POD_BYTES,
    TOTAL_BYTES,
    ErrorLog,
    errors_finding,
    read_errors,
)
from remediations.shared import errors_counted
from tests.unit.remediations.snapshots import NOW, ago, ended, pod, state
from tests.unit.work import measured


class Logs(SimCluster):
    """A cluster whose logs are given by (pod, container, previous); the rest is empty, `gone` raises."""

    def __init__(self, texts: Mapping[tuple[str, str, bool], str], gone: tuple[str, ...] = ()) -> None:
        super().__init__(VirtualClock())
        self.texts = texts
        self.gone = gone
        self.asked: list[LogQuery] = []

    async def logs(self, query: LogQuery) -> str:
        self.asked.append(query)
        if query.pod in self.gone:
            raise ObjectMissing(f"pods {query.pod} not found")
        return self.texts.get((query.pod, query.container, query.previous), "")


def stamp(minutes: float) -> str:
    return (NOW - timedelta(minutes=minutes)).isoformat()


def lines(count: int, text: str, minutes: float = 1) -> str:
    return "".join(f"{stamp(minutes)} ERROR {text.replace('#', str(i))}\n" for i in range(count))


class Seen(UserList[str]):
    """The words of an error, which remember who reads them."""

    threads: set[int]

    def __iter__(self) -> Iterator[str]:
        self.threads.add(threading.get_ident())
        return super().__iter__()


async def read(cluster: Logs, *pods: Pod) -> ErrorLog:
    return await read_errors(cluster, pods, NOW, 300)


async def test_errors_are_grouped_by_what_they_say_most_frequent_first() -> None:
    cluster = Logs(
        {
            ("a", "app", False): lines(3, "KeyError: user #")
            + lines(5, "OperationalError: refused by 10.0.0.#"),
            ("b", "app", False): lines(2, "OperationalError: refused by 10.1.0.#") + "INFO fine\n",
        }
    )

    log = await read(cluster, pod("a"), pod("b"))

    assert [(g.key, g.count, g.pods) for g in log.groups] == [
        ("OperationalError: refused by <ip>", 7, 2),
        ("KeyError: user <n>", 3, 1),
    ]
    assert (log.errors, log.lines, log.pods) == (10, 11, 2)
    assert errors_finding(log).text == (
        '10 error lines in 5 min on 2 pods, 7 of them "OperationalError: refused by 10.0.0.0"'
    )
    assert log.share(Nature.DEPENDENCY) == pytest.approx(0.7)


async def test_the_first_sighting_is_the_earliest_time_of_its_lines() -> None:
    cluster = Logs({("a", "app", False): lines(1, "x", 2) + lines(1, "x", 4) + "ERROR x\n"})
    (group,) = (await read(cluster, pod("a"))).groups
    assert group.first_seen == NOW - timedelta(minutes=4)


async def test_errors_from_before_the_window_are_left_out() -> None:
    cluster = Logs({("a", "app", False): lines(2, "old", 6) + lines(1, "new", 4)})
    assert [g.key for g in (await read(cluster, pod("a"))).groups] == ["new"]


async def test_the_previous_run_is_read_of_containers_that_restarted() -> None:
    cluster = Logs({("a", "app", True): lines(1, "died")})
    crashed = pod("a", state(restarts=2, ready=False, last_terminated=ended(), waiting="CrashLoopBackOff"))

    log = await read(cluster, crashed, pod("b"))

    assert [(q.pod, q.previous, q.since_seconds) for q in cluster.asked] == [
        ("a", False, 300),
        ("a", True, None),
        ("b", False, 300),
    ]
    assert log.errors == 1


async def test_a_container_that_never_ran_is_not_asked() -> None:
    cluster = Logs({})
    await read(cluster, pod("a", state(ready=False, waiting="ContainerCreating")))
    assert cluster.asked == []


async def test_at_most_so_many_pods_are_read_and_broken_ones_first() -> None:
    cluster = Logs({})
    pods = [pod(f"p{i:02}") for i in range(20)]
    broken = pod("zz", state(ready=False, restarts=4, waiting="CrashLoopBackOff", last_terminated=ended()))

    log = await read(cluster, *pods, broken)

    assert cluster.asked[0].pod == "zz"
    assert len({q.pod for q in cluster.asked}) == MAX_PODS
    assert {q.limit_bytes for q in cluster.asked} == {POD_BYTES}
    assert errors_finding(log).text == "No error lines in 5 min of logs of 12 pods (9 more not read)"


async def test_at_most_so_many_bytes_are_looked_at() -> None:
    # Twelve such logs are more than the total: each is cut from its start, so that of each pod its newest lines are looked at.
    big = ("x" * 99 + "\n") * (POD_BYTES // 100)
    texts = {(f"p{i:02}", "app", False): big + lines(1, "boom", 0.1) for i in range(MAX_PODS)}
    texts["p00", "app", False] = lines(3, "boom")

    log = await read(Logs(texts), *(pod(f"p{i:02}") for i in range(MAX_PODS)))

    assert TOTAL_BYTES // 100 - 20 <= log.lines <= TOTAL_BYTES // 100 + 20
    assert log.groups[0].names == {f"p{i:02}" for i in range(MAX_PODS)}
    assert log.groups[0].each["p00"] == 3


def _fleet(first: str) -> list[Pod]:
    """Twenty pods of the older version and three of the newest, two of these not ready; and one that is ending."""
    older = [
        pod(f"mm-{i:02}", template_hash="r1", created_at=ago(days=9), node=f"node-{i % 7}") for i in range(20)
    ]
    again = state(restarts=1, last_terminated=ended(at=ago(days=3)))
    older[3:9] = [replace(one, containers=(again,)) for one in older[3:9]]
    newest = [pod(f"{first}-{i}", state(ready=i == 0), template_hash="r2") for i in range(3)]
    return sorted([*older, *newest, pod("ending", terminating=True, ready=False)], key=lambda p: p.name)


@pytest.mark.parametrize("first", ["aa", "zz"])
def test_of_many_pods_some_of_each_revision_are_read_whatever_their_names(first: str) -> None:
    found = sample(_fleet(first), MAX_PODS)
    assert [p.template_hash for p in found[:6]] == ["r2", "r1"] * 3
    assert not found[0].ready
    assert len({p.node for p in found if p.template_hash == "r1"}) == 7
    assert [p.name for p in sample(_fleet(first), 99)][-1] == "ending"
    assert sample([], MAX_PODS) == []


async def test_a_pod_whose_log_could_not_be_read_is_not_told_as_one_without_errors() -> None:
    cluster = Logs({("a", "app", False): lines(2, "boom")}, gone=("b",))
    assert (await read(cluster, pod("a"), pod("b"))).read == {"a"}


async def test_at_most_so_many_groups_are_kept() -> None:
    words = [a + b + c for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzabcd"]
    text = "".join(f"ERROR {w}\n" for w in words[: MAX_KEYS + 100])
    log = await read(Logs({("a", "app", False): text}), pod("a"))

    assert len(log.groups) == MAX_GROUPS
    assert log.errors == MAX_KEYS + 100


async def test_secrets_are_in_no_group_and_in_no_detail() -> None:
    secret = "postgresql://app:hunter42sekret@db/x password=qwertz99"
    log = await read(Logs({("a", "app", False): lines(2, f"OperationalError: {secret}")}), pod("a"))

    finding = errors_finding(log)
    shown = f"{finding} {log}"
    assert "hunter" not in shown
    assert "qwertz" not in shown
    assert "[redacted]" in finding.text


SPLIT = (
    "secret: |\n  first\n  ERROR Vq8mK2xPz7Lw",
    "curl --password \\\nERROR Vq8mK2xPz7Lw",
    "passwords:\n- ERROR Vq8mK2xPz7Lw",
    "the password is\nException in thread Vq8mK2xPz7Lw",
    "password: '\nValueError: Vq8mK2xPz7Lw\n'",
)


@pytest.mark.parametrize("text", SPLIT)
async def test_h3_an_error_is_told_without_what_the_line_before_it_names(text: str) -> None:
    """And no other error's words stand for it."""
    log = await read(Logs({("a", "app", False): f"ERROR ValueError: starting\n{text}\n"}), pod("a"))

    assert "Vq8mK2xPz7Lw" not in f"{errors_finding(log)} {log}"
    assert [group.said for group in log.groups].count("ValueError: starting") == 1


async def test_h3_the_first_of_many_errors_is_shown_as_it_was_written() -> None:
    """Whatever was read before it, and whatever belongs to it."""
    trace = "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'user 17'\n"
    text = "INFO token=abc123def served\n" * 3_000 + f"{stamp(1)} ERROR failed\n{trace}INFO done\n"
    log = await read(Logs({("a", "app", False): text}), pod("a"))

    assert [group.said for group in log.groups] == ["KeyError: 'user 17'"]


async def test_a_log_that_cannot_be_read_is_counted() -> None:
    log = await read(Logs({("a", "app", False): lines(1, "x")}, gone=("b",)), pod("a"), pod("b"))
    assert (
        errors_finding(log).text
        == '1 error line in 5 min on 1 of 2 pods, all of them "x"; 1 log could not be read'
    )


async def test_no_readable_log_is_unknown_and_not_without_errors() -> None:
    finding = errors_finding(await read(Logs({}, gone=("a",)), pod("a")))

    assert finding.certainty is Certainty.UNKNOWN
    assert finding.text == "Logs of 1 pod could not be read (a/app: pods a not found)"


@pytest.mark.parametrize(
    ("previous", "current", "said"),
    [
        (lines(1, "KeyError: 'A'") + "bye\n", "", "KeyError: 'A'"),
        ("starting\nbye\n\n", "", "bye"),
        ("", "password=geheim1 gone\n", "password=[redacted] gone"),
        ("", "", ""),
    ],
)
async def test_the_last_words_are_the_last_error_else_the_last_line(
    previous: str, current: str, said: str
) -> None:
    cluster = Logs({("a", "app", True): previous, ("a", "app", False): current})
    assert (await last_words(cluster, pod("a"), "app")).shown == said
    assert {q.tail_lines for q in cluster.asked} == {300}


@pytest.mark.parametrize("word", ["A9bA9b", "1", "a.a.", "redis://cache:", "eyJ-", "a@"])
async def test_hostile_lines_cost_a_look_at_their_beginning_only(word: str) -> None:
    long = f"ERROR {word * 700}\n"
    cluster = Logs({("a", "app", False): long * 40})
    with measured() as work:
        log = await read(cluster, pod("a"))
    assert log.errors == 40
    assert work.units < 400


async def test_a_last_line_of_a_megabyte_is_cut_before_it_is_searched() -> None:
    cluster = Logs({("a", "app", True): "redis://cache:" * 70_000})
    with measured() as work:
        assert len((await last_words(cluster, pod("a"), "app")).shown) <= 200
    assert work.units < 200


@pytest.mark.parametrize("reads", ["errors", "words"])
async def test_long_logs_are_never_read_on_the_event_loop(reads: str) -> None:
    """Thousands of lines take a second, and the webhooks wait on the same loop."""
    seen = Seen(TOKENS)
    seen.threads = set()
    cluster = Logs({("a", "app", previous): lines(2_000, "KeyError: user #") for previous in (False, True)})

    if reads == "errors":
        log = await read_errors(cluster, (pod("a"),), NOW, 300, seen)
        assert log.errors == 2_000
    else:
        assert (await last_words(cluster, pod("a"), "app", seen)).shown == "KeyError: user 1999"

    assert seen.threads
    assert threading.get_ident() not in seen.threads


@pytest.mark.parametrize(
    ("lines_a_second", "bytes_a_line"), [(10, 40), (10, 2_000)], ids=["cut in lines", "cut in bytes"]
)
async def test_how_many_errors_a_minute_is_counted_over_the_time_that_was_read(
    lines_a_second: int, bytes_a_line: int
) -> None:
    """A talkative pod writes more than is read: half as many errors are half as many, however much of the log was cut."""

    async def a_minute(every: int) -> float:
        text = ""
        for number in range(300 * lines_a_second, 0, -1):
            at = (NOW - timedelta(seconds=number / lines_a_second)).isoformat()
            text += f"{at} {'ERROR KeyError: user' if number % every == 0 else 'INFO fine'} {'x' * bytes_a_line}\n"
        tail = "\n".join(text.splitlines()[-2_000:])[:POD_BYTES]
        log = await read(Logs({("a", "app", False): tail}), pod("a", state()))
        finding = errors_finding(log)
        assert "the logs were cut" in finding.text
        (whole, *_) = errors_counted(finding)
        return whole.value

    often, seldom = await a_minute(5), await a_minute(10)
    assert often == pytest.approx(120, rel=0.1)
    assert seldom == pytest.approx(60, rel=0.1)


async def test_of_a_cut_log_without_times_nobody_knows_how_many_errors_there_were() -> None:
    log = await read(Logs({("a", "app", False): "ERROR KeyError: user\n" * 2_000}), pod("a", state()))
    (whole, *_) = errors_counted(errors_finding(log))
    assert whole.least
    assert look_again([whole], [replace(whole, value=whole.value)]).gone is None
