"""How good a revision is known to be: which pods of it are ready now, how long it was the present one, whether an alert fired on it, and whether
its images still stand for what its pods ran: a tag can be pushed over, and one name is two programs then.

Called by the handlers' rollback step, through `app.kube.actions.roll_back`. Pure: knows revisions, pods and the alerts of this service, and
never says what was wrong with a revision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from app.domain.migrations import short_name
from app.domain.remediation import PastAlert
from app.domain.target import Kind
from app.domain.workload import Pod, Revision, Workload
from app.kube.lineage import Life
from app.kube.newpods.goal import taken_down_at_once

# What pods prove, whoever watched: those that are ready and serve prove their version now. A rollout that came to its end left no pod of an
# older one.

_PROVEN = timedelta(minutes=2)
"""A pod that is ready for so long has shown that its version starts."""
_AT_ONCE = timedelta(seconds=10)
"""Older pods that are gone sooner did not wait for any to be ready."""
_ONE_WRITE = timedelta(seconds=5)
_TAKEN_UP = timedelta(seconds=30)
"""A pod that is not ready since so soon after it was made never was."""


def of_revision(pod: Pod, revision: Revision) -> bool:
    """True when the pod was made from this revision of its workload."""
    if pod.owner is not None and pod.owner.name == revision.name:
        return True
    # Deployments and DaemonSets label their pods with the hash alone, StatefulSets with the revision's whole name.
    return bool(pod.template_hash) and (
        revision.name == pod.template_hash or revision.name.endswith(f"-{pod.template_hash}")
    )


@dataclass(frozen=True, slots=True)
class PodsByTemplate:
    """The pods of a workload that have not ended, by the fingerprint of the template that they were made from: those that are ready, and the
    templates of which one is ready long enough to prove it; `alive` are all of them by the name of their revision. `unfinished` are templates whose
    rollout never came to its end, as pods of an older one are still there, or went after it. `repairs` replaced such a one, and came to their own
    end. `unseen` are templates of which nothing tells whether theirs did. `restarted` are ready pods of the present template from before it was restarted.
    `known` is False where nobody looked."""

    alive: Mapping[str, int] = field(default_factory=dict)
    ready: Mapping[str, int] = field(default_factory=dict)
    proven: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()
    repairs: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    restarted: int = 0
    known: bool = False

    def ready_of(self, revision: Revision) -> int:
        """How many of its pods are ready."""
        return self.ready.get(revision.fingerprint, 0)

    def told(self, revision: Revision) -> str:
        """How many of its pods are ready, as a clause."""
        some = self.ready_of(revision)
        return (
            "no pod of it is ready"
            if not some
            else "1 pod of it is ready"
            if some == 1
            else f"{some} pods of it are ready"
        )

    def most(self, revision: Revision) -> tuple[int, int]:
        """Sorts restarts of the same template: the one that most pods were made from last, else the newest."""
        return self.alive.get(revision.name, 0), revision.number

    def replaced_by(self, goal: Revision, desired: int) -> int:
        """How many pods go when the workload gets this template: all where nobody looked. Pods from before its restart go too."""
        if not self.known:
            return desired
        own = self.alive.get(goal.name, 0)
        return min(desired, max(sum(self.alive.values()) - own, desired - own))


NO_PODS = PodsByTemplate()


def pods_by_template(
    workload: Workload, revisions: Sequence[Revision], pods: Sequence[Pod], now: datetime
) -> PodsByTemplate:
    """Sort them. A restart of a template is the same one."""
    made = [
        (pod, revision)
        for pod in pods
        if not pod.over and (revision := next((r for r in revisions if of_revision(pod, r)), None))
    ]
    ready = [(pod, revision) for pod, revision in made if pod.ready]
    present = next((r.fingerprint for r in revisions if r.current), "")
    unfinished = _unfinished(workload, revisions, [r for _, r in made])
    return PodsByTemplate(
        alive=Counter(r.name for _, r in made),
        ready=Counter(r.fingerprint for _, r in ready),
        proven=frozenset(r.fingerprint for p, r in ready if now - _ready_since(p) >= _PROVEN),
        unfinished=unfinished,
        repairs=_repairs(revisions, unfinished),
        unseen=_unseen(workload, revisions, made),
        restarted=sum(not r.current and r.fingerprint == present for _, r in ready),
        known=True,
    )


def _ready_since(pod: Pod) -> datetime:
    told = pod.condition("Ready")
    return told.since if told is not None and told.since is not None else pod.created_at


def _unfinished(
    workload: Workload, revisions: Sequence[Revision], alive: Sequence[Revision]
) -> frozenset[str]:
    """Templates that came after the oldest one of which there is a pod, ready or not; of a StatefulSet, after the one that its controller rolled out
    last; and those that were replaced before an older one had lost its last pod. Nobody can tell where pods keep their version by design (a
    partition, OnDelete)."""
    spec, status = workload.manifest["spec"], workload.manifest.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete" or (strategy.get("rollingUpdate") or {}).get("partition"):
        return frozenset()
    oldest = min(alive, key=lambda r: r.number, default=None)
    if workload.target.kind is Kind.STATEFUL_SET:
        oldest = next((r for r in revisions if r.name == status.get("currentRevision")), oldest)
    outlived = frozenset(r.fingerprint for r in revisions if _ended(r, revisions) is False)
    if oldest is None:
        return outlived
    after = [r for r in revisions if r.number > oldest.number and r.fingerprint != oldest.fingerprint]
    return outlived | {r.fingerprint for r in after}


def _ended(revision: Revision, revisions: Sequence[Revision]) -> bool | None:
    """Whether the last rollout of this template came to its end before another one replaced it, by when the older ReplicaSets got empty: while it was the
    present one, and not at once as where all pods are replaced together. None where they do not tell, also where all were written in one later
    moment: a controller of a new version does that."""
    own = max((r for r in revisions if r.fingerprint == revision.fingerprint), key=lambda r: r.number)
    others = [r for r in revisions if r.fingerprint != revision.fingerprint]
    newer = min((r for r in others if r.number > own.number), key=lambda r: r.number, default=None)
    emptied = max(
        (r.emptied_at for r in others if r.number < own.number and r.emptied_at is not None), default=None
    )
    # One that came back is as old as its first life: when it replaced this one is not told.
    if newer is None or newer.earlier or newer.created_at <= own.created_at or emptied is None:
        return None
    if own.emptied_at is not None and abs(emptied - own.emptied_at) <= _ONE_WRITE:
        # Where all are replaced at once the old pods go first, and the new ReplicaSet is made then.
        return False if emptied <= newer.created_at else None
    if emptied > newer.created_at:
        return False
    return True if emptied - own.created_at > _AT_ONCE else None


def _repairs(revisions: Sequence[Revision], unfinished: frozenset[str]) -> frozenset[str]:
    """Templates that came to their end right after one that had not."""
    placed = sorted(revisions, key=lambda r: r.number)
    return frozenset(
        after.fingerprint
        for before, after in pairwise(placed)
        if before.fingerprint in unfinished - {after.fingerprint} and _ended(after, revisions)
    )


def _unseen(
    workload: Workload, revisions: Sequence[Revision], made: Sequence[tuple[Pod, Revision]]
) -> frozenset[str]:
    """The template before the present one of a DaemonSet that has more pods which never were ready than its rollout may take down. The others lost
    theirs otherwise, and got the present one's: nothing tells any more of which revision those were."""
    if workload.target.kind is not Kind.DAEMON_SET or not all(r.current for _, r in made):
        return frozenset()
    if sum(_never_ready(p) for p, _ in made) <= taken_down_at_once(workload):
        return frozenset()
    present = {r.fingerprint for _, r in made}
    older = (r for r in sorted(revisions, key=lambda r: -r.number) if r.fingerprint not in present)
    return frozenset(r.fingerprint for r in list(older)[:1])


