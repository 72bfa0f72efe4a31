"""What a workload uses and needs now: CPU and memory against the limits, dependencies, numbers as people read them. Reads only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.cluster import Cluster, measured_lately
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.loads import THROTTLING, USAGE, Load, hottest, load_of, serving
from app.domain.plan import Step, Symptom
from app.domain.ports import Dependencies, DependencyResult, SlowQuery
from app.domain.remediation import Scene
from app.domain.units import counted as count
from app.domain.units import millicores, percent, say_memory
from app.domain.workload import Pod, Workload
from remediations.evidence.error_words import Nature
from remediations.shared import ANYTHING, PRESENCE, age_of, aim

# Numbers as people read them at night: with a unit and no more digits than matter. Pure.
__all__ = ["count", "joined", "memory", "millicores", "percent", "seconds", "short", "span"]

memory = say_memory


def span(length: float) -> str:
    """A length of time in seconds as `45 s`, `14 min`, `2 h 5 min`, `3 d 4 h`."""
    rest = max(0, round(length))
    if rest < 100:
        return f"{rest} s"
    minutes = round(rest / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def seconds(value: float) -> str:
    """A response time in seconds as `85 ms`, `1.84 s`, `12 s`."""
    if value < 1:
        return f"{round(value * 1000)} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def short(text: str, length: int) -> str:
    """`text` on one line, cut to `length` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


_PLAIN_WORD = re.compile(r"[A-Z][a-z]+ ")


def joined(parts: Iterable[str]) -> str:
    """Sentences as one, with semicolons; empty ones left out, plain words in lower case after the first."""
    kept = [p for p in parts if p]
    rest = (p[0].lower() + p[1:] if _PLAIN_WORD.match(p) else p for p in kept[1:])
    return "; ".join([*kept[:1], *rest])


# Momentary CPU and memory of a workload's pods against their limits: the runbook's `kubectl top pods`.
# Called by the handlers. Reads the metrics API through the cluster port; without it, the finding says so.

_SHOWN = 10
_TOLD_FROM = 0.8


async def usage_finding(cluster: Cluster, workload: Workload, pods: Sequence[Pod], now: datetime) -> Finding:
    """The finding `usage.pods`; its data has `cpu_share` (mean of the pods) and `memory_share` (highest), each None
    when no limit is set, `cpu_of_request` (mean, of containers without a CPU limit) and `beside` (mean, by container)."""
    try:
        measured = await cluster.pod_usage(workload.target.namespace, workload.selector)
    except (TryLater, ClusterRefused) as e:
        return Finding(USAGE, f"Usage of the pods is not known: {e.message}", Certainty.UNKNOWN)
    known = {p.name: p for p in pods}
    ours = [u for u in measured if u.pod in known]
    serve = serving(workload)
    loads = [load_of(u, known[u.pod], serve) for u in measured_lately(ours, now)]
    if not loads:
        age = f"only values of {span(min((now - u.at).total_seconds() for u in ours))} ago" if ours else ""
        text = f"The metrics API has {f'{age} for these pods' if age else 'no values for these pods yet'}"
        return Finding(USAGE, text, Certainty.UNKNOWN)
    loads.sort(key=lambda x: (-x.memory, x.pod))
    cpu_share, of_request = _mean(x.cpu_share for x in loads), _mean(x.cpu_of_request for x in loads)
    memory_share = max((round(x.memory_share, 4) for x in loads if x.memory_share is not None), default=None)
    beside = {
        n: _mean(x.beside.get(n) for x in loads) or 0.0 for n in sorted({n for x in loads for n in x.beside})
    }
    data: dict[str, JsonValue] = {
        "pods": len(loads),
        "cpu_share": cpu_share,
        "cpu_of_request": of_request,
        "memory_share": memory_share,
        "cpu": sum(x.cpu for x in loads),
        "memory": sum(x.memory for x in loads),
        **({"beside": dict(beside)} if beside else {}),
        **({"hot": hot[0], "hot_share": hot[1]} if (hot := hottest(loads)) else {}),
    }
    helpers = [f"{percent(hot[1])} of pod {hot[0]} alone"] if hot else []
    helpers += [
        f"container {n} CPU {percent(share)} of its limit"
        for n, share in beside.items()
        if share >= _TOLD_FROM
    ]
    told = ", ".join([_cpu(loads, cpu_share), *helpers, _memory(loads, memory_share)])
    text = f"{count(len(loads), 'pod')} measured: {told}"
    return Finding(USAGE, text, data=data, details=tuple(x.text for x in loads[:_SHOWN]))


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return round(sum(known) / len(known), 4) if known else None


