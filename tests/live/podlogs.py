"""Owns the log files of fake pods: kwok serves them through the API server, also as `previous`.

Each pod that was given a log has a Logs object of its name, which points at one file per container and
goes with the pod. What kwok does not do: refuse the log of a container that has not begun (the kubelet
answers 400) or the previous log of one that never ended (400 too); both come back empty.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.live.process import wait_until

# A line of text, or with the time at which it was logged.
Line = str | tuple[dt.datetime, str]


class PodLogs:
    """Writes the files and the Logs objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(
        self, client: httpx.Client, target: tuple[str, str, str], lines: Sequence[Line], *, previous: bool
    ) -> list[str]:
        """Sets the log of (namespace, pod or selector, container); returns the pods' names."""
        namespace, name, container = target
        pods = _find_pods(client, namespace, name)
        for pod in pods:
            known = [c["name"] for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]
            if container not in known:
                raise ValueError(f"pod {pod['metadata']['name']} has the containers {known}, not {container}")
            self._ensure_object(client, pod, known)
            self._write(pod, container, lines, previous=previous)
        names = [str(pod["metadata"]["name"]) for pod in pods]
        for pod_name in names:
            _wait_until_served(client, (namespace, pod_name, container), lines, previous=previous)
        return names

    def _file(self, pod: dict[str, Any], container: str, *, previous: bool) -> Path:
        # By uid: the next pod of a StatefulSet has the same name and no log yet.
        uid = str(pod["metadata"]["uid"])
        return self._folder / uid / f"{container}.{'previous' if previous else 'current'}.log"

    def _write(self, pod: dict[str, Any], container: str, lines: Sequence[Line], *, previous: bool) -> None:
        now = dt.datetime.now(dt.UTC)
        pairs = [(now, line) if isinstance(line, str) else line for line in lines]
        text = "".join(f"{_stamp(time)} stdout F {line}\n" for time, line in pairs)
        path = self._file(pod, container, previous=previous)
        fresh = path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(path)

    def _ensure_object(self, client: httpx.Client, pod: dict[str, Any], containers: Sequence[str]) -> None:
        metadata = pod["metadata"]
        (self._folder / metadata["uid"]).mkdir(parents=True, exist_ok=True)
        entries = []
        for container in containers:
            files = [self._file(pod, container, previous=previous) for previous in (False, True)]
            for file in files:
                file.touch()
            current, before = map(str, files)
            entries.append({"containers": [container], "logsFile": current, "previousLogsFile": before})
        owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        manifest = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "Logs",
            "metadata": {"name": metadata["name"], "ownerReferences": [owner]},
            "spec": {"logs": entries},
        }
        url = f"/apis/kwok.x-k8s.io/v1alpha1/namespaces/{metadata['namespace']}/logs/{metadata['name']}"
        query = {"fieldManager": "live-stack", "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        client.patch(url, params=query, headers=headers, json=manifest).raise_for_status()


def _stamp(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _find_pods(client: httpx.Client, namespace: str, target: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{namespace}/pods"
    if "=" not in target:
        return [client.get(f"{path}/{target}").raise_for_status().json()]
    answer = client.get(path, params={"labelSelector": target}).raise_for_status()
    pods: list[dict[str, Any]] = answer.json()["items"]
    if not pods:
        raise ValueError(f"no pod in {namespace} matches {target}")
    return pods


def _wait_until_served(
    client: httpx.Client, target: tuple[str, str, str], lines: Sequence[Line], *, previous: bool
) -> None:
    namespace, name, container = target
    expected = [line if isinstance(line, str) else line[1] for line in lines]
    query = {"container": container, "previous": str(previous).lower()}

    def served() -> bool:
        answer = client.get(f"/api/v1/namespaces/{namespace}/pods/{name}/log", params=query)
        return answer.is_success and answer.text.splitlines() == expected

    wait_until(served, 15.0, what=f"the log of {namespace}/{name}")
