"""A replay's report, for people and for scripts. Called by `policy backtest`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.decision import Mode
from app.domain.json import JsonValue
from app.domain.quantities import duration_text
from app.domain.units import counted, utc
from app.policy.model import Policy
from app.policytools.assumed import ClusterFacts
from app.policytools.backtest import Replay
from app.policytools.backtest_known import Assumptions
from app.policytools.backtest_records import Reading, instant
from app.policytools.backtest_report import Backtest, Tally

_SHOWN = 20
_WORDS = ("acted", "asked", "blocked", "observed", "joined", "fixed", "person")
_MEANING = {
    "acted": "acts by itself",
    "asked": "asks a person",
    "blocked": "blocked",
    "observed": "only observed",
    "joined": "a run was at work on it",
    "fixed": "fixed before, as assumed",
    "person": "with a person",
}


def assumed_lines(assumed: Assumptions, policy: Policy) -> list[str]:
    """What nobody recorded, for people."""
    end = "then the alert is gone" if assumed.fixed else "and does not help"
    approvals = (
        "nobody answers a question" if assumed.approvals == "nobody" else "every question is approved at once"
    )
    lines = [
        _cluster_line(assumed.cluster),
        f"a run takes {duration_text(assumed.run)}, {end}; {approvals}",
        "an alert fires until its recorded end and is confirmed until then; without one it fires until it is said to be resolved",
        "nobody pauses anything and no blocking alert fires; the first step that the rule allows applies",
    ]
    if any(rule.mode is Mode.EARNED for rule in policy.rules):
        begin = f"at level {assumed.level}" if assumed.level else "where their rules say"
        lines.append(f"trust levels of rules with mode earned begin {begin}, and the replay's runs move them")
    return lines


def _cluster_line(cluster: ClusterFacts) -> str:
    pods = cluster.measured()
    parts = [f"{pods.ready} of {counted(pods.desired, 'pod')} ready, {pods.at_once} taken down at once"]
    if cluster.managers:
        parts.append(f"managed by {', '.join(cluster.managers)}")
    if cluster.marks:
        parts.append(f"marks {', '.join(f'{k}={v}' for k, v in cluster.marks.items())}")
    where = "every target exists" if cluster.exists else "no target exists"
    return f"{where}: {'; '.join(parts)}"


def report_lines(backtest: Backtest, reading: Reading) -> list[str]:
    """The whole report: differences first, then what the new policy would have done."""
    lines = [_header(backtest, reading), *reading.faults, *_late(backtest), "", "Assumed:"]
    lines += [f"- {line}" for line in assumed_lines(backtest.new.assumed, backtest.new.policy)]
    if backtest.old is not None:
        lines += ["", *_difference_lines(backtest)]
        lines += ["", f"Old policy {backtest.old.policy.version}", *_tally_lines(backtest.old_tally)]
    title = "New policy" if backtest.old is not None else "Policy"
    return [*lines, "", f"{title} {backtest.new.policy.version}", *_tally_lines(backtest.tally)]


def _header(backtest: Backtest, reading: Reading) -> str:
    span = f", {utc(instant(backtest.since))} to {utc(instant(backtest.until))}" if backtest.records else ""
    rest = f"; {reading.passed_over} lines without alerts" if reading.passed_over else ""
    bad = f"; {counted(reading.unreadable, 'line')} unreadable, among them:" if reading.unreadable else ""
    return f"{counted(backtest.records, 'record')} replayed{span}{rest}{bad}"


def _late(backtest: Backtest) -> list[str]:
    late = backtest.new.late
    return [f"{counted(late, 'record')} out of order in time, taken when read"] if late else []


def _difference_lines(backtest: Backtest) -> list[str]:
    if not backtest.differences:
        return ["No record is decided differently"]
    most = sorted(backtest.differences.items(), key=lambda item: (-item[1].count, item[0]))
    total = sum(d.count for d in backtest.differences.values())
    lines = [f"{counted(total, 'record')} decided differently (old -> new):"]
    for (name, namespace, old, new), found in most[:_SHOWN]:
        about = f"{name or 'no name'} {namespace}".rstrip()
        lines.append(f"  {found.count:>7}  {about}: {old} -> {new}, first {utc(instant(found.first))}")
    if len(most) > _SHOWN:
        lines.append(f"  and {len(most) - _SHOWN} more kinds")
    for name, target, n in backtest.newly_automatic()[:_SHOWN]:
        lines.append(f"  new automatic: {n} x {name} on {target}")
    return lines


def _tally_lines(tally: Tally) -> list[str]:
    lines = []
    for what in _WORDS:
        n = tally.total(what)
        if n:
            why = (
                ", ".join(f"{reason} {count}" for reason, count in tally.reasons(what))
                if what in ("blocked", "observed")
                else ""
            )
            targets = (
                sum(bool(getattr(a, what)) for a in tally.actions.values())
                if what in ("acted", "asked")
                else 0
            )
            note = f"  on {counted(targets, 'target')}" if targets else f"  {why}" if why else ""
            lines.append(f"  {n:>7}  {_MEANING[what]}{note}")
    rules = tally.by_rule()
    if rules:
        width = max(len(name or "no rule") for name in rules)
        lines.append("  records by rule: " + ", ".join(_WORDS[:4]))
        for name, words in sorted(rules.items()):
            lines.append(
                f"    {name or 'no rule':<{width}}  " + "  ".join(f"{words[w]:>6}" for w in _WORDS[:4])
            )
    return lines


def report_json(backtest: Backtest, reading: Reading, hit: list[str]) -> dict[str, JsonValue]:
    """For `--json`."""
    differences: list[JsonValue] = [
        {
            "alertname": k[0],
            "namespace": k[1],
            "old": k[2],
            "new": k[3],
            "count": d.count,
            "first": instant(d.first).isoformat(),
        }
        for k, d in sorted(backtest.differences.items())
    ]
    return {
        "records": backtest.records,
        "unreadable": reading.unreadable,
        "faults": list(reading.faults),
        "out_of_order": backtest.new.late,
        "assumed": list(assumed_lines(backtest.new.assumed, backtest.new.policy)),
        "limits_hit": list(hit),
        "differences": differences,
        "new_automatic": [{"alertname": a, "target": t, "count": n} for a, t, n in backtest.newly_automatic()]
        if backtest.old
        else [],
        "policy": _tally_json(backtest.new, backtest.tally),
        "against": _tally_json(backtest.old, backtest.old_tally) if backtest.old else None,
    }


def _tally_json(replay: Replay, tally: Tally) -> Mapping[str, JsonValue]:
    return {
        "version": replay.policy.version,
        "totals": {what: tally.total(what) for what in _WORDS},
        "blocked": dict(tally.reasons("blocked")),
        "observed": dict(tally.reasons("observed")),
        "rules": {name: dict(words) for name, words in sorted(tally.by_rule().items())},
        "actions": [
            {
                "alertname": name,
                "target": target,
                "acted": a.acted,
                "asked": a.asked,
                "first": instant(a.first).isoformat(),
            }
            for (name, target), a in sorted(tally.actions.items())
        ],
    }
