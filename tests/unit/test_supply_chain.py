"""What the Makefile says of known vulnerabilities and of the image's base, with stand-ins for the programs that would ask the network."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED, CLEAN = "AUDIT SKIPPED", "No known vulnerabilities found\n"
UNKNOWN = "some-package  1.0  Dependency not found on PyPI and could not be audited: some-package (1.0)\n"
FOUND = "Found 1 known vulnerability in 1 package\n"
DIGEST = f"sha256:{'ab' * 32}"


def _stand_in(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _make(target: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Without what the target needs first: that is installed already, or else these tests would not run."""
    given = [f"{name}={value}" for name, value in variables.items()]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "--no-print-directory", "-o", "install", *given, target],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _audited(folder: Path, said: str, code: int) -> subprocess.CompletedProcess[str]:
    (folder / "said").write_text(said)
    asks = f"""case "$1" in
export) for last; do :; done; printf 'a==1 --hash=x\\nb==2 --hash=y\\n' > "$last" ;;
*) cat {folder}/said; exit {code} ;;
esac"""
    uv = _stand_in(folder / "uv", asks)
    return _make("audit", folder, UV=str(uv), TOOLS=str(folder))


@pytest.mark.parametrize(
    ("said", "code", "fails", "told"),
    [
        (CLEAN, 0, False, ""),
        (FOUND, 1, True, ""),
        (FOUND + UNKNOWN, 1, True, f"{SKIPPED} for 1 of 2 packages"),
        (CLEAN + UNKNOWN * 2, 0, False, f"{SKIPPED} for 2 of 2 packages"),
        ("error: connection refused\n", 1, False, f"{SKIPPED}: pip-audit or its advisory database"),
    ],
    ids=["clean", "vulnerable", "vulnerable and unknown", "unknown", "nobody answers"],
)
def test_a_vulnerability_fails_the_audit_and_what_nobody_could_be_asked_about_is_said(
    tmp_path: Path, said: str, code: int, fails: bool, told: str
) -> None:
    ended = _audited(tmp_path, said, code)
    assert (ended.returncode != 0) is fails, ended.stdout + ended.stderr
    assert said in ended.stdout
    assert told in ended.stdout if told else SKIPPED not in ended.stdout


def test_ci_audits() -> None:
    assert "make audit\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("digest", "code"), [(DIGEST, 0), ("", 0), ("", 1)], ids=["known", "empty", "unknown"]
)
def test_an_image_is_built_on_the_digest_of_its_base_or_not_at_all(
    tmp_path: Path, digest: str, code: int
) -> None:
    asks = f"""case "$1" in
buildx) echo '{digest}'; exit {code} ;;
*) echo "$@" > {tmp_path}/built ;;
esac"""
    _stand_in(tmp_path / "docker", asks)
    ended = _make("image", tmp_path, BASE="python:3.12-slim")
    if digest:
        assert ended.returncode == 0, ended.stderr
        assert f"--build-arg PYTHON_BASE=python:3.12-slim@{DIGEST} " in (tmp_path / "built").read_text()
    else:
        assert ended.returncode != 0
        assert "IMAGE NOT BUILT" in ended.stdout
        assert not (tmp_path / "built").exists()
