"""Progress of long work: a bar for whoever looks, and nothing for a file, a pipe or a script."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from app.cli.output import counted, progress
from tests.unit.cli.shell import Shell


class Terminal(io.StringIO):
    """Standard error as somebody's terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def looked_at(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Somebody looks at standard error."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


def test_a_bar_is_on_standard_error_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    with progress("records", 3, quiet=False) as told:
        assert list(counted("abc", told)) == ["a", "b", "c"]
    assert "records" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_beside_json_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    with progress("records", 3, quiet=True) as told:
        told(3)
    assert terminal.getvalue() == ""


def test_in_a_pipe_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("records", 3, quiet=False) as told:
        told(3)
    assert capsys.readouterr() == ("", "")


ALERT = {"labels": {"alertname": "HighErrorRate", "namespace": "rag7"}, "startsAt": "2026-03-06T17:00:00Z"}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_backtest_tells_how_far_it_has_come(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    alerts = tmp_path / "alerts.jsonl"
    alerts.write_text(f"{json.dumps(ALERT)}\n" * 500, "utf-8")
    made = looked_at(monkeypatch)
    ended = shell.good("policy", "backtest", "--alerts", str(alerts), *(["--json"] if as_json else []))
    assert ("bytes" in made.getvalue()) is not as_json
    assert "bytes" not in ended.out
    if as_json:
        assert ended.json["policy"]
