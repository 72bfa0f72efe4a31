"""The benches run: their help, each of them at its tiniest, the limits they are held against, and their arithmetic."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import sqlite3
import warnings
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import abuse, accept, attacks, crowded, memory, pages, react, ready
from tests.bench.report import Measure, Scale, at_least, below, percentile


def test_help_names_every_bench(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("ready", "react", "accept", "abuse", "memory", "crowded", "pages"))


def test_an_unknown_bench_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["faster"])
    assert end.value.code == 2


@pytest.mark.parametrize("name", list(command.BENCHES))
def test_each_bench_runs_at_its_tiniest(name: str, tmp_path: Path) -> None:
    file = tmp_path / "measures.json"
    assert command.main([name, "--tiny", "--json", str(file)]) == 0
    measures = json.loads(file.read_text("utf-8"))["measures"]
    assert measures
    assert all(m["bench"] == name and m["value"] > 0 and m["ok"] is None for m in measures)


def test_a_missed_limit_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = below(Measure("ready", "restart", 4.0, "s"), 3.0)
    monkeypatch.setattr(command, "BENCHES", {"ready": lambda _: [missed]})
    assert command.main(["ready"]) == 1


def test_limits_are_those_that_were_promised() -> None:
    assert (accept.RATIO, react.P50, react.P99) == (0.7, 80.0, 250.0)
    assert (accept.DECIDING_RATIO, accept.DECIDING_P99) == (0.4, 3.0)
    assert (memory.MEBIBYTES, ready.SECONDS, crowded.FACTOR) == (200.0, 3.0, 1.2)
    assert (abuse.FACTOR, len(attacks.ATTACKS)) == (5.0, 10)
    assert (pages.OVERVIEW, pages.LIST) == (100.0, 150.0)
    one = Measure("accept", "ratio", 0.7, "")
    assert (at_least(one, 0.7).ok, at_least(one, 0.71).ok, below(one, 0.7).ok, below(one, 0.8).ok) == (
        True,
        False,
        False,
        True,
    )


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.95, 10), (0.99, 10), (0.1, 1)])
def test_percentiles_are_values_that_were_measured(share: float, value: int) -> None:
    assert percentile(range(10, 0, -1), share) == value


def test_scales_measure_less_and_less() -> None:
    assert [s.of(3, 2, 1) for s in (Scale(), Scale(quick=True), Scale(tiny=True))] == [3, 2, 1]


def test_filling_needs_the_columns_it_computes(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "other.sqlite")
    conn.execute("CREATE TABLE deliveries (id TEXT)")
    with pytest.raises(RuntimeError, match="no column received_at"):
        crowded._copy(conn, "deliveries", (0, 1, 1), {"received_at": "n"})
    conn.close()


def test_an_attack_leaves_no_connection_behind_what_was_never_read() -> None:
    more_than_the_kernel_holds = b"x" * (64 << 20)

    async def attacked(listener: socket.socket) -> socket.socket:
        victim = attacks.Victim("127.0.0.1", listener.getsockname()[1], "none", Path())
        attack = asyncio.ensure_future(attacks._send(victim, [more_than_the_kernel_holds]))
        loop = asyncio.get_running_loop()
        reader, _ = await loop.sock_accept(listener)
        await loop.sock_recv(reader, 1)
        attack.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attack
        return reader

    with warnings.catch_warnings(record=True) as seen, socket.create_server(("127.0.0.1", 0)) as listener:
        warnings.simplefilter("always")
        listener.setblocking(False)
        reader = asyncio.run(attacked(listener))
        gc.collect()
        reader.close()
    assert [str(w.message) for w in seen] == []
