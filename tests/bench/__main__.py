"""Owns the benches' command: `python -m tests.bench [NAME...]` measures, prints a table, and fails on a missed limit.

Exit codes: 0 all limits hold, 1 one does not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from tests.bench import abuse, accept, backtest, backup, crowded, memory, pages, react, ready
from tests.bench.report import Measure, Scale, as_json, show

BENCHES: Mapping[str, Callable[[Scale], list[Measure]]] = {
    module.BENCH: module.measure
    for module in (ready, react, accept, abuse, memory, crowded, pages, backtest, backup)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the service's speed.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)} (all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="fewer rounds; 500,000 instead of 5 million stored alerts"
    )
    size.add_argument("--tiny", action="store_true", help="only show that the benches run; nothing is judged")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the measures there")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"no such bench: {', '.join(unknown)}")
    scale = Scale(quick=options.quick, tiny=options.tiny)
    measures: list[Measure] = []
    for name in options.names or BENCHES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        measures += BENCHES[name](scale)
    show(measures, Console(width=140 if not sys.stdout.isatty() else None))
    if options.json:
        options.json.write_text(json.dumps(as_json(measures), indent=1) + "\n", "utf-8")
    return 1 if any(m.ok is False for m in measures) else 0


if __name__ == "__main__":
    sys.exit(main())
