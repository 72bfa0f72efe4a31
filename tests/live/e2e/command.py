"""`remediator ...` as a module, for commands that are forked instead of started."""

from __future__ import annotations

import os

from kubernetes.aio.config import kube_config

from app.cli import main

if __name__ == "__main__":
    # The library has read the variable when it was imported, and that was before our birth.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ["KUBECONFIG"]
    main()
