"""What the present template's own pods tell: whether all of them were up once; whether some run that were made before its restart, so that it is
what the others read when they start that tells them apart, and no release. And which configuration they read of which a key may be gone: that leaves
no time and no name.

Asked by `blame`, and of errors by `pods`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.accusing import Sign
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.known_good import of_revision, short_digests, stood_for
from app.kube.parse import parse_time
from remediations.causes.changes import deployed_at
from remediations.causes.compared import names_having
from remediations.causes.demands import configured_by
from remediations.causes.exits import runs_well
from remediations.causes.model import Cause, Snapshot
from remediations.evidence.logs import ErrorLog
from remediations.evidence.pods import SINCE_START
from remediations.evidence.usage import count, span

_NAMED = 2
_OF = re.compile(r'ReplicaSet "([^"]{1,253})"')
"""Of which ReplicaSet a Deployment's condition speaks."""


def read_at_start(seen: Snapshot, template: Obj) -> str:
    """The ConfigMaps and Secrets that pods of this template read and that somebody can have changed, in words; empty for none."""
    used = sorted(configured_by(template))
    open_ = [f"{k} {n}" for k, n in used if not ((kept := seen.kept.get((k, n))) and kept.immutable)]
    more = f" or {len(open_) - _NAMED} more" if len(open_) > _NAMED else ""
    return " or ".join(open_[:_NAMED]) + more


@dataclass(frozen=True, slots=True)
class FromBefore:
    """Pods of the present template that were made before run without the cause: that, what tells the others apart, and where to look, in words."""

    told: str
    look: str


def run_from_before(seen: Snapshot, cause: Cause) -> FromBefore | None:
    """That pods of the present template run which were made before its restart, while all that show the cause were made by it; None otherwise."""
    return _from_before(seen, _ailing(seen, cause), seen.alive)


def of_another_image(seen: Snapshot, cause: Cause, *, older: bool = False) -> FromBefore | None:
    """That the image of the container that shows the cause stood for something else in all pods of the present template that were made before and
    run: somebody pushed over its name, and no release brought it. None otherwise. Other containers' images explain nothing of this one. `older`: pods of older
    templates that name the same image tell it too, where the release changed nothing that can bring the cause."""
    return _of_another_image(seen, _ailing(seen, cause), seen.alive, cause.container, older=older)


def since_their_start(seen: Snapshot, log: ErrorLog) -> Finding | None:
    """The finding `errors.since_start`, where most errors are alone in pods that got another image by the same name than those of the same
    template before them, or were made by a restart which the others were not. Data: `ill`, whether that explains them, and `advice`."""
    group = log.top
    if group is None or 2 * group.count < log.errors:
        return None
    has, read = names_having(seen, log, group), [p for p in seen.alive if p.name in log.read]
    ailing, others = [p for p in read if p.name in has], [p for p in read if p.name not in has]
    if not all(map(seen.newest, ailing)):
        return None
    found = (_of_another_image(seen, ailing, others, name) for name in sorted(group.containers))
    pushed = next(filter(None, found), None)
    told = pushed or _from_before(seen, ailing, others)
    if told is None:
        return None
    text = f"Only {count(len(ailing), 'pod')} made later {'has' if len(ailing) == 1 else 'have'} the most frequent error: {told.told}"
    ill = pushed is not None and group.sign is Sign.OWN
    return Finding(SINCE_START, text, data={"ill": ill, "advice": told.look or "compare them"})


def _from_before(seen: Snapshot, ailing: Sequence[Pod], others: Sequence[Pod]) -> FromBefore | None:
    current = seen.current
    if current is None or not ailing or not all(of_revision(p, current) for p in ailing):
        return None
    own = [p for p in others if seen.newest(p) and not of_revision(p, current)]
    well = [p for p in own if runs_well(seen, p)]
    if not well or max(p.created_at for p in well) >= min(p.created_at for p in ailing):
        return None
    names = read_at_start(seen, current.template)
    changed = f"what they read when they start ({names})" if names else "what they meet when they start"
    told = f"{_run(well, 'made before its restart')}: {changed} may have changed since, and a key that was taken out leaves no trace"
    return FromBefore(told, f"compare {names} with what the program needs at its start" if names else "")


def _of_another_image(
    seen: Snapshot, ailing: Sequence[Pod], others: Sequence[Pod], container: str, *, older: bool = False
) -> FromBefore | None:
    image = next((c.image for c in seen.workload.containers if c.name == container), "")
    named = {p.name for p in others if any(s.name == container and s.image == image for s in p.specs)}
    well = [p for p in _well_before(seen, ailing, others, older=older) if p.name in named]
    now, before = stood_for(ailing, well, container)
    if not image or "@" in image or not now or not before or now & before:
        return None
    told = f"{image} stood for another image when they started ({short_digests(now)}; before {short_digests(before)})"
    look = f"put {image} back to {short_digests(before)}, and name images by digest or by a tag that stays"
    of = "the same template" if all(map(seen.newest, well)) else "an older one with the same image name"
    return FromBefore(f"{_run(well, 'made before', of)}: {told}", look)


