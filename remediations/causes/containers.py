"""Why the containers of scheduled pods do not run or are not ready: images, configuration, starts, ends, probes. Pure.

A restart that is over is no cause, and a pod that has only just been made is still starting. A container that ended with its node
did not end by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.redact import redact
from app.domain.workload import KubeEvent, Terminated
from app.kube.newpods.goal import all_containers
from remediations.causes.alike import heard_alike
from remediations.causes.exits import (
    ARCHITECTURE,
    BY_NODE,
    BY_TEMPLATE,
    TOLD_TO_END,
    ending,
    missing_config,
    missing_ref,
)
from remediations.causes.images import WAITING, image_cause, pull_of
from remediations.causes.limits import limit_of, more_memory
from remediations.causes.model import (
    PROBED,
    STARTING,
    At,
    Cause,
    CauseCode,
    Demand,
    Snapshot,
    Sureness,
    earliest,
    never_ready,
)
from remediations.causes.outgrown import short_node
from remediations.causes.sizes import of_container
from remediations.causes.stopped import starting, waits_in_vain
from remediations.evidence.directions import where_to_look
from remediations.evidence.usage import count, short, span

_CANNOT_START = frozenset(
    {
        "CreateContainerError",
        "RunContainerError",
        "CreateContainerConfigError",
        "PreCreateHookError",
        "PostStartHookError",
    }
)
_RESET = timedelta(minutes=10)
"""After so long a run the kubelet forgets the restarts before it (Kubernetes, "Container restart policy")."""
_OFTEN = 3
_PROBES = (
    ("Startup", CauseCode.STARTUP_PROBE, "startupProbe"),
    ("Liveness", CauseCode.LIVENESS_PROBE, "livenessProbe"),
    ("Readiness", CauseCode.READINESS_PROBE, "readinessProbe"),
)
_RUNS_AS_ROOT = re.compile(r"runAsNonRoot|run as root|cannot verify user is non-root", re.IGNORECASE)


def container_causes(seen: Snapshot) -> Iterator[Cause]:
    """The cause of each container in trouble, of pods that have not ended; one a pod and container."""
    for pod in seen.alive:
        for state in pod.containers:
            at = At(seen, pod, state)
            cause = _of(at)
            if cause is not None:
                known = earliest([cause.since, _since(at)])
                own = cause.demands or (_demands(at, cause) if cause.fields else ())
                yield replace(cause, since=known, demands=own)


def _demands(at: At, cause: Cause) -> tuple[Demand, ...]:
    """What else of the template can bring it, and in which direction."""
    ended = at.state.terminated or at.state.last_terminated
    killed = ended is not None and ended.exit_code in TOLD_TO_END
    return of_container(cause.code, at.where, killed=killed)


def _of(at: At) -> Cause | None:
    state = at.state
    if state.waiting in WAITING:
        return image_cause(at.seen, pull_of(at.seen, at.pod, state))
    if state.waiting in _CANNOT_START:
        return _start(at, state.waiting_message)
    ended = state.terminated or state.last_terminated
    if state.waiting == "CrashLoopBackOff" or state.terminated is not None:
        if ended is not None and (not state.first or ended.exit_code or ended.reason != "Completed"):
            return _end(at, ended)
        return None
    recent = ended is not None and _recent(at, ended)
    if ended is not None and recent and state.restarts and (ended.exit_code or not state.ready):
        return _past(at, ended) if _runs_again(at, ended) else _end(at, ended)
    if state.running_since is not None and state.first:
        return _init_waits(at)
    if at.sidecar and not at.asked_for("startupProbe", "readinessProbe"):
        return None  # ready as soon as it runs
    return _unready(at) if state.running_since is not None and not state.ready else None


def ended_lately(at: At) -> bool:
    """Has it an end that is still part of the present?"""
    ended = at.state.terminated or at.state.last_terminated
    return ended is not None and _recent(at, ended)


def _recent(at: At, ended: Terminated) -> bool:
    """Is that end still part of the present? A run that has lasted longer than the back-off's reset is over it, unless the one
    before lasted as long: then it is on its way to the next. One or two restarts at a start are over once the container is ready, whatever
    others of its pod do, and so is an end that the node brought, and one before a long run in which the pod was ready."""
    if with_node(ended) and at.state.running_since is not None:
        return not at.state.ready and at.seen.now - at.state.running_since < STARTING
    if ended.finished_at is None or (not at.state.ready and not _served_since(at)):
        return True
    age = at.seen.now - ended.finished_at
    once = at.state.restarts < _OFTEN and ended.reason != "OOMKilled"
    if once and age >= STARTING and at.state.ready:
        return False
    if age <= _RESET:
        return True
    return at.state.restarts >= _OFTEN and age < 1.5 * _run(ended)


def _served_since(at: At) -> bool:
    """Has its pod stopped being ready in its present run, so that it was ready in it? Then that end is not why."""
    told, began = at.pod.condition("Ready"), at.state.running_since
    since = told.since if told is not None and told.status == "False" else None
    return began is not None and since is not None and since > began


def _run(ended: Terminated) -> timedelta:
    """How long the run before lasted."""
    if ended.finished_at is None or ended.started_at is None:
        return timedelta()
    return ended.finished_at - ended.started_at


def _runs_again(at: At, ended: Terminated) -> bool:
    """Ready, and for clearly longer than it ran before its last end: it may be over, and nothing fails now."""
    if ended.finished_at is None or ended.reason == "OOMKilled" or not at.state.ready:
        return False
    age = at.seen.now - ended.finished_at
    return age > STARTING and age > 1.5 * _run(ended)


def _past(at: At, ended: Terminated) -> Cause:
    """What a container that is ready again did not long ago, in the past tense."""
    age = span((at.seen.now - ended.finished_at).total_seconds()) if ended.finished_at else "a while"
    said = at.said()
    words = f': said last "{said}"' if said else ""
    text = (
        f"{at.name} crashed with {ending(ended)} {age} ago, {count(at.state.restarts, 'restart')}, and is ready"
        f" again since{words}"
    )
    advice = f"see whether {at.state.name} stays up"
    return at.cause(CauseCode.CRASH, text, advice, sureness=Sureness.POSSIBLE)


def with_node(ended: Terminated) -> bool:
    """The container ended because its node or its runtime did, as the kubelet writes it afterwards: not by itself."""
    return ended.reason in ("Unknown", "ContainerStatusUnknown")


def _by_node(at: At, ended: Terminated) -> Cause:
    node = f"node {at.pod.node}" if at.pod.node else "its node"
    return Cause(
        code=CauseCode.NODE,
        object=f"Node {at.pod.node}" if at.pod.node else f"Pod {at.pod.name}",
        sureness=Sureness.LIKELY,
        text=f"{at.name} ended with {node}, which or whose runtime was restarted ({ended.reason}, {ending(ended)})",
        advice=f"see why {node} was restarted; the pods start again by themselves",
        pods=(at.pod.name,),
        since=ended.finished_at,
        container=at.state.name,
    )


def _hook(at: At) -> KubeEvent | None:
    """The newest event of a failed lifecycle hook of this container."""
    found = at.seen.about("Pod", at.pod.name, "FailedPostStartHook", "FailedPreStopHook")
    return next((e for e in found if e.container in ("", at.state.name)), None)


def _since(at: At) -> datetime | None:
    """The earliest moment at which this container is known to have been in trouble."""
    ended = [
        t.finished_at
        for t in (at.state.terminated, at.state.last_terminated)
        if t is not None and t.exit_code
    ]
    told = [
        e.first_seen
        for e in at.seen.about("Pod", at.pod.name, "BackOff", "Failed", "Unhealthy", "FailedMount")
    ]
    ready = at.pod.condition("Ready")
    began = at.pod.created_at if never_ready(at.pod) else None
    if began is None and not told and not at.state.restarts and not at.pod.ready and ready is not None:
        began = ready.since  # it has run all the time, so that it stopped being ready then
    return earliest([*ended, *told, began])


def _start(at: At, said: str) -> Cause:
    told = short(redact(said), 300)
    if at.state.waiting == "CreateContainerConfigError" and (ref := missing_ref(said)):
        kept = at.seen.kept.get((ref.kind, ref.name))
        found = missing_config(at.seen, ref, (at.pod.name,), f"container {at.state.name}")
        if kept is not None and kept.keys is not None and (not ref.key or ref.key in kept.keys):
            text = f"container {at.state.name} waited for {ref.kind} {ref.name}, which is there now"
            return replace(found, text=text, advice="", needs=(), container=at.state.name)
        return replace(found, container=at.state.name)
    if _RUNS_AS_ROOT.search(said):
        own = [
            f"{place}.runAs{who}"
            for place in (f"{at.where}.securityContext", "securityContext")
            for who in ("NonRoot", "User")
        ]
        fields = (*own, f"{at.where}.image")
        return at.cause(
            CauseCode.SECURITY_CONTEXT,
            f"{at.name} may not run as root: {told}",
            f"build the image for another user, or set runAsUser ({told})",
            fields=fields,
        )
    if ARCHITECTURE.search(said):
        return _architecture(at, told)
    advice = f"correct what keeps {at.state.name} from starting: {told or at.state.waiting}"
    return _not_started(at, at.state.waiting, said, told, advice)


def _not_started(at: At, reason: str, said: str, told: str, advice: str) -> Cause:
    """The runtime could not start it. For the node's trouble no template is blamed, and words that are not known stay possible."""
    text = f"{at.name} cannot start ({reason}): {told or 'without a reason'}"
    # A runtime wraps the template's fault into its own words (`failed to create shim task: ... executable file not found`).
    if BY_TEMPLATE.search(said):
        return at.cause(CauseCode.CANNOT_START, text, advice)
    if at.pod.node and BY_NODE.search(said):
        node = f"node {at.pod.node}"
        look = f"look at the container runtime and the load of {node} ({told}); the kubelet tries again by itself"
        return at.cause(
            CauseCode.NODE, text, look, object=f"Node {at.pod.node}", sureness=Sureness.LIKELY, fields=()
        )
    return at.cause(CauseCode.CANNOT_START, text, advice, sureness=Sureness.POSSIBLE)


