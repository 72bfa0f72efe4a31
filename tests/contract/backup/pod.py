"""A backup's pod without a cluster: both containers of the real manifest as processes of this machine.

What a kubelet would do is done here: variables from Secrets and fields, folders for volumes, and the termination message. `kill` and
`instead` are what goes wrong in a pod.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.backup.job import Pod, backup_job
from app.backup.order import ASKED_BY, LAST_WORDS, LOGIN, WORK, Order
from tests.contract.postgres import find_programs

ACTION = "run_1/0.0"


@dataclass
class Ended:
    """How the pod ended: the exit codes, the last words, and all that both containers printed."""

    codes: dict[str, int]
    words: str
    printed: str


@dataclass
class PodRun:
    """One pod. `secrets` by name and key; `programs` come first on the PATH of the container with the database's image."""

    folder: Path
    order: Order
    secrets: Mapping[str, Mapping[str, str]]
    programs: Path = field(default_factory=find_programs)
    store_secret: str = "store"

    def run(self, seconds: float = 120) -> Ended:
        """Both containers, until both have ended."""
        processes = self.start()
        printed = {name: p.communicate(timeout=seconds)[0].decode() for name, p in processes.items()}
        words = (self.folder / "words").read_text("utf-8") if (self.folder / "words").exists() else ""
        codes = {name: p.returncode for name, p in processes.items()}
        return Ended(codes, words, "\n".join(printed.values()))

    def start(self) -> dict[str, subprocess.Popen[bytes]]:
        """The processes of the containers by name."""
        pod = Pod("postgres:15", "remediator:1", self.store_secret, "", 60, 60, "512Mi")
        containers = backup_job(self.order, pod, "job", "database-backup")["spec"]["template"]["spec"][
            "containers"
        ]
        for name in ("work", "login"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return {c["name"]: self._process(c) for c in containers}

    def _process(self, container: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        own = container["name"] == "dump"
        command = [sys.executable if part == "python" else part for part in container["command"]]
        path = f"{self.programs}:{os.environ['PATH']}" if own else os.environ["PATH"]
        environment = {
            "PATH": path,
            **{e["name"]: v for e in container["env"] if (v := self._value(e)) is not None},
        }
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=Path.cwd()
        )

    def _value(self, entry: Mapping[str, Any]) -> str | None:
        folders = {
            WORK: "work",
            LOGIN: "login",
            LAST_WORDS: "words",
            "PGSERVICEFILE": "login/services",
            "HOME": "work",
        }
        if entry["name"] in folders:
            return str(self.folder / folders[entry["name"]])
        if entry["name"] == ASKED_BY:
            return ACTION
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        found = self.secrets.get(reference["name"], {}).get(reference["key"])
        assert found is not None or reference.get("optional"), f"a kubelet would not start this: {reference}"
        return found
