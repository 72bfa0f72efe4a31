"""What a replay says in the end: what would have been done, asked, blocked and observed, and how two policies differ.

Called by `policy backtest`. Holds counters and a first example of each, never the alerts. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from app.domain.errors import BadInput
from app.domain.units import counted
from app.policytools.backtest import Acted, Replay
from app.policytools.backtest_known import Said
from app.policytools.backtest_records import Heard


@dataclass(slots=True)
class Actions:
    """Automatic actions and questions about one alert name on one target."""

    acted: int = 0
    asked: int = 0
    first: int = 0


@dataclass(slots=True)
class Tally:
    """The counts of one policy. `words` are of records; `actions` also has what came later than its record."""

    words: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    actions: dict[tuple[str, str], Actions] = field(default_factory=dict)

    def add(self, said: Said, acted: Iterable[Acted]) -> None:
        """One record and everything that happened up to it."""
        self.words[said[:4]] += 1
        for one in acted:
            entry = self.actions.setdefault((one.alertname, one.said.target), Actions(first=one.at))
            if one.what == "acted":
                entry.acted += 1
            else:
                entry.asked += 1

    def total(self, what: str) -> int:
        """Records of this word; for acted and asked, all actions and questions, later ones too."""
        if what == "acted":
            return sum(a.acted for a in self.actions.values())
        if what == "asked":
            return sum(a.asked for a in self.actions.values())
        return sum(n for (word, *_), n in self.words.items() if word == what)

    def by_rule(self) -> dict[str, Counter[str]]:
        """Records of each rule by word."""
        found: dict[str, Counter[str]] = {}
        for (word, _, _, rule), n in self.words.items():
            if word != "resolved":
                found.setdefault(rule, Counter())[word] += n
        return found

    def reasons(self, what: str) -> list[tuple[str, int]]:
        """Why records were blocked (or observed), most frequent first."""
        counts: Counter[str] = Counter()
        for (word, code, gate, _), n in self.words.items():
            if word == what:
                counts[f"{gate}: {code}" if gate else code] += n
        return counts.most_common()


@dataclass(slots=True)
class Difference:
    """Records that both policies see alike in their labels' main words and decide differently."""

    count: int = 0
    first: int = 0


DifferenceKey = tuple[str, str, str, str]


@dataclass(slots=True)
class Backtest:
    """One policy, or two side by side, over one stream. `new` is the one that is proposed, `old` the one it is held
    against."""

    new: Replay
    old: Replay | None = None
    tally: Tally = field(default_factory=Tally)
    old_tally: Tally = field(default_factory=Tally)
    differences: dict[DifferenceKey, Difference] = field(default_factory=dict)
    records: int = 0
    since: int = 0
    until: int = 0

    def hear(self, record: Heard) -> None:
        """One record through one policy or both."""
        self.records += 1
        self.since = min(self.since, record.at) if self.since else record.at
        self.until = max(self.until, record.at)
        said = self.new.hear(record)
        self._count(self.new, self.tally, said)
        if self.old is None:
            return
        before = self.old.hear(record)
        self._count(self.old, self.old_tally, before)
        if said[:2] != before[:2] or said.rule != before.rule or said.target != before.target:
            about = (record.labels.get("alertname", ""), record.labels.get("namespace", ""))
            key = (*about, _phrase(before), _phrase(said))
            entry = self.differences.setdefault(key, Difference(first=record.at))
            entry.count += 1

    @staticmethod
    def _count(replay: Replay, tally: Tally, said: Said) -> None:
        tally.add(said, replay.acted)
        if replay.acted:
            replay.acted.clear()

    def newly_automatic(self, namespaces: str = "*") -> list[tuple[str, str, int]]:
        """Alert name, target and count of automatic actions of the new policy where the old one never acts by itself."""
        return [
            (name, target, entry.acted)
            for (name, target), entry in sorted(self.tally.actions.items())
            if entry.acted
            and fnmatchcase(target.split("/", 1)[0], namespaces)
            and not self.old_tally.actions.get((name, target), Actions()).acted
        ]


def _phrase(said: Said) -> str:
    if said.what in ("blocked", "observed"):
        return f"{said.what} ({said.code})"
    return f"{said.what} by {said.rule}" if said.rule else said.what


def limits_hit(backtest: Backtest, limits: Iterable[str]) -> list[str]:
    """One sentence for each limit that the new policy breaks. Raises BadInput for a limit that is none.

    `new-auto[:NAMESPACE-PATTERN]`: it acts by itself on a target on which the old one never does.
    `more-actions-than:N`: it acts by itself more than N times.
    """
    found = []
    for limit in limits:
        name, _, value = limit.partition(":")
        if name == "new-auto":
            new = backtest.newly_automatic(value or "*")
            if new:
                shown = "; ".join(f"{n} x {alert} on {target}" for alert, target, n in new[:3])
                more = f" and {len(new) - 3} more" if len(new) > 3 else ""
                found.append(f"{limit}: new automatic actions: {shown}{more}")
        elif name == "more-actions-than" and value.isdecimal():
            acted = backtest.tally.total("acted")
            if acted > int(value):
                found.append(f"{limit}: {counted(acted, 'automatic action')}")
        else:
            message = "expected new-auto, new-auto:NAMESPACE-PATTERN or more-actions-than:NUMBER"
            raise BadInput(message, code="bad_limit", where=limit)
    return found
