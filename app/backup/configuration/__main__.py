"""`python -m app.backup.configuration`: make the configuration backup that the variables tell of. Runs in the Job's pod."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from app.backup import early  # noqa: F401 - first: what is loaded after it takes long
from app.backup.configuration.order import ORDER, Order
from app.backup.configuration.upload import Parts, back_up
from app.backup.pod import ended, unexpected
from app.kube.client import KubeCluster
from app.observe.system import SystemClock


def main(environment: Mapping[str, str]) -> int:
    """Make it; the exit code."""
    order = Order.from_text(environment[ORDER])
    parts = Parts(order, environment, SystemClock(), KubeCluster.in_cluster)
    return ended(lambda: back_up(parts), environment)


if __name__ == "__main__":
    sys.excepthook = unexpected
    sys.exit(main(os.environ))
