"""A pod of a backup or a restore without a cluster: both containers of the real manifest as processes of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.backup.job import Pod, backup_job, restore_job
from app.backup.order import Order
from app.backup.restore_order import RestoreOrder
from app.domain.cluster import MARKER
from tests import containers
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
    """One pod. `secrets` by name and key; `programs` come first on the PATH of the container with the database's
    image. With `restoring` it is the pod of that restore."""

    folder: Path
    order: Order
    secrets: Mapping[str, Mapping[str, str]]
    programs: Path = field(default_factory=find_programs)
    restoring: RestoreOrder | None = None

    def run(self, seconds: float = 120) -> Ended:
        """Both containers, until both have ended."""
        processes = self.start()
        printed = {name: p.communicate(timeout=seconds)[0].decode() for name, p in processes.items()}
        words = containers.words_of(self.folder, "upload")
        codes = {name: p.returncode for name, p in processes.items()}
        return Ended(codes, words.read_text("utf-8") if words.exists() else "", "\n".join(printed.values()))

    def start(self) -> dict[str, subprocess.Popen[bytes]]:
        """The processes of the containers by name."""
        made_of = Pod("postgres:15", "remediator:1", "store", "", 60, 60, "512Mi")
        job = (
            backup_job(self.order, made_of, "job", "database-backup")
            if self.restoring is None
            else restore_job(self.restoring, made_of, "job", "database-restore")
        )
        template = job["spec"]["template"]
        pod = {**template, "metadata": {**template["metadata"], "annotations": {MARKER: ACTION}}}

        def secret(name: str, key: str) -> str | None:
            return self.secrets.get(name, {}).get(key)

        return {
            c["name"]: containers.start(pod, c, self.folder, self.programs, secret)
            for c in pod["spec"]["containers"]
        }
