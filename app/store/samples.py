"""Memory samples of pods, so that growth shows across restarts of the pod and of this service.

Called by the flow. Pruned by `retention`. Never judges them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert, select

from app.domain.ports import Sample
from app.store.encoding import micros, moment, storable
from app.store.schema import samples
from app.store.tx import Tx


def put(tx: Tx, target_key: str, taken: Iterable[tuple[str, datetime, int]]) -> int:
    """Keep samples `(pod, at, bytes)` of a target; one of the same pod and moment is kept once. How many were new."""
    rows = {(storable(pod), micros(at)): size for pod, at, size in taken}
    if not rows:
        return 0
    first = min(at for _, at in rows)
    known = tx.conn.execute(
        select(samples.c.pod, samples.c.at).where(samples.c.target_key == target_key, samples.c.at >= first)
    )
    for pod, at in known:
        rows.pop((pod, at), None)
    if rows:
        values = [
            {"target_key": target_key, "pod": pod, "at": at, "memory_bytes": size}
            for (pod, at), size in rows.items()
        ]
        tx.conn.execute(insert(samples), values)
    return len(rows)


def get(conn: Connection, target_key: str, since: datetime) -> dict[str, list[Sample]]:
    """Samples of the target at or after `since`, by pod, oldest first; values in bytes."""
    found: dict[str, list[Sample]] = {}
    query = (
        select(samples.c.pod, samples.c.at, samples.c.memory_bytes)
        .where(samples.c.target_key == target_key, samples.c.at >= micros(since))
        .order_by(samples.c.at)
    )
    for pod, at, size in conn.execute(query):
        found.setdefault(pod, []).append(Sample(moment(at), float(size)))
    return found
