"""What the doctor finds: one sentence each, how bad it is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.redact import redact
from app.domain.text import bounded, visible

_LONGEST, _FOREIGN = 500, 100


def foreign(text: object) -> str:
    """What somebody else wrote, cut, searched for secrets and without control characters."""
    return redact(visible(str(text)), longest=_FOREIGN)


class Level(StrEnum):
    """`fail`: something that the settings ask for does not work. `warn`: it works, and will disappoint."""

    FAIL = "fail"
    WARN = "warn"
    OK = "ok"
    SKIP = "skip"


class Area(StrEnum):
    """What is looked at; each can be left out."""

    SETTINGS = "settings"
    POLICY = "policy"
    STORE = "store"
    CLUSTER = "cluster"
    RIGHTS = "rights"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    DEPENDENCIES = "dependencies"
    LOGIN = "login"
    TRACES = "traces"
    STATUS_PAGE = "status-page"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` names it for scripts and never changes; `fix` is empty where nothing is to be done."""

    area: Area
    code: str
    level: Level
    text: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """For `--json`."""
        return {
            "area": self.area.value,
            "code": self.code,
            "level": self.level.value,
            "text": self.text,
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Voice:
    """Makes the findings of one area. Words of strangers go through `foreign` first; what our own errors say already did."""

    area: Area

    def fail(self, code: str, text: str, fix: str) -> Finding:
        """It does not work."""
        return self._say(code, Level.FAIL, text, fix)

    def warn(self, code: str, text: str, fix: str) -> Finding:
        """It works and will disappoint."""
        return self._say(code, Level.WARN, text, fix)

    def ok(self, code: str, text: str) -> Finding:
        """It works."""
        return self._say(code, Level.OK, text, "")

    def skip(self, code: str, text: str) -> Finding:
        """Nothing to look at, or nobody could."""
        return self._say(code, Level.SKIP, text, "")

    def _say(self, code: str, level: Level, text: str, fix: str) -> Finding:
        return Finding(self.area, code, level, bounded(visible(text), _LONGEST), fix)


def failed(findings: Sequence[Finding]) -> bool:
    """Whether something does not work."""
    return any(f.level is Level.FAIL for f in findings)
