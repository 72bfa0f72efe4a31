"""The PromQL that handlers ask by default, and how a query is pointed at one workload.

A rule may replace each query in its params. `$namespace` and `$pods` are the only placeholders: the namespace, and a
regular expression that matches exactly the names that the workload's controller gives its pods. Both come from the
target that was found in the cluster and never from a label of the alert. Pure.
"""

from __future__ import annotations

import re

from app.domain.target import Kind, Target

_OURS = '{namespace="$namespace",pod=~"$pods"}'
_OURS_AND = '{namespace="$namespace",pod=~"$pods",'

ERROR_RATIO = f'sum(rate(http_requests_total{_OURS_AND}status=~"5.."}}[5m])) / sum(rate(http_requests_total{_OURS}[5m]))'
"""Share of requests answered with 5xx."""

LATENCY = f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{_OURS}[5m])))"
"""Time in seconds within which 95 % of the requests are answered."""

LIMITED = f"sum(increase(rate_limit_errors_total{_OURS}[5m]))"
"""Answers within 5 min that were rate limits, as clients count them."""

THROTTLING = (
    f'sum(rate(container_cpu_cfs_throttled_periods_total{_OURS_AND}container!=""}}[5m]))'
    f' / sum(rate(container_cpu_cfs_periods_total{_OURS_AND}container!=""}}[5m]))'
)
"""Share of scheduling periods in which the CPU limit held the containers back."""

MEMORY = f'sum by (pod) (container_memory_rss{_OURS_AND}container!="",container!="POD"}})'
"""Memory in bytes that the kernel cannot take back, by pod: anonymous pages, as cAdvisor tells them."""

WORKING_SET = f'sum by (pod) (container_memory_working_set_bytes{_OURS_AND}container!="",container!="POD"}})'
"""The same where that is not recorded: page cache that was used lately counts as well, which grows without any leak."""

PRESENCE = {
    ERROR_RATIO: f"sum(rate(http_requests_total{_OURS}[5m]))",
    LATENCY: f"sum(rate(http_request_duration_seconds_bucket{_OURS}[5m]))",
}
"""What has a value as long as the source of a query is there, also when the query itself has none because all is well."""

ANYTHING = f"count({_OURS})"
"""The same for a query that a rule brings: any series of these pods."""

# Letters of a generated suffix: no vowels and no 0, 1, 3, so that no words come out of it.
_SAFE = "[b-df-hj-np-tv-z2456789]"
_SUFFIX = {
    Kind.DEPLOYMENT: f"-{_SAFE}{{1,10}}-{_SAFE}{{5}}",
    Kind.DAEMON_SET: f"-{_SAFE}{{5}}",
    Kind.STATEFUL_SET: "-[0-9]+",
}


def pod_pattern(target: Target) -> str:
    """A regular expression (RE2, to be anchored) for the names of the workload's pods."""
    return re.escape(target.name).replace("\\-", "-") + _SUFFIX.get(target.kind, "")


def aim(query: str, target: Target) -> str:
    """The query with its placeholders filled in, as PromQL string content."""
    pattern = pod_pattern(target).replace("\\", "\\\\")
    return query.replace("$namespace", target.namespace).replace("$pods", pattern)
