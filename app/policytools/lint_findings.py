"""What a lint finds, and under which timing. Used by the parts of the lint; shown by `policy lint`. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.json import JsonValue


class Severity(StrEnum):
    """`error`: does not work. `warning`: works badly, or probably not. `note`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. `sure` is False where it depends on the series, which no file shows. `alert` and `place` are empty for
    what concerns a rule alone."""

    code: str
    severity: Severity
    sure: bool
    rule: str
    alert: str
    place: str
    text: str

    def __str__(self) -> str:
        about = " · ".join(
            p for p in (f'rule "{self.rule}"' if self.rule else "", self.alert, self.place) if p
        )
        doubt = "" if self.sure else " (not sure)"
        return f"{self.severity.value:<7}  {self.code}{doubt}  {about}: {self.text}"

    def to_json(self) -> dict[str, JsonValue]:
        """For `policy lint --json`."""
        return {**asdict(self), "severity": self.severity.value}


@dataclass(frozen=True, slots=True)
class Timing:
    """When it is now, and how often Alertmanager sends a group: anew while it fires, and after a change."""

    now: datetime
    repeat: timedelta = timedelta(hours=4)
    group: timedelta = timedelta(minutes=5)
