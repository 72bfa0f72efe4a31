"""Owns what the reaction bench acts on: deployments with two revisions, and a policy under which all of them may be
rolled back within minutes. All gates are there; budgets, storm and targets in flight have room for the samples."""

from __future__ import annotations

import json
from typing import Any

NAMESPACE = "bench-react"
ERROR = "KeyError: 'total' in cart.py line 31"
"""What the second release logs: the program's own fault, so its rollback needs no person."""


def image(revision: int) -> str:
    """The image of a revision."""
    return f"registry.test/app:v{revision}"


def deployment(number: int, revision: int = 1) -> dict[str, Any]:
    """One of the deployments, named app-NUMBER, with two replicas."""
    labels = {"app": f"app-{number}"}
    resources = {"limits": {"memory": "512Mi", "cpu": "1"}, "requests": {"memory": "64Mi", "cpu": "10m"}}
    container = {"name": "main", "image": image(revision), "resources": resources}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"app-{number}", "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def policy() -> str:
    """The policy, as YAML (which JSON is)."""
    rule = {
        "name": "errors after a deployment",
        "when": 'alertname="HighErrorRate"',
        "target": {
            "kind": "Deployment",
            "name": {"label": "deployment"},
            "namespace": {"label": "namespace"},
        },
        "remediation": "high-error-rate",
        "params": {"recent_deployment": "24h", "known_good": "1s", "dependencies": []},
        "mode": "auto",
        "limits": {"per_target": "2 per 1h"},
    }
    document = {
        "version": 1,
        "scope": {"namespaces": [NAMESPACE]},
        "budgets": [
            {"per": "cluster", "limit": "1000 per 1h"},
            {"per": "namespace", "limit": "1000 per 1h"},
            {"per": "target", "limit": "3 per 1h and 7 per 24h"},
        ],
        "storm": {"targets": 1000, "within": "5m"},
        "blast_radius": {"pods": "30%", "minimum": 1, "targets_in_flight": 100},
        "verify": {"settle": "1s", "timeout": "30s", "poll": "1s"},
        "otherwise": ["escalate"],
        "rules": [rule],
    }
    return json.dumps(document, indent=1)
