"""One target under atheris, which follows the branches that an input takes: `python -m tests.fuzz.instrumented NAME SELF ...`.

SELF is a program that runs this with the same NAME, which libFuzzer calls when it merges; what follows are libFuzzer's arguments.
Called by `tests.fuzz.__main__`. The first bytes that raise, or take more than the time limit, end the process with their
traceback and are left as a file.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

# Not in the usual environment, and without types.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["app", "remediations"]):
    from tests.fuzz.targets import TARGETS

_PUMPED_ONCE_IN = 128
_SLOWED_DOWN = 10  # times, by following the branches


def main() -> None:
    """Fuzz until libFuzzer's own limits (in the arguments) are reached; does not return."""
    target = TARGETS[sys.argv[1]]
    patient = replace(target, seconds=_SLOWED_DOWN * target.seconds)
    runs = 0

    def one(data: bytes) -> None:
        nonlocal runs
        runs += 1
        target.run(data)
        if runs % _PUMPED_ONCE_IN == 0:
            patient.pump(data)

    atheris.Setup(sys.argv[2:], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