def _cpu(loads: Sequence[Load], share: float | None) -> str:
    mean = sum(x.cpu for x in loads) // len(loads)
    if share is None:
        return f"CPU {millicores(mean)} on average without a limit"
    return f"CPU {percent(share)} of the limit on average"


def _memory(loads: Sequence[Load], share: float | None) -> str:
    without = f"memory {memory(loads[0].memory)} at most without a limit"
    return without if share is None else f"memory {percent(share)} of the limit at most"


# What the workload depends on and what Prometheus measures: dependency checks, slow queries, single values.
# Called by the handlers. Each source that does not answer becomes an unknown finding.

DEPENDENCY = "dependency."
_SLOW = "queries."


async def dependency_findings(source: Dependencies, names: Sequence[str]) -> list[Finding]:
    """One finding `dependency.NAME` each; data has `healthy` (true or false when known)."""
    if not names:
        text = "No dependency is named in the rule's params, so none was checked"
        return [Finding("dependencies", text, Certainty.UNKNOWN)]
    return [_dependency(result) for result in await source.check(names)]


def _dependency(result: DependencyResult) -> Finding:
    data: dict[str, JsonValue] = {"name": result.name, "kind": result.kind, "healthy": result.healthy}
    text = f"{result.name}: {short(result.text, 200)}"
    if result.milliseconds is not None:
        if " ms" not in text:
            text += f" ({result.milliseconds:.0f} ms)"
        data["milliseconds"] = result.milliseconds
    if result.unreachable:
        text = f"{result.name} cannot be reached from here, so whether it is down is not known: {short(result.text, 200)}"
        data |= {"unreachable": True, "said": short(result.text, 200)}
    certainty = Certainty.UNKNOWN if result.healthy is None else Certainty.KNOWN
    return Finding(f"{DEPENDENCY}{result.name}", text, certainty, data)


_SPOKEN_OF = {
    "postgres": re.compile(
        r"postgres|psycopg|pq:|pgx|npgsql|sqlalchemy|operationalerror|queuepool|:5432\b|\b5432\b",
        re.IGNORECASE,
    ),
    "redis": re.compile(r"redis|jedis|lettuce|:6379\b|\b6379\b", re.IGNORECASE),
}
"""By kind, the words with which clients speak of it in their errors."""


def unreachable(findings: Sequence[Finding]) -> bool:
    """Whether one of the dependencies could not be reached by our own check."""
    return any(f.data.get("unreachable") is True for f in findings)


def with_the_errors(findings: Sequence[Finding], errors: Finding | None) -> list[Finding]:
    """The findings of the dependencies, in which one that our check cannot reach is down when the workload's own errors
    (`errors.grouped`) say the same of it."""
    return [_confirmed(f, errors) if f.data.get("unreachable") is True else f for f in findings]


def _confirmed(finding: Finding, errors: Finding | None) -> Finding:
    group = _speaks_of(str(finding.data["name"]), str(finding.data["kind"]), errors)
    if group is None:
        return finding
    text = (
        f"{finding.data['name']} cannot be reached, from here ({finding.data['said']}) and by the workload: "
        f'"{short(str(group["key"]), 120)}" ({count(int(str(group["count"])), "error line")})'
    )
    return Finding(finding.code, text, data={**finding.data, "healthy": False})


def _speaks_of(name: str, kind: str, errors: Finding | None) -> Mapping[str, JsonValue] | None:
    """The most frequent group of errors about a dependency that names this one, by its name or its kind's clients."""
    if errors is None or errors.certainty is Certainty.UNKNOWN:
        return None
    groups = errors.data.get("groups")
    words = _SPOKEN_OF.get(kind)
    for group in groups if isinstance(groups, list) else ():
        if not isinstance(group, Mapping) or group.get("nature") != Nature.DEPENDENCY.value:
            continue
        said = f"{group.get('type')} {group.get('said') or group.get('key')}"
        if name.lower() in said.lower() or (words is not None and words.search(said)):
            return group
    return None


