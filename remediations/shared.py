"""What handlers share: the types of their parameters, the PromQL that they ask by default, counting what a step is for, and making steps,
with actions or with the reason why one does not apply. Pure, but for the claims that are read before a workload is scaled out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from app.domain.errors import BadInput, ClusterRefused, ObjectMissing, TryLater
from app.domain.evidence import Certainty, Finding, Trouble
from app.domain.json import Obj
from app.domain.plan import Action, Step
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.domain.workload import Workload
from app.kube.actions.roll_back import DEPLOY_GOOD
from app.kube.impossible import Impossible
from app.kube.manifest import claims_of, parse_memory

# The PromQL that handlers ask by default, and how a query is pointed at one workload.
#
# A rule may replace each query in its params. `$namespace` and `$pods` are the only placeholders: the namespace, and
# a regular expression that matches exactly the names that the workload's controller gives its pods. Both come from
# the target that was found in the cluster and never from a label of the alert. Pure.

_OURS = '{namespace="$namespace",pod=~"$pods"}'
_OURS_AND = '{namespace="$namespace",pod=~"$pods",'

ERROR_RATIO = f'sum(rate(http_requests_total{_OURS_AND}status=~"5.."}}[5m])) / sum(rate(http_requests_total{_OURS}[5m]))'
"""Share of requests answered with 5xx."""

LATENCY = f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{_OURS}[5m])))"
"""Time in seconds within which 95 % of the requests are answered."""

LIMITED = f"sum(increase(rate_limit_errors_total{_OURS}[5m]))"
"""Answers within 5 min that were rate limits, as clients count them."""

THROTTLING = (
    f'sum by (container) (rate(container_cpu_cfs_throttled_periods_total{_OURS_AND}container!=""}}[5m]))'
    f' / sum by (container) (rate(container_cpu_cfs_periods_total{_OURS_AND}container!=""}}[5m]))'
)
"""Share of scheduling periods in which its CPU limit held a container back; each has a limit of its own."""

MEMORY = f'sum by (pod) (container_memory_rss{_OURS_AND}container!="",container!="POD"}})'
"""Memory in bytes that the kernel cannot take back, by pod: anonymous pages, as cAdvisor tells them."""

WORKING_SET = f'sum by (pod) (container_memory_working_set_bytes{_OURS_AND}container!="",container!="POD"}})'
"""The same where that is not recorded: page cache that was used lately counts as well, which grows without any leak."""

PRESENCE = {
    ERROR_RATIO: f"sum(rate(http_requests_total{_OURS}[5m]))",
    LATENCY: f"sum(rate(http_request_duration_seconds_bucket{_OURS}[5m]))",
}
"""What has a value as long as the source of a query is there, also when the query itself has none because all is well."""

ANYTHING = f"count({_OURS})"
"""The same for a query that a rule brings: any series of these pods."""

_COUNTED = {
    ERROR_RATIO: f"http_requests_total{_OURS}",
    LATENCY: f"http_request_duration_seconds_bucket{_OURS}",
}
"""The series that a query counts."""


def age_of(query: str) -> str:
    """What asks how many seconds old the newest sample is that the query counts; of one that a rule brings, of anything of these pods."""
    return f"time() - max(timestamp({_COUNTED.get(query, _OURS)}))"


# Letters of a generated suffix: no vowels and no 0, 1, 3, so that no words come out of it.
_SAFE = "[b-df-hj-np-tv-z2456789]"
_SUFFIX = {
    Kind.DEPLOYMENT: f"-{_SAFE}{{1,10}}-{_SAFE}{{5}}",
    Kind.DAEMON_SET: f"-{_SAFE}{{5}}",
    Kind.STATEFUL_SET: "-[0-9]+",
}


def pod_pattern(target: Target) -> str:
    """A regular expression (RE2, to be anchored) for the names of the workload's pods."""
    return re.escape(target.name).replace("\\-", "-") + _SUFFIX.get(target.kind, "")


def aim(query: str, target: Target) -> str:
    """The query with its placeholders filled in, as PromQL string content."""
    pattern = pod_pattern(target).replace("\\", "\\\\")
    return query.replace("$namespace", target.namespace).replace("$pods", pattern)


# Parameter types that handlers share: durations, amounts of memory, shares, replicas, PromQL queries.
#
# Used by the `Params` model of every handler. A rule in YAML writes them as people do (`1h`, `4Gi`, `80%`); plain
# numbers in the base unit are taken too, so that stored parameters read back. Pure.

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_YEAR = 366 * 86_400
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s?%", re.ASCII)
_DURATION_FORM = r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> Any:
    if _number(value):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError("expected a duration such as 90s, 15m, 1h or 7d, or seconds")
    return float(sum(size * int(n) for size, n in zip(_UNITS.values(), found.groups(), strict=True) if n))


