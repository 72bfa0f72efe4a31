"""Scenario files: one YAML document that tells the story, followed by plain Kubernetes manifests.

Owns the format and loading it; strict: an unknown key, a wrong value or an unknown manifest kind is an error that names the
file. The shipped scenarios are in `app/sim/scenarios`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from app.domain.errors import BadInput, ObjectInvalid
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.alerts import AlertRule
from app.sim.backups import StoredBackup
from app.sim.behaviour import Behaviour
from app.sim.caches import CacheServer
from app.sim.databases import Server, joined_servers
from app.sim.dependencies import Dependency
from app.sim.metrics import Metric
from app.sim.objects import key_of
from app.sim.traffic import Stream
from app.sim.units import Seconds, Strict


class PatchStep(Strict):
    """A JSON patch by somebody else, e.g. the deployment pipeline."""

    kind: Kind
    name: str
    operations: tuple[dict[str, Any], ...]
    manager: str = "kubectl-set"


class Step(Strict):
    """One thing that happens; `at` is relative to the scenario's start, negative is history. Exactly one deed."""

    at: Seconds
    say: str = ""
    patch: PatchStep | None = None
    create: dict[str, Any] | None = None
    delete: str = ""
    """`Kind/name`."""
    traffic: Stream | None = None

    @model_validator(mode="after")
    def _one_deed(self) -> Step:
        deeds = [self.patch is not None, self.create is not None, bool(self.delete), self.traffic is not None]
        if sum(deeds) != 1:
            raise ValueError("a step needs exactly one of patch, create, delete, traffic")
        return self


class Scenario(Strict):
    """A world and its story. `age` is how long before the start the objects were created."""

    version: Literal[1] = 1
    name: str
    summary: str
    namespace: str = "default"
    age: Seconds = 0.0
    nodes: int = Field(default=3, ge=0)
    include: tuple[str, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()
    missing_images: tuple[str, ...] = ()
    traffic: tuple[Stream, ...] = ()
    story: tuple[Step, ...] = ()
    alerts: tuple[AlertRule, ...] = ()
    metrics: tuple[Metric, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    databases: tuple[Server, ...] = ()
    caches: tuple[CacheServer, ...] = ()
    backups: tuple[StoredBackup, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()
    """Filled from the documents after the first."""

    def joined(self, other: Scenario) -> Scenario:
        """Both stories in one world; the name and the texts of this one. Raises BadInput for two namespaces."""
        if self.namespace != other.namespace:
            raise BadInput("scenarios of two namespaces cannot be joined", where=f"{self.name}, {other.name}")
        known = {key_of(o) for o in self.objects}
        merged: dict[str, Any] = {
            field: (
                *getattr(self, field),
                *(x for x in getattr(other, field) if x not in getattr(self, field)),
            )
            for field in (
                "behaviours",
                "missing_images",
                "traffic",
                "story",
                "alerts",
                "metrics",
                "dependencies",
                "caches",
                "backups",
            )
        }
        merged["databases"] = joined_servers(self.databases, other.databases)
        merged["objects"] = (*self.objects, *(o for o in other.objects if key_of(o) not in known))
        merged["age"] = max(self.age, other.age)
        return self.model_copy(update=merged)


def shipped() -> list[str]:
    """Names of the scenarios that come with the program (parts that are only included are left out)."""
    files = (resources.files("app.sim") / "scenarios").iterdir()
    return sorted(
        f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml") and f.name[0] != "_"
    )


def load_scenario(*names: str | Path) -> Scenario:
    """Load shipped scenarios by name, or files by path, joined into one world. Raises BadInput."""
    if not names:
        raise BadInput("which scenario?", code="bad_scenario")
    first, *rest = (_load(name) for name in names)
    for other in rest:
        first = first.joined(other)
    return first


def _load(name: str | Path) -> Scenario:
    text = _text(name)
    scenario = parse_scenario(text, where=str(name))
    for part in scenario.include:
        scenario = scenario.joined(_load(f"_{part}"))
    return scenario


def _text(name: str | Path) -> str:
    path = Path(name)
    if path.suffix == ".yaml":
        try:
            return path.read_text("utf-8")
        except OSError as error:
            raise BadInput(
                f"cannot be read: {error.strerror}", code="bad_scenario", where=str(name)
            ) from error
    file = resources.files("app.sim") / "scenarios" / f"{name}.yaml"
    if not file.is_file():
        raise BadInput(
            f"no such scenario; there are {', '.join(shipped())}", code="bad_scenario", where=str(name)
        )
    return file.read_text("utf-8")


def parse_scenario(text: str, where: str = "scenario") -> Scenario:
    """Read a scenario from its YAML documents. Raises BadInput naming `where` and the field."""
    try:
        documents: list[Any] = [d for d in YAML(typ="safe", pure=True).load_all(text) if d is not None]
    except YAMLError as error:
        raise BadInput(f"not YAML: {error}", code="bad_scenario", where=where) from error
    if not documents or not all(isinstance(d, dict) for d in documents):
        raise BadInput("expected YAML mappings", code="bad_scenario", where=where)
    head, manifests = documents[0], documents[1:]
    if "objects" in head:
        raise BadInput(
            "manifests follow as documents of their own", code="bad_scenario", where=f"{where}: objects"
        )
    try:
        scenario = Scenario.model_validate({**head, "objects": _placed(manifests, head)})
        for manifest in scenario.objects:
            key_of(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(first["msg"], code="bad_scenario", where=f"{where}: {place}") from error
    except ObjectInvalid as error:
        raise BadInput(error.message, code="bad_scenario", where=f"{where}: {error.where}") from error
    return scenario


def _placed(manifests: Sequence[Obj], head: Obj) -> list[Obj]:
    """Manifests without a namespace belong to the scenario's."""
    return [
        {**m, "metadata": {"namespace": head.get("namespace", "default"), **m.get("metadata", {})}}
        for m in manifests
    ]
