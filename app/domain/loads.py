"""What one pod has to do against what it may use, container by container. Pure.

A limit binds one container, and a sum over a pod hides which. Only what serves gets less to do where there are more pods: a helper
beside it (a log shipper, a proxy that was injected) at its own small limit says nothing of the workload's size.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.cluster import PodUsage
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import Obj
from app.domain.units import millicores, percent
from app.domain.units import say_memory as memory
from app.domain.workload import Pod, Workload

USAGE, THROTTLING = "usage.pods", "metrics.throttling"
"""Codes of the findings that tell of it; their data has `beside`: by container, of those that do not serve."""


# Which containers of a workload serve. Pure; by its template, so that what admission adds to its pods is none.

_HELPER = re.compile(
    r"istio-proxy|linkerd-proxy|envoy|envoy-sidecar|consul-(?:connect|dataplane).*|vault-agent.*|daprd|queue-proxy|kube-rbac-proxy"
    r"|oauth2-proxy|cloud-?sql-?(?:auth-)?proxy|fluent.*|filebeat|promtail|vector|(?:grafana-)?(?:alloy|agent)|otel.*|opentelemetry.*"
    r"|telegraf|datadog-agent|newrelic.*|jaeger-agent|x-?ray.*|aws-xray.*|git-sync|(?:.*-)?(?:exporter|shipper|sidecar|reloader)"
    r"|(?:log|logs|logging|sidecar)-.*"
)
_OF_METRICS = re.compile(r"(?:.*-)?(?:metrics?|prom|prometheus)(?:-.*)?")
_DEFAULT = "kubectl.kubernetes.io/default-container"


def serving(workload: Workload) -> frozenset[str]:
    """Names of the containers that serve: those with a port of their own, without known helpers and ports for metrics alone; without
    any the one that kubectl takes. Empty where the template is not known."""
    template: Obj = (workload.manifest.get("spec") or {}).get("template") or {}
    found: list[Obj] = list((template.get("spec") or {}).get("containers") or ())
    own = [c for c in found if not _HELPER.fullmatch(str(c.get("name", "")))] or found
    default = ((template.get("metadata") or {}).get("annotations") or {}).get(_DEFAULT)
    chosen = [c for c in own if _serves(c)] or [c for c in own if c.get("name") == default] or own[:1]
    return frozenset(str(c.get("name", "")) for c in chosen)


def _serves(container: Obj) -> bool:
    ports = container.get("ports") or ()
    return any(not _OF_METRICS.fullmatch(str(p.get("name") or "")) for p in ports)


@dataclass(frozen=True, slots=True)
class Load:
    """One pod's usage: memory in bytes, CPU in millicores; `memory_share` is of the fullest container's limit, `cpu_share` of the
    fullest that serves or of the whole pod's, each None without a limit. `cpu_of_request`: what serving containers without a CPU limit
    use of what they request, None where they request nothing. `beside`: by name what the others use of their CPU limit."""

    pod: str
    memory: int
    cpu: int
    memory_share: float | None
    cpu_share: float | None
    text: str
    cpu_of_request: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)


def load_of(usage: PodUsage, pod: Pod, serve: Collection[str] = ()) -> Load:
    """Usage of one pod against the limits of its containers; without the names of those that serve, all do. An init container that is
    measured runs beside the others all the time."""
    limits = {s.name: s for s in pod.specs if not s.init}
    serve = [n for n in limits if n in serve] or list(limits)
    memory_shares = [
        usage.memory[n] / s.memory_limit for n, s in limits.items() if s.memory_limit and n in usage.memory
    ]
    shares = {
        s.name: usage.cpu[s.name] / s.cpu_limit for s in pod.specs if s.cpu_limit and s.name in usage.cpu
    }
    free = [n for n in serve if limits[n].cpu_request and not limits[n].cpu_limit and n in usage.cpu]
    asked = sum(limits[n].cpu_request or 0 for n in free)
    of_request = sum(usage.cpu[n] for n in free) / asked if asked else None
    used, cpu = usage.total_memory, sum(usage.cpu.values())
    memory_limit = _total([s.memory_limit for s in limits.values()])
    cpu_limit = _total([s.cpu_limit for s in limits.values()])
    whole = [sum(usage.cpu.get(n, 0) for n in limits) / cpu_limit] if cpu_limit and shares else []
    of_cpu = millicores(cpu_limit) if cpu_limit else "no limit"
    of_memory = memory(memory_limit) if memory_limit else "no limit"
    row = f"{usage.pod}: CPU {millicores(cpu)} of {of_cpu}, memory {memory(used)} of {of_memory}"
    beside = {n: share for n, share in shares.items() if n not in serve}
    cpu_share = max([*(shares[n] for n in serve if n in shares), *whole], default=None)
    return Load(usage.pod, used, cpu, max(memory_shares, default=None), cpu_share, row, of_request, beside)


def _total(limits: Sequence[int | None]) -> int | None:
    """A pod has a limit only when all its containers have one."""
    known = [x for x in limits if x is not None]
    return sum(known) if known and len(known) == len(limits) else None


# Whether one pod has much more to do than the others. Pure.

_UNEVEN = 2.0


def hottest(loads: Sequence[Load], high: float = 0.8) -> tuple[str, float] | None:
    """The pod that is near its CPU limit while the others have less than half of that on average, and its share; None where they are alike."""
    known = sorted(((x.cpu_share, x.pod) for x in loads if x.cpu_share is not None), reverse=True)
    if not known[1:] or known[0][0] < high:
        return None
    (most, pod), rest = known[0], [share for share, _ in known[1:]]
    return (pod, round(most, 4)) if most >= _UNEVEN * sum(rest) / len(rest) else None


def hot_pod(diagnosis: Diagnosis, cpu_high: float) -> str:
    """Why more pods hardly help where one alone is at its limit; empty without one."""
    finding = diagnosis.finding(USAGE)
    data = finding.data if finding is not None and finding.certainty is Certainty.KNOWN else {}
    pod, share = data.get("hot"), data.get("hot_share")
    if not isinstance(share, float) or share < cpu_high:
        return ""
    return (
        f"pod {pod} alone is at its limit (CPU {percent(share)} of it), and another pod hardly takes anything from it: what is sent to it"
        " stays with it (sessions, a hot key, long connections), so rather spread that, or delete the pod"
    )


# Whether a helper holds the pods up. Pure.


@dataclass(frozen=True, slots=True)
class Beside:
    """Containers beside those that serve which are at their CPU limit: their names, and each with what was measured; none, and empty
    texts, mostly."""

    names: tuple[str, ...] = ()
    text: str = ""

    @property
    def cure(self) -> str:
        """What a person does about it."""
        of = " and ".join(f"container {n}" for n in self.names)
        return f"raise the CPU limit of {of} (in the pod template, or where it is injected)"

    @property
    def doubt(self) -> str:
        """Why only a person may say that more pods help."""
        return f"more pods have that limit as well, so rather {self.cure}" if self.names else ""


def beside_at_limit(
    limited: Collection[str], diagnosis: Diagnosis, cpu_high: float, throttling_high: float
) -> Beside:
    """Those that hold the pods up perhaps, none where signs that what serves is `limited` tell enough."""
    if limited:
        return Beside()
    of_limit = _by_container(diagnosis.finding(USAGE))
    throttled = _by_container(diagnosis.finding(THROTTLING))
    told: dict[str, list[str]] = {}
    for name, share in of_limit.items():
        if share >= cpu_high:
            told.setdefault(name, []).append(
                f"CPU {percent(share)} of its limit (high from {percent(cpu_high)})"
            )
    for name, share in throttled.items():
        if share >= throttling_high:
            text = f"CPU throttling {percent(share)} (high from {percent(throttling_high)})"
            told.setdefault(name, []).append(text)
    each = "; ".join(
        f"container {n} is held back by its own CPU limit: {', '.join(t)}" for n, t in told.items()
    )
    return Beside(tuple(told), each)


def _by_container(finding: Finding | None) -> dict[str, float]:
    if finding is None or finding.certainty is Certainty.UNKNOWN:
        return {}
    found = finding.data.get("beside")
    return (
        {n: float(v) for n, v in found.items() if isinstance(v, int | float)}
        if isinstance(found, Mapping)
        else {}
    )


def held_back(finding: Finding | None, least: float) -> bool:
    """Whether a CPU limit holds any container back in so many periods."""
    if finding is None:
        return False
    return max([float(str(finding.data.get("value", 0))), *_by_container(finding).values()]) >= least
