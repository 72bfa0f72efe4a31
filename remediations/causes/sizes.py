"""How much a pod template asks for, and what it leaves its containers with: resources, bounds, probes. Each function makes one test, a pure
function of a template: asked of the older template and of the newer one it tells whether the older would not show a cause.

Used by the finders, which know which resource or probe the cluster's words name, and judged by `suspects`. Never reads the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from app.domain.errors import BadInput
from app.domain.json import Obj
from app.kube.manifest import parse_quantity
from remediations.causes.model import Amount, CauseCode, Demand

RESOURCES = ("containers[*].resources", "initContainers[*].resources", "resources")
"""Where a template says how much its pods ask for."""
PROBES = {
    CauseCode.STARTUP_PROBE: "startupProbe",
    CauseCode.LIVENESS_PROBE: "livenessProbe",
    CauseCode.READINESS_PROBE: "readinessProbe",
}
"""The field of a container that such a cause is about."""
_ROOM = ("cpu", "memory", "ephemeral-storage")


def spec_of(template: Obj) -> Obj:
    """The pod spec of a template."""
    spec: Obj = template.get("spec") or {}
    return spec


def places(template: Obj) -> Iterator[tuple[str, Obj]]:
    """Every container with its place, e.g. `containers[app]`."""
    for group in ("initContainers", "containers"):
        for container in spec_of(template).get(group) or ():
            yield f"{group}[{container.get('name', '')}]", container


def at_place(template: Obj, where: str) -> Obj | None:
    """The container at this place."""
    return next((c for place, c in places(template) if place == where), None)


def text_of(value: object) -> str:
    """The same text for the same value."""
    return json.dumps(value, sort_keys=True, default=str)


def _amount(text: object) -> Fraction:
    """What a quantity says; 0 for none, and for one that the API server would not take."""
    try:
        return Fraction(parse_quantity(str(text))) if text is not None else Fraction(0)
    except BadInput:
        return Fraction(0)


def _less(amount: Fraction) -> Fraction:
    """More for a smaller amount, so that what is lowered counts as a rise; 0 for none."""
    return 1 / amount if amount else Fraction(0)


def _sized(owner: Obj, part: str, name: str) -> Fraction:
    """`limits` or `requests` of one resource; a request that is not set is the limit (Kubernetes, "Resource Management")."""
    resources: Obj = owner.get("resources") or {}
    found = (resources.get(part) or {}).get(name)
    if found is None and part == "requests":
        found = (resources.get("limits") or {}).get(name)
    return _amount(found)


def _total(template: Obj, part: str, name: str) -> Fraction:
    """What a pod has of a resource in all, as the scheduler and quotas count it: of the pod as a whole where that is set, else the sum
    over containers and sidecars, or the largest init container."""
    spec = spec_of(template)
    if whole := _sized(spec, part, name):
        return whole
    init = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") != "Always"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    running = sum(
        (_sized(c, part, name) for c in (*sidecars, *(spec.get("containers") or ()))), start=Fraction(0)
    )
    return max([running, *(_sized(c, part, name) for c in init)])


# How much pods ask for, and what they are left with.


def asked(name: str, part: str = "requests") -> Demand:
    """A pod's request (or limit) of one resource in all: what nodes and quotas have no room for."""
    word = "asked for no less" if part == "requests" else "was given no less"
    return Demand(
        f"the revision before {word} {name}", lambda t: {name: _total(t, part, name)}, _of_resource(name)
    )


