"""Whose hand was on an object since we wrote it, since we looked at it, or since an alert fired: who, what and when.

Called by the verification, the undo and the facts of the gates. Pure; reads manifests only, and never says what follows from it.

The server tells in managedFields who wrote, and not all of it: an entry of the subresource scale has no time, a write that
only removes something moves none, and a time says that its manager wrote, not what. So what changed is told by comparing the spec
with the one that we left or saw; and where there is none, as since an alert fired, by the objects that a change makes others write:
the ReplicaSet or ControllerRevision of the template, the Events of scaling, the conditions (`Around`). Times are all of the API
server, so that the clocks of two machines do not matter, and whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.domain.change import DigestKey, hidden, is_hidden
from app.domain.cluster import FIELD_MANAGER
from app.domain.errors import BadInput
from app.domain.json import Obj
from app.domain.plan import FieldChange
from app.domain.redact import in_one_line
from app.domain.tools import AUTOMATIC, is_person
from app.domain.workload import KubeEvent
from app.kube.lineage import (
    Around,
    Change,
    current_revision,
    last_written,
    name_of,
    observed,
    resumed_at,
    scalings,
    template_change,
    unchanged_since,
)
from app.kube.look import marker_of, moved, undo_id
from app.kube.manifest import parse_quantity, same, value_at
from app.kube.owners import who_changed, written_at
from app.kube.parse import parse_time

_SHOWN = ("replicas", "paused", "template", "minReplicas", "maxReplicas", "strategy", "updateStrategy")
_TOLD = timedelta(minutes=50)  # for so long Events are kept everywhere
_LATE = timedelta(seconds=60)  # an Event may come so long after what it tells of
_COMBINED = 8  # from about ten of one kind on, Events are combined and dropped, so that one that is missing proves nothing
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_PERIOD = timedelta(seconds=15)
"""Of an autoscaler's looks."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A change that is not ours: the field manager, when it wrote (None: nobody can tell), and which fields, for people.
    `took_back`: a value that we had set is not in place any more; `went_on`: it is none of ours any more, but further the same way;
    `gone`: it was deleted, or is being, as `what` says. `unseen`: only that its controller has not seen the newest change tells of it."""

    who: str
    at: datetime | None
    what: str
    took_back: bool = False
    went_on: bool = False
    gone: bool = False
    unseen: bool = False

    @property
    def by_hand(self) -> bool:
        """A person's tool, as far as its name tells; whatever else is a pipeline or a controller. Who deletes something does not say so in
        passing, and wants it gone."""
        return self.gone or is_person(self.who)

    @property
    def kept(self) -> Mapping[str, bool]:
        """What a run keeps of it: whether a person did it, and whether with our change, so that they know of that."""
        return {"by_hand": self.by_hand, "with_ours": self.took_back or self.went_on}

    @property
    def text(self) -> str:
        """One clause."""
        if self.gone:
            return self.what
        at = f" at {self.at:%H:%M:%S} UTC" if self.at else ""
        if self.took_back:
            return f"our change was taken back by {self.who}{at}: {self.what}"
        if self.went_on:
            return f"{self.who} went on from our change{at}: {self.what}"
        return f"{self.who} changed {self.what}{at}"


# Since we wrote, or since we looked: what the spec was is known.


@dataclass(frozen=True, slots=True)
class Ours:
    """What our last write left: when by our clock, the object's generation (0 when not known), and each field of its spec as a keyed
    digest (none when not known)."""

    at: datetime
    generation: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)


def digests_of(manifest: Obj, key: DigestKey) -> dict[str, str]:
    """The fields of an object's spec, or of what it has instead, each as its digest: for the record of our write."""
    return {name: key.digest(value) for name, value in _body(manifest).items()}


def left_by(generation: int, manifest: Obj | None, key: DigestKey) -> dict[str, Any]:
    """How our write left the object, for its record: `Ours` is read from it."""
    return {"generation": generation, "left": digests_of(manifest, key) if manifest else {}}


