"""What a pod template names: configuration, images, nodes, labels and ports. Each function makes one test, a pure function of a template:
asked of the older template and of the newer one it tells whether the older would not show a cause.

Used by the finders, which know what the cluster's words name, and judged by `suspects`. Never reads the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef
from app.kube.manifest import claims_of, containers_of
from remediations.causes.model import Amount, Demand
from remediations.causes.sizes import at_place, places, spec_of, text_of

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _each(values: Iterable[object]) -> dict[str, Amount]:
    return {text_of(v): 1 for v in values}


# Objects and images.


def needs(ref: ConfigRef) -> Demand:
    """A ConfigMap, Secret or key; a reference without a key stands for the whole object. Pull Secrets count."""
    fields = ("containers[*].env", "containers[*].envFrom", "initContainers[*].env", "initContainers[*].envFrom",
              "containers[*].volumeMounts", "initContainers[*].volumeMounts", "volumes", "imagePullSecrets")  # fmt: skip

    def of(template: Obj) -> Mapping[str, Amount]:
        return {ref.name: int(needed(template, ref))}

    return Demand(f"the revision before needs {ref.kind} {ref.name} as well", of, fields)


def needed(template: Obj, ref: ConfigRef) -> bool:
    """Does this template need the reference?"""
    spec = spec_of(template)
    if ref.kind is Kind.SECRET and any(s.get("name") == ref.name for s in spec.get("imagePullSecrets") or ()):
        return True
    used = [c for container in containers_of(spec) for c in container.config if not c.optional]
    return any((c.kind, c.name) == (ref.kind, ref.name) and (not ref.key or c.key == ref.key) for c in used)


def configured_by(template: Obj) -> set[tuple[Kind, str]]:
    """The ConfigMaps and Secrets that a template refers to."""
    return {(ref.kind, ref.name) for c in containers_of(spec_of(template)) for ref in c.config}


def named(field: str, value: str, what: str, *, default: str = "") -> Demand:
    """An object that a field of the pod spec names, e.g. `serviceAccountName`."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {value: int((spec_of(template).get(field) or default) == value)}

    return Demand(f"the revision before names {what} {value} as well", of, (field, "serviceAccount"))


def listed(field: str) -> Demand:
    """The entries of a list of the pod spec: what is taken out or changed is harmless, what is new is not."""
    return Demand(
        f"the revision before had the same {field}", lambda t: _each(spec_of(t).get(field) or ()), (field,)
    )


def valued(field: str) -> Demand:
    """One field of the pod spec as it is: any other value than the older one's."""

    def of(template: Obj) -> Mapping[str, Amount]:
        value = spec_of(template).get(field)
        return {text_of(value): 1} if value is not None else {}

    return Demand(f"the revision before had the same {field}", of, (field,))


def dropped(field: str) -> Demand:
    """The entries of a list of the pod spec that help: what is taken out is missed."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {text_of(v): -1 for v in spec_of(template).get(field) or ()}

    return Demand(f"the revision before had no more {field}", of, (field,))


def claims(names: Iterable[str], pods: Iterable[str] = ()) -> Demand:
    """PersistentVolumeClaims that a template mounts: these alone, or any when none is known. A generic ephemeral volume makes the
    claim of its pod."""
    wanted, own = frozenset(names), tuple(pods)

    def of(template: Obj) -> Mapping[str, Amount]:
        found = set()
        for volume in spec_of(template).get("volumes") or ():
            if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
                found.add(claim)
            elif "ephemeral" in volume:
                made = {f"{pod}-{volume['name']}" for pod in own}
                found |= made & wanted if wanted else {text_of(volume)}
        return dict.fromkeys(found & wanted if wanted else found, 1)

    what = f"PersistentVolumeClaim {', '.join(sorted(wanted))}" if wanted else "the same volumes"
    return Demand(f"the revision before mounts {what} as well", of, ("volumes",))


def volume(name: str) -> Demand:
    """One volume of the pod as it is written; any of them when its name is not known."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return _each(v for v in spec_of(template).get("volumes") or () if name in ("", v.get("name")))

    text = (
        f"the revision before has volume {name} as well"
        if name
        else "the revision before has the same volumes"
    )
    return Demand(text, of, ("volumes",))  # fmt: skip


