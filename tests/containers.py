"""Containers without a kubelet: one container of a pod's manifest as a process of this machine, with folders for its volumes.

Used by the contract of backups and by the live tier's test kubelet. What names a mounted path leads to a folder instead; the termination
message is a file in the pod's folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_LAST_WORDS = "/dev/termination-log"

SecretValue = Callable[[str, str], str | None]
"""Name and key of a Secret to its value, None when there is none."""


def start(
    pod: Mapping[str, Any], container: Mapping[str, Any], folder: Path, programs: Path, secret: SecretValue
) -> subprocess.Popen[bytes]:
    """Start it; `programs` comes first on the PATH of every container but the one that runs our own code."""
    mounts = {m["mountPath"]: folder / "volumes" / m["name"] for m in container.get("volumeMounts", ())}
    for volume in mounts.values():
        volume.mkdir(parents=True, exist_ok=True)
    mounts[_LAST_WORDS] = words_of(folder, container["name"])
    given = {e["name"]: _value(pod, e, secret) for e in container.get("env", ())}
    environment = {name: _led(value, mounts) for name, value in given.items() if value is not None}
    command = [sys.executable if part == "python" else part for part in container["command"]]
    path = os.environ["PATH"] if "python" in container["command"] else f"{programs}:{os.environ['PATH']}"
    return subprocess.Popen(
        command,
        env={"PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )


def words_of(folder: Path, container: str) -> Path:
    """Where a container's termination message is."""
    return folder / f"{container}.words"


def _value(pod: Mapping[str, Any], entry: Mapping[str, Any], secret: SecretValue) -> str | None:
    if "value" in entry:
        return str(entry["value"])
    source = entry["valueFrom"]
    if "fieldRef" in source:
        key = source["fieldRef"]["fieldPath"].partition("['")[2].removesuffix("']")
        return str(pod["metadata"]["annotations"][key])
    reference = source["secretKeyRef"]
    found = secret(reference["name"], reference["key"])
    assert found is not None or reference.get("optional"), f"a kubelet would not start this: {reference}"
    return found


def _led(value: str, mounts: Mapping[str, Path]) -> str:
    for path, folder in mounts.items():
        if value == path or value.startswith(f"{path}/"):
            return f"{folder}{value.removeprefix(path)}"
    return value
