"""Evidence: what a diagnosis found, each finding with its numbers, and what could not be read.

A finding that could not be made is a finding too (`Certainty.UNKNOWN`): unknown is a value, not a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.json import JsonValue


class Certainty(StrEnum):
    """How far a finding can be relied on."""

    KNOWN = "known"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence.

    `code` is stable (`errors.grouped`, `dependency.postgres`, `rollout.recent`), `text` one sentence with units,
    `data` the numbers behind it, `details` the lines to show in a thread (log groups, pod rows), secrets removed.
    """

    code: str
    text: str
    certainty: Certainty = Certainty.KNOWN
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The evidence of one look at the target. `summary` is the one sentence for 3 a.m.; `rest` says why nothing is to be done
    now, because the target is healthy (again) or still starting, and is empty otherwise."""

    summary: str
    findings: tuple[Finding, ...]
    rest: str = ""

    def finding(self, code: str) -> Finding | None:
        """The first finding with this code."""
        return next((f for f in self.findings if f.code == code), None)
