"""Does memory leak, what may be used, what is a program told to fill, and who was killed for it? What one pod's samples say is in `growth`.

Called by the handlers for the runbook's "check for memory leaks". Samples come from Prometheus, else from what this
service measured itself during the incident. Too few samples or too short a time is unknown, never "no leak". Where only the
working set is known, as from metrics-server, page cache is in it: growth of that is told as less sure. So is growth beside requests
that nobody counted, which may be theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field

from app.domain.errors import TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue, Obj
from app.domain.ports import Sample
from app.domain.remediation import Params, Scene
from app.domain.workload import Workload
from remediations.evidence.growth import Line, Load, Thresholds, Verdict, by_load, judge
from remediations.evidence.pods import Fault, Trouble
from remediations.evidence.usage import count, joined, memory, millicores, percent, short, span
from remediations.shared import ERROR_RATIO, MEMORY, PRESENCE, WORKING_SET, Query, Seconds, Share, aim

REQUESTS = PRESENCE[ERROR_RATIO].replace("sum(", "sum by (pod) (", 1)
"""Requests a second, by pod: memory that grows with them is theirs."""
_STEPS = 60
_LESS_SURE = "less sure, as this is the working set, in which page cache counts too"


class LeakParams(Params):
    """Params of a handler that looks for leaks."""

    memory_query: Query = MEMORY
    requests_query: Query = REQUESTS
    leak_window: Seconds = 3600
    leak_samples: int = Field(default=10, ge=3)
    leak_span: Seconds = 900
    leak_growth: Share = 0.1
    leak_fit: Share = 0.8

    @property
    def thresholds(self) -> Thresholds:
        """What it takes to call growth a leak."""
        return Thresholds(self.leak_samples, self.leak_span, self.leak_growth, self.leak_fit)


async def leak_finding(scene: Scene, params: LeakParams) -> Finding:
    """The finding `memory.leak`; its data says in `leak` true or false when known, in `of` which pods leak, and in `took_seconds` since when at
    most at this pace."""
    limits = params.thresholds
    series, source, sure = await _series(scene, params.memory_query, params.leak_window)
    judged = {pod: judge(samples, limits) for pod, samples in series.items()}
    known = {pod: line for pod, (verdict, line) in judged.items() if verdict is not Verdict.UNKNOWN and line}
    if not known:
        needed = f"{limits.samples} samples over {span(limits.span)} of one container's life are needed"
        return Finding(
            "memory.leak",
            f"Whether memory leaks is not known: {source}; {needed}",
            Certainty.UNKNOWN,
            {"pods": len(series)},
        )
    growing = {pod: known[pod] for pod, (verdict, _) in judged.items() if verdict is Verdict.LEAK}
    loads = await _loads(scene, params, growing)
    leaking = {pod: line for pod, line in growing.items() if loads[pod][0] is not Load.EXPLAINS}
    flat = {pod: known[pod] for pod, (verdict, _) in judged.items() if verdict is Verdict.FLATTENS}
    shown = leaking or growing or flat or known
    pod, line = max(shown.items(), key=lambda item: item[1].slope)
    unsure = _unsure(leaking, loads, sure=sure)
    data: dict[str, JsonValue] = {
        "leak": bool(leaking),
        "leaking": len(leaking),
        "of": sorted(leaking),
        "pods": len(known),
        "bytes_per_hour": round(line.slope * 3600),
        "fit": round(line.fit, 3),
        "span_seconds": round(line.span),
        "took_seconds": round(line.last / line.slope) if line.slope > 0 else 0,
        "sure": sure,
        "unsure": unsure,
        "flattens": not growing and bool(flat),
    }
    details = tuple(f"{p}: {_line(x)}" for p, x in sorted(shown.items(), key=lambda i: -i[1].slope)[:8])
    some = f"{len(shown)} of {count(len(known), 'pod')}"
    if leaking:
        beside = f" while {_requests(loads[pod][1])}" if loads[pod][0] is Load.IN_PART else ""
        text = joined([f"Memory of {some} grows steadily: {pod} {_line(line)}{beside}", unsure])
    elif growing:
        text = (
            f"Memory of {some} grows with its requests: {pod} {_line(line)} while {_requests(loads[pod][1])}"
        )
    elif flat:
        text = f"Memory of {some} grows ever slower, as a cache that fills: {pod} {_line(line)}"
    else:
        text = f"Memory does not grow steadily on {count(len(known), 'pod')}: {pod} {_line(line)}"
    return Finding("memory.leak", text, data=data, details=details)


async def _loads(
    scene: Scene, params: LeakParams, growing: Mapping[str, Line]
) -> Mapping[str, tuple[Load, Line | None]]:
    """What the requests say of each pod's growth. Series that a rule's query does not tell apart by pod are those of each."""
    asked: Mapping[str, Sequence[Sample]] = {}
    if growing and scene.metrics is not None and params.requests_query:
        try:
            rows = await _window(scene, params.requests_query, params.leak_window)
            asked = {labels.get("pod", ""): samples for labels, samples in rows}
        except TryLater:
            pass  # not known, as without Prometheus
    every = asked.get("", ())
    return {pod: by_load(line, asked.get(pod, every), params.thresholds) for pod, line in growing.items()}


def _unsure(leaking: Mapping[str, Line], loads: Mapping[str, tuple[Load, Line | None]], *, sure: bool) -> str:
    """Why growth may be no leak; empty where it is one, or none is shown."""
    found = {loads[pod][0] for pod in leaking}
    doubts = [_LESS_SURE] if leaking and not sure else []
    if leaking and Load.NOT not in found:
        in_part = "less sure, as its requests grew as well"
        unknown = "less sure, as its requests are not known, with which it may grow"
        doubts.append(in_part if Load.IN_PART in found else unknown)
    return "; ".join(doubts)


def _requests(line: Line | None) -> str:
    if line is None:
        return ""
    return f"its requests went from {max(line.first, 0):.3g} to {max(line.last, 0):.3g} a second"


def _line(line: Line) -> str:
    sign = "+" if line.slope >= 0 else "-"
    return (
        f"{sign}{memory(abs(round(line.slope * 3600)))} an hour over {span(line.span)} "
        f"({percent(line.fit)} of the variation on a line)"
    )


async def _series(
    scene: Scene, query: str, window: float
) -> tuple[Mapping[str, Sequence[Sample]], str, bool]:
    """Samples by pod, where they come from or why there are none, and whether they are of memory that cannot be taken back."""
    fault = "no Prometheus is configured"
    if scene.metrics is not None and query:
        asked = (query, WORKING_SET) if query == MEMORY else (query,)
        try:
            for one in asked:
                if rows := await _window(scene, one, window):
                    found = {labels.get("pod", "pod"): samples for labels, samples in rows}
                    return found, "Prometheus", one == query
            fault = "Prometheus has no memory series of these pods"
        except TryLater as e:
            fault = short(e.message, 120)
    own = scene.history.memory
    if own:
        most = max(len(samples) for samples in own.values())
        return own, f"{fault}, and this service has {count(most, 'sample')} of its own", False
    return {}, fault, True


async def _window(
    scene: Scene, query: str, window: float
) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
    if scene.metrics is None:
        return ()
    start, step = scene.now - timedelta(seconds=window), max(15.0, window / _STEPS)
    return await scene.metrics.window(aim(query, scene.workload.target), start, scene.now, step)


def less_sure(diagnosis: Diagnosis) -> str:
    """What is not known of a leak that is shown by its working set alone, or beside requests that may account for it; empty for one that is
    sure, or none."""
    finding = diagnosis.finding("memory.leak")
    if finding is None or finding.data.get("leak") is not True or not finding.data.get("unsure"):
        return ""
    return f"whether memory leaks is less sure: {finding.text}"


def limits_finding(workload: Workload) -> Finding:
    """The finding `limits.containers`: what the template allows each container (runbook: Limits and Requests)."""
    rows = [
        f"{c.name}: memory {_pair(c.memory_request, c.memory_limit, memory)}, CPU {_pair(c.cpu_request, c.cpu_limit, millicores)}"
        for c in workload.containers
        if not c.first
    ]
    data: dict[str, JsonValue] = {
        c.name: {"memory_limit": c.memory_limit, "cpu_limit": c.cpu_limit}
        for c in workload.containers
        if not c.first
    }
    return Finding("limits.containers", "Requests and limits: " + "; ".join(rows), data=data)


def _pair(request: int | None, limit: int | None, text: Callable[[int], str]) -> str:
    asked = "no request" if request is None else text(request)
    return f"{asked} to {'no limit' if limit is None else text(limit)}"


def killed_finding(found: Sequence[Trouble]) -> Finding | None:
    """The finding `memory.killed`: which containers ran into which limit; data has their `containers`."""
    killed = [t for t in found if t.fault is Fault.OUT_OF_MEMORY]
    if not killed:
        return None
    # Each container as the pod has it in which it was killed: beside it pods may have other sizes.
    limits = {s.name: s.memory_limit for t in killed for s in t.pod.specs if s.name == t.container.name}
    names = sorted({t.container.name for t in killed})
    of_pod = next((t.pod.memory_limit for t in killed if t.pod.memory_limit is not None), None)
    shown = ", ".join(f"{n} (limit {_limit(limits.get(n), of_pod)})" for n in names)
    pods = len({t.pod.name for t in killed})
    text = f"Killed for memory (OOMKilled) on {count(pods, 'pod')}: {shown}"
    data: dict[str, JsonValue] = {
        "containers": names,
        "pods": pods,
        "limits": {n: limits.get(n) for n in names},
    }
    return Finding("memory.killed", text, data=data, details=tuple(t.text for t in killed[:8]))


def _limit(limit: int | None, of_pod: int | None) -> str:
    if limit is not None:
        return memory(limit)
    return "none" if of_pod is None else f"of the whole pod {memory(of_pod)}"


_FLAG = re.compile(
    r"(?<![^\s\"'=,(\[])(?:"
    r"(?P<flag>-Xmx|-XX:MaxHeapSize=|--max[-_]old[-_]space[-_]size[= ]|GOMEMLIMIT=)(?P<size>\d{1,15})(?P<unit>[kKmMgGtT]?)(?P<iec>i?B)?"
    r"|-XX:MaxRAM(?P<how>Percentage|Fraction)=(?P<part>\d{1,3}(?:\.\d{1,6})?)"
    r"|(?:DOTNET|COMPlus)_GCHeapHardLimit(?P<of>Percent)?=(?:0[xX])?(?P<hex>[\da-fA-F]{1,16})"
    r")(?![\w.])"
)
"""How much the JVM, Node, Go and .NET may fill, as a shell or a list of words has it: Node's is in MiB, and .NET reads hexadecimal numbers."""
_NAMED = frozenset(
    ["GOMEMLIMIT"] + [f"{by}_GCHeapHardLimit{of}" for by in ("DOTNET", "COMPlus") for of in ("", "Percent")]
)
"""Variables that are the setting, rather than hold flags."""
_USED = re.compile(r"\$(?:\((?P<kube>\w{1,200})\)|\{(?P<braced>\w{1,200})\}|(?P<bare>\w{1,200}))")
"""A variable where Kubernetes or a shell puts its value."""
_LONGEST_VALUE, _MAX_USED = 2_000, 100
"""A value of a megabyte, named a thousand times, would fill our own memory."""
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_OF_LIMIT = 0.9
"""Share of a memory limit that a heap may have at most: the rest is for threads, code and buffers."""
_FIRST, _LAST = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"), ("_JAVA_OPTIONS",)
"""Variables that the JVM itself reads before, and after, its command line: the last word counts."""


