"""Rate limits in the logs of a workload's pods: by provider, since when, whose limit, and until when the provider said to wait.

Called by the handler of rate limits. Bounded as all reading of logs is. Data of `limits.answers`: `groups`, one a provider
(`Group.to_json`), and `ours`, how often we limited our own clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from app.domain.cluster import Cluster
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.redact import redact
from app.domain.text import beside
from app.domain.workload import Pod
from remediations.evidence.limit_lines import OURS, Limited, limit_in
from remediations.evidence.limit_providers import PROVIDERS, Whose
from remediations.evidence.logs import PodLog, read_logs
from remediations.evidence.usage import count, short, span

ANSWERS, RELEASE = "limits.answers", "limits.release"
MAX_GROUPS = 8
_GRACE = timedelta(seconds=1)
_SILENT = timedelta(minutes=1)
"""Where no wait was asked for, a shorter silence tells nothing."""
_LONGER = 2.0
"""So many times as long as it usually is silent between two limited answers is a silence that tells something."""
_USUALLY = _NEARLY_ALL = 0.9
_FAR_MORE = 5
"""Half of all, and so many times as many as any other pod has, is of one pod as well."""
_CONTACTS = {p.name: p.contact for p in PROVIDERS}
_WORDS = {
    Whose.KEY: "the limit is the key's",
    Whose.ACCOUNT: "the limit is the account's, whichever of its keys is used",
    Whose.CREDIT: "the credit or the budget of the account is used up, which no waiting ends",
    Whose.ADDRESS: "the limit is our address's, whichever key is used",
    Whose.PROVIDER: "the provider is overloaded or failing, for everybody",
    Whose.UNKNOWN: "whose limit it is, is not told",
}


@dataclass(frozen=True, slots=True)
class Group:
    """What one provider answered. `first` and `last` are None where no line tells its time. `until` is the latest moment until which it
    said to wait; `outlived`: it limited again after a wait that it had asked for was over, so that waiting has been tried. `apart`: how many seconds
    nine in ten limited answers come after the one before, at most. `pods`: how many each pod that was read has. `pod`: which one has nearly all of them, or far more than any other."""

    provider: str
    title: str
    count: int
    whose: Whose
    first: datetime | None = None
    last: datetime | None = None
    wait: float | None = None
    until: datetime | None = None
    outlived: bool = False
    limits: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    apart: float = 0.0
    pods: tuple[tuple[str, int], ...] = ()

    @property
    def pod(self) -> str:
        """Whose they are, of several pods; empty where more than one has many."""
        first, second, *_ = (*sorted(self.pods, key=lambda pair: -pair[1]), ("", 0), ("", 0))
        most = first[1] >= _NEARLY_ALL * self.count or (
            2 * first[1] >= self.count and first[1] >= _FAR_MORE * second[1]
        )
        return first[0] if len(self.pods) > 1 and most else ""

    @property
    def contact(self) -> str:
        """How one asks this provider for more."""
        if self.whose is Whose.CREDIT:
            return "add credit to the account, or raise its budget"
        return _CONTACTS.get(self.provider, "ask it for a higher limit")

    def waits(self, now: datetime, longest: float) -> bool:
        """Whether a wait that it asked for is under way, is no longer than `longest` seconds, and has not been tried in vain."""
        return (
            self.until is not None
            and not self.outlived
            and now < self.until <= now + timedelta(seconds=longest)
        )

    def over(self, now: datetime) -> bool:
        """Whether the wait that it asked for has ended, and it has not limited us since, for longer than between two limited answers before: one
        silent moment of a steady limit is no end of it. Where it asked for none, as for credit, it was silent for a while."""
        if self.last is None or (now - self.last).total_seconds() <= _LONGER * self.apart:
            return False
        if self.until is None:
            return now - self.last >= _SILENT
        return self.last <= self.until + _GRACE and self.until <= now

    def to_json(self) -> dict[str, JsonValue]:
        """For the data of a finding."""
        return {
            "provider": self.provider,
            "title": self.title,
            "count": self.count,
            "whose": self.whose.value,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "wait": self.wait,
            "until": self.until.isoformat() if self.until else None,
            "outlived": self.outlived,
            "limits": list(self.limits),
            "models": list(self.models),
            "endpoints": list(self.endpoints),
            "apart": self.apart,
            "pods": [list(pair) for pair in self.pods],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Group:
        """Rebuild from `to_json`."""
        times = {name: _moment(data[name]) for name in ("first", "last", "until")}
        texts = {name: tuple(data[name]) for name in ("limits", "models", "endpoints")}
        pods = tuple((str(name), int(number)) for name, number in data["pods"])
        return cls(**{**data, **times, **texts, "pods": pods, "whose": Whose(data["whose"])})

    def note(self, window: float) -> str:
        """For the provider's support: limit, since when, how often, which model or endpoint; nothing of ours but that."""
        since = f", first seen {self.first:%Y-%m-%d %H:%M:%S} UTC" if self.first else ""
        rate = f"{count(self.count, 'limited answer')} in {span(window)} ({self.count / window * 60:.3g} a minute)"
        parts = [f"we are rate limited by {self.title}{since}: {rate}"]
        for name, values in (("limit", self.limits), ("model", self.models), ("endpoint", self.endpoints)):
            parts += [f"{name} {', '.join(values)}"] if values else []
        return "; ".join(parts)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def grouped(found: Iterable[Limited], fired_at: datetime) -> list[Group]:
    """One group a provider, the most frequent first. `fired_at` stands in for the time of lines that tell none."""
    by: dict[str, list[Limited]] = {}
    for one in found:
        by.setdefault(one.provider, []).append(one)
    groups = [_group(name, lines, fired_at) for name, lines in by.items()]
    return sorted(groups, key=lambda g: (-g.count, g.provider))[:MAX_GROUPS]


