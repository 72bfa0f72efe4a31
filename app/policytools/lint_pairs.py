"""Lint of one rule with one alert that it is used for: can the alert clear in time, does it name a target, does its
timing fit. Called by `app.policytools.lint`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from app.domain.quantities import duration_text
from app.policy.model import FromLabel, Rule
from app.policytools.lint_findings import Finding, Severity, Timing
from app.policytools.lint_promql import Lookback
from app.policytools.lint_rules import AlertingRule


@dataclass(frozen=True, slots=True)
class Pair:
    """A rule and an alert; `sure` when the rule matches all of its alerts."""

    rule: Rule
    alert: AlertingRule
    sure: bool

    def finding(self, code: str, severity: Severity, text: str, *, certain: bool = True) -> Finding:
        """A finding about both."""
        alert = self.alert
        return Finding(code, severity, self.sure and certain, self.rule.name, alert.name, alert.place, text)


def pair_findings(pair: Pair, timing: Timing) -> Iterator[Finding]:
    """Everything about this pair."""
    yield from _clearing(pair)
    yield from _aim(pair)
    yield from _repeats(pair, timing)


def _clearing(pair: Pair) -> Iterator[Finding]:
    """Verification believes a fix when the alert was gone for `settle` before `timeout` is over."""
    verify = pair.rule.verify
    left = verify.timeout - verify.settle
    within = (
        f"verification gives it {duration_text(left)}"
        f" (timeout {duration_text(verify.timeout)} less settle {duration_text(verify.settle)})"
    )
    if pair.alert.keep > left:
        text = f"keep_firing_for {duration_text(pair.alert.keep)} holds it after the fix, {within}"
        yield pair.finding("clears_too_late", Severity.ERROR, text)
    longest = max(pair.alert.query.lookbacks, key=_span, default=None)
    if longest is None or longest.span + pair.alert.keep <= left:
        return
    looks = f"{longest.function} over {duration_text(longest.span)} still sees the fault that long after the fix, {within}"
    if pair.alert.query.counts:
        text = f"{looks}; anything above zero fires, so no fix is ever seen in time"
        yield pair.finding("clears_too_late", Severity.ERROR, text, certain=longest.sure)
    else:
        text = f"{looks}; it clears in time only if the value falls below the threshold early"
        yield pair.finding("clears_too_late", Severity.WARNING, text, certain=False)


def _span(lookback: Lookback) -> timedelta:
    return lookback.span


def _aim(pair: Pair) -> Iterator[Finding]:
    """Do the labels that the target is taken from come out of the expression at all?"""
    spec, alert = pair.rule.target, pair.alert
    yield from _missing(pair, "namespace", spec.namespace, (spec.namespace.label,))
    labels = tuple(label for label in (spec.name.label, spec.pod.label if spec.pod else "") if label)
    yield from _missing(pair, "name", spec.name, labels)
    if labels and not alert.query.shape.sure and all(alert.label(label) is None for label in labels):
        text = f"the expression could not be read fully; check that it keeps {_either(labels)}"
        yield pair.finding("labels_unknown", Severity.NOTE, text, certain=False)


def _missing(pair: Pair, what: str, source: FromLabel, labels: tuple[str, ...]) -> Iterator[Finding]:
    labels = tuple(label for label in labels if label)
    if not labels or any(pair.alert.label(label) != "" for label in labels):
        return
    lost = f"its alerts never have the label {_either(labels)} (the expression aggregates it away)"
    if source.default:
        text = f"{lost}, so the {what} is always the default {source.default}"
        yield pair.finding("label_missing", Severity.WARNING, text)
    else:
        text = f"{lost} and the rule has no default, so no {what} is ever found"
        yield pair.finding("label_missing", Severity.ERROR, text)


def _either(labels: tuple[str, ...]) -> str:
    return " or ".join(labels)


def _repeats(pair: Pair, timing: Timing) -> Iterator[Finding]:
    rule, cooldown = pair.rule, duration_text(pair.rule.cooldown)
    back = pair.alert.hold + timing.group
    if back < rule.cooldown:
        text = f"it can be back {duration_text(back)} after a fix, while the cooldown of {cooldown} still refuses"
        yield pair.finding("back_before_cooldown", Severity.NOTE, text)
    repeat = duration_text(timing.repeat)
    if timing.repeat < rule.cooldown:
        text = f"alerts are repeated every {repeat}, inside of the cooldown of {cooldown}"
        yield Finding("repeats_in_cooldown", Severity.NOTE, True, rule.name, "", "", text)
    if timing.repeat > rule.freshness:
        text = (
            f"alerts are repeated every {repeat} only: {duration_text(rule.freshness)} after a message its last word is"
            " too old to act on, unless Alertmanager's API is configured"
        )
        yield Finding("stale_between_repeats", Severity.NOTE, True, rule.name, "", "", text)
