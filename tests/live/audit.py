"""Owns the API server's audit log as an independent witness: its policy, its parsing, its mutations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Users of the cluster's own parts; kwok alone would fill the log with every pod status.
COMPONENTS = ("kube-controller-manager", "kube-scheduler", "kwok", "metrics-server", "cert-manager")
WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
_UNANSWERED = 504
"""What the API server notes of a request whose client died before the answer, carried out or not."""
# Written by a service that only looks on, leads, or says what it did: no change to a workload.
_BYSTANDERS = frozenset(
    {
        "events",
        "leases",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "selfsubjectreviews",
        "subjectaccessreviews",
        "localsubjectaccessreviews",
        "tokenreviews",
        "tokenrequests",
    }
)


@dataclass(frozen=True)
class Mutation:
    """A write request that the API server has accepted."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    request_object: Any
    user: str
    user_agent: str
    code: int
    dry_run: bool
    audit_id: str
    received: str
    uri: str

    @property
    def target(self) -> str:
        """Resource with its subresource, as deployments/scale."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def answered(self) -> bool:
        """Whether somebody was there to take the answer; where nobody was, the log does not tell if it was carried out."""
        return self.code != _UNANSWERED


def write_policy(path: Path) -> None:
    """Writes an audit policy: bodies of all writes, nothing of the cluster's own parts and of reads."""
    nothing_sensitive = [{"group": "", "resources": ["secrets"]}, {"group": "authentication.k8s.io"}]
    streams = [{"group": "", "resources": ["pods/exec", "pods/attach", "pods/portforward"]}]
    rules = [
        {"level": "None", "users": [*COMPONENTS, "system:apiserver"]},
        # What a deletion says is nothing of the Secret, and only it tells a dry run.
        {"level": "Request", "verbs": ["delete"], "resources": nothing_sensitive[:1]},
        {"level": "Metadata", "verbs": list(WRITE_VERBS), "resources": nothing_sensitive},
        # A stream over WebSocket is a get, yet it acts.
        {"level": "Request", "resources": streams},
        {"level": "Request", "verbs": list(WRITE_VERBS)},
        {"level": "Metadata", "nonResourceURLs": ["/version"]},
        {"level": "None"},
    ]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": rules,
    }
    path.write_text(json.dumps(policy, indent=1), "utf-8")


class AuditLog:
    """Reads the log as it grows: it gets long, and each look at it wants only the new part."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """All events in order; a line that is still being written is left for the next time."""
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(self._position)
                content = log.read()
            complete = content[: content.rfind(b"\n") + 1]
            self._position += len(complete)
            self._events += [json.loads(line) for line in complete.splitlines()]
        return list(self._events)


def _is_dry_run(event: dict[str, Any]) -> bool:
    query = parse_qs(urlsplit(event.get("requestURI", "")).query)
    body = event.get("requestObject")
    options = body if isinstance(body, dict) else {}
    if options.get("kind") == "Eviction":
        options = options.get("deleteOptions") or {}
    # Only delete options have the field; elsewhere dryRun is a query parameter.
    return bool(query.get("dryRun")) or bool(options.get("dryRun"))


def _mutation(event: dict[str, Any]) -> Mutation:
    reference = event.get("objectRef", {})
    body = event.get("requestObject")
    metadata = body.get("metadata", {}) if isinstance(body, dict) else {}
    return Mutation(
        verb=event["verb"],
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        # A create names its object in the body only.
        name=reference.get("name", "") or metadata.get("name", ""),
        request_object=body,
        user=event["user"]["username"],
        user_agent=event.get("userAgent", ""),
        code=int(event.get("responseStatus", {}).get("code", 0)),
        dry_run=_is_dry_run(event),
        audit_id=event["auditID"],
        received=event["requestReceivedTimestamp"],
        uri=event.get("requestURI", ""),
    )


def _acts(event: dict[str, Any]) -> bool:
    reference = event.get("objectRef", {})
    if not reference or reference.get("resource") in _BYSTANDERS or reference.get("subresource") == "token":
        return False
    is_stream = reference.get("subresource") in {"exec", "attach", "portforward"}
    return event["verb"] in WRITE_VERBS or is_stream


def find_mutations(
    events: list[dict[str, Any]],
    *,
    user: str | None = None,
    namespace: str | None = None,
    include_dry_run: bool = False,
    include_unanswered: bool = False,
) -> list[Mutation]:
    """The write requests that were answered by 2xx (101 for a stream), oldest first; on demand also those whose client was gone.

    An eviction that came back as a Failure body with a 201 counts too: the log holds no answers.
    """
    found = []
    for event in events:
        # A stream has a ResponseStarted event as well; count each request once.
        # Cheap questions first: the log is of everybody, and long.
        if user is not None and event["user"]["username"] != user:
            continue
        if namespace is not None and event.get("objectRef", {}).get("namespace", "") != namespace:
            continue
        if event.get("stage") not in {"ResponseComplete", "Panic"} or not _acts(event):
            continue
        mutation = _mutation(event)
        accepted = 200 <= mutation.code < 300 or mutation.code == 101
        if not accepted and not (include_unanswered and not mutation.answered):
            continue
        if include_dry_run or not mutation.dry_run:
            found.append(mutation)
    return found