def _bytes(value: Any) -> Any:
    if not isinstance(value, str) and not (_number(value) and value == int(value)):
        raise ValueError("expected an amount of memory such as 512Mi or 4Gi, or bytes")
    try:
        return parse_memory(value)
    except BadInput as e:
        raise ValueError("expected an amount of memory such as 512Mi or 4Gi") from e


def _share(value: Any) -> Any:
    if _number(value):
        return value
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a share such as 80% or 0.8")
    return float(found[1]) / 100


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]})


Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(gt=0, le=_YEAR, allow_inf_nan=False), _schema(_DURATION_FORM)
]
"""A span of time in seconds; written as `90s`, `15m`, `1h30m`, `7d`. None is longer than what else a policy says, and any sum with a moment exists."""

Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0), _schema(r"^[0-9.]+([eE][0-9]+|[kMGTPE]i?|Ki)?$")]
"""An amount of memory in bytes; written as a Kubernetes quantity."""

Share = Annotated[
    float, BeforeValidator(_share), Field(gt=0, le=1), _schema(r"^[0-9]{1,3}(\.[0-9]{1,2})?\s?%$")
]
"""A part of a whole, above 0 and at most 1; written as `80%` or `0.8`."""

Replicas = Annotated[int, Field(ge=1, le=1_000, strict=True)]
"""A wanted number of pods."""

Query = Annotated[str, Field(max_length=4_000)]
"""A PromQL expression, with the placeholders of `remediations.queries`; empty means: do not ask."""

