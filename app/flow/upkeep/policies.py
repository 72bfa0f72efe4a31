"""The policy in force: loaded at the start, reloaded when its files change, never replaced by a bad one, and one for all replicas.

The supervisor calls `look` every two seconds. Whichever replica sees a change of its files first brings it into force for all: what it
loaded goes into the store, and the others take it from there, as their own files may be a minute behind. Refused files are loud: audit record, metric at 0, a problem in `/readyz`, a
log line with file, line and column; the last good policy stays, and as the store keeps its text, a start finds it too. One
thing is read even from files that are refused: a `mode: observe` at the head of a file holds everything back, because that
is what people write in an emergency. Reading, parsing and hashing run in a thread. What the store has to hear waits here
until it takes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, overload

import structlog

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.remediation import AnyRemediation
from app.domain.units import few
from app.flow.services import Gone
from app.observe.metrics import Metrics
from app.policy.load import load_policy, read_dir
from app.policy.model import Policy
from app.policy.source import MAX_BYTES
from app.store import last_policy, people, work
from app.store.database import Store
from app.store.last_policy import Before, LastPolicy, Own
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_BRAKE: Final = re.compile(
    r"^\ufeff?[\"']?mode[\"']?[ \t]*:[ \t]*[\"']?observe[\"']?[ \t]*(?:#.*)?\r?$", re.MULTILINE
)
_GONE_AFTER: Final = 30
"""Looks in a row, two seconds apart, at which a replica was away that is taken for gone: a broken session, or a restart, is no end."""
_FROM_THERE: Final = "was brought into force by another replica; the files of this one are others, and count again once they change"


class PolicyKeeper:
    """Holds the policy; call it to get the one in force."""

    def __init__(
        self,
        folder: Path,
        catalogue: Mapping[str, AnyRemediation],
        metrics: Metrics,
        before: Before | None = None,
    ) -> None:
        """Load the files, or, when they are refused, what was in force last. Raises BadInput of the files when that is not to be had."""
        self._folder, self._catalogue, self._metrics = folder, catalogue, metrics
        before = before or Before()
        self._replica, last = before.replica, before.last
        self._refused: tuple[Mapping[str, str], BadInput] | None = None  # the texts and why they were refused
        self._untold: list[Callable[[Tx], None]] = [self._name_pauses]
        self._nameless: Mapping[str, str] = {}
        self._since = ""
        # Whether our own files say observe; where they cannot be read it stays as it was.
        self._says = before.own.braked if before.own else bool(last and last.braked)
        self._heard: str | None = None  # the store's row, as it was looked at last
        # What another replica brought into force, where our files say something else; and that this version cannot read it.
        self._of_other: LastPolicy | None = None
        self._unread = False
        self._braked_by = before.braked_by  # other replicas whose own files say observe
        self._missed: dict[str, int] = {}  # at how many looks in a row each of them was away
        texts, found = self._read()
        if isinstance(found, Policy):
            self._files: Mapping[str, str] = texts
            self._says = found.mode is Mode.OBSERVE
            self._texts, self._policy, self._in_force = texts, found, found
            self._own = before.own
            if last is not None and before.own == self._now():
                # A start is no change: another replica may have brought newer files into force.
                same = last.texts == self._texts
                self._take_over(last, self._policy if same else self._readable(last.texts))
            else:
                self._changed()
                self._put_in_force()
            self._tell(EventKind.POLICY_LOADED, {"version": self._in_force.version, **self._from()})
            metrics.policy_reload_ok.set(1)
            return
        if last is None:
            raise found
        self._texts, self._policy = last.texts, self._of_before(last, found)
        self._files, self._own = {}, before.own
        self._since = f", as it was kept at {last.at:%Y-%m-%d %H:%M} UTC,"
        self._refuse(texts, found, self._held_back())

    def __call__(self) -> Policy:
        """The policy in force."""
        return self._in_force

    @property
    def problems(self) -> Mapping[str, str]:
        """Under `policy`, that the files are not what is in force; under a pause's scope, that no rule has its name any more."""
        held = _held_by(self._braked_by) if self._braked_by and not self._says else ""
        version, told = self._in_force.version, ""
        if self._refused is not None:
            told = f"the policy files were refused; version {version}{self._since} stays in force"
        elif self._of_other is not None and not held:
            told = f"version {version} {_FROM_THERE}"
        why = "; ".join(part for part in (told, held) if part)
        return {**self._nameless, "policy": why} if why else self._nameless

    async def look(self, store: Store, nudge: Callable[[], None], absent: Gone | None = None) -> int:
        """Look at the files once and bring into force what changed; then tell the audit trail, and hear what the other replicas
        have brought into force; `absent` says which of some are away, None where there are no others. Returns 1 when it told the trail something. Raises StoreUnavailable when it could not be told, which the next look does again."""
        texts, found = await asyncio.to_thread(self._load)
        if isinstance(found, Policy):
            self._take(texts, found)
        elif found is not None or self._refused is not None:
            await self._refused_still(texts, found)
        if self._nameless and not self._untold:
            await self._forget_lifted(store)
        told = await self._tell_all(store, nudge)
        await self._hear(store)
        if absent is not None:
            await self._hear_brakes(store, absent)
        return int(await self._tell_all(store, nudge) or told)

    async def _tell_all(self, store: Store, nudge: Callable[[], None]) -> bool:
        if not self._untold:
            return False
        waiting = tuple(self._untold)
        await store.write(lambda tx: [tell(tx) for tell in waiting])
        del self._untold[: len(waiting)]
        nudge()
        return True

    async def _hear(self, store: Store) -> None:
        """What stands in the store and is not from here was brought into force by another replica, after what we last heard of."""
        row = await store.read(last_policy.row)
        if row == self._heard:
            return
        last = last_policy.read(row, store.vault.key)
        if last is not None:
            same = last.texts == self._texts
            policy = self._policy if same else await asyncio.to_thread(self._readable, last.texts)
            before = self._in_force.version
            self._take_over(last, policy)
            self._told_of(before)
        self._heard = row  # only now: what could not be taken over is tried again, and loudly

    async def _hear_brakes(self, store: Store, absent: Gone) -> None:
        """A brake counts for all until it leaves the very files in which it stands, or their replica is gone."""
        names = await store.read(lambda conn: last_policy.braked_by(conn, self._replica))
        away = await absent(names) if names else ()
        self._missed = {name: self._missed.get(name, 0) + 1 for name in away}
        self._braked_by = tuple(name for name in names if self._missed.get(name, 0) < _GONE_AFTER)
        before = self._in_force.version
        self._put_in_force()
        self._told_of(before)

    def _told_of(self, before: str) -> None:
        """What another replica did to what is in force here."""
        if self._in_force.version == before:
            return
        log.info("policy_heard", version=self._in_force.version, before=before)
        data = {"version": self._in_force.version, "before": before, "from": "another replica"}
        self._tell(EventKind.POLICY_LOADED, data)
        self._untold.append(lambda tx: work.wake_resting(tx, observed=True))
        self._untold.append(self._name_pauses)

    def _take_over(self, last: LastPolicy, policy: Policy | None) -> None:
        self._unread = policy is None
        if policy is not None:
            self._texts, self._policy = last.texts, policy
        self._of_other = None if last.texts == self._files else last
        self._put_in_force()

    def _from(self) -> Mapping[str, str]:
        return {"from": "another replica"} if self._of_other is not None else {}

    def _now(self) -> Own:
        """What our own files say by now."""
        if not self._files and self._own is not None:
            return replace(self._own, braked=self._says)  # never read since this start
        told = json.dumps(sorted(self._files.items()))
        return Own(hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest(), self._says)

    def _changed(self) -> None:
        """Our files say something else than this replica told last: that is in force for all from now on, and nothing else is."""
        own = self._now()
        if own == self._own:
            return
        self._own, texts = own, self._of_other.texts if self._of_other else dict(self._texts)
        braked = self._says
        self._untold.append(lambda tx: last_policy.keep(tx, texts, braked=braked))
        self._untold.append(lambda tx: last_policy.tell(tx, self._replica, own))

    def _readable(self, texts: Mapping[str, str]) -> Policy | None:
        """None when this version of the service cannot read what another one took."""
        try:
            return load_policy(texts, self._catalogue)
        except BadInput as error:
            log.error("policy_of_another_version", code=error.code, error=str(error))
            return None

    async def _refused_still(self, texts: Mapping[str, str], found: BadInput | None) -> None:
        """The brake is looked at each time: it counts in whichever file, also where another one keeps all of them from being read."""
        observe = await asyncio.to_thread(self._held_back)
        if found is not None:
            self._refuse(texts, found, observe)
        elif self._refused is not None and observe is not self._says:
            self._refuse(*self._refused, observe)

    def _held_back(self) -> bool:
        """Whether a file says so; what cannot be read lifts no brake."""
        said = _says_observe(self._folder)
        return self._says if said is None else said

    async def _forget_lifted(self, store: Store) -> None:
        there = await store.read(people.scopes_in_force)
        self._nameless = {scope: text for scope, text in self._nameless.items() if scope in there}

    def _load(self) -> tuple[Mapping[str, str], Policy | BadInput | None]:
        """The texts, and what they are: a policy, refused, or what we know (None). In a thread."""
        texts, found = self._read(known=self._files if self._refused is None else self._refused[0])
        if isinstance(found, BadInput) and self._refused is not None and not texts:
            return texts, None if str(self._refused[1]) == str(found) else found
        return texts, found

    @overload
    def _read(self) -> tuple[Mapping[str, str], Policy | BadInput]: ...
    @overload
    def _read(self, known: Mapping[str, str]) -> tuple[Mapping[str, str], Policy | BadInput | None]: ...
    def _read(
        self, known: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], Policy | BadInput | None]:
        """The texts of the files, none when they cannot be read, and what they make; None when they are those that are `known`."""
        texts: Mapping[str, str] = {}
        try:
            texts = read_dir(self._folder)
            if known is not None and texts == known:
                return texts, None
            if known is not None and texts == self._texts:
                return texts, self._policy
            return texts, load_policy(texts, self._catalogue)
        except BadInput as error:
            return texts, error
        except Exception as error:  # noqa: BLE001 - whatever a file makes the parser do, it is refused and not in force
            why = f"the policy cannot be loaded ({type(error).__name__})"
            return texts, BadInput(why, code="bad_policy", where=str(self._folder))

    def _of_before(self, last: LastPolicy, refused: BadInput) -> Policy:
        """What was in force before this start. Raises `refused` when this version of the service cannot read it."""
        try:
            return load_policy(last.texts, self._catalogue)
        except BadInput:
            raise refused from None

    def _take(self, texts: Mapping[str, str], policy: Policy) -> None:
        before = self._in_force.version
        self._files, self._says = dict(texts), policy.mode is Mode.OBSERVE
        self._refused, self._since = None, ""
        if self._of_other is not None and self._now() == self._own:
            # They are as they were before they were refused, and that is no change.
            self._take_over(self._of_other, None if self._unread else self._policy)
        else:
            self._texts, self._policy = self._files, policy
            self._of_other, self._unread = None, False
            self._put_in_force()
        version = self._in_force.version
        self._metrics.policy_reload_ok.set(1)
        self._metrics.policy_reloads.labels("loaded").inc()
        log.info("policy_loaded", version=version, before=before)
        self._tell(EventKind.POLICY_LOADED, {"version": version, "before": before, **self._from()})
        self._changed()
        self._untold.append(lambda tx: work.wake_resting(tx, observed=True))
        self._untold.append(self._name_pauses)

    def _name_pauses(self, tx: Tx) -> None:
        """What a pause of a rule holds does not go with the rule's name, and whoever set it is told."""
        rules = {rule.name: rule.remediation for rule in self._in_force.rules}
        self._nameless = {pause.scope: _holds_now(pause) for pause in people.know_rules(tx, rules)}
        for scope, text in self._nameless.items():
            log.warning("pause_of_no_rule", scope=scope, text=text)

    def _refuse(self, texts: Mapping[str, str], error: BadInput, observe: bool) -> None:
        self._refused, self._says = (texts, error), observe
        self._put_in_force()
        self._metrics.policy_reload_ok.set(0)
        self._metrics.policy_reloads.labels("refused").inc()
        log.error("policy_refused", code=error.code, error=str(error), kept=self._in_force.version)
        data = {"error": str(error), "kept": self._in_force.version}
        self._tell(EventKind.POLICY_REFUSED, data)
        self._changed()

    def _put_in_force(self) -> None:
        """Only ever downwards: what cannot be read in full may take rights away and never give any."""
        braked = self._says or bool(self._braked_by)
        if self._unread or (braked and self._policy.mode is not Mode.OBSERVE):
            update = {"mode": Mode.OBSERVE, "version": f"{self._policy.version}+observe"}
            self._in_force = self._policy.model_copy(update=update)
        else:
            self._in_force = self._policy

    def _tell(self, kind: EventKind, data: Mapping[str, str]) -> None:
        self._untold.append(lambda tx: tx.audit(kind, data=data))


def _held_by(names: Sequence[str]) -> str:
    return f"the files of {', '.join(few(names, 5))} say mode: observe, which holds all replicas until these say something else"


def _holds_now(pause: people.Pause) -> str:
    what = f"it holds all of {pause.remediation}" if pause.remediation else "it holds nothing"
    return f"no rule has the name of this pause by {pause.author} any more: {what} until it is lifted"


def _says_observe(folder: Path) -> bool | None:
    """A policy file has `mode: observe` at its head, whatever else it or the others have. None when none does, and one cannot be read or none
    is there."""
    try:
        files = [f for f in sorted(folder.iterdir()) if f.suffix in (".yaml", ".yml")]
    except OSError:
        return None
    heads = [_beginning(file) for file in files if not file.stem.endswith(".test")]
    if any(head is not None and _BRAKE.search(head) for head in heads):
        return True
    return False if heads and None not in heads else None


def _beginning(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
