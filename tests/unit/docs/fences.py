"""The fenced blocks of the project's documents: what stands in them, where, and what a reader would type."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.unit.docs.tables import ROOT

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "charts/alert-remediator/README.md",
    "charts/alert-remediator/UPGRADE.md",
    "docs/alerts.md",
    "docs/backup.md",
    "docs/certificates.md",
    "docs/configuration-backup.md",
    "docs/database.md",
    "docs/diagnose.md",
    "docs/escalation.md",
    "docs/login.md",
    "docs/maintenance.md",
    "docs/moving.md",
    "docs/policy.md",
    "docs/procedures.md",
    "docs/quick-start.md",
    "docs/rate-limits.md",
    "docs/recovery.md",
    "docs/reference.md",
    "docs/schedules.md",
    "docs/secrets.md",
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def title(self) -> str:
        """What the first comment says it is, such as `policies/rag7.yaml`."""
        return self.text.partition("\n")[0].removeprefix("#").strip()


def blocks(*languages: str, documents: tuple[str, ...] = DOCUMENTS) -> list[Block]:
    """All blocks of these languages."""
    found = []
    for name in documents:
        text = (ROOT / name).read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(name, line, match[1], match[2]))
    return [block for block in found if block.language in languages]


def commands() -> list[tuple[Block, str]]:
    """Every command line of every `sh` block, without its comment."""
    lines = [(block, line) for block in blocks("sh") for line in block.text.splitlines()]
    return [(block, re.sub(r"\s{2,}#.*$", "", line).strip()) for block, line in lines if line.strip()]


@dataclass(frozen=True, slots=True)
class Example:
    """An HTTP request as documented."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def http_example(block: Block) -> Example:
    """The request in an `http` block."""
    head, _, body = block.text.partition("\n\n")
    first, *rest = head.splitlines()
    method, path = first.split()
    headers = dict(line.split(": ", 1) for line in rest)
    return Example(method, path, headers, json.loads(body))


def table_under(document: str, heading: str) -> list[list[str]]:
    """Rows of the first table under a heading, its head line aside."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert rows, f"{document}: no table under {heading}"
    return rows[2:]


def names(cells: list[str]) -> list[str]:
    """What stands between backquotes."""
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
