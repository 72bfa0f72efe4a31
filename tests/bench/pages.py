"""Owns the bench of the web page: how long the overview and the list take with a hundred thousand incidents in the store.

A real service serves them to a browser that is logged in; measured is the whole answer over loopback, which is the server's
time and a little more. One incident in fifty is open, some of them escalated; alerts, namespaces and states are spread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from sqlalchemy import Engine, create_engine, text

from tests import history
from tests.bench import servers
from tests.bench.report import Measure, Scale, below, percentile
from tests.bench.servers import STORE, Server

BENCH = "pages"
OVERVIEW, LIST = 100.0, 150.0
"""Milliseconds, 95 % of the answers."""
_TOKEN = re.compile(r'name="form" value="([0-9a-f]+)"')
_SPREAD = (
    (
        "UPDATE incidents SET alertname = 'Alert' || (rowid % 40), namespace = 'team-' || (rowid % 25), key = id,"
        " severity = 'critical', title = 'made for the bench', target_key = 'team-' || (rowid % 25) || '/Deployment/app-' || (rowid % 400),"
        " state = CASE rowid % 4 WHEN 0 THEN 'fixed' WHEN 1 THEN 'contained' ELSE 'resolved' END"
    ),
    (
        "UPDATE incidents SET closed_at = NULL, last_page = NULL,"
        " state = CASE WHEN rowid % 100 = 0 THEN 'escalated' ELSE 'observed' END WHERE rowid % 50 = 0"
    ),
    "UPDATE incidents SET alertname = 'Rare' WHERE rowid % 20000 = 7",
    "UPDATE deliveries SET source = 'alertmanager', sender = 'prometheus'",
)
VIEWS: tuple[tuple[str, str, float], ...] = (
    ("overview", "/", OVERVIEW),
    ("list", "/incidents", LIST),
    ("list of one state", "/incidents?state=fixed", LIST),
    ("list of what needs somebody", "/incidents?state=waiting&state=stuck&state=escalated", LIST),
    ("list of a rare alert", "/incidents?alertname=Rare", LIST),
    ("list of a target within a week", "/incidents?target=app-17&range=7d", LIST),
)


def measure(scale: Scale) -> list[Measure]:
    """95 % of each view's answers, in milliseconds."""
    stored, rounds = scale.of(100_000, 100_000, 500), scale.of(60, 20, 3)
    with TemporaryDirectory(prefix="bench-pages-") as folder:
        with servers.service(folder=Path(folder)):
            pass  # one start makes the database
        _fill(Path(folder) / STORE, stored)
        with servers.service(folder=Path(folder)) as server:
            return [below(*one, scale) for one in _measure(server, stored, rounds)]


def _fill(path: Path, count: int) -> None:
    engine: Engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        conn.exec_driver_sql("PRAGMA synchronous=OFF")
        history.fill(conn, count, datetime.now(UTC))
        for statement in _SPREAD:
            conn.execute(text(statement))
    engine.dispose()


def _measure(server: Server, stored: int, rounds: int) -> list[tuple[Measure, float]]:
    found = []
    with httpx.Client(base_url=server.url, timeout=30.0) as browser:
        _login(browser, server)
        for name, path, limit in VIEWS:
            _get(browser, path)  # templates and caches are warm
            taken = [_timed(lambda path=path: _get(browser, path)) for _ in range(rounds)]  # type: ignore[misc]
            note = f"{stored:,} incidents, {rounds} answers, median {percentile(taken, 0.5) * 1000:.0f} ms"
            found.append((Measure(BENCH, name, percentile(taken, 0.95) * 1000, "ms", note=note), limit))
    return found


def _login(browser: httpx.Client, server: Server) -> None:
    form = _TOKEN.search(browser.get("/login").text)
    if form is None:
        raise RuntimeError("the login has no form")
    data = {"form": form[1], "token": server.token, "next": "/"}
    if browser.post("/login", data=data, headers={"origin": server.url}).status_code != 303:
        raise RuntimeError("the login was refused")


def _get(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}")


def _timed(what: Callable[[], None]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began