def names_dependency(finding: Finding, error: str) -> bool:
    """Does an error name this dependency, or speak as clients of its kind do?"""
    words = _SPOKEN_OF.get(str(finding.data.get("kind")))
    own = str(finding.data["name"]).lower() in error.lower()
    return own or (words is not None and words.search(error) is not None)


def failed_dependencies(diagnosis: Diagnosis) -> list[Finding]:
    """Findings of the dependencies that were found down."""
    return [f for f in _dependencies(diagnosis) if f.data.get("healthy") is False]


def about_neighbours(diagnosis: Diagnosis) -> list[str]:
    """What is not known of Services that errors name: of those without a ready pod, and of those that somebody changed lately."""
    near = (f for f in diagnosis.findings if f.code.startswith("neighbour."))
    return [str(f.data["asks"]) for f in near if f.data["asks"]]


def changed_neighbours(diagnosis: Diagnosis) -> list[str]:
    """What was changed lately of Services that errors name, in words."""
    return [f.text for f in diagnosis.findings if f.code.startswith("neighbour.") and f.data.get("changed")]


def unknown_dependencies(diagnosis: Diagnosis) -> list[Finding]:
    """Findings of the dependencies about which nothing could be said."""
    return [f for f in _dependencies(diagnosis) if f.certainty is Certainty.UNKNOWN]


def healthy_dependencies(diagnosis: Diagnosis) -> list[str]:
    """Names of the dependencies that answered."""
    return [str(f.data["name"]) for f in _dependencies(diagnosis) if f.data.get("healthy") is True]


def _dependencies(diagnosis: Diagnosis) -> list[Finding]:
    return [f for f in diagnosis.findings if f.code.startswith(DEPENDENCY)]


async def slow_query_findings(
    source: Dependencies, diagnosis_so_far: Sequence[Finding], threshold: float, calls: int
) -> list[Finding]:
    """One finding `queries.NAME` for each Postgres that answered; data has the `slow` statements: a mean of at least
    `threshold` seconds over at least `calls` calls."""
    names = [
        str(f.data["name"])
        for f in diagnosis_so_far
        if f.code.startswith(DEPENDENCY) and f.data.get("kind") == "postgres" and f.data.get("healthy")
    ]
    return [await _slow(source, name, threshold, calls) for name in names]


async def _slow(source: Dependencies, name: str, threshold: float, calls: int) -> Finding:
    code = f"{_SLOW}{name}"
    try:
        rows = await source.slow_queries(name, 10)
    except TryLater as e:
        return Finding(code, f"Slow queries of {name} are not known: {e.message}", Certainty.UNKNOWN)
    slow = [q for q in rows if q.mean_ms >= threshold * 1000 and q.calls >= calls]
    data: dict[str, JsonValue] = {
        "name": name,
        "slow": [{"query": q.query, "calls": q.calls, "mean_ms": q.mean_ms} for q in slow],
    }
    details = tuple(_row(q) for q in rows)
    if not slow:
        worst = f"; the slowest takes {seconds(rows[0].mean_ms / 1000)}" if rows else ""
        text = f"No query of {name} takes {seconds(threshold)} or more on average{worst}"
        return Finding(code, text, data=data, details=details)
    text = (
        f"{count(len(slow), 'query', 'queries')} of {name} {'takes' if len(slow) == 1 else 'take'} "
        f"{seconds(threshold)} or more on average, "
        f"the slowest {_row(slow[0])}"
    )
    return Finding(code, text, data=data, details=details)


def _row(query: SlowQuery) -> str:
    return f"{seconds(query.mean_ms / 1000)} x {count(query.calls, 'call')}: {short(query.query, 160)}"


def slow_queries(diagnosis: Diagnosis) -> list[Finding]:
    """Findings that name at least one slow statement."""
    return [f for f in diagnosis.findings if f.code.startswith(_SLOW) and f.data.get("slow")]


@dataclass(frozen=True, slots=True)
class Metric:
    """One value to ask Prometheus for: the finding's code, what it is called, the query, and the value as a sentence."""

    code: str
    what: str
    query: str
    say: Callable[[float], str]