def _architecture(at: At, said: str) -> Cause:
    fields = (f"{at.where}.image", "nodeSelector", "affinity")
    text = f"{at.name} is built for another architecture than its node's: {said}"
    return at.cause(
        CauseCode.ARCHITECTURE,
        text,
        "build the image for the node's architecture, or choose nodes of another one",
        fields=fields,
    )


def _end(at: At, ended: Terminated) -> Cause:
    """What made a container end."""
    restarts = f", {count(at.state.restarts, 'restart')}" if at.state.restarts else ""
    if with_node(ended):
        return _by_node(at, ended)
    if ended.reason == "OOMKilled":
        of = limit_of(at)
        node = short_node(at.seen, (at.pod.name,))
        text = f"{at.name} was killed for memory (OOMKilled, {of}{restarts}){f'; {node}' if node else ''}"
        return at.cause(CauseCode.OUT_OF_MEMORY, text, more_memory(at, node), fields=(at.where, "volumes"))
    said, heard = at.said(), heard_alike(at).text
    if ended.reason in ("StartError", "ContainerCannotRun") or ARCHITECTURE.search(heard):
        told = short(redact(ended.message), 300) or said
        if ARCHITECTURE.search(ended.message) or ARCHITECTURE.search(heard):
            return _architecture(at, told)
        advice = f"correct the command or the image of {at.state.name}: {told}"
        return _not_started(at, ended.reason, ended.message or heard, told, advice)
    if hook := _hook(at):
        told = _hook_said(hook.message)
        which = "postStart" if hook.reason == "FailedPostStartHook" else "preStop"
        return at.cause(
            CauseCode.CANNOT_START,
            f"{which} hook of {at.name} fails, and the kubelet ends the container for it{restarts}: {told}",
            f"correct lifecycle.{which} of {at.state.name}: {told}",
            since=hook.first_seen,
        )
    if ended.exit_code in TOLD_TO_END:
        for words, code, field in _PROBES[:2]:
            if event := at.probe(words):
                return _probe(
                    at, event, (words, code, field), f"; the kubelet ended it ({ending(ended)}{restarts})"
                )
    words = f': said last "{said}"' if said else ""
    if ended.exit_code == 0 and not at.state.first:
        text = f"{at.name} ends by itself with exit code 0{restarts}{words}"
        return at.cause(CauseCode.ENDS, text, f"let the command of {at.state.name} run on, or make it a Job")
    about = f' about "{said}"' if said else ""
    target = at.seen.workload.target
    there = {c.get("name") for c in all_containers(at.seen.spec)}
    own = (
        "fix the code or its input"
        if at.state.name in there
        else f"ask who puts {at.state.name} into the pods"
    )
    look = where_to_look(said) or own
    advice = (
        f"read kubectl logs --previous of {target.name} in namespace {target.namespace} and {look}{about}"
    )
    return at.cause(CauseCode.CRASH, f"{at.name} crashes with {ending(ended)}{restarts}{words}", advice)


