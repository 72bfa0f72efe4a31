"""A manual trigger: a person or script orders one remediation on one target.

Owns the shape of the request body, which is also what the API documents. Whether the remediation exists and its params
fit is asked elsewhere; the gates decide as they do for alerts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import BadInput
from app.domain.free_text import reason_given
from app.domain.json import digest
from app.domain.redact import redact
from app.domain.target import NAMESPACE_NAME, OBJECT_NAME, Target
from app.intake.auth import Principal, Scope
from app.intake.body import decode, pointer, validated

MAX_BYTES = 64 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
# RFC 1123: what Kubernetes allows for the names of namespaces and workloads.
_Label = Annotated[str, Field(pattern=f"^{NAMESPACE_NAME}$")]
_Name = Annotated[str, Field(pattern=f"^{OBJECT_NAME}$")]


class TargetBody(BaseModel):
    """The workload to act on."""

    model_config = ConfigDict(extra="forbid")
    namespace: _Label
    kind: Literal["Deployment", "StatefulSet", "DaemonSet", "Pod"]
    name: _Name


class ManualBody(BaseModel):
    """The order."""

    model_config = ConfigDict(extra="forbid")
    remediation: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", examples=["high-error-rate"])]
    target: TargetBody
    params: dict[str, Any] = Field(default_factory=dict, description="overrides of the policy rule's params")
    reason: Annotated[
        str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; stands in the audit trail")
    ]
    dry_run: bool = Field(default=False, description="decide and show the plan, change nothing")


def parse(body: bytes, *, received_at: datetime, by: Principal, idempotency_key: str = "") -> Delivery:
    """One order. Two requests under one key are the same when their canonical JSON is.

    Keys are kept apart by caller. Raises BadInput (`invalid_field`, `bad_idempotency_key`, `no_reason`, `secret_in_param`, and those
    of `decode`).
    """
    order = validated(ManualBody, decode(body, max_bytes=MAX_BYTES))
    if idempotency_key and _KEY.fullmatch(idempotency_key) is None:
        raise BadInput(
            "expected up to 255 visible ASCII characters", code="bad_idempotency_key", where="Idempotency-Key"
        )
    reason = reason_given(order.reason)
    request = ManualRequest(
        remediation=order.remediation,
        target=Target.parse(f"{order.target.namespace}/{order.target.kind}/{order.target.name}").key,
        params=_without_secrets(order.params),
        reason=reason,
        requested_by=by.name,
        dry_run=order.dry_run,
        may_approve=Scope.OPERATE in by.scopes,
    )
    return Delivery(
        source=Source.MANUAL,
        received_at=received_at,
        sender=by.name,
        dedupe_key=f"{by.name}:{idempotency_key}" if idempotency_key else "",
        body_digest=digest({**order.model_dump(), "reason": reason}),
        manual=request,
    )


def _without_secrets(params: dict[str, Any]) -> dict[str, Any]:
    """The params as they are: one without its secret would be another order, so it is refused. They are kept, audited and shown, and
    what a step needs of secrets it reads itself."""
    for name, value in params.items():
        if any(redact(text) != text for text in _texts(value)):
            text = (
                "it looks as if it held a secret, which would be kept and shown: name the Secret in the rule"
            )
            raise BadInput(text, code="secret_in_param", where=pointer("params", name))
    return params


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        entries = (*value, *value.values()) if isinstance(value, dict) else value
        for entry in entries:
            yield from _texts(entry)
