"""Owns the command of `make fuzz`: each target in a process of its own under atheris, guided by coverage, from the kept corpus.

What a target finds on the way is merged into the corpus; an input that raised or stalled is printed and kept there as well, so
that the test fails until it is mended. Exit codes: 0 nothing was found, 1 something was, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 4_096  # bytes of an input; more of it is what `FuzzTarget.pump` tries
_STALLED = 25  # seconds on the wall for one input with all that a busy machine does beside it


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz the parsers of foreign bytes."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (600)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed here; `make fuzz` brings it")
    names = options.names or list(TARGETS)
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda name: fuzz(name, options.seconds), names))
    print(f"{len(names)} targets, {options.seconds} s each: {sum(found)} with a finding")
    return 1 if any(found) else 0


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target and renew its corpus; was something found?"""
    with TemporaryDirectory(prefix=f"fuzz-{name}-") as temporary:
        base = Path(temporary)
        old, new = base / "old", base / "new"
        for folder in (old, new):
            folder.mkdir()
        target = TARGETS[name]
        for number, data in enumerate((*target.seeds, *corpus.read(name))):
            (old / f"{number:04}").write_bytes(data)
        words = base / "words"
        words.write_text("".join(f"{_quoted(word)}\n" for word in target.words if len(word) <= 64), "ascii")
        done = _run(
            name, [str(old), f"-dict={words}", f"-max_total_time={seconds}", f"-timeout={_STALLED}"], base
        )
        culprits = [f for f in base.iterdir() if f.name.startswith(("crash-", "timeout-", "oom-"))]
        failed = done.returncode != 0
        if failed:
            print(f"--- {name}\n{_last_words(done.stdout)}")
        for file in culprits:
            print(f"{name}: {file.name.partition('-')[0]} on {file.read_bytes()[:2_000]!r}", flush=True)
        _run(name, ["-merge=1", str(new), str(old)], base)
        kept = [file.read_bytes() for file in new.iterdir()]
        corpus.write(name, [*(f.read_bytes() for f in culprits), *(kept or corpus.read(name))])
        print(f"{name}: {_count(done.stdout)}, {len(corpus.read(name))} inputs kept", flush=True)
        return failed


def _run(name: str, arguments: list[str], base: Path) -> subprocess.CompletedProcess[str]:
    itself = base / "itself"
    python = f'exec "{sys.executable}" -m tests.fuzz.instrumented {name} "$0" "$@"'
    itself.write_text(f"#!/bin/sh\n{python}\n", "ascii")
    itself.chmod(0o700)
    command = [str(itself), *arguments]
    command += [
        f"-max_len={_LONGEST}",
        f"-artifact_prefix={base}/",
        "-print_final_stats=1",
        "-rss_limit_mb=2048",
    ]
    return subprocess.run(
        command,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _quoted(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"'


def _last_words(text: str) -> str:
    lines = text.splitlines()
    start = next(
        (i for i, line in enumerate(lines) if "Uncaught Python exception" in line or "ERROR: " in line), -30
    )
    return "\n".join(line[:300] for line in lines[start:][:40])


def _count(text: str) -> str:
    runs = next(
        (x.split()[-1] for x in text.splitlines() if x.startswith("stat::number_of_executed_units")), "0"
    )
    return f"{int(runs):,} inputs tried"


if __name__ == "__main__":
    sys.exit(main())
