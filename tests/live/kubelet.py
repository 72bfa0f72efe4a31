"""Owns a small kubelet: it runs the pods of procedures as processes of this machine, and writes their status.

kwok leaves these pods to it, by their label. Their images are not looked at: a container's command runs with this machine's programs,
its variables from the real Secrets and its volumes as folders.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app.backup.job import LABEL
from tests import containers
from tests.live.controlplane import ControlPlane

_PAUSE = 0.2
_MERGE = {"Content-Type": "application/merge-patch+json"}


class Kubelet:
    """Use it as a context: one thread that looks for pods and follows their processes."""

    def __init__(self, plane: ControlPlane, folder: Path, programs: Path) -> None:
        self._client = plane.client()
        self._folder = folder
        self._programs = programs
        self._pods: dict[str, dict[str, subprocess.Popen[bytes]]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="kubelet")
        self.faults: list[BaseException] = []
        self.printed: list[str] = []
        """All that containers printed."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        for process in (p for pod in self._pods.values() for p in pod.values()):
            process.kill()
            process.communicate()
        if self.faults and error is None:
            raise self.faults[0]

    def _work(self) -> None:
        try:
            while not self._done.wait(_PAUSE):
                for pod in self._listed():
                    self._look(pod)
        except Exception as error:
            self.faults.append(error)

    def _listed(self) -> list[dict[str, Any]]:
        answer = self._client.get("/api/v1/pods", params={"labelSelector": LABEL})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["items"]
        return [p for p in found if p["spec"].get("nodeName")]

    def _look(self, pod: dict[str, Any]) -> None:
        uid, phase = pod["metadata"]["uid"], pod["status"].get("phase")
        if "deletionTimestamp" in pod["metadata"]:
            for process in self._pods.pop(uid, {}).values():
                process.kill()
                process.communicate()
        elif phase == "Pending" and uid not in self._pods:
            self._pods[uid] = {
                c["name"]: containers.start(pod, c, self._folder / uid, self._programs, self._secret(pod))
                for c in pod["spec"]["containers"]
            }
            self._write(pod, "Running")
        elif phase == "Running" and uid in self._pods:
            running = self._pods[uid]
            if all(p.poll() is not None for p in running.values()):
                self.printed += [p.communicate()[0].decode() for p in running.values()]
                bad = any(p.returncode for p in running.values())
                self._write(pod, "Failed" if bad else "Succeeded")
                del self._pods[uid]

    def _secret(self, pod: dict[str, Any]) -> containers.SecretValue:
        namespace = pod["metadata"]["namespace"]

        def value(name: str, key: str) -> str | None:
            answer = self._client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
            found = (answer.json().get("data") or {}).get(key) if answer.is_success else None
            return None if found is None else base64.b64decode(found).decode()

        return value

    def _write(self, pod: dict[str, Any], phase: str) -> None:
        meta, uid = pod["metadata"], pod["metadata"]["uid"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        statuses = [
            {
                "name": c["name"],
                "image": c["image"],
                "imageID": "",
                "ready": phase == "Running",
                "restartCount": 0,
                "state": self._state(uid, c["name"], phase, now),
            }
            for c in pod["spec"]["containers"]
        ]
        status = {
            "phase": phase,
            "startTime": pod["status"].get("startTime") or now,
            "containerStatuses": statuses,
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        answer = self._client.patch(path, json={"status": status}, headers=_MERGE)
        if answer.status_code != httpx.codes.NOT_FOUND:  # it may have been deleted meanwhile
            answer.raise_for_status()

    def _state(self, uid: str, name: str, phase: str, now: str) -> dict[str, Any]:
        if phase == "Running":
            return {"running": {"startedAt": now}}
        words = containers.words_of(self._folder / uid, name)
        code = self._pods[uid][name].returncode
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": now,
            "finishedAt": now,
        }
        return {"terminated": {**ended, "message": words.read_text("utf-8") if words.exists() else ""}}