async def metric_finding(scene: Scene, metric: Metric) -> Finding | None:
    """The highest value of a query as a finding with data `value`; None when the rule asks for no query or there is no
    Prometheus, because then nothing is missing that anybody set up."""
    rows = await metric_rows(scene, metric)
    if not isinstance(rows, list):
        return rows
    value = max(v for _, v in rows)
    return Finding(metric.code, metric.say(value), data={"value": value})


async def metric_rows(scene: Scene, metric: Metric) -> list[tuple[Mapping[str, str], float]] | Finding | None:
    """What a query's series are now, at least one; or the finding that nothing is known, or None, as of `metric_finding`."""
    if not metric.query or scene.metrics is None:
        return None
    try:
        rows = await scene.metrics.instant(aim(metric.query, scene.workload.target))
    except TryLater as e:
        return _unmeasured(metric, short(e.message, 120), code=e.code)
    return list(rows) if rows else _unmeasured(metric, "Prometheus has no value for this workload")


def _unmeasured(metric: Metric, why: str, **data: JsonValue) -> Finding:
    return Finding(metric.code, f"{metric.what} not measured: {why}", Certainty.UNKNOWN, data)


def latency_metric(query: str) -> Metric:
    """The request duration, as two handlers ask for it."""
    return Metric(
        "metrics.latency", "Latency", query, lambda v: f"95 % of the requests are answered in {seconds(v)}"
    )


async def throttling_finding(scene: Scene, query: str) -> Finding | None:
    """The finding `metrics.throttling`; its data has `value` (the highest of what serves, or of series that name no container) and
    `beside` (by container, of the others). None as of every metric that nobody asks for."""
    metric = Metric(THROTTLING, "CPU throttling", query, _throttled)
    rows = await metric_rows(scene, metric)
    if not isinstance(rows, list):
        return rows
    serve = serving(scene.workload)
    own: list[float] = []
    beside: dict[str, float] = {}
    for labels, share in rows:
        if math.isnan(share):  # of a container that ran in no period
            continue
        name = labels.get("container", "")
        if name and serve and name not in serve:
            beside[name] = max(share, beside.get(name, 0.0))
        else:
            own.append(share)
    value = {"value": max(own)} if own else {}
    told = [_throttled(max(own))] if own else []
    told += [_throttled(v, f"CPU of container {n}") for n, v in sorted(beside.items()) if v]
    if not told:
        told = [_throttled(0.0)]
    return Finding(
        THROTTLING, "; ".join(told), data={**value, **({"beside": dict(beside)} if beside else {})}
    )


def _throttled(share: float, what: str = "CPU") -> str:
    return f"{what} is throttled in {percent(share)} of the periods"


def with_symptom(
    steps: Sequence[Step], scene: Scene, diagnosis: Diagnosis, metric: Metric, fine: float
) -> tuple[Step, ...]:
    """The steps that apply, with what was measured of the trouble, up to `fine` none; unchanged where nothing was."""
    value = measured(diagnosis, metric.code)
    if value is None:
        return tuple(steps)
    target, presence = scene.workload.target, PRESENCE.get(metric.query, ANYTHING)
    asked, age = aim(metric.query, target), aim(age_of(metric.query), target)
    symptom = Symptom(metric.what, asked, value, aim(presence, target), fine, age)
    return tuple(replace(step, symptom=symptom) if step.applies else step for step in steps)


def known(diagnosis: Diagnosis, *codes: str) -> list[str]:
    """Texts of those of these findings that are known, in this order."""
    found = (diagnosis.finding(code) for code in codes)
    return [f.text for f in found if f is not None and f.certainty is Certainty.KNOWN]


def measured(diagnosis: Diagnosis, code: str, field: str = "value") -> float | None:
    """A number of a finding; None when it was not made, is unknown or has no such number."""
    finding = diagnosis.finding(code)
    if finding is None or finding.certainty is Certainty.UNKNOWN:
        return None
    value = finding.data.get(field)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def shown(diagnosis: Diagnosis, code: str, field: str) -> bool:
    """True only when this finding was made, is known and says so."""
    finding = diagnosis.finding(code)
    return finding is not None and finding.certainty is Certainty.KNOWN and finding.data.get(field) is True