def hand_after_ours(
    manifest: Obj,
    expected: Iterable[FieldChange],
    ours: Ours,
    uid: str = "",
    key: DigestKey | None = None,
) -> Hand | None:
    """Somebody else's change after our write, whose values `expected` has. Of hidden ones those of a Secret are compared by their
    digests under `key`, and no others. An autoscaler that goes on from there is none. Without a record of the spec as we left it
    who wrote in the second of our write or later counts: a write before ours would have been seen."""
    meta = manifest["metadata"]
    if uid and meta.get("uid") != uid:
        at, name = parse_time(meta.get("creationTimestamp")), meta.get("name")
        wanted = list(expected)
        if wanted and all(_comparable(c, key) and _in_place(manifest, c, key) for c in wanted):
            return Hand("somebody", at, f"{name} by deleting and creating it again, with what we had set")
        return Hand("somebody", at, f"{name} was deleted and created again", took_back=True)
    lost = [c for c in expected if not _in_place(manifest, c, key)]
    after = written_at(manifest, FIELD_MANAGER) or ours.at
    if lost:
        text = "; ".join(moved(manifest, c.path, c.after) for c in lost[:3])
        who = _writer_of(manifest, {c.path.split("/")[2] for c in lost if c.path.startswith("/spec/")}, after)
        further = all(_further(manifest, c) for c in lost)
        name, at = (who.who, who.at) if who else ("somebody", None)
        return Hand(name, at, text, took_back=not further, went_on=further)
    if ours.generation and int(meta.get("generation") or 0) <= ours.generation:
        return None
    if ours.fields and key is not None:
        return _changed(manifest, ours.fields, digests_of(manifest, key), after)
    found = [w.hand for w in _writers(manifest) if w.at is not None and w.at >= after]
    return max(found, key=lambda h: h.at or after, default=None)


def hand_between(before: Obj | None, manifest: Obj, since: datetime) -> Hand | None:
    """Somebody else's change of the object since it was read as `before`; where it was not, since then, its second included."""
    if before is not None:
        return _changed(manifest, _body(before), _body(manifest), since)
    start = since.replace(microsecond=0)
    found = [w.hand for w in _writers(manifest) if w.at is not None and w.at >= start]
    return max(found, key=lambda h: h.at or start, default=None)


def resized(manifest: Obj, pods: int) -> Hand | None:
    """Who else gave the object another size than these `pods`; an autoscaler is nobody, nor is this service. A scale to 0 leaves no owner,
    and no scale through its subresource a time."""
    now = (manifest.get("spec") or {}).get("replicas", 1)
    owners = [who for who, _ in who_changed(manifest, "/spec/replicas")]
    others = [who for who in owners if who not in AUTOMATIC and who != FIELD_MANAGER]
    if now == pods or (owners and not others):
        return None
    return Hand(others[0] if others else "somebody", None, f"replicas from {pods} to {now}")


def set_again(manifest: Obj, ours: Iterable[FieldChange]) -> Hand | None:
    """Somebody else who owns a field that has our value, alone or beside us: our write took it from all others, so that they have set it since, or
    declared the same (server-side apply), and it is theirs."""
    return next((hand for hand, _ in _owners_besides(manifest, ours)), None)


def taken_on(manifest: Obj, ours: Iterable[FieldChange]) -> Hand | None:
    """The same of a field that is not ours any more: it had another value between ours and the equal one that it has. Who declares our
    value beside us has taken nothing over."""
    return next((hand for hand, beside in _owners_besides(manifest, ours) if not beside), None)


def _owners_besides(manifest: Obj, ours: Iterable[FieldChange]) -> Iterator[tuple[Hand, bool]]:
    """Who else owns our fields by now, and whether we do as well. Of a whole, such as a template, everybody owns what we left as it was, and of what
    we removed nobody tells."""
    for change in ours:
        if change.after is None or isinstance(change.after, Mapping | list) or change.after == change.before:
            continue
        writers = who_changed(manifest, change.path, exact=True)
        for who, at in writers:
            if who != FIELD_MANAGER and who not in AUTOMATIC:
                yield (
                    Hand(who, at, f"{change.path} to the value that it has"),
                    (any(name == FIELD_MANAGER for name, _ in writers)),
                )
                break


def is_undo(manifest: Obj, action_id: str) -> bool:
    """Whether the last write of ours to the object is the undo of this action."""
    return marker_of(manifest) == undo_id(action_id)


def _body(manifest: Obj) -> Mapping[str, Any]:
    """What of an object is somebody's intention: the fields of its spec; of one without, like a Secret, all but what describes it."""
    if isinstance(spec := manifest.get("spec"), dict):
        return spec
    around = ("apiVersion", "kind", "metadata", "status")
    return {k: v for k, v in manifest.items() if k not in around}


