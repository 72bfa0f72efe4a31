"""What the kubelet, a runtime and a container itself say in words: exit codes, signals, references and names that lead nowhere, and whether
a container's last words accuse the last rollout; and for how long it did well before. Pure.

Sources: POSIX (128 + signal number), the shells' 126 and 127, and the container runtimes' own messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from app.domain.accusing import Sign
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Pod, Terminated
from app.kube.newpods.goal import all_containers
from remediations.causes.alike import words_of
from remediations.causes.demands import needs
from remediations.causes.model import (
    RECENT,
    STARTING,
    Cause,
    CauseCode,
    Snapshot,
    Sureness,
    log_of,
    maker_of,
    never_ready,
)
from remediations.causes.suspects import Suspects, below, is_slight
from remediations.evidence.error_lines import short_of_both
from remediations.evidence.last_words import LastWords, heard
from remediations.evidence.rollouts import Deployment
from remediations.evidence.usage import span

_NAME = 3
"""Letters of a key that is no word by chance."""
_JOINT, _JOINTS = re.compile(r"[_.:-]{1,8}"), r"[_.: -]{0,2}"
"""Between the parts of a name: frameworks tell STRIPE_KEY as `stripe.key`, `Stripe:Key` or `stripeKey`."""
_CODES = {
    0: "ended by itself without an error",
    126: "the command is not executable",
    127: "the command was not found",
    134: "SIGABRT: it aborted itself",
    135: "SIGBUS",
    136: "SIGFPE: an arithmetic error",
    137: "SIGKILL, not for memory",
    139: "SIGSEGV: an invalid memory access",
    143: "SIGTERM: it was told to end",
}
ARCHITECTURE = re.compile(r"exec format error|cannot execute binary file", re.IGNORECASE)
"""What a kernel says to a binary of another architecture."""
BY_NODE = re.compile(
    r"deadline ?exceeded|timed out|no space left|disk quota|cgroup|name is reserved|failed to reserve container name|cannot allocate memory|"
    r"resource temporarily unavailable|device or resource busy|too many open files|failed to create shim|connection refused|transport is closing|"
    r"input/output error|read-only file system|nvidia-container-cli",
    re.IGNORECASE,
)
"""What a container runtime says of its node, whatever the container is."""
BY_TEMPLATE = re.compile(
    r"executable file not found|no such file or directory|not a directory|is a directory|permission denied|exec format|no command specified|"
    r"invalid|unknown capability|operation not permitted|chdir to cwd|already in use|unable to find user|must be absolute|not found in \$PATH|lifecycle hook|"
    r"hook",
    re.IGNORECASE,
)
"""What it says of the container's command, user, mounts or rights."""
OF_THE_PROGRAM = frozenset({126, 127, 132, 134, 136, 139})
"""Exit codes of a command that is not there or cannot run, and of a program that broke by itself."""
_LINK = re.compile(
    r"\b(?:tcp|udp|sctp)://(?!0\.0\.0\.0|127\.|\[::1?\])(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}(?!\d)"
)
"""What the kubelet sets NAME_PORT to, for each Service of the namespace that was there when the container began: no Service has an
address of the container itself."""
_MEMORY = re.compile(r"memory|heap|\balloc", re.IGNORECASE)
TOLD_TO_END = frozenset({0, 137, 143})
"""Exit codes of a process that the kubelet ends: it obeyed SIGTERM, or SIGKILL followed."""


def ending(ended: Terminated) -> str:
    """`exit code 139 (SIGSEGV: an invalid memory access)`, `OOMKilled`."""
    if ended.reason == "OOMKilled":
        return "OOMKilled"
    words = _CODES.get(ended.exit_code)
    if words is None and 128 < ended.exit_code < 160:
        words = f"signal {ended.exit_code - 128}"
    return f"exit code {ended.exit_code}" + (f" ({words})" if words else "")