def unset(part: str, name: str) -> Demand:
    """Containers that do not say how much of a resource they take."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {where: int(not _sized(c, part, name)) for where, c in places(template)}

    text = f"the revision before did not set {part}.{name} either"
    return Demand(text, of, _of_resource(name))


def bounded_by(name: str, word: str) -> tuple[Demand, ...]:
    """What a LimitRange turns down: `word` is maximum, minimum or ratio; one container, and a pod as a whole, count alike."""

    def of(template: Obj) -> Mapping[str, Amount]:
        sizes = {w: (_sized(c, "limits", name), _sized(c, "requests", name)) for w, c in places(template)}
        sizes["pod"] = (_total(template, "limits", name), _total(template, "requests", name))
        if word == "ratio":
            return {w: limit / request for w, (limit, request) in sizes.items() if request}
        sizing = _less if word == "minimum" else (lambda amount: amount)
        return {
            f"{w} {part}": sizing(size)
            for w, both in sizes.items()
            for part, size in zip(("limit", "request"), both, strict=True)
        }

    text = f"the revision before was no better within the {word} of {name}"
    return Demand(text, of, _of_resource(name)), unset("limits", name)


def _of_resource(name: str) -> tuple[str, ...]:
    return tuple(f"{place}.{part}.{name}" for place in RESOURCES for part in ("limits", "requests"))


def room(where: str, *names: str) -> tuple[Demand, ...]:
    """The limits that a container runs within, its own and those of its pod: what is lowered, or set for the first time, is missed."""

    def one(name: str) -> Demand:
        def of(template: Obj) -> Mapping[str, Amount]:
            own = at_place(template, where) or {}
            sizes = {
                where: _sized(own, "limits", name),
                "pod": _amount(_limits(spec_of(template)).get(name)),
            }
            return {place: _less(size) for place, size in sizes.items()}

        fields = (f"{where}.resources.limits.{name}", f"resources.limits.{name}")
        return Demand(f"the revision before had no more {name} for {where}", of, fields)

    return tuple(one(name) for name in names)


def _limits(owner: Obj) -> Obj:
    limits: Obj = (owner.get("resources") or {}).get("limits") or {}
    return limits


def share(where: str, name: str) -> Demand:
    """The part of a node that a container is promised (its request): lowered, it is slower beside others, or the first to be put out."""

    def of(template: Obj) -> Mapping[str, Amount]:
        return {where: _less(_sized(at_place(template, where) or {}, "requests", name))}

    fields = (f"{where}.resources.requests.{name}", f"{where}.resources.limits.{name}")
    return Demand(f"the revision before was promised no more {name} for {where}", of, fields)


def less_promised(where: str, *names: str) -> tuple[Demand, ...]:
    """The requests of one container."""
    return tuple(share(where, name) for name in names)


def everywhere(make: Callable[..., tuple[Demand, ...]], template: Obj, *names: str) -> tuple[Demand, ...]:
    """The same for each container of this template."""
    return tuple(demand for where, _ in places(template) for demand in make(where, *names))


def scratch(volume: str = "") -> Demand:
    """The sizes that emptyDir volumes are held to (`sizeLimit`), of one or of all."""

    def of(template: Obj) -> Mapping[str, Amount]:
        listed = [v for v in spec_of(template).get("volumes") or () if volume in ("", v.get("name"))]
        return {
            f"volumes[{v.get('name')}]": _less(_amount((v.get("emptyDir") or {}).get("sizeLimit")))
            for v in listed
        }

    return Demand("the revision before had no larger emptyDir", of, ("volumes",))


# Probes.


def probe(where: str, field: str) -> Demand:
    """What a probe asks and how soon it gives up; a container without it has nothing to fail."""

    def of(template: Obj) -> Mapping[str, Amount]:
        container = at_place(template, where) or {}
        own: Obj | None = container.get(field)
        if own is None:
            return {}
        start = Fraction(own.get("initialDelaySeconds") or 0) + patience(own)
        found: dict[str, Amount] = {
            "timeoutSeconds": _less(Fraction(own.get("timeoutSeconds") or 1)),
            "successThreshold": Fraction(own.get("successThreshold") or 1),
            "start": _less(start),
            text_of(_asks(own, container)): 1,
        }
        if field != "startupProbe":
            found["patience"] = _less(patience(own))
        if field == "livenessProbe":  # it begins when the startup probe has succeeded
            before: Obj = container.get("startupProbe") or {}
            found["startup"] = _less(1 + (patience(before) if before else Fraction(0)))
        return found

    fields = (f"{where}.{field}", f"{where}.startupProbe", f"{where}.ports")
    return Demand(f"the revision before had no looser {field} in {where}", of, fields)


def patience(own: Obj) -> Fraction:
    """Seconds for which a probe may fail (defaults as the API server sets them)."""
    return Fraction(own.get("periodSeconds") or 10) * Fraction(own.get("failureThreshold") or 3)


def _asks(own: Obj, container: Obj) -> Obj:
    """How the question is put, with the number of a port that is named."""
    numbers = {p["name"]: p.get("containerPort") for p in container.get("ports") or () if p.get("name")}

    def numbered(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        port = value.get("port")
        return {**value, "port": numbers.get(port, port)}

    return {k: numbered(own[k]) for k in ("httpGet", "tcpSocket", "exec", "grpc") if k in own}


def of_container(code: CauseCode, where: str, *, killed: bool) -> tuple[Demand, ...]:
    """What the template has to do with a container's end or unreadiness, beside what it runs. `killed`: the kubelet may have ended it."""
    if code is CauseCode.OUT_OF_MEMORY:
        return (*room(where, "memory"), _unbounded(where))
    if code in PROBES:
        return (probe(where, PROBES[code]), *room(where, *_ROOM), share(where, "cpu"))
    kills = (probe(where, "livenessProbe"), probe(where, "startupProbe")) if killed else ()
    waits = (probe(where, "readinessProbe"), probe(where, "startupProbe"))
    return (*room(where, *_ROOM), *(waits if code is CauseCode.NOT_READY else kills))


def _unbounded(where: str) -> Demand:
    """Without a limit it is the node that ends a container, and the smaller its request the sooner."""

    def of(template: Obj) -> Mapping[str, Amount]:
        own = at_place(template, where) or {}
        bounded = "memory" in _limits(own) or "memory" in _limits(spec_of(template))
        return {where: Fraction(0) if bounded else _less(_sized(own, "requests", "memory"))}

    fields = (f"{where}.resources.requests.memory", f"{where}.resources.limits.memory")
    return Demand(f"the revision before was promised no more memory for {where}", of, fields)
