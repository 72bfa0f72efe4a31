"""Owns service processes forked from a server that has imported everything: a life then costs a tenth of the time.

Each is a process of its own with its own pid, environment and log; only the interpreter's start is shared.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PRELOADED = ["tests.live.e2e.victim", "tests.live.e2e.command"]
_PR_SET_PDEATHSIG = 1


class Forked:
    """One process that runs a module as `python -m` would; has what `Process` has."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.log = log
        self._process = context.Process(target=_run, args=(list(argv), str(log), dict(env)), daemon=True)

    def start(self) -> Forked:
        """Starts the process; it is not ready before its own check says so."""
        self._process.start()
        return self

    @property
    def pid(self) -> int:
        """The pid of the process."""
        if self._process.pid is None:
            raise RuntimeError("the process was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not exited."""
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal."""
        return self._process.exitcode

    def check(self) -> None:
        """Raises with the end of the log when it has exited."""
        if not self.running:
            raise RuntimeError(
                f"the service has exited ({self.exit_code}); its log ends in:\n{self.log_tail()}"
            )

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ends it: first politely, then by SIGKILL."""
        if self.running:
            self._process.terminate()
            self._process.join(5)
        if self.running:
            self._process.kill()
        self._process.join()


def _run(argv: list[str], log: str, env: dict[str, str]) -> None:
    # The test's end takes the server along, and that takes us.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(env)
    sys.argv = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
