"""`python -m app.backup`: make the backup, or restore the one, that the variables tell of. Runs in the Job's pod, never in the service.

Exit code 0: it is stored and verified, or the restored copy is validated. The last words go to the termination message, for the service to read; no traceback shows a
value.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from app.backup.failure import BackupFailed
from app.backup.order import LAST_WORDS, ORDER, Order
from app.backup.restore import Restoring, restore
from app.backup.restore_order import RestoreOrder
from app.backup.upload import Parts, back_up
from app.domain.copies import RESTORE
from app.observe.system import SystemClock


def main(environment: Mapping[str, str]) -> int:
    """Make it; the exit code."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # at its deadline it still drops what is not whole
    os.umask(0o077)  # what the two containers share is for nobody else
    try:
        words, code = _carry_out(environment), 0
    except BackupFailed as error:
        words, code = f"{error.message} ({error.code})", 1
    _say(words)
    if path := environment.get(LAST_WORDS):
        Path(path).write_text(words, encoding="utf-8")
    return code


def _carry_out(environment: Mapping[str, str]) -> str:
    clock = SystemClock()
    if text := environment.get(RESTORE):
        return restore(Restoring(RestoreOrder.from_text(text), environment, clock, _say))
    return back_up(Parts(Order.from_text(environment[ORDER]), environment, clock, _say))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _unexpected(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """A defect: only its kind and place are shown, for its text may hold what it stumbled over."""
    del error
    last = getattr(trace, "tb_frame", None)
    while (following := getattr(trace, "tb_next", None)) is not None:
        trace, last = following, following.tb_frame
    _say(f"{kind.__name__} in {last.f_code.co_filename if last else 'nowhere'}")


if __name__ == "__main__":
    sys.excepthook = _unexpected
    sys.exit(main(os.environ))
