"""Labels out of foreign text and objects: what PagerDuty and Event Orchestration carry instead of a label set.

Only names that could be Prometheus labels are taken, and only as many and as long as a label set reasonably is. The
values come from the sender as they are; nothing here decides what they permit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_LABELS = 64
MAX_VALUE = 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_TITLE = re.compile(r"\[(?:FIRING|RESOLVED)(?::\d+)?\]\s+(\S+)")
_LINE = re.compile(r"\s*[-*]\s+([A-Za-z_][A-Za-z0-9_]*)\s*=\s?(.*)", re.ASCII)


def scalars(data: Mapping[str, Any]) -> dict[str, str]:
    """The entries of `data` that can be labels: a label's name, a non-empty text, number or boolean."""
    found: dict[str, str] = {}
    for name, value in data.items():
        if len(found) >= MAX_LABELS:
            break
        if not isinstance(value, str | int | float) or _NAME.fullmatch(name) is None:
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if text and len(text) <= MAX_VALUE:
            found[name] = text
    return found


def from_firing_text(text: str) -> dict[str, str]:
    """Labels common to all alerts in Alertmanager's default list: ` - name = value` lines under `Labels:` headings.

    An incident stands for a whole group; a label in which its alerts differ (the pod) would name only one of them.
    """
    alerts: list[dict[str, str]] = []
    in_labels = False
    for line in text.splitlines():
        heading = line.strip()
        if heading.endswith(":") and not heading.startswith(("-", "*")):
            in_labels = heading == "Labels:"
            if in_labels:
                alerts.append({})
        elif in_labels and (match := _LINE.fullmatch(line)):
            alerts[-1][match[1]] = match[2].strip()
    return scalars(common(alerts))


def common(label_sets: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The labels that all sets have with the same value."""
    shared: dict[str, str] | None = None
    for labels in label_sets:
        if shared is None:
            shared = dict(labels)
        else:
            shared = {name: value for name, value in shared.items() if labels.get(name) == value}
    return shared or {}


def alert_name(title: str) -> str:
    """The alert's name in a title: the word after `[FIRING:2]` in Alertmanager's default title, else the title itself."""
    if match := _TITLE.match(title.strip()):
        return match[1]
    return title.strip()[:MAX_VALUE]