def _changed(
    manifest: Obj, before: Mapping[str, Any], now: Mapping[str, Any], after: datetime
) -> Hand | None:
    names = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    sizers = who_changed(manifest, "/spec/replicas")
    if sizers and all(who in AUTOMATIC for who, _ in sizers):
        names -= {"replicas"}
    if not names:
        return None
    who = _writer_of(manifest, names, after - timedelta(seconds=1))
    fits = who is not None and names & who.fields
    return Hand(who.who if who and fits else "somebody", who.at if who and fits else None, _named(names))


def _comparable(change: FieldChange, key: DigestKey | None) -> bool:
    """Whether it can be told that the value is the one that we had set."""
    if is_hidden(change.after):
        return key is not None and change.path.startswith("/data/")
    return not isinstance(change.after, Mapping | list)


def _in_place(manifest: Obj, change: FieldChange, key: DigestKey | None) -> bool:
    if key is not None and change.path.startswith("/data/") and is_hidden(change.after):
        return bool(hidden(change.path, value_at(manifest, change.path), key) == change.after)
    if is_hidden(change.after) or isinstance(change.after, Mapping | list):
        return True  # not to be compared: the server completes objects, and hidden values are not known here
    return same(change.path, value_at(manifest, change.path), change.after)


def _further(manifest: Obj, change: FieldChange) -> bool:
    """Whether the field went beyond our value, away from what it was before: more pods than our more, or more memory."""
    values = (change.before, change.after, value_at(manifest, change.path))
    if not all(isinstance(v, int | str) and not isinstance(v, bool) for v in values):
        return False
    try:
        before, set_to, now = (parse_quantity(str(v)) for v in values)
    except BadInput:
        return False  # words, such as an image's name
    return before < set_to < now or before > set_to > now


