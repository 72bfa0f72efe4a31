"""Metrics: the one explicit list of everything this service counts and times, served at /metrics.

Created once by the composition root over its registry and handed to whoever counts. Label values come from the closed
lists of `app.domain` (verdicts, codes, states, action kinds), never from alert labels, so the number of series is bounded.
Never reads the store: gauges are set by the parts that know the value.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.domain.decision import Code, Verdict
from app.domain.events import EventKind
from app.domain.outcome import RunState

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_API = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Metrics:
    """All metrics as attributes. Times are in seconds; call `.labels(...)` with the names given here. `histogram` is the kind of
    histograms that is made."""

    def __init__(self, registry: CollectorRegistry, histogram: type[Histogram] = Histogram) -> None:
        self.registry = registry
        self._kind = histogram
        self._count_intake(registry)
        self._count_decisions(registry)
        self._count_runs(registry)
        self._time_parts(registry)
        self._watch_upkeep(registry)

    def start_at_zero(self, remediations: Iterable[str]) -> None:
        """What our own alerts see grow: a counter that begins with its first event has not grown by it. Other labels begin with their first event."""
        for code in (Code.BUDGET_SPENT, Code.RATE_LIMITED):
            self.decisions.labels(Verdict.DENY.value, code.value)
        for by in ("run", "decision"):
            self.escalations.labels(by)
        for remediation in remediations:
            self.runs.labels(remediation, RunState.EXPIRED.value)

    def expect(self, webhook: str) -> None:
        """The same for the requests that a webhook may have to refuse, by its route."""
        for status in ("401", "403", "500", "503"):
            self.http_requests.labels("POST", webhook, status)

    def _count_intake(self, to: CollectorRegistry) -> None:
        self.deliveries = _counter(
            to,
            "deliveries",
            "Requests that brought alerts or orders, by what became of them.",
            "source",
            "result",
        )
        self.alerts = _counter(to, "alerts", "Alerts received, repeats included.", "source", "status")
        self.alerts_truncated = _counter(
            to,
            "alerts_truncated",
            "Alerts that the sender cut from its message and will not send again.",
            "source",
        )
        self.failed_authentications = _counter(
            to,
            "failed_authentications",
            "Requests to the API and the webhooks that did not prove who sent them, by what they were answered.",
            "result",
        )
        self.http_requests = _counter(
            to, "http_requests", "HTTP requests answered, by route template.", "method", "route", "status"
        )
        self.http_seconds = self._histogram(
            "http_request_seconds", "Time to answer an HTTP request.", _FAST, "route"
        )

    def count_record(self, kind: str, *, of_run: bool) -> None:
        """Count what a committed record of the audit trail tells: that a person is needed."""
        if kind == EventKind.ESCALATED:
            self.escalations.labels("run" if of_run else "decision").inc()

    def _count_decisions(self, to: CollectorRegistry) -> None:
        self.incidents = _gauge(to, "incidents", "Incidents that are not closed, by state.", "state")
        self.decisions = _counter(to, "decisions", "Decisions on incidents.", "verdict", "code")
        self.gates = _counter(to, "gate_results", "Answers of single gates.", "gate", "verdict")
        self.policy_reload_ok = _gauge(
            to,
            "policy_reload_ok",
            "1 when the policy files on disk are the ones in force, 0 after a refused reload.",
        )
        self.policy_reloads = _counter(
            to, "policy_reloads", "Attempts to load changed policy files.", "result"
        )
        self.trust_levels = _gauge(
            to, "trust_levels", "Trust levels of rules with mode earned, by level.", "level"
        )
        self.promotions = _gauge(to, "promotions_waiting", "Promotions that wait for a person.")
        self.paused = _gauge(to, "pauses", "Pauses in force, by kind of scope.", "scope")

    def _count_runs(self, to: CollectorRegistry) -> None:
        self.runs = _counter(to, "runs", "Runs that ended.", "remediation", "result")
        self.runs_live = _gauge(to, "runs_live", "Runs that have not ended, by state.", "state")
        self.actions = _counter(to, "actions", "Mutations of the cluster.", "kind", "result")
        self.verifications = _counter(to, "verifications", "Verifications of steps.", "remediation", "result")
        self.undos = _counter(to, "undos", "Attempts to undo an action.", "kind", "result")
        self.escalations = _counter(
            to,
            "escalations",
            "Times a person was needed, by what left it to them: a run or a decision.",
            "by",
        )
        self.approvals = _counter(to, "approvals", "Answers of people to requests for approval.", "answer")
        self.schedules = _counter(
            to, "schedules", "Times of schedules that have come, by what became of them.", "rule", "result"
        )
        self.schedule_good = _gauge(
            to,
            "schedule_last_good_seconds",
            "Since the time of the last order of a schedule that ended well; since the first time of all where none did.",
            "rule",
        )
        self.schedule_missed = _gauge(
            to,
            "schedule_times_without_success",
            "Times of a schedule that have come since one ended well, the one under way included.",
            "rule",
        )
        self.schedule_outcome = _gauge(
            to, "schedule_outcome", "1 for how the newest order of a schedule stands.", "rule", "outcome"
        )
        self.clicks = _counter(
            to, "clicks", "Buttons clicked in Slack, by what became of it.", "action", "result"
        )

    def _watch_upkeep(self, to: CollectorRegistry) -> None:
        self.task_up = _gauge(to, "task_up", "1 while a background task works, 0 while it fails.", "task")
        self.task_failures = _counter(
            to, "task_failures", "Rounds of a background task that failed; it is run again.", "task"
        )
        self.missing_rights = _gauge(
            to,
            "missing_rights",
            "1 for each permission at the API server that is needed and not granted.",
            "verb",
            "resource",
            "namespace",
            "remediation",
        )

    def _time_parts(self, to: CollectorRegistry) -> None:
        self.outbox_depth = _gauge(to, "outbox_messages", "Messages that wait to be sent.")
        self.outbox_age = _gauge(to, "outbox_oldest_seconds", "Age of the oldest message that waits.")
        self.outbox_sent = _counter(
            to,
            "outbox_attempts",
            "Attempts to send a message, to chat or pager, by how it went.",
            "channel",
            "result",
        )
        self.store_seconds = self._histogram("store_commit_seconds", "Time of one commit.", _FAST)
        self.store_batch = self._histogram("store_commit_writes", "Writes that shared one commit.", _SIZES)
        self.store_failures = _counter(to, "store_failures", "Commits that did not happen.")
        self.kube_seconds = self._histogram(
            "kube_request_seconds",
            "Requests to the API server; code is HTTP's or `none`.",
            _API,
            "verb",
            "kind",
            "code",
        )
        self.decide_seconds = self._histogram(
            "decide_seconds", "From the stored alert to the decision on its incident.", _LONG
        )
        self.write_seconds = self._histogram(
            "first_write_seconds", "From the stored alert to the first mutation for it.", _LONG, "mode"
        )
        self.run_seconds = self._histogram(
            "run_seconds", "From the request of a run to its end.", _LONG, "remediation"
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return self._kind(f"remediator_{name}", text, labels, registry=self.registry, buckets=buckets)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(f"remediator_{name}_total", text, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"remediator_{name}", text, labels, registry=registry)