@dataclass(frozen=True, slots=True)
class Heap:
    """What a container's own setting lets it fill, whatever the load is: so many bytes, or a `share` of its limit. `text` says it."""

    size: int
    share: float
    text: str

    def fits(self, limit: float) -> bool:
        """Does this memory limit hold it, with what a program needs beside its heap?"""
        return (self.share or self.size / limit) <= _OF_LIMIT


def heap_of(workload: Workload, name: str) -> Heap | None:
    """The heap that the template sets for this container; None where it sets none."""
    spec = workload.manifest["spec"]["template"].get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    container: Obj = next((c for c in containers if c.get("name") == name), {})
    told = [heap for where, text in _told(container) if (heap := _heap(where, text)) is not None]
    sizes = [heap for heap in told if not heap.share]
    given = sizes or told  # a size overrides a share of the limit
    return given[-1] if given else None


def _told(container: Obj) -> Iterator[tuple[str, str]]:
    """Where a setting may stand and what stands there, what has the last word last."""
    env = [(str(e.get("name", "")), str(e.get("value") or "")) for e in container.get("env") or ()]
    yield from (pair for pair in env if pair[0] in _FIRST)
    yield from (pair for pair in env if pair[0] not in (*_FIRST, *_LAST))
    values = dict(env)
    for key in ("command", "args"):
        yield f"its {key}", _filled(" ".join(map(str, container.get(key) or ())), values)
    yield from (pair for pair in env if pair[0] in _LAST)


