"""Owns child servers: starting them so that none outlives the tests, free ports and waiting."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

# Becomes the server: changes the user, asks the kernel for a signal at the parent's death, executes.
# A program of its own because preexec_fn is not safe (and warned about) in a process with threads.
# The order matters: a change of user clears the death signal.
_LAUNCHER = """
import ctypes, os, pwd, sys
user, signal_number, parent, argv = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
if user:
    entry = pwd.getpwnam(user)
    os.chdir("/")
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
ctypes.CDLL(None).prctl(1, signal_number)
if os.getppid() != parent:
    sys.exit("the tests ended before the server began")
os.execv(argv[0], argv)
"""
_RUNNING: weakref.WeakSet[Process] = weakref.WeakSet()


class Process:
    """One server in a process group of its own, logging to a file.

    The kernel kills it when the thread that started it ends, so start it from a thread that lives as
    long as the server is needed (pytest's main thread, not a worker).
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.argv = [str(part) for part in argv]
        self.name = Path(self.argv[0]).name
        self.log = log
        self.user = user
        self.env = env
        self.stop_signal = stop_signal
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running server."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the server was started and has not exited."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the server ended, negative for a signal; None while it runs or before its start."""
        return self._popen.poll() if self._popen is not None else None

    def start(self) -> Self:
        """Starts the server; it is not ready before its own check says so."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        # A user's server is PostgreSQL, which must clean up its shared memory.
        death_signal = self.stop_signal if self.user else signal.SIGKILL
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
        options = [self.user or "", str(int(death_signal)), str(os.getpid())]
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*launcher, *options, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.env} if self.env else None,
            )
        _RUNNING.add(self)
        return self

    def check(self) -> None:
        """Raises with the end of the log when the server has exited."""
        if not self.running:
            code = self._popen.returncode if self._popen else None
            raise RuntimeError(f"{self.name} has exited ({code}); its log ends in:\n{self.log_tail()}")

    def wait_for_port(self, port: int, timeout: float = 30.0) -> None:
        """Returns when the server accepts connections on the loopback port; raises when it exits instead."""

        def accepts() -> bool:
            self.check()
            return port_open(port)

        wait_until(accepts, timeout, what=f"{self.name} on port {port}")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def pause(self) -> None:
        """Freezes the server: its connections stay open and get no answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused server go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self, grace: float = 5.0) -> None:
        """Ends the server and its group: first politely, then by SIGKILL."""
        popen = self._popen
        if popen is None:
            return
        if popen.poll() is None:
            self.resume()
            popen.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(grace)
        # The group id stays ours as long as a member lives or the leader is not reaped.
        if popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
        _RUNNING.discard(self)
        self._popen = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self.stop()


def _stop_all() -> None:
    for process in list(_RUNNING):
        process.stop(grace=2.0)


atexit.register(_stop_all)


def stop_all(processes: Sequence[Process], grace: float = 5.0) -> None:
    """Ends several servers side by side, so that one slow end does not add to another."""
    threads = [threading.Thread(target=process.stop, args=(grace,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now, below those that the system gives to clients: a server that starts later, or
    again, must not find that somebody's connection has taken its port. None comes twice in a process."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as holder, contextlib.suppress(OSError):
            if port not in _GIVEN:
                holder.bind(("127.0.0.1", port))
                found.append(port)
                _GIVEN.add(port)
    return found


_PORTS = range(12_000, 32_000)
_GIVEN: set[int] = set()


def port_open(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    predicate: Callable[[], T],
    timeout: float = 30.0,
    *,
    interval: float = 0.05,
    what: str = "",
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Calls the predicate until it returns something true, and returns that.

    An exception named in ignoring counts as "not yet"; any other one ends the wait.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            value = predicate()
            if value:
                return value
            last = value
        except ignoring as error:
            last = error
        if time.monotonic() >= deadline:
            wanted = what or getattr(predicate, "__name__", "the condition")
            raise TimeoutError(f"waited {timeout:g} s for {wanted}; last seen: {last!r}")
        time.sleep(interval)
