"""Owns the bench of durable accept: posts answered in a second, ours against the same stack without our logic.

Held to its part of what the stack (uvicorn, FastAPI, pydantic, group-committed SQLite) does with a plain insert an alert.
The same without the framework stands beside it as the floor: nothing is asked of that ratio, it is there to be seen.

All servers run at once and take turns (A B C A B C), so that whatever else the machine does hits all. Ours has
authentication on and all loops running; the alerts are a storm on TARGETS deployments whose incidents are open and
decided before the clock starts. The variant with repeats sends the same alerts again and again. The variant with
decisions sends alerts that a rule of the shipped policy matches, each on a new target, so that every post also makes a
decision due while the next ones come in.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from tests.bench import servers
from tests.bench.bodies import TARGETS
from tests.bench.load import Load, Report, run
from tests.bench.report import Measure, Scale, at_least, below, cpu_seconds, percentile
from tests.bench.servers import Server

BENCH = "accept"
RATIO = 0.7
"""Our posts in a second, as a part of the stack's."""
DECIDING_RATIO = 0.4
"""The same while every alert has to be decided."""
DECIDING_P99 = 3.0
"""The 99th percentile of a post's latency while every alert has to be decided, as a multiple of the plain one."""
_ROUNDS = 5
_DECIDED = 10.0  # seconds for the first decisions on the storm's targets


def measure(scale: Scale) -> list[Measure]:
    """Rates and ratios at 1 and 10 alerts a post, and for repeats."""
    posts, rounds = scale.of(4000, 1500, 30), scale.of(_ROUNDS, 3, 1)
    with (
        servers.baseline("stack") as stack,
        servers.baseline("bare") as bare,
        servers.service() as ours,
    ):
        taking_turns = (stack, bare, ours)
        first = _open_incidents(taking_turns)
        time.sleep(0 if scale.tiny else _DECIDED)
        found: list[Measure] = []
        for per_post, count in ((1, posts), (10, posts // 4)):

            def load(number: int, per_post: int = per_post, count: int = count, first: int = first) -> Load:
                return Load(count, per_post, first + number * count * per_post)

            title = f"{per_post} alert{'s' * (per_post > 1)} a post"
            found += _compare(title, taking_turns, load, rounds, scale)
            first = load(rounds).first
        repeats = Load(posts, 1, 0, distinct=10 * TARGETS)
        found += _compare("1 repeated alert a post", taking_turns, lambda _: repeats, rounds, scale)
        found += _deciding(stack, ours, first, scale)
    return found


def _deciding(stack: Server, ours: Server, first: int, scale: Scale) -> list[Measure]:
    """One alert a post: the stack, ours with nothing to decide, ours with a decision for each alert."""
    posts, rounds = scale.of(2000, 1000, 30), scale.of(_ROUNDS, 3, 1)
    rates, slow = [], []
    for _ in range(rounds):
        plain, wave = Load(posts, 1, first), Load(posts, 1, first + posts, wave=1)
        theirs = _checked(run(stack.url, stack.token, wave))
        calm = _checked(run(ours.url, ours.token, plain))
        busy = _checked(run(ours.url, ours.token, wave))
        rates.append(busy.rate / theirs.rate)
        slow.append(percentile(busy.latencies, 0.99) / percentile(calm.latencies, 0.99))
        first += 2 * posts
        time.sleep(0 if scale.tiny else _DECIDED)
    note = f"median of {rounds} turns"
    ratio = Measure(
        BENCH, "deciding, 1 new target a post: ratio to stack", statistics.median(rates), "", note=note
    )
    p99 = Measure(
        BENCH, "deciding, 1 new target a post: p99 to plain", statistics.median(slow), "", note=note
    )
    return [at_least(ratio, DECIDING_RATIO, scale), below(p99, DECIDING_P99, scale)]


def _open_incidents(taking_turns: Sequence[Server]) -> int:
    """One alert on each target; the first number that is free after them."""
    load = Load(TARGETS, connections=8)
    for server in taking_turns:
        _checked(run(server.url, server.token, load))
    return load.after


def _compare(
    title: str, taking_turns: Sequence[Server], load: Callable[[int], Load], rounds: int, scale: Scale
) -> list[Measure]:
    rates: dict[str, list[float]] = {server.name: [] for server in taking_turns}
    cpu = dict.fromkeys(rates, 0.0)
    posts = 0
    for number in range(rounds):
        for server in taking_turns:
            before = cpu_seconds(server.process.pid)
            report = _checked(run(server.url, server.token, load(number)))
            rates[server.name].append(report.rate)
            cpu[server.name] += cpu_seconds(server.process.pid) - before
        posts += report.posts
    found = [
        Measure(
            BENCH,
            f"{title}: {name}",
            statistics.median(measured),
            "posts/s",
            note=f"{cpu[name] / posts * 1e6:.0f} us of processor time a post",
        )
        for name, measured in rates.items()
    ]
    for name in ("stack", "bare"):
        turns = zip(rates[name], rates["service"], strict=True)
        ratio = Measure(
            BENCH,
            f"{title}: ratio to {name}",
            statistics.median(b / a for a, b in turns),
            "",
            note=f"median of {rounds} turns" + ("" if name == "stack" else "; for reference"),
        )
        found.append(at_least(ratio, RATIO, scale) if name == "stack" else ratio)
    return found


def _checked(report: Report) -> Report:
    if not report.accepted:
        raise RuntimeError(f"not all posts were accepted: {report.statuses}")
    return report