def image(where: str, part: Callable[[str], str], word: str) -> Demand:
    """A part of a container's image, such as its registry."""

    def of(template: Obj) -> Mapping[str, Amount]:
        own = at_place(template, where)
        return {part(own.get("image", "")): 1} if own is not None else {}

    return Demand(f"the revision before pulls from the same {word}", of, (f"{where}.image",))


def host_ports() -> Demand:
    """Ports of the node that a pod takes."""

    def of(template: Obj) -> Mapping[str, Amount]:
        host = bool(spec_of(template).get("hostNetwork"))
        ports = [p for _, c in places(template) for p in c.get("ports") or ()]
        taken = [(p.get("hostPort") or (p.get("containerPort") if host else None), p.get("protocol", "TCP")) for p in ports]  # fmt: skip
        return _each(t for t in taken if t[0])

    text = "the revision before takes the same ports of its node"
    return Demand(text, of, ("containers[*].ports", "initContainers[*].ports", "hostNetwork"))


# Where pods may run.


def selected_nodes() -> Demand:
    """Node labels that a pod wants: the pairs of its nodeSelector, and its required node affinity as a whole."""

    def of(template: Obj) -> Mapping[str, Amount]:
        spec = spec_of(template)
        pairs = (spec.get("nodeSelector") or {}).items()
        required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
        return _each([*map(list, pairs), *([required] if required else [])])

    return Demand("the revision before wants the same of its node", of, ("nodeSelector", "affinity"))


def kept_apart(which: str) -> Demand:
    """Required terms of `podAffinity` or `podAntiAffinity`."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return _each(((spec_of(template).get("affinity") or {}).get(which) or {}).get(_REQUIRED) or ())

    return Demand(f"the revision before has the same {which}", of, ("affinity",))


def spread() -> Demand:
    """Topology spread constraints that keep a pod from a node."""

    def of(template: Obj) -> Mapping[str, Amount]:
        found = spec_of(template).get("topologySpreadConstraints") or ()
        return _each(c for c in found if c.get("whenUnsatisfiable") != "ScheduleAnyway")

    text = "the revision before has the same topologySpreadConstraints"
    return Demand(text, of, ("topologySpreadConstraints",))


def untolerated(taint: str) -> Demand:
    """A taint, as the scheduler writes it (`{key: value}`), that a template does not tolerate."""
    key, _, value = (part.strip() for part in taint.strip("{}").partition(":"))

    def of(template: Obj) -> Mapping[str, Amount]:
        found = spec_of(template).get("tolerations") or ()
        return {key: int(not any(_tolerates(t, key, value) for t in found))}

    return Demand(f"the revision before does not tolerate {key} either", of, ("tolerations",))


def _tolerates(toleration: Obj, key: str, value: str) -> bool:
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key"):
        return exists
    return bool(toleration["key"] == key and (exists or toleration.get("value", "") == value))


# What a Service asks for.


def unselected(service: str, selector: Mapping[str, str]) -> Demand:
    """Labels that a Service selects by and a template does not have."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {service: int(not selects_labels(selector, template))}

    text = f"Service {service} did not select the pods of the revision before either"
    return Demand(text, of, ("metadata.labels",))


def selects_labels(selector: Mapping[str, str], template: Obj) -> bool:
    """Would pods of this template be selected?"""
    labels = (template.get("metadata") or {}).get("labels") or {}
    return all(labels.get(k) == v for k, v in selector.items())


def without_port(service: str, target: object) -> Demand:
    """The port of a pod that a Service sends to, by name or number, where a template does not declare it."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {service: int(not declares(template, target))}

    text = f"the revision before did not have targetPort {target} of Service {service} either"
    return Demand(text, of, ("containers[*].ports", "initContainers[*].ports"))


def declares(template: Obj, target: object) -> bool:
    """Does a container of this template have this port?"""
    ports = [p for _, c in places(template) for p in c.get("ports") or ()]
    return any(str(target) in (p.get("name"), str(p.get("containerPort"))) for p in ports)


def volumes_told(spec: Obj, claims: Mapping[str, Obj | None]) -> str:
    """The claims that a pod mounts, with the volumes that they are bound to: what a person has to look for. Empty without one."""
    found = []
    for name in dict.fromkeys(claims_of(spec)):
        volume = ((claims.get(name) or {}).get("spec") or {}).get("volumeName")
        found.append(f"PersistentVolumeClaim {name}{f' (PersistentVolume {volume})' if volume else ''}")
    return " and ".join(found)
