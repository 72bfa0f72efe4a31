"""What a pod spec asks for: containers with their resources, and the ConfigMaps and Secrets they need.

Called by `app.kube.parse`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.domain.target import Kind
from app.domain.workload import ConfigRef, ContainerSpec
from app.kube.quantity import parse_cpu, parse_memory


def containers_of(spec: Mapping[str, Any]) -> tuple[ContainerSpec, ...]:
    """Containers of a pod spec, init containers first, as the kubelet starts them."""
    volumes = {v["name"]: tuple(_volume_refs(v)) for v in spec.get("volumes") or ()}
    listed = [(c, True) for c in spec.get("initContainers") or ()]
    listed += [(c, False) for c in spec.get("containers") or ()]
    mounted = {m["name"] for c, _ in listed for m in c.get("volumeMounts") or ()}
    # A volume that no container mounts still keeps the pod from starting when its source is missing.
    idle = [ref for name, refs in volumes.items() if name not in mounted for ref in refs]
    specs = []
    for index, (container, init) in enumerate(listed):
        refs = [*_environment_refs(container), *(idle if index == 0 else ())]
        for mount in container.get("volumeMounts") or ():
            refs.extend(volumes.get(mount["name"], ()))
        specs.append(_container(container, init=init, config=tuple(dict.fromkeys(refs))))
    return tuple(specs)


def pod_memory_limit(spec: Mapping[str, Any]) -> int | None:
    """The memory limit of a pod as a whole (pod-level resources), in bytes; None for a pod without."""
    limits = (spec.get("resources") or {}).get("limits") or {}
    return _maybe(parse_memory, limits.get("memory"))


def config_keys(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The names of the keys of a ConfigMap or Secret; never a value."""
    return frozenset(manifest.get("data") or ()) | frozenset(manifest.get("binaryData") or ())


def _container(container: Mapping[str, Any], *, init: bool, config: tuple[ConfigRef, ...]) -> ContainerSpec:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return ContainerSpec(
        name=container["name"],
        image=container.get("image", ""),
        init=init,
        memory_limit=_maybe(parse_memory, limits.get("memory")),
        memory_request=_maybe(parse_memory, requests.get("memory")),
        cpu_limit=_maybe(parse_cpu, limits.get("cpu")),
        cpu_request=_maybe(parse_cpu, requests.get("cpu")),
        config=config,
    )


def _maybe(parse: Callable[[Any], int], text: Any) -> int | None:
    return None if text is None else parse(text)


def _environment_refs(container: Mapping[str, Any]) -> Iterator[ConfigRef]:
    for source in container.get("envFrom") or ():
        for field, kind in (("configMapRef", Kind.CONFIG_MAP), ("secretRef", Kind.SECRET)):
            if ref := source.get(field):
                yield ConfigRef(kind, ref["name"], "", bool(ref.get("optional")))
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", Kind.CONFIG_MAP), ("secretKeyRef", Kind.SECRET)):
            if ref := origin.get(field):
                yield ConfigRef(kind, ref["name"], ref["key"], bool(ref.get("optional")))


def _volume_refs(volume: Mapping[str, Any]) -> Iterator[ConfigRef]:
    if source := volume.get("configMap"):
        yield from _items(Kind.CONFIG_MAP, source["name"], source)
    if source := volume.get("secret"):
        yield from _items(Kind.SECRET, source["secretName"], source)
    for part in (volume.get("projected") or {}).get("sources") or ():
        if source := part.get("configMap"):
            yield from _items(Kind.CONFIG_MAP, source["name"], source)
        if source := part.get("secret"):
            yield from _items(Kind.SECRET, source["name"], source)


def _items(kind: Kind, name: str, source: Mapping[str, Any]) -> Iterator[ConfigRef]:
    optional = bool(source.get("optional"))
    keys = [item["key"] for item in source.get("items") or ()] or [""]
    for key in keys:
        yield ConfigRef(kind, name, key, optional)