def _never_ready(pod: Pod) -> bool:
    told = pod.condition("Ready")
    if pod.ready or told is None or told.since is None:
        return not pod.ready
    return told.since - (pod.taken_at or pod.created_at) <= _TAKEN_UP


# How long it was the present one, and whether an alert fired on it.

_IN_PLACE = 86_400.0
"""Seconds after which a revision that nobody watched counts as good: people would have replaced it."""
_ALL_BUT = 600.0
_BROUGHT = 600.0
"""Who asks for less proof than that (seconds) still takes an alert without more quiet time beside it for one that the revision brought."""
NOTED = 60.0
"""Seconds between two notes that alerts could be heard: who asks for less than that asks for no proof."""


class Word(StrEnum):
    """What is known of a revision."""

    GOOD = "good"
    UNKNOWN = "unknown"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a revision, and why, as one clause. `alerted`: an alert fired on it that it did not bring, so that ready pods alone do not prove it.
    `proved`: it had run long enough without one before that began, so that no older one is better known."""

    word: Word
    why: str
    alerted: bool = False
    proved: bool = False


@dataclass(frozen=True, slots=True)
class Records:
    """What standings are told from: the lives of all kept revisions, this service's alerts on the target, for how long
    (seconds) a revision has to run without one to count as good, and when an alert would have been heard (None: always). That a
    revision stayed in place for a day is the cluster's own evidence, whoever watched. `pods` are those of the workload: time in place proves
    nothing of a revision whose rollout they show to have never ended."""

    lives: Sequence[Life]
    alerts: Sequence[PastAlert]
    least: float
    watched: Sequence[tuple[datetime, datetime]] | None = None
    pods: PodsByTemplate = NO_PODS

    def standing(self, revision: Revision) -> Standing:
        """Of this revision, by its best life."""
        own = [life for life in self.lives if life.revision.fingerprint == revision.fingerprint]
        found = [self.of(life) for life in own if life.end is not None or life is not self.lives[-1]]
        for word in Word:
            if named := next((s for s in reversed(found) if s.word is word), None):
                return named
        return Standing(Word.UNKNOWN, f"revision {revision.number} was never replaced")

    def of(self, life: Life) -> Standing:
        """Of one life. What is still present has proved nothing."""
        name = f"revision {life.revision.number}"
        if life.revision.fingerprint in self.pods.unfinished:
            return self._unfinished(life.revision)
        if life.revision.fingerprint in self.pods.unseen:
            return Standing(
                Word.UNKNOWN,
                f"nothing tells whether the rollout of {name} came to its end, or of any ready pod",
            )
        if life.start is None and life.end is not None:
            return Standing(
                Word.UNKNOWN, f"how long {name} ran is not known, as it came back after another one"
            )
        if life.start is None or life.end is None:
            return Standing(Word.UNKNOWN, f"how long {name} ran is not known, as revisions after it are gone")
        fired = [a for a in self.alerts if a.fired_in(life.start, life.end, self.least)]
        return (
            self._alerted(name, life.start, life.end, fired)
            if fired
            else self._quiet(name, life.start, life.end)
        )

    def _quiet(self, name: str, start: datetime, end: datetime) -> Standing:
        """Of one that no alert fired on."""
        ran, seen = (end - start).total_seconds(), self._seen(start, end)
        if min(seen, ran) >= self.least:
            return Standing(Word.GOOD, f"{name} ran {_span(ran)}{self._part(start, end)} without an alert")
        if ran >= max(self.least, _IN_PLACE):
            return Standing(Word.GOOD, f"{name} stayed in place for {_span(ran)}")
        if ran >= self.least:
            text = f"{name} ran {_span(ran)}, and nobody watched for alerts for {_span(ran - seen)} of it"
            return Standing(Word.UNKNOWN, text)
        few = f"{name} ran only {_span(ran)}, and {_span(self.least)} prove that it works"
        return Standing(Word.UNKNOWN, few)

    def _alerted(self, name: str, start: datetime, end: datetime, fired: Sequence[PastAlert]) -> Standing:
        """Of one that alerts fired on. A bad release brings its alert soon: one that began later, on what had proved itself, came from elsewhere, and
        an older revision would have met it as well. So it is bad only where it hardly ran without one."""
        names = ", ".join(sorted({a.name for a in fired}))
        began, since = min(a.opened for a in fired), max(start, *(a.closed or end for a in fired))
        before, quiet = max(0.0, (began - start).total_seconds()), (end - since).total_seconds()
        long = max(self.least, _IN_PLACE)
        # What made it fire may come back within hours. Who asks for no proof gets none.
        proof = self.least if self.least < NOTED else long
        if self._seen(since, end) >= self.least and quiet >= proof:
            return Standing(
                Word.GOOD,
                f"{name} ran {_span((end - start).total_seconds())}, its last {_span(quiet)}{self._part(since, end)} without an alert",
            )
        if quiet >= long:
            return Standing(Word.GOOD, f"{name} stayed in place for {_span(quiet)}")
        if before >= long and quiet >= self.least:
            text = f"{name} ran {_span(before)} before {names} fired, and its last {_span(quiet)} without an alert"
            return Standing(Word.GOOD, text)
        if quiet < self.least and all(a.opened < start for a in fired):
            text = f"{names} fired already before {name} came, and went on while it ran"
            return Standing(Word.UNKNOWN, text, alerted=True)
        proved = before >= long or min(before, self._seen(start, began)) >= max(self.least, _BROUGHT)
        after = f", {_span(before)} after it came" if proved else ""
        last = f", {_span(quiet)} before its end" if quiet >= self.least else ""
        text = f"{names} fired while {name} ran{after}{' and' if after and last else ''}{last.lstrip(',') if after else last}"
        if proved or _without(fired, start, end) >= max(self.least, _BROUGHT):
            return Standing(Word.UNKNOWN, text, alerted=not last, proved=proved)
        return Standing(Word.BAD, text)

    def _part(self, since: datetime, until: datetime) -> str:
        seen = self._seen(since, until)
        few = (until - since).total_seconds() - seen > _ALL_BUT
        return f", of which {_span(seen)} were watched," if few else ""

    def _unfinished(self, revision: Revision) -> Standing:
        text = (
            f"the rollout of revision {revision.number} never came to its end, and {self.pods.told(revision)}"
        )
        return Standing(Word.UNKNOWN if self.pods.ready_of(revision) else Word.BAD, text)

    def _seen(self, since: datetime, until: datetime) -> float:
        """Seconds between these in which an alert would have been heard."""
        if self.watched is None or self.least < NOTED:
            return (until - since).total_seconds()
        both = ((max(since, begun), min(until, ended)) for begun, ended in self.watched)
        return sum((ended - begun).total_seconds() for begun, ended in both if ended > begun)


def _without(fired: Sequence[PastAlert], start: datetime, end: datetime) -> float:
    """Seconds between these in which none of the alerts was open."""
    quiet, upto = timedelta(), start
    for alert in sorted(fired, key=lambda a: a.opened):
        quiet += max(timedelta(), alert.opened - upto)
        upto = max(upto, alert.closed or end)
    return (quiet + max(timedelta(), end - upto)).total_seconds()


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if int(seconds) >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


# What the name of an image stood for when pods started.

_DIGEST, _MAX_NAMED = 19, 2


def stood_for(
    pods: Sequence[Pod], others: Sequence[Pod], container: str
) -> tuple[frozenset[str], frozenset[str]]:
    """The digests that this container runs with in these pods and in others, of the repositories that both have; empty where nothing says so. An id
    without a repository is of an image that its node had already: it is made of other bytes, and one image has both."""
    found, theirs = _ids(pods, container), _ids(others, container)
    both = {repository for repository, _ in found} & {repository for repository, _ in theirs}
    mine, other = (frozenset(d for r, d in ids if r in both) for ids in (found, theirs))
    return mine, other


def _ids(pods: Sequence[Pod], container: str) -> frozenset[tuple[str, str]]:
    """Repositories and digests; a runtime may put its own name before them."""
    ids = (c.image_id.rpartition("://")[2] for p in pods for c in p.containers if c.name == container)
    parts = (one.rpartition("@") for one in ids)
    return frozenset((repository, digest) for repository, at, digest in parts if at and repository)


def short_digests(digests: Collection[str]) -> str:
    """Digests in words, each by its beginning."""
    return " or ".join(found[:_DIGEST] for found in sorted(digests)[:_MAX_NAMED])


def pushed_over(found: Sequence[Revision], goal: Revision, pods: Sequence[Pod], shows: Collection[str] = ()) -> str:  # fmt: skip
    """Why pods that go back to `goal` may run what its own pods do not run, as one clause: the present revision names the same image, and
    its pods got another one by that name. Empty where nothing tells it; a name with a digest stands for one image always. `shows`: the containers that
    have the fault, where they accuse themselves: another one that runs well with what it got does so in pods that go back as well."""
    current = next((r for r in found if r.current), None)
    if current is None or current.fingerprint == goal.fingerprint:
        return ""
    named = _images(current)
    for container, image in _images(goal).items():
        if "@" in image or named.get(container) != image:
            continue
        of_now, of_goal = ([p for p in pods if of_revision(p, r)] for r in (current, goal))
        now, before = stood_for(of_now, of_goal, container)
        calm = all(c.calm for p in of_now for c in p.containers if c.name == container)
        if before and now - before and not (shows and container not in shows and calm):
            return (
                f"{short_name(image)} stood for {short_digests(before)} in the pods of revision {goal.number} and for {short_digests(now - before)} in the present ones: "
                "pods that go back may get that one as well"
            )
    return ""


def _images(revision: Revision) -> dict[str, str]:
    spec = revision.template.get("spec") or {}
    return {c["name"]: c.get("image") or "" for c in spec.get("containers") or ()}
