"""What every pod of a backup does around its work: nothing is for others, the last words go to the service, no traceback shows a value.

Used by the modules that a Job runs. Exit code 0: it is stored and verified, or the restored
copy is validated.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from app.backup.failure import BackupFailed
from app.backup.order import LAST_WORDS
from app.backup.over import TOLD_TO_END, tell_it_is_over


def ended(work: Callable[[], str], environment: Mapping[str, str]) -> int:
    """Do the work; the exit code. Its words, or those of its failure, become the termination message. The other container, which may
    still wait for the pipes, is told that it is over."""
    # At its deadline a pod still drops what is not whole.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TOLD_TO_END))
    os.umask(0o077)  # what containers of the pod share is for nobody else
    try:
        words, code = work(), 0
    except BackupFailed as error:
        words, code = f"{error.message} ({error.code})", 1
    finally:
        tell_it_is_over(environment)
    say(words)
    if path := environment.get(LAST_WORDS):
        Path(path).write_text(words, encoding="utf-8")
    return code


def say(text: str) -> None:
    """A line of the pod's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def unexpected(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """A defect: only its kind and place are shown, for its text may hold what it stumbled over."""
    del error
    last = getattr(trace, "tb_frame", None)
    while (following := getattr(trace, "tb_next", None)) is not None:
        trace, last = following, following.tb_frame
    say(f"{kind.__name__} in {last.f_code.co_filename if last else 'nowhere'}")
