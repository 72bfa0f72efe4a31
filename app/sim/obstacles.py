"""What keeps a container from starting: missing ConfigMaps, Secrets or keys. Pure reads; called by the kubelet."""

from __future__ import annotations

from app.domain.json import Obj
from app.domain.secret import text_of
from app.domain.target import Kind
from app.sim.containers import Obstacle
from app.sim.objects import Key, ObjectStore

_SOURCES = (
    ("configMapKeyRef", "configMapRef", Kind.CONFIG_MAP, "ConfigMap"),
    ("secretKeyRef", "secretRef", Kind.SECRET, "Secret"),
)


def has_key(store: ObjectStore, kind: Kind, where: tuple[str, str], key: str) -> bool:
    """Does this ConfigMap or Secret (namespace, name) have the key?"""
    obj = store.find(Key(kind, *where))
    if obj is None:
        return False
    return key in obj.get("data", {}) or key in obj.get("binaryData", {}) or key in obj.get("stringData", {})


def secret_text(store: ObjectStore, namespace: str, name: str, key: str) -> str:
    """The text under a key of this Secret, empty when there is none."""
    found = store.find(Key(Kind.SECRET, namespace, name))
    return (text_of(found, key) if found is not None else None) or ""


def config_obstacle(store: ObjectStore, pod: Obj, container: Obj) -> Obstacle | None:
    """The first reference of the container's environment that cannot be resolved."""
    namespace = pod["metadata"]["namespace"]
    for entry in container.get("env", []):
        for field, _, kind, word in _SOURCES:
            reference = (entry.get("valueFrom") or {}).get(field)
            if reference is None or reference.get("optional"):
                continue
            if store.find(Key(kind, namespace, reference["name"])) is None:
                return _missing(word, reference["name"])
            if not has_key(store, kind, (namespace, reference["name"]), reference["key"]):
                text = f"couldn't find key {reference['key']} in {word} {namespace}/{reference['name']}"
                return Obstacle("CreateContainerConfigError", text)
    for entry in container.get("envFrom", []):
        for _, field, kind, word in _SOURCES:
            reference = entry.get(field)
            if reference is None or reference.get("optional"):
                continue
            if store.find(Key(kind, namespace, reference["name"])) is None:
                return _missing(word, reference["name"])
    return None


def _missing(word: str, name: str) -> Obstacle:
    return Obstacle("CreateContainerConfigError", f'{word.lower()} "{name}" not found')


def volume_obstacle(store: ObjectStore, pod: Obj) -> Obstacle | None:
    """The first volume whose ConfigMap or Secret is not there; such a pod stays in ContainerCreating."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes", []):
        for field, name_key, kind in (
            ("configMap", "name", Kind.CONFIG_MAP),
            ("secret", "secretName", Kind.SECRET),
        ):
            source = volume.get(field)
            if source is None or source.get("optional"):
                continue
            name = source[name_key]
            if store.find(Key(kind, namespace, name)) is None:
                text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {field.lower()} "{name}" not found'
                return Obstacle("ContainerCreating", text, "FailedMount")
    return None
