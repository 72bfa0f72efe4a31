"""Who edited a Service: its ports and selector, not its labels. A write that changed labels alone is no edit, and what a chart or a kustomization
wrote together with the workload may have changed no more than its version's label. And what a write can have to do with: a certificate's renewal with
nothing but certificates.

Asked by `around`, `endpoints` and `changes`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.json import Obj
from app.kube.lineage import Write, last_write
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from remediations.causes.model import Snapshot

_TOGETHER = timedelta(minutes=1)
"""What one run of a tool writes to all of its objects."""


def came_with(seen: Snapshot, at: datetime, by: str, deployed: datetime) -> bool:
    """Whether what was written then is part of what was deployed: it was there before, or within a minute the same tool wrote it, or all of the new
    pods were made after it. The order of two writes of one delivery tells nothing."""
    if at - deployed > _TOGETHER:
        return False
    newest = [p for p in seen.alive if seen.newest(p)]
    same = bool(by) and any(by == who for who, _ in who_changed(seen.workload.manifest, "/spec/template"))
    return at <= deployed or same or (bool(newest) and all(p.created_at > at for p in newest))


_NOTES = ("f:labels", "f:annotations")


@dataclass(frozen=True, slots=True)
class Edit:
    """The newest write of somebody who has something of the spec. `sure`: it changed that, as far as anybody can tell."""

    write: Write
    sure: bool


def edit_of(service: Obj, workload: Obj) -> Edit | None:
    """Who edited a Service last. None where nobody did since it was made, or nobody tells."""
    write = last_write(service)
    if write is None or not write.by:
        return None
    wrote = [e for e in service["metadata"].get("managedFields") or () if e.get("manager") == write.by]
    return Edit(write, sure=not (any(map(_has_notes, wrote)) and _wrote(workload, write)))


def _has_notes(entry: Mapping[str, Any]) -> bool:
    return any(notes in ((entry.get("fieldsV1") or {}).get("f:metadata") or {}) for notes in _NOTES)


def _wrote(workload: Obj, write: Write) -> bool:
    """Whether the same tool wrote the workload in the same run."""
    times = [
        parse_time(e.get("time"))
        for e in workload["metadata"].get("managedFields") or ()
        if e.get("manager") == write.by and e.get("subresource") != "status"
    ]
    return any(abs(write.at - other) <= _TOGETHER for other in times if other is not None)


OF_TLS = frozenset(
    {"tls.crt", "tls.key", "ca.crt", "keystore.jks", "truststore.jks", "keystore.p12", "truststore.p12", "tls-combined.pem", "key.der"}
)  # fmt: skip
"""Keys of a certificate's Secret; it is renewed each few weeks, or hours, with nothing else in it."""
_ABOUT_TLS = re.compile(
    r"certificat|x\.?509|\b(?:m?tls|ssl|https|pem|asn\.?1|cert|ca|jks|pkcs\d*)\b|handshake|pkix|key ?store|trust ?store|(?:private|public) key|"
    r"tls[_./-]|ssl[_./-]|expired",
    re.IGNORECASE,
)


def _about_certificates(line: str) -> bool:
    """Whether an error speaks of a certificate, or of what is made with one."""
    return _ABOUT_TLS.search(line) is not None


def of_something_else(said: Sequence[str]) -> bool:
    """What was said is not about any certificate. Where nothing was said nobody can tell."""
    lines = [line for line in said if line]
    return bool(lines) and not any(map(_about_certificates, lines))