def _filled(text: str, values: Mapping[str, str]) -> str:
    """With the values of the container's own variables, which may hold the flags or their numbers."""

    def value(used: re.Match[str]) -> str:
        found = values.get(used["kube"] or used["braced"] or used["bare"], used[0])
        return found if len(found) <= _LONGEST_VALUE else used[0]

    return _USED.sub(value, text, count=_MAX_USED)


def _heap(where: str, text: str) -> Heap | None:
    flags = list(_FLAG.finditer(f"{where}={text}" if where in _NAMED else text))
    flags = [f for f in flags if f["iec"] is None or f["flag"] == "GOMEMLIMIT="]
    found = next((f for f in reversed(flags) if f["size"]), flags[-1] if flags else None)
    if found is None:
        return None
    said = found[0] if where in _NAMED else f"{found[0]} in {where}"
    if found["how"]:
        part = float(found["part"])
        share = part / 100 if found["how"] == "Percentage" else 1 / max(part, 1.0)
        return Heap(0, share, said)
    if found["hex"]:
        number = int(found["hex"], 16)
        return Heap(0, number / 100, said) if found["of"] else Heap(number, 0.0, said)
    unit = "m" if found["flag"].startswith("--") else found["unit"].lower()
    return Heap(int(found["size"]) * _UNITS[unit], 0.0, said)


def beyond(workload: Workload, name: str, limit: float) -> tuple[str, str] | None:
    """That a container may fill more than this memory limit holds, whatever the load is, and what helps; None where it may not."""
    heap = heap_of(workload, name)
    if heap is None or heap.fits(limit):
        return None
    if heap.share:
        size, limits = f"{percent(heap.share)} of its memory limit", ""
    else:
        size, limits = memory(heap.size), f", or a limit well above {memory(heap.size)}"
    return (
        f"container {name} may fill a heap of {size} ({heap.text}), which {memory(round(limit))} does not hold",
        f"give {name} of {workload.target} a heap ({heap.text}) well below its memory limit{limits}",
    )
