"""Out of Memory: raise the memory limit within the team's cap, unless memory leaks; else spread the load over more pods.

Implements the runbook's section of that name; its number (6 replicas) is the default. Called by the flow.

A proven leak is not answered with more memory: the pod would fill that too, a little later and with more to lose, and
the run would look like a success until then. More replicas stay possible, because each then grows more slowly while a
person fixes the leak. A restart is no step: the kubelet has restarted the killed container already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import Field

from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import raise_memory, scale
from app.kube.read import default_limits, limit_ranges, quota_headroom
from remediations.causes import CauseCode, FirstCause, findings_of, investigate
from remediations.evidence.happenings import events_finding
from remediations.evidence.leaks import LeakParams, leak_finding, less_sure
from remediations.evidence.pods import killed_finding, limits_finding, pods_finding, troubles, unread_pods
from remediations.evidence.services import known, shown
from remediations.evidence.units import joined, span
from remediations.evidence.usage import usage_finding
from remediations.params import Bytes, Replicas, Seconds
from remediations.steps import act, refuse

RAISE_MEMORY, SCALE_OUT = "raise-memory", "scale-out"


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
            usage_finding(cluster, workload, pods), events_finding(cluster, workload, pods, scene.now, "OOM")
        )
        found = troubles(pods, scene.now - timedelta(seconds=params.kill_window))
        killed = killed_finding(found) or _no_kill(params)
        findings = (
            killed,
            pods_finding(workload, pods, found),
            usage,
            limits_finding(workload),
            events,
            leak,
            *findings_of(looked)[:2],
        )
        told = known(Diagnosis("", findings), "usage.pods", "memory.leak")
        cause = FirstCause(Diagnosis("", findings))
        told += [cause.text] if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY else []
        return Diagnosis(joined([killed.text, *told]), findings)

    async def ladder(self, scene: Scene, params: OutOfMemoryParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Raise the limit, then scale out."""
        return (await _raise(scene, params, diagnosis), _scale_out(scene, params, diagnosis))


def _no_kill(params: OutOfMemoryParams) -> Finding:
    # Exit code 137 is any SIGKILL, e.g. a failed liveness probe; only the reason OOMKilled tells.
    text = f"No container was killed for memory (OOMKilled) in {span(params.kill_window)}"
    return Finding("memory.killed", text, data={"containers": []})


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
    leak = diagnosis.finding("memory.leak")
    unsure = less_sure(diagnosis)
    if leak and shown(diagnosis, "memory.leak", "leak") and not unsure:
        return refuse(
            RAISE_MEMORY,
            f"{leak.text}: it would fill a higher limit as well",
            f"find the leak in {', '.join(names)} of {scene.workload.target} ({leak.text})",
        )
    try:
        rules, defaults, quota = await asyncio.gather(
            limit_ranges(scene.cluster, scene.workload.target.namespace),
            default_limits(scene.cluster, scene.workload.target.namespace),
            quota_headroom(scene.cluster, scene.workload.target.namespace),
        )
    except (ClusterRefused, TryLater) as e:
        return refuse(RAISE_MEMORY, f"what the namespace allows is not known: {e.message}")
    bounds = [*rules, *defaults]
    built = raise_memory(scene.workload, names, params.factor, params.max_memory, bounds, quota)
    return replace(act(RAISE_MEMORY, joined([text, leak.text if leak else ""]), built), asks=unsure)


def _steady(diagnosis: Diagnosis) -> bool:
    """Memory is known not to grow with time."""
    leak = diagnosis.finding("memory.leak")
    return leak is not None and leak.certainty is Certainty.KNOWN and leak.data.get("leak") is False


def _scale_out(scene: Scene, params: OutOfMemoryParams, diagnosis: Diagnosis) -> Step:
    names, text = _killed(diagnosis)
    if not names:
        return refuse(SCALE_OUT, text)
    cause = FirstCause(diagnosis)
    if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY:
        return refuse(SCALE_OUT, f"{cause.text}: more replicas would not change that", cause.advice)
    if RAISE_MEMORY in scene.history.tried and not _steady(diagnosis):
        return refuse(
            SCALE_OUT,
            f"the limit was raised in this incident and it was killed again: more pods would fill up as well ({text})",
            f"find out what fills the memory of {', '.join(names)} of {scene.workload.target}",
        )
    why = f"{text}; more replicas share the load"
    if shown(diagnosis, "memory.leak", "leak"):
        why += ", which slows the leak and does not stop it"
    task = f"find out what fills the memory of {', '.join(names)}"
    return act(SCALE_OUT, why, scale(scene.workload, params.scale_to), open_task=task)
