"""The benches run: their help, each of them at its tiniest, the limits they are held against, and their arithmetic."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import socket
import sqlite3
import warnings
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import attacks, backup_service, crowded, servers
from tests.bench.backup_world import Database
from tests.bench.report import Measure, Scale, at_least, below, percentile

_NO_BENCH = "none"
_ROWS: dict[str, tuple[str, ...]] = {
    "ready": ("ready after the start",),
    "react": ("alert to Kubernetes write on a real API server",),
    "accept": ("durable accept", "the same with ten alerts a post"),
    "memory": ("resident memory after 50,000 alerts",),
    "crowded": ("a single post with 5 million stored alerts",),
    "pages": ("the page with 100,000 incidents",),
    "backtest": ("`policy backtest` of 1,000,000 alerts",),
    "backup": ("backup of a database of 1 GB",),
    _NO_BENCH: ("10,000 targets alert within a minute",),
}
"""How the rows of README's table begin, by their bench."""
_PROSE = {
    "accept": (("README.md", r"\(goal"),),
    "abuse": (("docs/security.md", "no answer may take more than"),),
}
"""Where else a goal stands, and the words before its number."""
_NUMBER = r"\d+(?:\.\d+)?"
_LEFT_OUT = {
    "the service's memory above idle in a database-backup",
    "the service's memory above idle in a database-restore",
}


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
    assert {m["name"] for m in measures if m["missing"]} == (_LEFT_OUT if name == "backup" else set())
    taken = [m for m in measures if not m["missing"]]
    assert taken
    assert all(m["bench"] == name and m["value"] > 0 for m in taken)
    assert all(m["ok"] is None for m in measures)
    held = {float(m["limit"].split()[1]) for m in measures if m["limit"]}
    assert held == goals(name), "what the bench holds its measures against is what the documents promise"


def _read(document: str) -> str:
    return (servers.ROOT / document).read_text("utf-8")


def _measured() -> dict[str, str]:
    """The README's table: what was measured, and its goal."""
    table = _read("README.md").partition("\n## Measured\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {what.strip(): goal for what, _, goal in cells[1:] if not what.startswith(" ---")}


def goals(bench: str) -> set[float]:
    """The numbers that the documents give as goals of a bench."""
    found = [goal for what, goal in _measured().items() if what.startswith(_ROWS.get(bench, ("no row",)))]
    for document, before in _PROSE.get(bench, ()):
        found += re.findall(rf"{before} ({_NUMBER})", " ".join(_read(document).split()))
    return {float(number) for text in found for number in re.findall(_NUMBER, text)}


def test_a_missed_limit_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = below(Measure("ready", "restart", 4.0, "s"), 3.0, Scale())
    monkeypatch.setattr(command, "BENCHES", {"ready": lambda _: [missed]})
    assert command.main(["ready"]) == 1


def test_every_goal_of_the_readme_is_one_of_a_bench_or_told_to_have_none() -> None:
    rows = _measured()
    for bench in (*command.BENCHES, _NO_BENCH):
        assert goals(bench), f"no document tells a goal of {bench}"
    of = {row: [b for b, begins in _ROWS.items() if row.startswith(begins)] for row in rows}
    assert {row: benches for row, benches in of.items() if len(benches) != 1} == {}


def test_every_attack_that_the_threat_model_names_is_one_of_the_bench() -> None:
    text = " ".join(_read("docs/security.md").split())
    named = text.partition("asks /healthz while somebody sends ")[2].partition(";")[0]
    assert len(re.split(r", (?:and )?| and of ", named)) == len(attacks.ATTACKS)


def test_a_limit_holds_at_its_own_side_and_judges_nothing_at_the_tiniest() -> None:
    one, judged = Measure("accept", "ratio", 0.7, ""), Scale()
    assert [at_least(one, 0.7, judged).ok, at_least(one, 0.71, judged).ok] == [True, False]
    assert [below(one, 0.7, judged).ok, below(one, 0.8, judged).ok] == [False, True]
    assert [below(one, 0.7, Scale(tiny=True)).ok, below(one, 0.7, Scale(tiny=True)).limit] == [None, "< 0.7"]


def test_what_was_not_measured_has_a_row_that_says_so_and_never_counts_as_held(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.live.build.missing", lambda _: ["kubernetes"])
    nothing = Database("", "", 0)
    monkeypatch.setattr(
        command, "BENCHES", {"backup": lambda s: backup_service.measure(nothing, {}, tmp_path, s)}
    )
    file = tmp_path / "measures.json"
    assert command.main(["backup", "--json", str(file)]) == 0
    said = capsys.readouterr()
    assert "THE SERVICE'S MEMORY WAS NOT MEASURED: kubernetes missing" in said.err
    assert said.out.count("LEFT OUT") == len(_LEFT_OUT)
    measures = json.loads(file.read_text("utf-8"))["measures"]
    assert [(m["value"], m["ok"], m["limit"]) for m in measures] == [(None, None, "< 50")] * len(_LEFT_OUT)


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
