"""Neither container of a backup's pod waits for one that has ended, at whatever moment that was."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.backup import pipes
from app.backup.failure import BackupFailed
from app.backup.over import OVER, TOLD_TO_END, WORK
from app.backup.pipes import SCRIPT

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds on the wall after which something counts as waiting for ever


def _pipes(folder: Path) -> None:
    for name in ("data", "told", "todo"):
        os.mkfifo(folder / name)


def _over(folder: Path) -> None:
    (folder / OVER).touch()


def _over_with_pipes(folder: Path) -> None:
    _pipes(folder)
    _over(folder)


def _nothing(_folder: Path) -> None:
    """It never begins."""


def _script(folder: Path) -> subprocess.Popen[bytes]:
    """The script in a shell of its own, impatient."""
    text = SCRIPT.replace(f"sleep {pipes._AT_ONCE};", "sleep 0.1;")
    text = text.replace(f"-ge {pipes._TURNS} ", "-ge 2 ")
    environment = {"PATH": os.environ["PATH"], WORK: str(folder), "PGSERVICEFILE": str(folder / "services")}
    return subprocess.Popen(
        ["/bin/sh", "-c", text], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.parametrize("left", [_over, _over_with_pipes, _pipes, _nothing])
def test_a_dump_that_is_alone_ends(tmp_path: Path, left: Callable[[Path], None]) -> None:
    """The other container ended before it made the pipes, after that, or between making and opening them; or it never began."""
    left(tmp_path)
    with _script(tmp_path) as alone:
        alone.communicate(timeout=PATIENCE)
    assert alone.returncode != 0


def test_a_dump_ends_when_the_other_container_ends_between_its_two_pipes(tmp_path: Path) -> None:
    _pipes(tmp_path)
    with _script(tmp_path) as alone:
        (tmp_path / "told").open(encoding="utf-8").close()
        alone.communicate(timeout=PATIENCE)
    assert alone.returncode != 0


def test_a_dump_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    _pipes(tmp_path)
    with _script(tmp_path) as waits:
        told = (tmp_path / "told").open(encoding="utf-8")
        todo = (tmp_path / "todo").open("w", encoding="utf-8")
        assert told.readline().startswith("client")
        waits.send_signal(signal.SIGTERM)
        waits.communicate(timeout=PATIENCE)
        told.close()
        todo.close()
    assert waits.returncode == TOLD_TO_END


def test_a_container_that_is_told_to_end_while_it_loads_says_that_it_is_over(tmp_path: Path) -> None:
    program = "import os, signal; from app.backup import early; os.kill(os.getpid(), signal.SIGTERM); import time; time.sleep(60)"
    environment = {**os.environ, WORK: str(tmp_path), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=PATIENCE, check=False)
    assert ended.returncode == TOLD_TO_END
    assert (tmp_path / OVER).exists()


@pytest.mark.parametrize("module", ["app/backup/__main__.py", "app/backup/configuration/__main__.py"])
def test_what_a_job_runs_listens_before_it_loads_anything(module: str) -> None:
    body = ast.parse((ROOT / module).read_text("utf-8")).body
    ours = [
        node for node in body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app")
    ]
    assert (ours[0].module, ours[0].names[0].name) == ("app.backup", "early")


def test_an_upload_whose_dump_does_not_come_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_TURNS", 2)
    with pytest.raises(BackupFailed, match="did not begin"), pipes.Pipes(tmp_path):
        pytest.fail("nobody is at the other end")


def test_an_upload_hears_of_a_dump_that_ended_before_it_opened_the_pipes(tmp_path: Path) -> None:
    _over(tmp_path)
    with _script(tmp_path) as alone:
        alone.communicate(timeout=PATIENCE)
    with pytest.raises(BackupFailed, match="ended"), pipes.Pipes(tmp_path):
        pytest.fail("nobody is at the other end")
