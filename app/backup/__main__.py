"""`python -m app.backup`: make the backup, or restore the one, that the variables tell of. Runs in the Job's pod, never in the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from app.backup import early  # noqa: F401 - first: what is loaded after it takes long
from app.backup.order import ORDER, Order
from app.backup.pod import ended, say, unexpected
from app.backup.restore import Restoring, restore
from app.backup.restore_order import RestoreOrder
from app.backup.upload import Parts, back_up
from app.domain.copies import RESTORE
from app.observe.system import SystemClock


def main(environment: Mapping[str, str]) -> int:
    """Carry it out; the exit code."""
    return ended(lambda: _carry_out(environment), environment)


def _carry_out(environment: Mapping[str, str]) -> str:
    clock = SystemClock()
    if text := environment.get(RESTORE):
        return restore(Restoring(RestoreOrder.from_text(text), environment, clock, say))
    return back_up(Parts(Order.from_text(environment[ORDER]), environment, clock, say))


if __name__ == "__main__":
    sys.excepthook = unexpected
    sys.exit(main(os.environ))
