"""Out of Memory: raise the memory limit within the team's cap, unless memory leaks; else spread the load over more pods.

Implements the runbook's section of that name; its number (6 replicas) is the default. Called by the flow.

A proven leak is not answered with more memory: the pod would fill that too, a little later and with more to lose, and
the run would look like a success until then. More replicas stay possible, because each then grows more slowly while a
person fixes the leak. A restart is no step: the kubelet has restarted the killed container already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import Action, ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import Impossible, Killed, raise_memory, scale
from app.kube.manifest import pod_memory_limit
from app.kube.read import default_limits, limit_ranges, quota_headroom
from remediations.causes import CauseCode, FirstCause, Investigation, first_findings, investigate
from remediations.causes.limits import (
    BROUGHT,
    NODE,
    OTHERS,
    REPAIR,
    SIZES,
    came_with_release,
    node_finding,
    sizes_of_killed,
)
from remediations.causes.outgrown import LEAKS, leak_of_release
from remediations.evidence.happenings import events_finding
from remediations.evidence.leaks import (
    LeakParams,
    beyond,
    killed_finding,
    leak_finding,
    less_sure,
    limits_finding,
)
from remediations.evidence.pods import Fault, pods_finding, troubles, unread_pods
from remediations.evidence.usage import joined, known, measured, memory, shown, span, usage_finding
from remediations.shared import Bytes, Replicas, Seconds, act, asking, of_many, pods_counted, refuse

RAISE_MEMORY, SCALE_OUT = "raise-memory", "scale-out"
_NEAR = 0.85
"""Share of a limit from which on memory is near it."""


class OutOfMemoryParams(LeakParams):
    """`factor` multiplies a killed container's limit, up to `max_memory`. `scale_to`: replicas. A kill counts for
    `kill_window`."""

    factor: float = Field(default=1.5, gt=1, le=4)
    max_memory: Bytes = 4 * 1024**3
    scale_to: Replicas = 6
    kill_window: Seconds = 3600


class OutOfMemory(Remediation[OutOfMemoryParams]):
    """The handler."""

    name = "out-of-memory"
    runbook = "Out of Memory (OOM)"
    reads_config = True
    ordered_params: frozenset[str] = frozenset({"factor", "max_memory", "scale_to"})
    steps: tuple[str, ...] = (RAISE_MEMORY, SCALE_OUT)
    params: type[OutOfMemoryParams] = OutOfMemoryParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.RAISE_MEMORY_LIMIT, ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS}
    )

    async def diagnose(self, scene: Scene, params: OutOfMemoryParams) -> Diagnosis:
        """Kills, usage against limits, OOM events, memory over time."""
        cluster, workload = scene.cluster, scene.workload
        looked, leak = await asyncio.gather(investigate(scene), leak_finding(scene, params))
        pods = looked.seen.pods
        if why := looked.seen.unread.get("pods"):
            unread = unread_pods(why)
            return Diagnosis(unread.text, (unread, limits_finding(workload), leak))
        usage, events = await asyncio.gather(
            usage_finding(cluster, workload, pods, scene.now),
            events_finding(cluster, workload, pods, scene.now, "OOM"),
        )
        ends = troubles(pods, scene.lately(params.kill_window))
        killed = killed_finding(ends) or _no_kill(params)
        of_memory = frozenset(t.pod.name for t in ends if t.fault is Fault.OUT_OF_MEMORY)
        sizes = sizes_of_killed(looked.seen, list(killed.data["containers"]), of_memory)  # type: ignore[arg-type]
        released = came_with_release(looked.seen, looked.causes, of_memory)
        state = pods_finding(workload, pods, ends)
        findings = (
            killed,
            *([sizes] if sizes else []),
            *([released] if released else []),
            *([node] if (node := node_finding(looked.seen, of_memory)) else []),
            state,
            usage,
            limits_finding(workload),
            events,
            leak,
            *([since] if (since := leak_of_release(looked.seen, leak)) else []),
            *first_findings(looked),
        )
        found = Diagnosis("", findings)
        told = known(found, SIZES, "usage.pods", "memory.leak")
        cause = FirstCause(found)
        told += [cause.text] if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY else []
        rest = _rest(looked, found)
        return Diagnosis(rest or joined([killed.text, *told]), findings, rest, pods_counted(state))

    async def ladder(self, scene: Scene, params: OutOfMemoryParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Raise the limit, then scale out."""
        out = await of_many(_scale_out(scene, params, diagnosis), scene)
        return (await _raise(scene, params, diagnosis), out)