def _writer_of(manifest: Obj, names: Collection[str], after: datetime) -> _Writer | None:
    """Who changed these fields: whoever has them now and wrote since, or scaled, which has no time. What was removed has no owner any
    more: then whoever wrote last."""
    every = list(_writers(manifest, automatic=True))
    others = [w for w in every if w.at is not None and w.at >= after]
    scaled = [w for w in every if w.at is None and w.scaled and "replicas" in names]
    own = [w for w in others if set(names) & w.fields]
    return max(own, key=lambda w: w.at or after, default=None) or next(
        iter(scaled), max(others, key=lambda w: w.at or after, default=None)
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    """One entry of managedFields that is not ours: `scaled` through the subresource."""

    who: str
    at: datetime | None
    fields: frozenset[str]
    scaled: bool

    @property
    def hand(self) -> Hand:
        return Hand(self.who, self.at, _named(self.fields))


def _writers(manifest: Obj, *, automatic: bool = False) -> Iterator[_Writer]:
    for entry in manifest["metadata"].get("managedFields") or ():
        manager, part = str(entry.get("manager", "unknown")), entry.get("subresource")
        if part == "status" or manager == FIELD_MANAGER or (manager in AUTOMATIC and not automatic):
            continue
        owned = entry.get("fieldsV1") or {}
        around = ("f:apiVersion", "f:kind", "f:metadata", "f:status")
        intent = owned.get("f:spec") or {k: v for k, v in owned.items() if k not in around}
        names = frozenset(name.removeprefix("f:") for name in intent if name.startswith("f:"))
        if intent:
            who = in_one_line(manager, 128)  # any client chooses it
            yield _Writer(who, parse_time(entry.get("time")), names, part == "scale")


def _named(names: Collection[str]) -> str:
    known = [name for name in sorted(names) if name in _SHOWN]
    return ", ".join(known or sorted(names)[:3]) or "its spec"


def _only_noted(manifest: Obj, since: datetime) -> bool:
    """Whether the newest write since then concerns nothing of the spec: an annotation counts as a generation, and a controller may be at it yet."""
    entries = [e for e in manifest["metadata"].get("managedFields") or () if e.get("subresource") != "status"]
    timed = [(at, e) for e in entries if (at := parse_time(e.get("time"))) is not None and at >= since]
    newest = max(timed, key=lambda one: one[0], default=None)
    return newest is not None and "f:spec" not in (newest[1].get("fieldsV1") or {})


def hand_since(manifest: Obj, since: datetime, around: Around | None = None) -> Hand | None:
    """The newest change of the spec by somebody else after `since`, within the same second too; the cluster's own controllers are nobody.
    Who scaled at a moment that nobody can tell counts. A tool that has the template or the size among other fields, and changed
    neither, counts for none of the others: its entry's time may stand for a label."""
    since = _first_stamp_after(since, manifest, around)
    if unchanged_since(manifest, since):
        return None
    times = [w.at for w in _writers(manifest) if "template" in w.fields and w.at is not None]
    template = template_change(manifest, around, since, times)
    found = list(_since(manifest, since, (template, _size_change(manifest, around, since)), around))
    if template.happened and not any("template" in h.what for h in found):
        found.append(Hand("somebody", template.at, "template"))  # what only removes leaves no entry
    own = written_at(manifest, FIELD_MANAGER)
    unseen = around is not None and not observed(manifest) and not _only_noted(manifest, since)
    if not found and unseen and (own is None or own < since):
        found.append(
            Hand("somebody", None, "its spec", unseen=True)
        )  # so lately that nothing else tells of it yet
    if not found and (at := resumed_at(manifest, around, since)):
        found.append(Hand("somebody", at, "paused"))
    return max(found, key=lambda h: h.at or since, default=None)


_BORN = timedelta(seconds=2)
"""So long its controllers are at work on an object that was just made."""


def _first_stamp_after(moment: datetime, manifest: Obj, around: Around | None) -> datetime:
    """Stamps have whole seconds, and so have the moments of some senders (Grafana, vmalert). One of the same second may be of before or
    after it, and counts as after. But what was made within seconds before is still being worked on by its controllers, and a
    revision that was made in the very second of a moment without fractions is what brought it."""
    second = moment.replace(microsecond=0)
    made = parse_time((manifest.get("metadata") or {}).get("creationTimestamp"))
    if made is not None and made <= second < made + _BORN:
        return made + _BORN
    current = current_revision(manifest, around)
    born = parse_time(current["metadata"].get("creationTimestamp")) if current else None
    return second + timedelta(seconds=1) if born == second and not moment.microsecond else second


def _since(
    manifest: Obj, since: datetime, changes: tuple[Change, Change], around: Around | None
) -> Iterator[Hand]:
    template, size = changes
    old = {n for n, part in (("template", template), ("replicas", size)) if part.happened is False}
    for w in _writers(manifest):
        if w.at is None:
            hand = Hand(w.who, size.at, "replicas")
            if w.scaled and size.happened is not False and not _autoscaled(hand, since, around):
                yield hand
        elif w.at >= since:
            rolled = w.fields & {"template", "replicas"}
            if left := (rolled | w.fields & {"paused"} if rolled else w.fields) - old:
                yield Hand(w.who, w.at, _named(left))


def _autoscaled(hand: Hand, since: datetime, around: Around | None) -> bool:
    """An autoscaler under a name that is not known: its own status says that it scaled just then."""
    last = around.autoscaled_at if around else None
    if last is None or last < since or hand.by_hand:
        return False
    return hand.at is None or abs(hand.at - last) <= _PERIOD


def _size_change(manifest: Obj, around: Around | None, since: datetime) -> Change:
    """By the ReplicaSet, which is written with each change of the size, and by the Events that say so."""
    current = current_revision(manifest, around)
    written = last_written(current) if current else None
    if around is None or current is None or written is None:
        return Change(None)
    if "data" in current:
        return _told(around, since, lambda e: e.reason in ("SuccessfulCreate", "SuccessfulDelete"))
    if written < since:
        return Change(False)
    others = [r for r in around.revisions or () if r is not current and (last_written(r) or since) >= since]
    if not others:
        found = _told(around, since, lambda e: f"replica set {name_of(current)} from" in e.message)
        late = found.happened is False and around.now - written < _LATE
        return Change(None, written) if late or found.happened is None else found
    # A rollout scales as well. What it replaces had so many pods before, and has at its end what was wanted by then.
    wanted, names = manifest["spec"].get("replicas"), {name_of(r) for r in others}
    before = [start for _, name, start, end in scalings(around) if name in names and start > end]
    left = [_wanted(r) for r in others if around.ours and not r["spec"].get("replicas")]
    return Change(False if wanted in (*left, max(before, default=None)) else None)


def _told(around: Around, since: datetime, about: Callable[[KubeEvent], bool]) -> Change:
    """By Events of that kind; that there is none says so only while they are kept and not combined."""
    every = around.events or ()
    times = [e.last_seen for e in every if about(e) and e.last_seen is not None and e.last_seen >= since]
    if times:
        return Change(True, max(times))
    few = around.events is not None and sum(e.count for e in every) < _COMBINED
    return Change(False if few and around.now - since < _TOLD else None)


def _wanted(replica_set: Obj) -> int | None:
    told = (replica_set["metadata"].get("annotations") or {}).get(_DESIRED, "")
    return int(told) if told.isdigit() else None
