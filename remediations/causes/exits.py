"""What the end of a container means: exit codes and signals in words. Pure.

Sources: POSIX (128 + signal number), the shells' 126 and 127, and the container runtimes' own messages.
"""

from __future__ import annotations

import re

from app.domain.workload import Terminated

_CODES = {
    0: "ended by itself without an error",
    126: "the command is not executable",
    127: "the command was not found",
    134: "SIGABRT: it aborted itself",
    135: "SIGBUS",
    136: "SIGFPE: an arithmetic error",
    137: "SIGKILL, not for memory",
    139: "SIGSEGV: an invalid memory access",
    143: "SIGTERM: it was told to end",
}
ARCHITECTURE = re.compile(r"exec format error|cannot execute binary file", re.IGNORECASE)
"""What a kernel says to a binary of another architecture."""
TOLD_TO_END = frozenset({0, 137, 143})
"""Exit codes of a process that the kubelet ends: it obeyed SIGTERM, or SIGKILL followed."""


def ending(ended: Terminated) -> str:
    """`exit code 139 (SIGSEGV: an invalid memory access)`, `OOMKilled`."""
    if ended.reason == "OOMKilled":
        return "OOMKilled"
    words = _CODES.get(ended.exit_code)
    if words is None and 128 < ended.exit_code < 160:
        words = f"signal {ended.exit_code - 128}"
    return f"exit code {ended.exit_code}" + (f" ({words})" if words else "")
