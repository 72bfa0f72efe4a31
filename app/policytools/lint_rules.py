"""Alerting rules out of Prometheus rule files: `PrometheusRule` manifests, lists of them, and plain rule groups.

Called by `app.policytools.lint`. Pure: it is given the texts. What is not about alerts (recording rules, other kinds) is passed
over; a file that cannot be read is told with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.policy.faults import PolicyFault, PolicyInvalid
from app.policy.matchers import Matcher, When
from app.policy.source import Path, Source, read_source
from app.policytools.lint_promql import Query, parse_span, read_query

_TEMPLATE = "{{"


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """One alert as Prometheus is told to raise it. `hold` is its `for`, `keep` its `keep_firing_for`."""

    name: str
    query: Query
    hold: timedelta
    keep: timedelta
    labels: Mapping[str, str]
    file: str
    line: int

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"

    def label(self, name: str) -> str | None:
        """The value that its alerts surely have, empty for surely none; None when that depends on the series."""
        if name == "alertname":
            return self.name
        if name in self.labels:
            return None if _TEMPLATE in self.labels[name] else self.labels[name]
        shape = self.query.shape
        if not shape.sure:
            return None
        return "" if shape.lacks(name) else shape.known.get(name)

    def matches(self, when: When) -> bool | None:
        """Does a policy's rule match its alerts? None when it depends on the series."""
        words = [self._all(matchers) for matchers in when.lists]
        return True if True in words else None if None in words else False

    def _all(self, matchers: tuple[Matcher, ...]) -> bool | None:
        words = []
        for matcher in matchers:
            value = self.label(matcher.name)
            words.append(None if value is None else matcher.matches({matcher.name: value}))
        return False if False in words else None if None in words else True


def read_rules(texts: Mapping[str, str]) -> tuple[AlertingRule, ...]:
    """All alerting rules of all files. Raises PolicyInvalid with every fault."""
    faults: list[PolicyFault] = []
    found: list[AlertingRule] = []
    for file, text in texts.items():
        before = len(found), len(faults)
        for part in _documents(text):
            source = read_source(file, part)
            faults += source.faults
            if not source.faults:
                found += _alerts(source, source.value, (), faults)
        if (len(found), len(faults)) == before:
            faults.append(PolicyFault(file, 1, 1, "no alerting rule in it"))
    if faults:
        raise PolicyInvalid(tuple(sorted(set(faults))))
    return tuple(found)


def _documents(text: str) -> Iterator[str]:
    """The documents of a file, each with its lines where they stand in the file."""
    part: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.rstrip() == "---" or line.startswith("--- "):
            if any(x.strip() and not x.lstrip().startswith("#") for x in part):
                yield "\n".join(part)
            part = [""] * (number + 1)
        else:
            part.append(line)
    if any(x.strip() and not x.lstrip().startswith("#") for x in part):
        yield "\n".join(part)


def _alerts(source: Source, value: Any, path: Path, faults: list[PolicyFault]) -> Iterator[AlertingRule]:
    if not isinstance(value, dict):
        return
    for name in ("items", "spec"):
        inner = value.get(name)
        for at, item in enumerate(inner) if isinstance(inner, list) else [("", inner)]:
            where = (*path, name) if at == "" else (*path, name, at)
            yield from _alerts(source, item, where, faults)
    groups = value.get("groups")
    for g, group in enumerate(groups if isinstance(groups, list) else ()):
        rules = group.get("rules") if isinstance(group, dict) else None
        for r, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict) and "alert" in rule:
                one = _alert(source, rule, (*path, "groups", g, "rules", r), faults)
                if one is not None:
                    yield one


def _alert(
    source: Source, rule: dict[str, Any], path: Path, faults: list[PolicyFault]
) -> AlertingRule | None:
    spans = []
    for key in ("for", "keep_firing_for"):
        span = parse_span(str(rule.get(key, "0s")))
        if span is None:
            faults.append(source.fault((*path, key), f"expected a duration such as 5m, got {rule[key]!r}"))
        spans.append(span or timedelta())
    labels = rule.get("labels") or {}
    if "expr" not in rule or not isinstance(labels, dict):
        faults.append(source.fault(path, "an alert needs an expr, and labels by name"))
        return None
    texts = {str(name): str(value) for name, value in labels.items()}
    line = source.place((*path, "alert")).line
    query = read_query(str(rule["expr"]))
    return AlertingRule(str(rule["alert"]), query, spans[0], spans[1], texts, source.file, line)