def _group(name: str, lines: Sequence[Limited], fired_at: datetime) -> Group:
    times = sorted(one.at for one in lines if one.at is not None)
    waits = [one for one in lines if one.wait is not None or one.until is not None]
    ends = sorted(one.until or fired_at + timedelta(seconds=one.wait or 0) for one in waits)
    return Group(
        provider=name,
        title=lines[0].title,
        count=len(lines),
        whose=_whose(lines),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        wait=max((one.wait for one in waits if one.wait is not None), default=None),
        until=ends[-1] if ends else None,
        outlived=bool(ends and times and times[-1] > ends[0] + _GRACE),
        limits=_most(one.limit for one in lines),
        models=_most(one.model for one in lines),
        endpoints=_most(one.endpoint for one in lines),
        apart=_apart(times),
        pods=tuple(Counter(one.pod for one in lines).items()),
    )


def _apart(times: Sequence[datetime]) -> float:
    gaps = sorted((after - before).total_seconds() for before, after in pairwise(times))
    return gaps[min(len(gaps) - 1, int(_USUALLY * len(gaps)))] if gaps else 0.0


def _whose(lines: Sequence[Limited]) -> Whose:
    """A fifth of the lines say that credit is used up, as a client tells of each try and says why at the last; half of them that the provider itself is
    in trouble; or else what most of them say that say something."""
    counts = Counter(one.whose for one in lines)
    if counts[Whose.CREDIT] * 5 >= len(lines):
        return Whose.CREDIT
    if counts[Whose.PROVIDER] * 2 >= len(lines):
        return Whose.PROVIDER
    told = [(n, w) for w, n in counts.items() if w not in (Whose.UNKNOWN, Whose.PROVIDER)]
    return max(told, key=lambda pair: pair[0])[1] if told else Whose.UNKNOWN


def _most(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(short(redact(text), 120) for text, _ in Counter(t for t in texts if t).most_common(3))


async def limits_finding(
    cluster: Cluster, pods: Sequence[Pod], now: datetime, window: float, fired_at: datetime
) -> Finding:
    """The finding `limits.answers` of the `window` seconds before `now`."""
    chosen, logs = await read_logs(cluster, pods, window)
    unread = [f"{log.pod}/{log.container}: {log.fault}" for log in logs if log.fault]
    if unread and len(unread) == len(logs):
        text = f"Logs of {count(len(chosen), 'pod')} could not be read ({short(unread[0], 150)})"
        return Finding(
            ANSWERS, text, Certainty.UNKNOWN, {"groups": [], "ours": 0, "cut": False}, tuple(unread[:5])
        )
    size = sum(len(log.text) for log in logs)
    found, ours = await beside(size, lambda: _lines(logs, now - timedelta(seconds=window)))
    groups = grouped(found, fired_at)
    read = {log.pod: 0 for log in logs if not log.fault}
    groups = [replace(g, pods=tuple({**read, **dict(g.pods)}.items())) for g in groups]
    where = f"in {span(window)} of logs of {count(len(chosen), 'pod')}"
    text = "; ".join(_sentence(g, now) for g in groups[:3]) or f"No answer of a provider {where} is a limit"
    text += f" ({where})" if groups else ""
    if ours:
        text += (
            f"; {count(ours, 'answer')} of our own to clients {'is' if ours == 1 else 'are'} a limit of ours"
        )
    if unread:
        text += f"; {count(len(unread), 'log')} could not be read"
    data: dict[str, JsonValue] = {
        "ours": ours,
        "unreadable": len(unread),
        "cut": any(log.cut for log in logs),
        "groups": [g.to_json() for g in groups],
    }
    return Finding(ANSWERS, text, data=data, details=tuple(_detail(g) for g in groups))


def groups_in(finding: Finding | None) -> list[Group]:
    """The groups of the finding `limits.answers`; none where it was not made."""
    groups: Any = finding.data["groups"] if finding is not None else ()
    return [Group.from_json(group) for group in groups]


def _lines(logs: Sequence[PodLog], since: datetime) -> tuple[list[Limited], int]:
    told = [(log.pod, limit_in(line)) for log in logs for line in log.text.splitlines()]
    found = [
        replace(t, pod=pod) for pod, t in told if isinstance(t, Limited) and (t.at is None or t.at >= since)
    ]
    return found, sum(t == OURS for _, t in told)


def _sentence(group: Group, now: datetime) -> str:
    kind = "failing answer" if group.whose is Whose.PROVIDER else "limited answer"
    only = f", {most_of(group)} of them of pod {group.pod}" if group.pod else ""
    text = f"{group.title}: {count(group.count, kind)}{only}, {_WORDS[group.whose]}"
    if group.until is None:
        return text
    if group.outlived and not group.over(now):
        return f"{text}; it limits again after the wait that it asked for"
    return f"{text}; it says to try again at {clock(group.until)}" + (
        "" if group.until > now else ", which is over"
    )


def most_of(group: Group) -> str:
    """How many of them its one pod has, in words."""
    own = dict(group.pods)[group.pod]
    return "nearly all" if own >= _NEARLY_ALL * group.count else f"{own:,}"


def clock(at: datetime) -> str:
    """A moment for people."""
    return f"{at:%H:%M:%S} UTC"


def _detail(group: Group) -> str:
    since = f" from {clock(group.first)} to {clock(group.last)}" if group.first and group.last else ""
    more = [*group.limits, *(f"model {m}" for m in group.models), *(f"endpoint {e}" for e in group.endpoints)]
    wait = [f"waits of up to {span(group.wait)}"] if group.wait is not None else []
    return "; ".join([f"{group.count} x {group.title}{since}", *more, *wait])