def _ailing(seen: Snapshot, cause: Cause) -> list[Pod]:
    """The pods that show the cause, where all of them are of the present template; none otherwise."""
    found = [p for p in seen.alive if p.name in cause.pods]
    return found if all(seen.newest(p) for p in found) else []


def _well_before(seen: Snapshot, ailing: Sequence[Pod], others: Sequence[Pod], *, older: bool) -> list[Pod]:
    """Pods of the present template among the others that run, and were made before all of these; of `older` ones as well."""
    first = min((p.created_at for p in ailing), default=None)
    own = [p for p in others if (older or seen.newest(p)) and p not in ailing and runs_well(seen, p)]
    return [p for p in own if first is not None and p.created_at < first]


def _run(well: Sequence[Pod], made: str, of: str = "the same template") -> str:
    return f"{count(len(well), 'pod')} of {of}, {made}, {'runs' if len(well) == 1 else 'run'} without it"


def made_by_a_restart(seen: Snapshot, cause: Cause, deployed: datetime, least: timedelta) -> str:
    """That all that show the cause were made by a restart, `least` or longer after their template was released; empty otherwise. How those before
    it did, nobody sees any more (Recreate, one replica, a drain): a release that brings it would have shown it in them."""
    current = seen.current
    ailing = [p for p in seen.alive if p.name in cause.pods]
    if current is None or not ailing or not all(of_revision(p, current) for p in ailing):
        return ""
    again = any(r.fingerprint == current.fingerprint and r.name != current.name for r in seen.revisions)
    had = current.created_at - deployed
    if not again or had < least:
        return ""
    names = read_at_start(seen, current.template)
    changed = f", and what they read when they start ({names}) may have changed since" if names else ""
    return (
        f"the pods that fail were made by a restart {span(had.total_seconds())} after the release, and how those before it did is not known: "
        f"with the release alone they would have failed as well{changed}"
    )


def completed(seen: Snapshot) -> bool:
    """The present revision had all its pods available once, as its controller says."""
    manifest = seen.workload.manifest
    status = manifest.get("status") or {}
    if seen.workload.observed_generation < seen.workload.ref.generation:
        return False
    if seen.workload.target.kind is Kind.DEPLOYMENT:
        told: Obj = next((c for c in status.get("conditions") or () if c.get("type") == "Progressing"), {})
        of = _OF.search(told.get("message") or "")
        # What the condition says may be of a ReplicaSet before: one that comes back is not made, and nothing is said of it at first.
        mine = of is None or seen.current is None or of[1] == seen.current.name
        return mine and told.get("reason") == "NewReplicaSetAvailable"
    if seen.workload.target.kind is Kind.STATEFUL_SET:
        update = status.get("updateRevision")
        return bool(update) and status.get("currentRevision") == update
    return _covered(seen, status)


_PAUSE = timedelta(minutes=10)
"""A DaemonSet goes on with its rollout as soon as a pod is ready: one that was made so long after that came of something else."""


def _covered(seen: Snapshot, status: Obj) -> bool:
    """The same of a DaemonSet, which has no word for it: every node has a pod of the present template, and those that are not ready were made long after
    the last of the others had been, or are on nodes that joined after the release."""
    whole = status.get("updatedNumberScheduled", 0) >= status.get("desiredNumberScheduled", 1)
    ready = [p for p in seen.alive if p.ready]
    if not whole or not ready or not all(map(seen.newest, seen.alive)):
        return False
    done, late = max(map(_up, ready)), [p for p in seen.alive if not p.ready]
    return all(p.created_at - done >= _PAUSE or _new_node(seen, p) is not None for p in late)


def _up(pod: Pod) -> datetime:
    """When a pod was ready for the first time, as far as that is known: its readiness may have come and gone since."""
    ready = pod.condition("Ready")
    since = ready.since if ready is not None else None
    return since if since is not None and since - pod.created_at < _PAUSE else pod.created_at


def _new_node(seen: Snapshot, pod: Pod) -> Obj | None:
    """Its node, where that was made after the release: no pod of an older template has ever been there."""
    deployed = deployed_at(seen)
    node = next((n for n in seen.nodes if n["metadata"]["name"] == pod.node), None)
    made = parse_time(node["metadata"].get("creationTimestamp")) if node is not None else None
    return node if deployed is not None and made is not None and made > deployed else None


def on_new_nodes(seen: Snapshot, pods: Sequence[Pod]) -> str:
    """That all of these pods are on nodes that joined after the release, as a clause; empty otherwise."""
    found = [_new_node(seen, p) for p in pods]
    nodes = {n["metadata"]["name"]: n for n in found if n is not None}
    if not nodes or None in found:
        return ""
    told = []
    for name, node in sorted(nodes.items())[:_NAMED]:
        kind = ((node.get("status") or {}).get("nodeInfo") or {}).get("architecture")
        made = parse_time(node["metadata"].get("creationTimestamp")) or seen.now
        ago = span((seen.now - made).total_seconds())
        told.append(f"Node {name}{f' ({kind})' if kind else ''}, made {ago} ago")
    return f", on {' and '.join(told)}, after the release"