_HOOK_COMMAND = (("([", "])", ""), ("command '", "'", " exited"))  # what stands around it, and behind that


def _hook_said(message: str) -> str:
    """The kubelet's word on a hook without the command, which stands in the pod template, and with what it printed."""
    head, _, output = message.rstrip().partition(' message: "')
    head, output = (head.removesuffix(","), output[:-1]) if output.endswith('"') else (message, "")
    for opens, closes, behind in _HOOK_COMMAND:
        first, last = head.find(opens), head.rfind(closes + behind)
        if 0 <= first <= last - len(opens):
            head = f"{head[:first]}its command{head[last + len(closes) :]}"
    said = (redact(head).rstrip(": "), redact(output).strip())
    return short(": ".join(filter(None, said)), 300)


def _probe(at: At, event: KubeEvent, probe: tuple[str, CauseCode, str], more: str = "") -> Cause:
    which, code, field = probe
    said_so = PROBED.match(event.message)
    answer = short(redact(said_so["answer"] or ""), 200) if said_so else ""
    how = _asked(at.own.get(field) or {})
    text = f"{which.lower()} probe of {at.name} fails{f' ({how})' if how else ''}: {answer or 'without an answer'}{more}"
    said = at.said()
    advice = f"find out why {at.state.name} answers so{f', it said last {said!r}' if said else ''}, or correct its {field}"
    sure = Sureness.CERTAIN if event.container else Sureness.LIKELY
    return at.cause(code, text, advice, sureness=sure, since=event.first_seen)


