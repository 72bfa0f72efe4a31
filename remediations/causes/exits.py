"""What the kubelet, a runtime and a container itself say in words: exit codes, signals, references and names that lead nowhere. Pure.

Sources: POSIX (128 + signal number), the shells' 126 and 127, and the container runtimes' own messages.
"""

from __future__ import annotations

import re

from app.domain.target import Kind
from app.domain.workload import ConfigRef, Terminated
from remediations.causes.demands import needs
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness

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
BY_NODE = re.compile(
    r"deadline ?exceeded|timed out|no space left|disk quota|cgroup|name is reserved|failed to reserve container name|cannot allocate memory|"
    r"resource temporarily unavailable|device or resource busy|too many open files|failed to create shim|connection refused|transport is closing|"
    r"input/output error|read-only file system|nvidia-container-cli",
    re.IGNORECASE,
)
"""What a container runtime says of its node, whatever the container is."""
BY_TEMPLATE = re.compile(
    r"executable file not found|no such file or directory|not a directory|is a directory|permission denied|exec format|no command specified|"
    r"invalid|unknown capability|operation not permitted|chdir to cwd|already in use|unable to find user|must be absolute|not found in \$PATH|lifecycle hook|"
    r"hook",
    re.IGNORECASE,
)
"""What it says of the container's command, user, mounts or rights."""
OF_THE_PROGRAM = frozenset({126, 127, 132, 134, 136, 139})
"""Exit codes of a command that is not there or cannot run, and of a program that broke by itself."""
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


_NO_OBJECT = re.compile(r'(?P<kind>configmap|secret) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) [^/\s]+/(?P<name>\S+)")


def missing_ref(said: str) -> ConfigRef | None:
    """The ConfigMap, Secret or key that the kubelet's words miss."""
    if found := _NO_KEY.search(said):
        return ConfigRef(Kind(found["kind"]), found["name"], found["key"])
    if found := _NO_OBJECT.search(said):
        return ConfigRef(
            Kind.CONFIG_MAP if found["kind"].lower() == "configmap" else Kind.SECRET, found["name"]
        )
    return None


def missing_config(seen: Snapshot, ref: ConfigRef, pods: tuple[str, ...], who: str) -> Cause:
    """The cause of a reference that leads nowhere: the object does not exist, or does not have the key."""
    kept = seen.kept.get((ref.kind, ref.name))
    exists = bool(ref.key) if kept is None else kept.keys is not None
    what = f"{ref.kind} {ref.name}" + (f" key {ref.key}" if ref.key else "")
    need = f"{ref.kind} {ref.name}, which does not exist"
    if exists:
        need = f"key {ref.key} of {ref.kind} {ref.name}, which does not have it"
    return Cause(
        code=CauseCode.CONFIG_MISSING,
        object=f"{ref.kind} {ref.name}",
        sureness=Sureness.CERTAIN,
        text=f"{who} needs {need}",
        advice=f"create {what} in namespace {seen.workload.target.namespace}; the pods start by themselves then",
        pods=pods,
        demands=(needs(ref),),
        objects=((ref.kind, ref.name),),
        needs=(ref,),
    )
