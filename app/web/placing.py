"""Placing an order: the checks before it is stored, the store, and the wake-up. One way for the API and the pages.

Raises what the checks raise. Never decides whether an order may act: the gates do.
"""

from __future__ import annotations

from app.domain.alert import Delivery, Receipt
from app.domain.errors import Refused
from app.store.ingest import is_known
from app.web.services import WebServices


async def place(using: WebServices, order: Delivery) -> Receipt:
    """Check a manual order and store it; a repeat under its key gives the same receipt.

    Raises BadInput (`unknown_remediation`, `param_missing`, …), Refused (`no_such_target`, `no_run`,
    `idempotency_conflict`), StoreUnavailable.
    """
    if order.manual is not None and not await using.store.read(lambda conn: is_known(conn, order)):
        using.check_order(order.manual)  # a repeat has its receipt, whatever rules and cluster say by now
        await using.check_target(order.manual)
    began = using.clock.monotonic()
    receipt = await using.store.ingest(order)
    if not receipt.run_ids:
        raise Refused("the order led to no run", code="no_run")
    if not receipt.replayed:
        using.nudge()
        using.received(receipt.incident_ids, began, order.source.value)
    using.metrics.deliveries.labels("manual", "replayed" if receipt.replayed else "accepted").inc()
    return receipt