def _asked(probe: dict[str, object]) -> str:
    """What a probe asks, e.g. `GET :8080/healthz`."""
    http, tcp, command, grpc = (probe.get(k) for k in ("httpGet", "tcpSocket", "exec", "grpc"))
    if isinstance(http, dict):
        return f"GET :{http.get('port')}{short(redact(str(http.get('path', '/')).partition('?')[0]), 80)}"
    if isinstance(tcp, dict):
        return f"TCP :{tcp.get('port')}"
    if isinstance(grpc, dict):
        return f"gRPC :{grpc.get('port')}"
    program = next(iter(command.get("command") or ()), "") if isinstance(command, dict) else ""
    return short(redact(str(program)), 80)  # its arguments stay in the template


def _init_waits(at: At) -> Cause | None:
    if at.state.running_since is None or at.seen.now - at.state.running_since < STARTING:
        return None
    said = at.said()
    words = f': said last "{said}"' if said else ""
    age = span((at.seen.now - at.state.running_since).total_seconds())
    text = f"{at.name} has run for {age}, and nothing starts before it ends{words}"
    return at.cause(
        CauseCode.INIT_WAITS,
        text,
        f"give init container {at.state.name} what it waits for{words}",
        sureness=Sureness.LIKELY,
    )


def _unready(at: At) -> Cause | None:
    """A container that runs and is not ready."""
    order = (_PROBES[0], _PROBES[2], _PROBES[1])
    began = at.state.running_since
    young = began is not None and at.seen.now - began < STARTING and not at.state.restarts
    if told := starting(at):
        return None if young else waits_in_vain(at, told)
    for probe in order:
        event = at.probe(probe[0])
        if event is not None and not young:
            return _probe(at, event, probe)
    if young or began is None:
        return None
    said = at.said()
    words = f': said last "{said}"' if said else ""
    text = f"{at.name} runs for {span((at.seen.now - began).total_seconds())} and is not ready{words}"
    return at.cause(
        CauseCode.NOT_READY,
        text,
        f"find out why {at.state.name} is not ready: its readiness probe and its log tell",
        sureness=Sureness.POSSIBLE,
    )
