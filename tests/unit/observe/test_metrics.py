"""The list of metrics is a contract with dashboards and alert rules: a change here is a change for users."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.domain.events import EventKind
from app.observe.metrics import Metrics

EXPECTED = {
    "remediator_promotions_waiting": ("gauge", ()),
    "remediator_task_up": ("gauge", ("task",)),
    "remediator_task_failures": ("counter", ("task",)),
    "remediator_missing_rights": ("gauge", ("verb", "resource", "namespace", "remediation")),
    "remediator_trust_levels": ("gauge", ("level",)),
    "remediator_deliveries": ("counter", ("source", "result")),
    "remediator_alerts": ("counter", ("source", "status")),
    "remediator_alerts_truncated": ("counter", ("source",)),
    "remediator_failed_authentications": ("counter", ("result",)),
    "remediator_http_requests": ("counter", ("method", "route", "status")),
    "remediator_http_request_seconds": ("histogram", ("route",)),
    "remediator_incidents": ("gauge", ("state",)),
    "remediator_decisions": ("counter", ("verdict", "code")),
    "remediator_gate_results": ("counter", ("gate", "verdict")),
    "remediator_policy_reload_ok": ("gauge", ()),
    "remediator_policy_reloads": ("counter", ("result",)),
    "remediator_pauses": ("gauge", ("scope",)),
    "remediator_runs": ("counter", ("remediation", "result")),
    "remediator_runs_live": ("gauge", ("state",)),
    "remediator_actions": ("counter", ("kind", "result")),
    "remediator_verifications": ("counter", ("remediation", "result")),
    "remediator_undos": ("counter", ("kind", "result")),
    "remediator_escalations": ("counter", ("by",)),
    "remediator_approvals": ("counter", ("answer",)),
    "remediator_outbox_messages": ("gauge", ()),
    "remediator_outbox_oldest_seconds": ("gauge", ()),
    "remediator_outbox_attempts": ("counter", ("channel", "result")),
    "remediator_store_commit_seconds": ("histogram", ()),
    "remediator_store_commit_writes": ("histogram", ()),
    "remediator_store_failures": ("counter", ()),
    "remediator_kube_request_seconds": ("histogram", ("verb", "kind", "code")),
    "remediator_decide_seconds": ("histogram", ()),
    "remediator_first_write_seconds": ("histogram", ("mode",)),
    "remediator_run_seconds": ("histogram", ("remediation",)),
    "remediator_clicks": ("counter", ("action", "result")),
    "remediator_schedules": ("counter", ("rule", "result")),
    "remediator_schedule_outcome": ("gauge", ("rule", "outcome")),
    "remediator_schedule_last_good_seconds": ("gauge", ("rule",)),
    "remediator_schedule_times_without_success": ("gauge", ("rule",)),
}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of its own, so that tests do not share series."""
    return CollectorRegistry()


def test_the_list_of_metrics_with_types_and_labels_is_the_documented_one(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    labels = {
        m._name: (m._type, tuple(m._labelnames)) for m in vars(metrics).values() if hasattr(m, "_labelnames")
    }
    assert labels == EXPECTED
    assert {family.name for family in registry.collect()} == set(EXPECTED)


def test_every_metric_has_a_help_sentence(registry: CollectorRegistry) -> None:
    Metrics(registry)
    for family in registry.collect():
        assert family.documentation.endswith("."), family.name
        assert len(family.documentation) > 15, family.name


def test_timings_say_their_unit_in_the_name(registry: CollectorRegistry) -> None:
    Metrics(registry)
    for family in registry.collect():
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_writes")), family.name


def test_the_page_shows_a_counted_series(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.decisions.labels(verdict="deny", code="cooling_down").inc()
    page = generate_latest(registry).decode()
    assert 'remediator_decisions_total{code="cooling_down",verdict="deny"} 1.0' in page


def test_two_services_in_one_process_do_not_share_series() -> None:
    one, two = CollectorRegistry(), CollectorRegistry()
    Metrics(one).store_failures.inc()
    Metrics(two)
    assert two.get_sample_value("remediator_store_failures_total") == 0.0


def test_each_record_that_a_person_is_needed_is_counted_by_what_left_it_to_them(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    metrics.start_at_zero(())
    for kind, of_run in (
        (EventKind.ESCALATED, True),
        (EventKind.ESCALATED, False),
        (EventKind.DECIDED, False),
    ):
        metrics.count_record(kind.value, of_run=of_run)
    by = {
        word: registry.get_sample_value("remediator_escalations_total", {"by": word})
        for word in ("run", "decision")
    }
    assert by == {"run": 1.0, "decision": 1.0}