def _rest(looked: Investigation, found: Diagnosis) -> str:
    """That it is over: the reason of the last end stays on a container for days, and its alert with it. Empty where memory is not at rest."""
    fills = (
        shown(found, "memory.leak", "leak") or (measured(found, "usage.pods", "memory_share") or 0) >= _NEAR
    )
    return "" if _killed(found)[0] or fills else looked.nothing_to_do


def _no_kill(params: OutOfMemoryParams) -> Finding:
    # Exit code 137 is any SIGKILL, e.g. a failed liveness probe; only the reason OOMKilled tells.
    text = f"No container was killed for memory (OOMKilled) in {span(params.kill_window)}"
    return Finding("memory.killed", text, data={"containers": []})


def _numbers(diagnosis: Diagnosis, field: str) -> dict[str, int]:
    finding = diagnosis.finding(SIZES)
    found: Any = finding.data[field] if finding else {}
    return dict(found)


def _not_by_replicas(scene: Scene, diagnosis: Diagnosis, names: Sequence[str]) -> tuple[str, str] | None:
    """Why more pods cannot keep these containers below their limit, and what helps; None where they may. Load that more pods share is
    that of the workload's own containers, under limits of their own that the template sets."""
    target, spec = scene.workload.target, scene.workload.manifest["spec"]["template"].get("spec") or {}
    own = {c.name: c for c in scene.workload.containers}
    for name in names:
        if name not in own:
            return (
                f"container {name} is put in by admission, and each new pod has one of the same size",
                f"raise the memory of {name} where admission takes it from: its injector's configuration, or an annotation of the pods",
            )
        if own[name].first:
            return (
                f"init container {name} does the same work in each new pod",
                f"raise the memory limit of init container {name}",
            )
        if own[name].memory_limit is None:
            whole = pod_memory_limit(spec)
            if whole is not None:
                return (
                    f"container {name} shares the {memory(whole)} of its pod as a whole, which each new pod has as well",
                    f"raise spec.resources.limits.memory of the pod template of {target} beyond {memory(whole)}",
                )
            return (
                f"the template sets no memory limit for container {name}: the node or a LimitRange ends it",
                f"give container {name} a memory request and limit that fit its usage",
            )
        if heap := beyond(scene.workload, name, own[name].memory_limit or 0):
            return heap
    if other := _elsewhere(scene, diagnosis):
        return other
    if _numbers(diagnosis, "before"):
        return (
            f"{_lowered_by(diagnosis)} lowered the limit",
            f"roll the release of {target} back, or give {', '.join(names)} its memory again",
        )
    return None


def _lowered_by(diagnosis: Diagnosis) -> str:
    finding = diagnosis.finding(SIZES)
    return str(finding.data["lowered_by"]).rstrip(",") if finding else ""


def _elsewhere(scene: Scene, diagnosis: Diagnosis) -> tuple[str, str] | None:
    """That killed pods have less than the template gives, so that more in the template would not reach them, and where a person looks."""
    sizes, less = diagnosis.finding(SIZES), _numbers(diagnosis, "given_less")
    if sizes is None or not less:
        return None
    name, size = next(iter(less.items()))
    where = f"see what gives pods of {scene.workload.target} {memory(size)} for {name} instead of what the template says, and raise it there: {OTHERS}"
    return f"{sizes.text}, and each new pod gets the same", where


