"""The policy in force: loaded at the start, reloaded when its files change, never replaced by a bad one.

The supervisor calls `look` every two seconds. A refused reload is loud: audit record, metric at 0, a problem in `/readyz`, a
log line with file, line and column; the last good policy stays. One thing is read even from files that are refused: a
`mode: observe` at the head of a file holds everything back, because that is what people write in an emergency. Reading,
parsing and hashing run in a thread. What the audit trail has to hear waits here until the store takes it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.remediation import AnyRemediation
from app.observe.metrics import Metrics
from app.policy.load import load_policy, read_dir
from app.policy.model import Policy
from app.policy.source import MAX_BYTES
from app.store import facts, people
from app.store.database import Store
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_BRAKE: Final = re.compile(
    r"^[\"']?mode[\"']?[ \t]*:[ \t]*[\"']?observe[\"']?[ \t]*(?:#.*)?\r?$", re.MULTILINE
)


class PolicyKeeper:
    """Holds the policy; call it to get the one in force."""

    def __init__(self, folder: Path, catalogue: Mapping[str, AnyRemediation], metrics: Metrics) -> None:
        self._folder, self._catalogue, self._metrics = folder, catalogue, metrics
        self._texts = read_dir(folder)
        self._policy = self._in_force = load_policy(self._texts, catalogue)
        self._refused: tuple[Mapping[str, str], str] | None = None  # the texts and why they were refused
        self._untold: list[Callable[[Tx], None]] = [self._name_pauses]
        self._nameless: Mapping[str, str] = {}
        self._tell(EventKind.POLICY_LOADED, {"version": self._policy.version})
        metrics.policy_reload_ok.set(1)

    def __call__(self) -> Policy:
        """The policy in force."""
        return self._in_force

    @property
    def problems(self) -> Mapping[str, str]:
        """Under `policy`, that the files are not what is in force; under a pause's scope, that no rule has its name any more."""
        if self._refused is None:
            return self._nameless
        return {
            **self._nameless,
            "policy": f"the policy files were refused; version {self._in_force.version} stays in force",
        }

    async def look(self, store: Store, nudge: Callable[[], None]) -> int:
        """Look at the files once and bring into force what changed; then tell the audit trail. Returns 1 when it told it
        something. Raises StoreUnavailable when it could not be told, which the next look does again."""
        texts, found = await asyncio.to_thread(self._load)
        if isinstance(found, Policy):
            self._take(texts, found)
        elif found is not None:
            await self._refuse(texts, found)
        if self._nameless and not self._untold:
            await self._forget_lifted(store)
        if not self._untold:
            return 0
        waiting = tuple(self._untold)
        await store.write(lambda tx: [tell(tx) for tell in waiting])
        del self._untold[: len(waiting)]
        nudge()
        return 1

    async def _forget_lifted(self, store: Store) -> None:
        there = await store.read(people.scopes_in_force)
        self._nameless = {scope: text for scope, text in self._nameless.items() if scope in there}

    def _load(self) -> tuple[Mapping[str, str], Policy | BadInput | None]:
        """The texts, and what they are: a policy, refused, or what we know (None). In a thread."""
        texts: Mapping[str, str] = {}
        try:
            texts = read_dir(self._folder)
            if self._refused is None and texts == self._texts:
                return texts, None
            if self._refused is not None and texts == self._refused[0]:
                return texts, None
            return texts, self._policy if texts == self._texts else load_policy(texts, self._catalogue)
        except BadInput as error:
            known = self._refused is not None and not texts and self._refused[1] == str(error)
            return texts, None if known else error
        except Exception as error:  # noqa: BLE001 - whatever a file makes the parser do, it is refused and not in force
            return texts, BadInput(
                f"the policy cannot be loaded ({type(error).__name__})",
                code="bad_policy",
                where=str(self._folder),
            )

    def _take(self, texts: Mapping[str, str], policy: Policy) -> None:
        before = self._in_force.version
        self._policy = self._in_force = policy
        self._texts, self._refused = dict(texts), None
        self._metrics.policy_reload_ok.set(1)
        self._metrics.policy_reloads.labels("loaded").inc()
        log.info("policy_loaded", version=policy.version, before=before)
        self._tell(EventKind.POLICY_LOADED, {"version": policy.version, "before": before})
        self._untold.append(lambda tx: facts.wake_resting(tx, observed=True))
        self._untold.append(self._name_pauses)

    def _name_pauses(self, tx: Tx) -> None:
        """What a pause of a rule holds does not go with the rule's name, and whoever set it is told."""
        rules = {rule.name: rule.remediation for rule in self._in_force.rules}
        self._nameless = {pause.scope: _holds_now(pause) for pause in people.know_rules(tx, rules)}
        for scope, text in self._nameless.items():
            log.warning("pause_of_no_rule", scope=scope, text=text)

    async def _refuse(self, texts: Mapping[str, str], error: BadInput) -> None:
        self._refused = texts, str(error)
        if await asyncio.to_thread(_says_observe, self._folder):
            # Only ever downwards: a file that cannot be read in full may take rights away and never give any.
            held = {"mode": Mode.OBSERVE, "version": f"{self._policy.version}+observe"}
            self._in_force = self._policy.model_copy(update=held)
        else:
            self._in_force = self._policy
        self._metrics.policy_reload_ok.set(0)
        self._metrics.policy_reloads.labels("refused").inc()
        log.error("policy_refused", code=error.code, error=str(error), kept=self._in_force.version)
        data = {"error": str(error), "kept": self._in_force.version}
        self._tell(EventKind.POLICY_REFUSED, data)

    def _tell(self, kind: EventKind, data: Mapping[str, str]) -> None:
        self._untold.append(lambda tx: tx.audit(kind, data=data))


def _holds_now(pause: people.Pause) -> str:
    what = f"it holds all of {pause.remediation}" if pause.remediation else "it holds nothing"
    return f"no rule has the name of this pause by {pause.author} any more: {what} until it is lifted"


def _says_observe(folder: Path) -> bool:
    """A policy file has `mode: observe` at its head, whatever else it or the others have. What cannot be read says nothing."""
    try:
        files = [f for f in sorted(folder.iterdir()) if f.suffix in (".yaml", ".yml")]
    except OSError:
        return False
    return any(_BRAKE.search(_beginning(f)) for f in files if not f.stem.endswith(".test"))


def _beginning(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
