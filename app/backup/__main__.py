"""`python -m app.backup`: make the backup that the variables tell of. Runs in the Job's pod, never in the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from app.backup.order import ORDER, Order
from app.backup.pod import ended, say, unexpected
from app.backup.upload import Parts, back_up
from app.observe.system import SystemClock


def main(environment: Mapping[str, str]) -> int:
    """Make it; the exit code."""
    order = Order.from_text(environment[ORDER])
    return ended(lambda: back_up(Parts(order, environment, SystemClock(), say)), environment)


if __name__ == "__main__":
    sys.excepthook = unexpected
    sys.exit(main(os.environ))
