"""Could a new pod of this step start? What the step would make, what stands in its way, and how that is found out.

`goal` says what the step makes, `gather` reads the cluster and asks the pure checks beside it. Called by the flow for the
gate `new pods`. Never writes: the one request that looks like a write is a server-side dry run.
"""

from __future__ import annotations

from app.kube.newpods.gather import new_pods

__all__ = ["new_pods"]
