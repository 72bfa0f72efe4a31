"""Owns the bench of durable accept: posts answered in a second, ours against the same stack without our logic.

Both servers run at once and take turns (A B A B), so that whatever else the machine does hits both. Ours has
authentication on and all loops running; the alerts are a storm on TARGETS deployments whose incidents are open and
decided before the clock starts. The variant with repeats sends the same alerts again and again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.bench import servers
from tests.bench.bodies import TARGETS
from tests.bench.load import Load, Report, run
from tests.bench.report import Measure, Scale, at_least, cpu_seconds
from tests.bench.servers import Server

BENCH = "accept"
RATIO = 0.7
"""Our posts in a second, as a part of the baseline's."""
_ROUNDS = 5
_DECIDED = 10.0  # seconds for the first decisions on the storm's targets


def measure(scale: Scale) -> list[Measure]:
    """Rates and ratios at 1 and 10 alerts a post, and for repeats."""
    posts, rounds = scale.of(4000, 1500, 30), scale.of(_ROUNDS, 3, 1)
    with servers.baseline() as plain, servers.service() as ours:
        first = _open_incidents(plain, ours)
        time.sleep(0 if scale.tiny else _DECIDED)
        found: list[Measure] = []
        for per_post, count in ((1, posts), (10, posts // 4)):

            def load(number: int, per_post: int = per_post, count: int = count, first: int = first) -> Load:
                return Load(count, per_post, first + number * count * per_post)

            title = f"{per_post} alert{'s' * (per_post > 1)} a post"
            found += _compare(title, (plain, ours), load, rounds, scale)
            first = load(rounds).first
        repeats = Load(posts, 1, 0, distinct=10 * TARGETS)
        found += _compare("1 repeated alert a post", (plain, ours), lambda _: repeats, rounds, scale)
    return found


def _open_incidents(*pair: Server) -> int:
    """One alert on each target; the first number that is free after them."""
    load = Load(TARGETS, connections=8)
    for server in pair:
        _checked(run(server.url, server.token, load))
    return load.after


def _compare(
    title: str, pair: tuple[Server, Server], load: Callable[[int], Load], rounds: int, scale: Scale
) -> list[Measure]:
    rates: dict[str, list[float]] = {server.name: [] for server in pair}
    cpu = dict.fromkeys(rates, 0.0)
    posts = 0
    for number in range(rounds):
        for server in pair:
            before = cpu_seconds(server.process.pid)
            report = _checked(run(server.url, server.token, load(number)))
            rates[server.name].append(report.rate)
            cpu[server.name] += cpu_seconds(server.process.pid) - before
        posts += report.posts
    plain, ours = (rates[server.name] for server in pair)
    ratio = Measure(
        BENCH,
        f"{title}: ratio",
        statistics.median(b / a for a, b in zip(plain, ours, strict=True)),
        "",
        note=f"median of {rounds} turns",
    )
    return [
        *(
            Measure(
                BENCH,
                f"{title}: {server.name}",
                statistics.median(rates[server.name]),
                "posts/s",
                note=f"{cpu[server.name] / posts * 1e6:.0f} us of processor time a post",
            )
            for server in pair
        ),
        ratio if scale.tiny else at_least(ratio, RATIO),
    ]


def _checked(report: Report) -> Report:
    if not report.accepted:
        raise RuntimeError(f"not all posts were accepted: {report.statuses}")
    return report
