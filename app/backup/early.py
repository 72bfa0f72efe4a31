"""What a pod's container does when it is told to end, from its first moment on: whoever waits for its pipes hears of it.

Imported first by the modules that a Job runs, and by nobody else: to import it is to set the handler. A signal that comes while the rest is loaded
would else end the process without a word, and the other container would wait for it.
"""

from __future__ import annotations

import os
import signal
import sys

from app.backup.over import TOLD_TO_END, tell_it_is_over


def _end(*_: object) -> None:
    tell_it_is_over(os.environ)
    sys.exit(TOLD_TO_END)


signal.signal(signal.SIGTERM, _end)
