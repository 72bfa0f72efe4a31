"""Owns the bench of a full store: how long a single post takes with millions of stored alerts, against an empty store.

Every table that grows is filled: five million ended alerts with their deliveries and audit records, half a million closed
incidents, two million sent messages, and the runs, decisions, steps and samples that go with them. Two services, one on each store, take
turns; one connection posts one new alert after another.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine

from tests import history
from tests.bench import servers
from tests.bench.load import Load, run
from tests.bench.report import Measure, Scale, below, percentile
from tests.bench.servers import STORE

BENCH = "crowded"
FACTOR = 1.2
_PER_INCIDENT = 10
_COPIED = frozenset({"deliveries", "episodes", "audit"})
"""Tables that are filled by SQL from a real alert's rows: the largest ones."""
_CHUNK = 100_000


def measure(scale: Scale) -> list[Measure]:
    """p50 and p95 of single posts on both stores, and their ratios."""
    stored, rounds, posts = scale.of(5_000_000, 500_000, 1_000), scale.of(10, 6, 1), scale.of(200, 200, 20)
    with (
        TemporaryDirectory(prefix="bench-crowded-") as empty,
        TemporaryDirectory(prefix="bench-crowded-") as full,
    ):
        _seed(Path(empty))
        shutil.copytree(empty, full, dirs_exist_ok=True)
        fill(Path(full) / STORE, stored)
        latencies = _take_turns(Path(empty), Path(full), rounds, posts)
    found = []
    for share, name in ((0.5, "p50"), (0.95, "p95")):
        plain, crowded = (percentile(latencies[key], share) * 1000 for key in ("empty", "full"))
        found += [
            Measure(BENCH, f"{name} with an empty store", plain, "ms", note=f"{rounds * posts} posts"),
            Measure(BENCH, f"{name} with {stored:,} alerts", crowded, "ms"),
        ]
        ratio = Measure(BENCH, f"{name}: ratio", crowded / plain, "")
        found.append(below(ratio, FACTOR, scale))
    return found


def _seed(folder: Path) -> None:
    """One start makes the database, and one alert the rows to copy."""
    with servers.service(folder=folder) as server:
        if not run(server.url, server.token, Load(1, first=10**9)).accepted:
            raise RuntimeError("the first alert was not accepted")


def _take_turns(empty: Path, full: Path, rounds: int, posts: int) -> dict[str, list[float]]:
    latencies: dict[str, list[float]] = {"empty": [], "full": []}
    with servers.service(folder=empty) as a, servers.service(folder=full) as b:
        pair = (("empty", a), ("full", b))
        for _, server in pair:  # the incidents of the targets, and warm caches
            run(server.url, server.token, Load(200, first=10**8, connections=1))
        for number in range(rounds):
            for key, server in pair if number % 2 else pair[::-1]:
                report = run(server.url, server.token, Load(posts, first=number * posts, connections=1))
                if not report.accepted:
                    raise RuntimeError(f"not all posts were accepted: {report.statuses}")
                latencies[key] += report.latencies
    return latencies


def fill(path: Path, count: int) -> None:
    """Put `count` ended alerts into the store, as if they had come over the last month, and the history of a tenth as many
    incidents into every other table that grows. Nobody may have it open."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA synchronous=OFF")
        conn.exec_driver_sql("PRAGMA cache_size=-262144")
        history.fill(conn, max(1, count // _PER_INCIDENT), datetime.now(UTC), skip=_COPIED)
        conn.commit()
    engine.dispose()
    _fill_alerts(path, count)


def _fill_alerts(path: Path, count: int) -> None:
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA synchronous=OFF")
    conn.execute("PRAGMA cache_size=-262144")
    base = conn.execute("SELECT seq FROM audit_chain").fetchone()[0]
    begin = conn.execute("SELECT min(first_seen) FROM episodes").fetchone()[0] - 30 * 86_400 * 1_000_000
    at = f"({begin} + n * {30 * 86_400 * 1_000_000 // count})"
    incident = f"printf('inc_0000%012x', n / {_PER_INCIDENT})"
    for low in range(0, count, _CHUNK):
        numbers = (low, min(count, low + _CHUNK), 1)
        conn.execute("BEGIN")
        _copy(conn, "deliveries", numbers, {"id": "printf('dlv_0000%012x', n)", "received_at": at})
        times = dict.fromkeys(("starts_at", "ends_at", "first_seen", "last_seen"), at)
        _copy(conn, "episodes", numbers, {**_EPISODE, "incident_id": incident, **times})
        event = {"seq": f"{base} + 1 + n", "at": at, "incident_id": incident, "hash": "printf('%064x', n)"}
        _copy(conn, "audit", numbers, event, where="kind = 'alert.fired'")
        conn.execute("COMMIT")
    conn.execute("UPDATE audit_chain SET seq = seq + ?, hash = ?", (count, f"{count - 1:064x}"))
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()


_EPISODE = {
    "key": "printf('20200101T%018d.000000Z/alertmanager/%016x', n, n)",
    "fingerprint": "printf('%016x', n)",
    "status": "'resolved'",
}


def _copy(
    conn: sqlite3.Connection,
    table: str,
    numbers: tuple[int, int, int],
    changes: Mapping[str, str],
    where: str = "1",
) -> None:
    """Copy the first row of `table` once for each n of `numbers` (from, to, step), with these columns computed from n."""
    low, high, step = numbers
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    if unknown := changes.keys() - set(names):
        raise RuntimeError(f"{table} has no column {', '.join(sorted(unknown))}")
    values = ", ".join(changes.get(name, f"t.{name}") for name in names)
    conn.execute(
        f"WITH RECURSIVE s(n) AS (SELECT {low} UNION ALL SELECT n + {step} FROM s WHERE n + {step} < {high}) "
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM s, "
        f"(SELECT * FROM {table} WHERE {where} ORDER BY 1 DESC LIMIT 1) AS t"
    )
