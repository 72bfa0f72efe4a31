"""What is known of whether new pods of a step could start: one check for each thing that a new pod needs.

Built by `app.kube.newpods`, judged by the gate `new pods`, shown by explanations. A check is a word with its object and a
clause for people; it never holds a value of a ConfigMap or Secret. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Finding(StrEnum):
    """What a check found. `unknown`: it could not be looked at; `untold`: nobody granted the optional right to look, or it
    cannot be told, which closes nothing."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"
    UNTOLD = "untold"


class Part(StrEnum):
    """What a new pod needs, in the order in which people read it."""

    CONFIGURATION = "configuration"
    PULL_SECRETS = "pull secrets"
    SERVICE_ACCOUNT = "service account"
    VOLUMES = "volume claims"
    PRIORITY = "priority class"
    LIMITS = "limit ranges"
    QUOTA = "quota"
    REFUSALS = "refused pods"
    ADMISSION = "admission"
    NODES = "nodes"
    TRAFFIC = "services and network policies"


@dataclass(frozen=True, slots=True)
class PodCheck:
    """One check. `text` is a clause that names the object and its numbers, `remedy` what would have to change; both are
    empty for a check that found nothing wrong."""

    part: Part
    finding: Finding
    text: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class NewPods:
    """All checks of one step. `all_down`: the step may take all running pods down before one replacement is ready; False
    when there are none."""

    checks: tuple[PodCheck, ...] = ()
    all_down: bool = False

    def found(self, *findings: Finding) -> tuple[PodCheck, ...]:
        """The checks that found one of these."""
        return tuple(c for c in self.checks if c.finding in findings)
