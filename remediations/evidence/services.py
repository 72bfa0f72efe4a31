"""What the workload depends on and what Prometheus measures: dependency checks, slow queries, single values.

Called by the handlers. Each source that does not answer becomes an unknown finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.plan import Step, Symptom
from app.domain.ports import Dependencies, DependencyResult, SlowQuery
from app.domain.remediation import Scene
from remediations.evidence.error_lines import Nature
from remediations.evidence.units import count, percent, seconds, short
from remediations.queries import ANYTHING, PRESENCE, aim

_DEPENDENCY = "dependency."
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
    return Finding(f"{_DEPENDENCY}{result.name}", text, certainty, data)


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
        said = f"{group.get('type')} {group.get('key')}"
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


def unknown_dependencies(diagnosis: Diagnosis) -> list[Finding]:
    """Findings of the dependencies about which nothing could be said."""
    return [f for f in _dependencies(diagnosis) if f.certainty is Certainty.UNKNOWN]


def healthy_dependencies(diagnosis: Diagnosis) -> list[str]:
    """Names of the dependencies that answered."""
    return [str(f.data["name"]) for f in _dependencies(diagnosis) if f.data.get("healthy") is True]


def _dependencies(diagnosis: Diagnosis) -> list[Finding]:
    return [f for f in diagnosis.findings if f.code.startswith(_DEPENDENCY)]


async def slow_query_findings(
    source: Dependencies, diagnosis_so_far: Sequence[Finding], threshold: float, calls: int
) -> list[Finding]:
    """One finding `queries.NAME` for each Postgres that answered; data has the `slow` statements: a mean of at least
    `threshold` seconds over at least `calls` calls."""
    names = [
        str(f.data["name"])
        for f in diagnosis_so_far
        if f.code.startswith(_DEPENDENCY) and f.data.get("kind") == "postgres" and f.data.get("healthy")
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
    if not metric.query or scene.metrics is None:
        return None
    try:
        rows = await scene.metrics.instant(aim(metric.query, scene.workload.target))
    except TryLater as e:
        return Finding(metric.code, f"{metric.what} not measured: {short(e.message, 120)}", Certainty.UNKNOWN)
    if not rows:
        text = f"{metric.what} not measured: Prometheus has no value for this workload"
        return Finding(metric.code, text, Certainty.UNKNOWN)
    value = max(v for _, v in rows)
    return Finding(metric.code, metric.say(value), data={"value": value})


def latency_metric(query: str) -> Metric:
    """The request duration, as two handlers ask for it."""
    return Metric(
        "metrics.latency", "Latency", query, lambda v: f"95 % of the requests are answered in {seconds(v)}"
    )


def throttling_metric(query: str) -> Metric:
    """How much the CPU limit holds the containers back, as two handlers ask for it."""
    return Metric(
        "metrics.throttling",
        "CPU throttling",
        query,
        lambda v: f"CPU is throttled in {percent(v)} of the periods",
    )


def with_symptom(
    steps: Sequence[Step], scene: Scene, diagnosis: Diagnosis, metric: Metric
) -> tuple[Step, ...]:
    """The steps that apply, with what was measured of the trouble; unchanged where nothing was."""
    value = measured(diagnosis, metric.code)
    if value is None:
        return tuple(steps)
    target, presence = scene.workload.target, PRESENCE.get(metric.query, ANYTHING)
    symptom = Symptom(metric.what, aim(metric.query, target), value, aim(presence, target))
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
