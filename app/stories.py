"""What the demo can show: one world for each remediation, and for a procedure an order that does something there.

Owned here: names, targets, parameters, and the rules that no shipped policy can have, because a bucket and an image cannot be
guessed. Used by the demo, and by the tests over the whole catalogue. Never runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import BadInput

_LANGGRAPH = "rag7/Deployment/langgraph"
_API = "rag7/Deployment/langgraph-api"
_POSTGRES = "rag7/StatefulSet/postgres"
_ORDERS = "_orders"
_RECIPIENT = (
    "age1aed7f487u2axawlzkfvn0k3e7ev0q937gw4scw7rm3s3wl9f85gqltln5w"  # of nobody: its identity was not kept
)
_STORE = "to: s3://rag7-backups, store_secret: backup-store, uploader: 'remediator:1'"
ASKED = "api-rate-limits"
"""Whose plan waits, after the four alerts of the demo, for whoever watches it."""
ASKED_RULE = (
    "{name: rate limits in the demo, when: 'alertname=\"APIRateLimiting\"', remediation: api-rate-limits, mode: approve, "
    "target: {kind: Deployment, name: {label: deployment}, namespace: {label: namespace}}, approval: {expires: 24h}, "
    "params: {provider: openai, secret: langgraph-api-keys, active_key: OPENAI_API_KEY, keys_key: OPENAI_API_KEYS, "
    "own_quota: true, retired_for: 1h, longest_wait: 5m, cache_service: redis}}"
)
"""The shipped rule, but for its time to answer: the demo runs faster than its reader."""


@dataclass(frozen=True, slots=True)
class Story:
    """`scenario` is the world, by name. With a `target` it is ordered, with these params; without one an alert starts it. `rule` is
    one of a policy file, beside the shipped ones."""

    scenario: str
    target: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""


def _rule(name: str, remediation: str, params: str) -> str:
    return f"{{name: {name}, remediation: {remediation}, mode: approve, params: {{{params}}}}}"


STORIES: Mapping[str, Story] = {
    "high-error-rate": Story("high-error-rate"),
    "high-latency": Story("high-latency"),
    "pod-restarting": Story("pod-restarting"),
    "out-of-memory": Story("out-of-memory"),
    "database-connections": Story("database-connections"),
    "api-rate-limits": Story("api-rate-limits"),
    "deploy": Story(_ORDERS, _LANGGRAPH, {"image": ":v1.5.0", "service": "langgraph"}),
    "hotfix": Story(_ORDERS, _LANGGRAPH, {"image": "ghcr.io/stacey77/rag7:v1.5.0"}),
    "rollback": Story(_ORDERS, _LANGGRAPH, {"service": "langgraph"}),
    "scale": Story(_ORDERS, _LANGGRAPH, {"replicas": 5}),
    "adjust-hpa": Story(_ORDERS, _API, {"min": 3, "max": 12, "utilization": 60}),
    "certificate-renewal": Story(
        "certificate-renewal",
        "rag7/Deployment/langgraph-gateway",
        {"certificate": "langgraph-tls", "service": "langgraph-gateway"},
    ),
    "configuration-backup": Story(
        "configuration-backup",
        _POSTGRES,
        rule=_rule(
            "configuration",
            "configuration-backup",
            f"{_STORE}, account: configuration-reader, recipients: [{_RECIPIENT}]",
        ),
    ),
    "clean-checkpoints": Story("clean-checkpoints", _POSTGRES),
    "database-backup": Story(
        "database-backup",
        _POSTGRES,
        rule=_rule("backups", "database-backup", f"service: postgres, {_STORE}"),
    ),
    "database-restore": Story(
        "database-restore",
        "rag7/Deployment/langgraph-threads",
        rule=_rule("restores", "database-restore", f"service: postgres, {_STORE}"),
    ),
    "database-vacuum": Story("database-vacuum", _POSTGRES),
    "logs-and-volumes": Story("logs-and-volumes", "rag7/Deployment/langgraph-store"),
}
"""By the remediation's name."""


def meant(name: str) -> str:
    """The story that a whole or short name means: `vacuum` is database-vacuum. Of several the database's, where that is one. Raises BadInput
    (`unknown_story`)."""
    if name in STORIES:
        return name
    found = [story for story in STORIES if f"-{name}-" in f"-{story}-"] if name else []
    of_database = [story for story in found if story.startswith("database-")]
    for chosen in (found, of_database):
        if len(chosen) == 1:
            return chosen[0]
    why = f"{name} may be {' or '.join(found)}; " if found else ""
    raise BadInput(f"{why}there are {', '.join(STORIES)}", code="unknown_story", where="--story")
