"""Owns the calls of the real helm: lint, template, and what came out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.domain.json import Obj

CHART = Path(__file__).resolve().parents[3] / "charts" / "alert-remediator"
CI = sorted(CHART.glob("ci/*-values.yaml"))
RELEASE, NAMESPACE = "remediator", "ops"
NAME = "remediator-alert-remediator"


@dataclass(frozen=True)
class Rendered:
    """The objects of a chart with these values, and their text."""

    text: str
    objects: list[Obj]

    def of(self, kind: str, name: str = "") -> Obj:
        """The one object of a kind (and name)."""
        found = [o for o in self.all(kind) if name in ("", o["metadata"]["name"])]
        assert len(found) == 1, (kind, name, [o["metadata"]["name"] for o in found])
        return found[0]

    def all(self, kind: str) -> list[Obj]:
        """All objects of a kind."""
        return [o for o in self.objects if o["kind"] == kind]

    @property
    def workload(self) -> Obj:
        """The Deployment or the StatefulSet."""
        (found,) = [o for o in self.objects if o["kind"] in ("Deployment", "StatefulSet")]
        return found

    @property
    def pod(self) -> Obj:
        """The spec of its pods."""
        found: Obj = self.workload["spec"]["template"]["spec"]
        return found

    @property
    def pods(self) -> list[Obj]:
        """The specs of all pods: the service's, the test's, and those of Jobs and CronJobs."""
        jobs = [o["spec"] for o in self.all("Job")]
        jobs += [o["spec"]["jobTemplate"]["spec"] for o in self.all("CronJob")]
        return [self.pod, *(o["spec"] for o in self.all("Pod")), *(j["template"]["spec"] for j in jobs)]

    @property
    def container(self) -> Obj:
        """The service's container."""
        return next(c for c in self.pod["containers"] if c["name"] == "remediator")

    def env(self) -> dict[str, Any]:
        """Its environment: the value, or where it comes from."""
        return {e["name"]: e.get("value", e.get("valueFrom")) for e in self.container["env"]}


@dataclass
class Helm:
    """The command."""

    path: Path
    chart: Path = CHART
    _kept: dict[tuple[str, ...], Rendered] = field(default_factory=dict)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return subprocess.run(
            [self.path, *arguments], capture_output=True, text=True, check=False, timeout=240
        )

    def template(self, *arguments: str, values: str = "default") -> Rendered:
        """The chart with the values of a file in ci/."""
        key = (values, *arguments)
        if key not in self._kept:
            ended = self(
                "template",
                RELEASE,
                str(self.chart),
                *("--namespace", NAMESPACE),
                *("--values", str(CHART / "ci" / f"{values}-values.yaml")),
                *arguments,
            )
            assert ended.returncode == 0, ended.stderr
            found = [o for o in yaml.safe_load_all(ended.stdout) if o]
            self._kept[key] = Rendered(ended.stdout, found)
        return self._kept[key]

    def refuses(self, *arguments: str, values: str = "default") -> str:
        """Why it does not render."""
        path = str(CHART / "ci" / f"{values}-values.yaml")
        ended = self("template", RELEASE, str(CHART), "--values", path, *arguments)
        assert ended.returncode != 0
        return ended.stderr

    def notes(self, values: str) -> str:
        """What an installation says at its end."""
        path = str(CHART / "ci" / f"{values}-values.yaml")
        words = ("--dry-run=client", "--namespace", NAMESPACE, "--values", path)
        ended = self("install", RELEASE, str(CHART), *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.partition("\nNOTES:\n")[2]