def _killed(diagnosis: Diagnosis) -> tuple[list[str], str]:
    """The killed containers, and the finding's text or why there is none."""
    finding = diagnosis.finding("memory.killed")
    if finding is None or finding.certainty is Certainty.UNKNOWN:
        state = diagnosis.finding("pods.state")
        return [], state.text if state else "the pods were not read"
    names: Any = finding.data["containers"]
    return list(names), finding.text


async def _raise(scene: Scene, params: OutOfMemoryParams, diagnosis: Diagnosis) -> Step:
    names, text = _killed(diagnosis)
    if not names:
        cause = FirstCause(diagnosis)
        return refuse(RAISE_MEMORY, text, cause.advice if cause.sure else "")
    if untried := _not_tried(diagnosis):
        return refuse(
            RAISE_MEMORY, untried, f"see whether the new pods of {scene.workload.target} start and stay"
        )
    if other := _elsewhere(scene, diagnosis):
        return refuse(RAISE_MEMORY, f"{text}, and {other[0]}", other[1])
    leak = diagnosis.finding("memory.leak")
    unsure = less_sure(diagnosis)
    if leak and shown(diagnosis, "memory.leak", "leak") and not unsure:
        since = diagnosis.finding(LEAKS)
        why = f"{leak.text}: it would fill a higher limit as well"
        task = f"find the leak in {', '.join(names)} of {scene.workload.target} ({leak.text})"
        back = f"roll the last release of {scene.workload.target} back; or {task}" if since else task
        return refuse(RAISE_MEMORY, joined([why, *([since.text] if since else [])]), back)
    try:
        rules, defaults, quota = await asyncio.gather(
            limit_ranges(scene.cluster, scene.workload.target.namespace),
            default_limits(scene.cluster, scene.workload.target.namespace),
            quota_headroom(scene.cluster, scene.workload.target.namespace),
        )
    except (ClusterRefused, TryLater) as e:
        return refuse(RAISE_MEMORY, f"what the namespace allows is not known: {e.message}")
    bounds = [*rules, *defaults]
    killed = Killed(names, _numbers(diagnosis, "ran_with"), _numbers(diagnosis, "before"))
    built = raise_memory(scene.workload, killed, params.factor, params.max_memory, bounds, quota)
    cause = FirstCause(diagnosis)
    brought = "" if killed.before else _brought(diagnosis, cause)
    heap = None if isinstance(built, Impossible) else _heap_beyond(scene, built)
    if heap and not (brought or killed.before):  # what a release brought is asked about, with the heap
        return refuse(RAISE_MEMORY, f"{text}, and {heap[0]} either", heap[1])
    sizes = diagnosis.finding(SIZES)
    instead = " (a rollback of that release may fit better)" if killed.before else ""
    told = f"{sizes.text}{instead}" if sizes else ""
    task = ""
    if brought:
        of = f"{', '.join(names)} of {scene.workload.target}"
        task = f"find out what makes {of} need more memory"
        if diagnosis.finding(REPAIR) is None and (cause.by_rollout or _of_release(diagnosis)):
            task = f"find out why the last release needs more memory, or roll it back: {of}"
    elif leak is None or leak.certainty is Certainty.UNKNOWN:
        # Nobody knows whether the higher limit is filled as well, so that this may have bought time and no more.
        task = f"see whether memory of {', '.join(names)} of {scene.workload.target} grows on: whether it leaks is not known"
    step = act(RAISE_MEMORY, joined([text, told, brought, leak.text if leak else ""]), built, open_task=task)
    full = _of_node(diagnosis, "a higher limit lets it take more of what the node does not have")
    return asking(step, full, unsure, told, brought, _another(cause), f"{heap[0]} either" if heap else "")


def _heap_beyond(scene: Scene, raised: Action) -> tuple[str, str] | None:
    """That a container may fill more than even the raised limit holds, so that it is killed again, and what helps."""
    limits: Any = raised.params["limits"]
    found = (beyond(scene.workload, name, new) for name, (_, new) in limits.items())
    return next(filter(None, found), None)


def _not_tried(diagnosis: Diagnosis) -> str:
    """That somebody has given the killed containers more since then, which shows first whether it is enough; empty when nobody has."""
    sizes, (_, text) = diagnosis.finding(SIZES), _killed(diagnosis)
    return f"{text}, and {sizes.text}" if sizes and _numbers(diagnosis, "untried") else ""