_NO_OBJECT = re.compile(r'(?P<kind>configmap|secret) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) [^/\s]+/(?P<name>\S+)")


def missing_ref(said: str) -> ConfigRef | None:
    """The ConfigMap, Secret or key that the kubelet's words miss."""
    if found := _NO_KEY.search(said):
        return ConfigRef(Kind(found["kind"]), found["name"], found["key"])
    if found := _NO_OBJECT.search(said):
        return ConfigRef(
            Kind.CONFIG_MAP if found["kind"].lower() == "configmap" else Kind.SECRET, found["name"]
        )
    return None


def missing_config(seen: Snapshot, ref: ConfigRef, pods: tuple[str, ...], who: str) -> Cause:
    """The cause of a reference that leads nowhere: the object does not exist, or does not have the key."""
    kept = seen.kept.get((ref.kind, ref.name))
    exists = bool(ref.key) if kept is None else kept.keys is not None
    what = f"{ref.kind} {ref.name}" + (f" key {ref.key}" if ref.key else "")
    need = f"{ref.kind} {ref.name}, which does not exist"
    if exists:
        need = f"key {ref.key} of {ref.kind} {ref.name}, which does not have it"
    return Cause(
        code=CauseCode.CONFIG_MISSING,
        object=f"{ref.kind} {ref.name}",
        sureness=Sureness.CERTAIN,
        text=f"{who} needs {need}",
        advice=f"create {what} in namespace {seen.workload.target.namespace}; the pods start by themselves then",
        pods=pods,
        demands=(needs(ref),),
        objects=((ref.kind, ref.name),),
        needs=(ref,),
    )


# What the end of a container tells of the last rollout. Asked by `blame`.


def last_words_of(seen: Snapshot, cause: Cause) -> list[LastWords]:
    """What the cause's container said last in its pods, in its log or as it ended."""
    if not cause.container:
        return []
    said = words_of(seen, cause.container, cause.pods)
    return said + [words for ended in ends_of(seen, cause) if (words := heard(ended.message))]


def ends_of(seen: Snapshot, cause: Cause) -> list[Terminated]:
    """How the cause's container last ended in its pods."""
    return [
        ended
        for p in seen.alive
        for c in p.containers
        if p.name in cause.pods and c.name == cause.container and (ended := c.terminated or c.last_terminated)
    ]


def unsaid(seen: Snapshot, cause: Cause, parts: Suspects) -> str:
    """That the container's last words do not accuse the release: they speak of something else (a version with a wrong address says the
    same, and so does a right one while the other is down), they name nothing, or they could not be read. Who says nothing at all
    names nothing else either; a probe's failure, an end without an error and a container that the release added need no words."""
    if not cause.container:
        return ""
    said, who = last_words_of(seen, cause), f"container {cause.container}"
    if words := next((w for w in said if w.sign is Sign.OTHERS), None):
        unread = (
            f" (Services could not be read: {seen.unread['services']})" if "services" in seen.unread else ""
        )
        return f'what {who} said last speaks of something else: "{short_of_both(words.shown, 160)}"{unread}'
    if cause.code is CauseCode.OUT_OF_MEMORY or _added(seen, cause, parts):
        return ""  # whom the kernel kills says nothing of it, and what it said before was about its work
    if link := _service_link(seen, said):
        return f"what {who} said last has {link}, which is what the kubelet sets NAME_PORT to for each Service (service links): one that was made since can bring that"
    own = [w for w in said if w.sign is Sign.OWN]
    mounts = seen.mounts(cause.container)
    if found := next((m for w in own if (m := below(w.telling[0], mounts))), ""):
        return f'what {who} said last is about {found}, which is a volume of its own: "{short_of_both(own[0].shown, 160)}"'
    if own or any(e.exit_code in OF_THE_PROGRAM for e in ends_of(seen, cause)):
        return ""
    if not said and (why := seen.unread.get(log_of(cause.container))):
        return f"what {who} said last could not be read: {why}"
    crashed = cause.code is CauseCode.CRASH
    if words := next((w for w in said if w.errors or (crashed and not w.routine)), None):
        return f'what {who} said last names neither a fault of the program nor what changed: "{short_of_both(words.shown, 160)}"'
    return ""


def set_aside(seen: Snapshot, cause: Cause) -> str:
    """What its container said as well that accuses others and was not taken for the cause; empty without any."""
    aside = next((w.aside for w in last_words_of(seen, cause) if w.aside), "")
    return (
        f"container {cause.container} said as well {aside}: not taken for the cause, and nobody can tell"
        if aside
        else ""
    )


_CONFIGURATION = re.compile(
    r"\b(?:config(?:map|uration|ured?)?|settings?|environment|env(?:ironment)?[ _-]?vars?|environ|secrets?)\b|KeyError: ['\"][A-Z][A-Z0-9_]*['\"]",
    re.IGNORECASE,
)
_BY_SIGNAL = frozenset({132, 134, 135, 136, 139})
"""What a fault of the machine's code ends with."""


def speaks_of_else(seen: Snapshot, cause: Cause, *, held: bool) -> str:
    """Why what ended the cause's container is nothing that repaired configuration ends, as one clause: its last words, where it said any, name neither
    configuration nor a key or an object of it. Empty where they do, tell nothing, or are about what was `held` by what was written."""
    if signal := next((e for e in ends_of(seen, cause) if e.exit_code in _BY_SIGNAL), None):
        return f"container {cause.container} ended with {ending(signal)}"
    if held:
        return ""
    said = [w for w in last_words_of(seen, cause) if w and not w.routine]
    for words in said:
        text = "\n".join((words.shown, *words.telling))
        if _CONFIGURATION.search(text) or names_any(seen, seen.kept, [text]):
            return ""
    if not said:
        return ""
    return f'what container {cause.container} said last is not about configuration: "{short_of_both(said[0].shown, 160)}"'


def names_any(seen: Snapshot, places: Iterable[tuple[Kind, str]], said: Sequence[str]) -> bool:
    """Whether these words name one of these ConfigMaps and Secrets: the object, a key that it has, or a variable that is set from it."""
    names = {name for place in places for name in _names_of(seen, place) if len(name) >= _NAME}
    if not names:
        return False
    patterns = [re.compile("|".join(sorted(p)), flags) for p, flags in _as_said(names) if p]
    return any(pattern.search(line) for pattern in patterns for line in said)


def _as_said(names: Iterable[str]) -> list[tuple[set[str], int]]:
    """How errors tell these names: one of several parts whatever stands between them, a plain word only in quotes, for any error may have it."""
    parted, plain = set[str](), set[str]()
    for name in names:
        parts = [re.escape(part) for part in _JOINT.split(name) if part]
        if len(parts) > 1:
            parted.add(rf"(?<![\w-]){_JOINTS.join(parts)}(?![\w-])")
        elif name.islower() and name.isalpha():
            plain.add(rf"(?P<q{len(plain)}>['\"`]){re.escape(name)}(?P=q{len(plain)})")
        else:
            plain.add(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    return [(parted, re.IGNORECASE), (plain, 0)]


def _names_of(seen: Snapshot, place: tuple[Kind, str]) -> Iterator[str]:
    kept = seen.kept.get(place)
    keys = (kept.keys or ()) if kept is not None else ()
    yield place[1]
    yield from keys
    for container in (*(seen.spec.get("initContainers") or ()), *(seen.spec.get("containers") or ())):
        for variable in container.get("env") or ():
            origin = variable.get("valueFrom") or {}
            ref = origin.get(_REFS[place[0]][0]) or {}
            yield from (variable["name"],) if ref.get("name") == place[1] else ()
        for source in container.get("envFrom") or ():
            ref = source.get(_REFS[place[0]][1]) or {}
            if ref.get("name") == place[1] and (prefix := source.get("prefix")):
                yield from (f"{prefix}{key}" for key in keys)


_REFS: Mapping[Kind, tuple[str, str]] = {
    Kind.CONFIG_MAP: ("configMapKeyRef", "configMapRef"),
    Kind.SECRET: ("secretKeyRef", "secretRef"),
}


def _service_link(seen: Snapshot, said: Iterable[LastWords]) -> str:
    """The first value in these words that a container may have from a Service and not from its template; empty without one."""
    if seen.spec.get("enableServiceLinks") is False:
        return ""
    found = (link[0] for words in said for line in words.telling if (link := _LINK.search(line)))
    return next((link for link in found if link not in str(seen.spec)), "")


def beside(seen: Snapshot, cause: Cause) -> str:
    """That something else is down beside it, from which its last words can follow although they do not name it."""
    own = [w for w in last_words_of(seen, cause) if w.sign is Sign.OWN]
    if not seen.down or not own or not all(w.follows for w in own):
        return ""
    down = seen.down[0]
    return f'Service {down.name} is down as well ({down.state} ready), and from that may follow what it said last: "{short_of_both(own[0].shown, 160)}"'


def told_to_end(seen: Snapshot, cause: Cause, own: Suspects) -> str:
    """That something else ended the container, and neither its words nor a change of its sizes tell why."""
    ends = ends_of(seen, cause)
    told = ends and all(e.exit_code in TOLD_TO_END for e in ends)
    if (
        not told
        or own.worse
        or _added(seen, cause, own)
        or any(not w.routine for w in last_words_of(seen, cause))
    ):
        return ""
    return (
        f"container {cause.container} did not end by itself, and nothing says who ended it: {ending(ends[0])}"
    )


def _added(seen: Snapshot, cause: Cause, own: Suspects) -> bool:
    """The release brought the cause's container, and nobody else had put it into older pods: it is itself what changed."""
    older = (seen.specs.get(p.name) or {} for p in seen.alive if not seen.newest(p))
    listed = (c for s in older for c in all_containers(s))
    return own.adds(cause.container) and not any(c.get("name") == cause.container for c in listed)


def slight(seen: Snapshot, cause: Cause, own: Suspects, name: str) -> str:
    """That the rollout `name` changed only what hardly makes a program fail; empty where it changed more."""
    ends = ends_of(seen, cause)
    killed = any(e.exit_code in TOLD_TO_END or e.exit_code in OF_THE_PROGRAM for e in ends)
    of_memory = any(_MEMORY.search(w.text) for w in last_words_of(seen, cause))
    by_size = killed or of_memory if cause.code is CauseCode.CRASH else bool(own.worse)
    if by_size or not all(map(is_slight, own.all)):
        return ""
    changed = ", ".join(d.path for d in own.all[:3])
    return f"{name} changed {changed} only, which hardly makes a program fail" if changed else ""


# Since when a container is in trouble, and how long its pod did well before. Asked by `blame`.


def dated(seen: Snapshot, pod: Pod, cause: Cause) -> bool:
    """Is the beginning known? After several restarts the states tell the last end only, and then events have to."""
    restarts = max((c.restarts for c in pod.containers if c.name == cause.container), default=0)
    return restarts <= 1 or bool(seen.about("Pod", pod.name, "BackOff", "Unhealthy"))


def ran_before(seen: Snapshot, pod: Pod, cause: Cause) -> timedelta | None:
    """How long a pod did well before it did not; None when that is not known."""
    ready = pod.condition("Ready")
    if never_ready(pod):
        return None
    stopped = ready.since if ready is not None and ready.status == "False" else None
    if stopped is not None and not any(c.restarts for c in pod.containers):
        # A probe that failed while it started is no trouble, and before it ran it did not do well either.
        began = (c.running_since for c in pod.containers if not c.init and c.running_since is not None)
        return max(timedelta(), stopped - max([pod.created_at, *began]))
    if cause.since is None or not dated(seen, pod, cause):
        return None
    return cause.since - pod.created_at - _not_asked(seen, pod, cause)


_PROBES = {
    CauseCode.STARTUP_PROBE: "startupProbe",
    CauseCode.LIVENESS_PROBE: "livenessProbe",
    CauseCode.READINESS_PROBE: "readinessProbe",
}


def _not_asked(seen: Snapshot, pod: Pod, cause: Cause) -> timedelta:
    """How long a pod's probe waits before it asks for the first time: who does not fail before has not shown anything."""
    spec = seen.specs.get(pod.name) or seen.spec
    listed = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    own: Obj = next((c for c in listed if c.get("name") == cause.container), {})
    probe = own.get(_PROBES.get(cause.code, "")) or {}
    return timedelta(seconds=float(probe.get("initialDelaySeconds") or 0))


def runs_well(seen: Snapshot, pod: Pod) -> bool:
    """Ready for a while, without a restart."""
    ready = pod.condition("Ready")
    since = ready.since if pod.ready and ready is not None else None
    return since is not None and seen.now - since >= STARTING and not any(c.restarts for c in pod.containers)


def ailing_before(seen: Snapshot, cause: Cause, last: Deployment, deployed: datetime) -> str:
    """That a pod of an older revision, which may be gone, was restarted again and again when this one was deployed."""
    current = seen.current
    if not cause.container or current is None:
        return ""
    older = {r.name for r in seen.revisions if r.fingerprint != current.fingerprint}
    for e in seen.events:
        kind, _, name = e.about.partition("/")
        mine = kind == Kind.POD and maker_of(name) in older and e.container in ("", cause.container)
        again = e.reason == "BackOff" and "restarting failed" in e.message
        end = e.last_seen or e.first_seen
        if mine and again and e.first_seen and end and e.first_seen < deployed <= end + RECENT:
            ago = span((deployed - e.first_seen).total_seconds())
            return f"pod {name} of an older revision was restarted again and again already {ago} before revision {last.revision.number} was deployed"
    return ""
