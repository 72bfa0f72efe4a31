"""`make audit` is red for a known vulnerability, and loud for every package about which nobody could be asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FOUND = "Found 2 known vulnerabilities in 1 package"
_UNKNOWN = "yarl Dependency not found on PyPI and could not be audited: yarl (1.25.1)"


@pytest.mark.parametrize(
    ("said", "code", "good", "told"),
    [
        ("No known vulnerabilities found", 0, True, ""),
        (_FOUND, 1, False, ""),
        (f"{_FOUND}\n{_UNKNOWN}", 1, False, "AUDIT SKIPPED for 1 of 2 packages"),
        (f"No known vulnerabilities found\n{_UNKNOWN}", 0, True, "AUDIT SKIPPED for 1 of 2 packages"),
        ("ConnectionError", 1, True, "nothing was checked"),
    ],
)
def test_what_was_not_checked_is_said_loudly(
    tmp_path: Path, said: str, code: int, good: bool, told: str
) -> None:
    tool = tmp_path / "uv"
    tool.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = export ]; then printf "yarl==1\\nrich==2\\n" > "{tmp_path}/runtime.txt"; exit 0; fi\n'
        f"cat <<'END'\n{said}\nEND\nexit {code}\n",
        "utf-8",
    )
    tool.chmod(0o700)
    command = ["make", "-s", "-o", "install", "audit", f"TOOLS={tmp_path}", f"UV={tool}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is good
    assert told in done.stdout
    assert ("AUDIT SKIPPED" in done.stdout) is bool(told)