def _brought(diagnosis: Diagnosis, cause: FirstCause) -> str:
    """That the last release is to blame for the kills, or came with them, so that more memory is relief; empty when it is not, or nobody
    knows."""
    changes = diagnosis.finding("changes.recent")
    released = _of_release(diagnosis)
    if cause.code is not CauseCode.OUT_OF_MEMORY:
        return ""
    back = "(a rollback of that release may fit better)"
    repair = joined(known(diagnosis, REPAIR))
    if cause.by_rollout and not repair:
        return f"the last release brought it: {cause.rollout_why} {back}"
    lately = changes.data.get("lately") if changes is not None else ""
    other = f"what changed {lately} may have brought it" if lately else ""
    if cause.instead:
        other = f"something else changed before it: {cause.instead}"
    with_it = f"{released.text[:1].lower()}{released.text[1:]} {back}" if released else ""
    scaled = str(changes.data.get("scaled") or "") if changes is not None else ""
    fewer = (
        f"what changed {scaled} may have brought it: fewer pods share the load (as many as before may fit better)"
        if scaled
        else ""
    )
    return "; ".join(filter(None, (f"{repair[:1].lower()}{repair[1:]}", with_it, fewer, other)))


def _of_release(diagnosis: Diagnosis) -> Finding | None:
    """That the kills, or a leak, came with the last release."""
    return diagnosis.finding(BROUGHT) or diagnosis.finding(LEAKS)


def _of_node(diagnosis: Diagnosis, harm: str) -> str:
    """That a node has no memory left, so that nobody knows whether the limit ended the containers; empty where it has, or nobody knows."""
    finding = diagnosis.finding(NODE)
    if finding is None:
        return ""
    text = f"{finding.text[:1].lower()}{finding.text[1:]}"
    return f"{text}, and {harm} (requests near to what is used, or draining it, may fit better)"


def _another(cause: FirstCause) -> str:
    """The cause when it is not the kills."""
    return cause.text if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY else ""


def _steady(diagnosis: Diagnosis) -> bool:
    """Memory is known not to grow with time. A cache that still fills does, in each pod."""
    leak = diagnosis.finding("memory.leak")
    known_no = leak is not None and leak.certainty is Certainty.KNOWN and leak.data.get("leak") is False
    return known_no and not shown(diagnosis, "memory.leak", "flattens")


def _scale_out(scene: Scene, params: OutOfMemoryParams, diagnosis: Diagnosis) -> Step:
    names, text = _killed(diagnosis)
    if not names:
        return refuse(SCALE_OUT, text)
    if untried := _not_tried(diagnosis):
        return refuse(SCALE_OUT, untried)
    cause = FirstCause(diagnosis)
    if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY:
        return refuse(SCALE_OUT, f"{cause.text}: more replicas would not change that", cause.advice)
    if RAISE_MEMORY in scene.history.tried and not _steady(diagnosis):
        return refuse(
            SCALE_OUT,
            f"the limit was raised in this incident and it was killed again: more pods would fill up as well ({text})",
            f"find out what fills the memory of {', '.join(names)} of {scene.workload.target}",
        )
    if no := _not_by_replicas(scene, diagnosis, names):
        return refuse(SCALE_OUT, f"{no[0]}: more replicas would not change that ({text})", no[1])
    why = f"{text}; more replicas share the load"
    if shown(diagnosis, "memory.leak", "leak"):
        why += ", which slows the leak and does not stop it"
    task = f"find out what fills the memory of {', '.join(names)}"
    step = act(SCALE_OUT, why, scale(scene.workload, params.scale_to), open_task=task)
    unknown = (
        ""
        if _steady(diagnosis)
        else "whether memory grows with load, which more pods share, or with time is not known"
    )
    full = _of_node(diagnosis, "more pods may want what the nodes do not have")
    return asking(step, full, unknown, _brought(diagnosis, cause))