ObjectName = Annotated[str, Field(max_length=253, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")]
"""A host or the name of an object, such as a Service or a Secret; empty means: none."""

DataKey = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")]
"""A key of a Secret's data; empty means: none."""

Names = tuple[Annotated[str, Field(min_length=1, max_length=100)], ...]
"""Names, e.g. of dependencies as the setting names them."""


def host_in(namespace: str, host: str, service: str) -> str:
    """The host that a rule names, or that of a Service of the namespace; empty when it names neither."""
    return f"{service}.{namespace}.svc" if service and not host else host


# What a step is for, counted from findings, so that the verification can look again whether it is gone.
#
# Each name stays the same from one look to the next. What could not be read is left out: then nobody says that it is gone.

_FEW_LEFT = 0.05  # of the most frequent error: a straggler
_OTHERS = 0.25  # of its count, by which the other errors may have grown meanwhile
_MAJORITY = 0.5  # part of all errors from which the most frequent one is what the errors are about
_LINES, _CAUSES, _LIMITED = "error lines a minute", "causes", "limited answers a minute"
_OTHER_LINES = "other log lines a minute"
_TROUBLED, _KILLS = "containers in trouble", "kills for memory a minute that the containers run"
_SHORTEST = 30.0  # seconds; below, one run differs from the next by chance


def errors_counted(finding: Finding | None) -> tuple[Trouble, ...]:
    """The most frequent error and all errors, of the finding `errors.grouped`; the other groups, and what else was written, only to be compared. One
    kind of many that goes is not all that goes."""
    if finding is None or finding.certainty is Certainty.UNKNOWN or finding.data.get("unreadable"):
        return ()
    data: Any = {"window_seconds": 60, "groups": (), "pods": 0, "cut": 0, **finding.data}
    minutes, errors = (data.get("seconds") or data["window_seconds"]) / 60, data["errors"]
    top = data["groups"][0]["count"] if data["groups"] else 0
    gone = errors - (1 - _OTHERS) * top if top >= _MAJORITY * errors else _FEW_LEFT * errors
    whole = Trouble(
        _LINES, errors / minutes, gone / minutes, of_load=True, pods=data["pods"], needs=_OTHER_LINES
    )
    whole = replace(whole, least=bool(data["cut"]))
    found = [whole, Trouble(_OTHER_LINES, max(0, data.get("lines", 0) - errors) / minutes)]
    for number, group in enumerate(data["groups"]):
        few = None if number else _FEW_LEFT * top / minutes
        name = f'{_LINES} "{group["key"][:120]}"'
        found.append(replace(whole, what=name, value=group["count"] / minutes, gone=few, part_of=_LINES))
    return tuple(found)


def pods_counted(finding: Finding | None) -> tuple[Trouble, ...]:
    """Containers in trouble, how often those that are killed for memory are, and pods that are not ready, of the finding `pods.state`."""
    if finding is None or finding.certainty is Certainty.UNKNOWN:
        return ()
    data: Any = finding.data
    broken = sum(data[fault] for fault in ("out_of_memory", "image", "config", "crash"))
    missing = max(0, data["desired"] - data["ready"])
    ran = data.get("ran_before_kill") or ()
    kills = Trouble(_KILLS, sum(60 / max(_SHORTEST, seconds) for seconds in ran))
    timed = broken == len(ran)  # what ended otherwise, or nobody knows when, is not told by how long it ran
    in_trouble = Trouble(_TROUBLED, broken, 0, finer=_KILLS if timed else "")
    return in_trouble, *((kills,) if timed else ()), Trouble("pods not ready", missing, 0)


def cause_counted(code: str, *, sure: bool, unknown: bool) -> tuple[Trouble, ...]:
    """The first cause, where it is sure: gone when another look finds another one or none."""
    if unknown:
        return ()
    found = Trouble(f"cause {code}", 1, 0, _CAUSES) if sure else None
    return (Trouble(_CAUSES, 1 if sure else 0), *((found,) if found else ()))


def limits_counted(groups: Sequence[tuple[str, int]], window: float) -> tuple[Trouble, ...]:
    """The answers of providers that are limits, by provider, the most frequent first."""
    minutes = window / 60
    found = [Trouble(_LIMITED, sum(number for _, number in groups) / minutes)]
    for place, (title, number) in enumerate(groups):
        gone = None if place else _FEW_LEFT * number / minutes
        found.append(Trouble(f"{_LIMITED} of {title}", number / minutes, gone, _LIMITED))
    return tuple(found)


def share_counted(what: str, value: float | None, least: float) -> tuple[Trouble, ...]:
    """A share that is trouble above `least`; nothing where it was not measured."""
    return () if value is None else (Trouble(what, value, least),)


# Making steps: from builders' answers to a step with actions, or one that says why it does not apply.
#
# Called by the handlers.


def act(
    name: str, why: str, built: Action | Impossible, more: Sequence[Action] = (), *, open_task: str = ""
) -> Step:
    """The step that takes this action (and `more` besides), or the builder's reason why there is none. `open_task` marks
    relief: what a person has still to do when it helped."""
    if isinstance(built, Impossible):
        return replace(refuse(name, built.why, built.advice), stands=built.stands)
    return Step(name, sentence(why), (built, *more), open_task=open_task)


def asking(step: Step, *doubts: str) -> Step:
    """The step, put to a person for these doubts, each told once, whatever the rule's mode; one that does not apply, as it is."""
    found = "; ".join(dict.fromkeys(c for told in (*doubts, step.asks) for c in told.split("; ") if c))
    return replace(step, asks=found) if step.applies else step


def warned(step: Step, beware: str) -> Step:
    """The step with what stays as it is although it is right; its reason tells that too, where none of its doubts does."""
    why = step.why if beware.partition(": ")[0] in step.asks else f"{step.why}; {beware}"
    return replace(step, why=why, beware=beware) if step.applies else step


def refuse(name: str, why: str, advice: str = "", later: datetime | None = None) -> Step:
    """A step that does not apply. `advice` is for a person: exactly what is wrong and what to do. `later`: when it will, if what it is for
    lasts."""
    return Step(name, sentence(why), advice=sentence(advice), later=later)


def nothing(name: str, why: str) -> Step:
    """A step that does not apply because what it is for stands already: an order of it ends well, with nothing done."""
    return Step(name, sentence(why), stands=True)


def sentence(text: str) -> str:
    """With a capital first letter, unless it starts with a command or with a name that has a slash or a dot in it."""
    first = text.split(" ", 1)[0]
    return text if "/" in first or "." in first or first == "kubectl" else text[:1].upper() + text[1:]


def no_way_back(step: Step, revision: Any, advice: str) -> Step:
    """A rollback of a workload without an older revision, which says why there is none. What the cause asks of a person (`advice`) comes
    first; a known good version can be deployed only where the present `revision` is not the first."""
    if step.actions:
        return step
    if revision == 1 and step.advice == sentence(DEPLOY_GOOD):
        return replace(step, advice=sentence(advice))
    other = step.advice[:1].lower() + step.advice[1:] if advice else step.advice
    return replace(step, advice=sentence("; or ".join(filter(None, (advice, other)))))


# May there be more of it? Some programs are written to run once, and their manifest says so.
#
# A sure sign makes a scale-out a question. One replica alone is none, nor is a PodDisruptionBudget: most small services have both.

_ELECTS = re.compile(
    r"(?<!\S)--?(?:enable[-_]?|with[-_]?)?leader[-_]?elect(?:ion)?(?:[-_]?enabled?)?(?:[= ](?P<off>false|no|off|0)|=\S+|(?=\s|$))",
    re.IGNORECASE,
)
_ELECTION = re.compile(r"(?:\w+_)?LEADER_?ELECT(?:ION)?(?:_ENABLED?)?", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?<![\w-])(?:celery\b[^;&|\n]{0,200}?\s(?:beat|-B|--beat)|rqscheduler|rq-scheduler|supercronic|clockwork|crond?\s+-[fn]|apscheduler|airflow\s+scheduler)(?![\w-])"
)
"""Programs that start work by the clock: two of them start it twice."""
_MOMENT = timedelta(minutes=5)
_ON = frozenset({"true", "1", "yes", "on", "enabled"})
_SHARED_MODES = frozenset({"ReadWriteMany", "ReadOnlyMany"})


async def of_many(step: Step, scene: Scene) -> Step:
    """A step that scales out, put to a person where a sure sign says that this program is to run once, or cannot run on several nodes."""
    if not step.applies:
        return step
    return asking(step, _idle(scene), *_singles(scene.workload), *[d for d in await _claimed(scene) if d])


def _idle(scene: Scene) -> str:
    """That its autoscaler sees nothing of its load, and has not for more than a moment, as when it or its pods are new: a higher minimum stands
    for what it would have done, and stays. And that it cannot scale at all: then a higher minimum does nothing."""
    hpa = scene.workload.autoscaler
    if hpa is None or not hpa.idle or (hpa.idle_since and scene.now - hpa.idle_since < _MOMENT):
        return ""
    name = f"HorizontalPodAutoscaler {hpa.ref.name}"
    if hpa.unable:
        return f"{name} cannot scale ({hpa.idle}): let it read and write the scale, for a higher minReplicas does nothing until then"
    return f"{name} does not scale ({hpa.idle}): repair where its metrics come from, for a higher minReplicas only stands in for it"


def _singles(workload: Workload) -> Iterator[str]:
    spec, target = workload.manifest["spec"], workload.target
    pod: Obj = spec["template"].get("spec") or {}
    if elects := next(filter(None, map(_elects, pod.get("containers") or ())), ""):
        yield f"{elects}: more pods of it wait and take no load"
    if clock := next(filter(None, map(_by_the_clock, pod.get("containers") or ())), ""):
        yield f"{clock}: each further pod starts all of it once more"
    alone = workload.desired == 1 and workload.autoscaler is None
    if alone and (spec.get("strategy") or {}).get("type") == "Recreate":
        yield f"{target} is one pod with strategy Recreate, which says that two may not run beside each other"
    if alone and target.kind is Kind.STATEFUL_SET and spec.get("volumeClaimTemplates"):
        yield f"{target} is one pod with data of its own, and each further one begins with an empty volume"


def _words(container: Obj) -> str:
    return " ".join(str(word) for key in ("command", "args") for word in container.get(key) or ())


def _by_the_clock(container: Obj) -> str:
    found = _CLOCK.search(_words(container)[:4_000])
    return (
        f"container {container.get('name', '')} starts work by the clock ({found[0].split()[0]})"
        if found
        else ""
    )


def _elects(container: Obj) -> str:
    """By what a container says that it elects a leader; empty where it does not."""
    name, words = container.get("name", ""), _words(container)
    told = [found for found in _ELECTS.finditer(words) if not found["off"]]
    if told:
        return f"container {name} elects a leader ({told[-1][0].strip()})"
    for env in container.get("env") or ():
        variable, value = str(env.get("name", "")), str(env.get("value") or "")
        if _ELECTION.fullmatch(variable) and value.lower() in _ON:
            return f"container {name} elects a leader ({variable}={value})"
    return ""


async def _claimed(scene: Scene) -> list[str]:
    """The claims that all its pods mount and that only one node can."""
    pod: Obj = scene.workload.manifest["spec"]["template"].get("spec") or {}
    return [await _of_one_node(scene, name) for name in dict.fromkeys(claims_of(pod))]


async def _of_one_node(scene: Scene, name: str) -> str:
    try:
        claim = await scene.cluster.get(Kind.PVC, scene.workload.target.namespace, name)
    except ObjectMissing:
        return ""  # no pod starts without it, and another step or gate says so
    except (ClusterRefused, TryLater) as e:
        return (
            f"whether pods on several nodes can mount PersistentVolumeClaim {name} is not known: {e.message}"
        )
    modes = (claim.get("spec") or {}).get("accessModes") or ()
    if not modes or _SHARED_MODES & set(modes):
        return ""
    return f"all pods mount PersistentVolumeClaim {name}, which is {', '.join(modes)}: pods on another node do not start"
