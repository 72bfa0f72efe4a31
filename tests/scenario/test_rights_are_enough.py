"""What the service asks the API server for is what the printed roles grant: a read that they forget is refused in a cluster, and where a refusal
says nothing, nobody would ever see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.target import Kind
from app.flow.actuators import ACTUATORS
from app.flow.deciding.marks import OWNING
from app.kube.verbs import CONFIG_READS, DRY_RUN_POD, EVENTS, OPTIONAL, READS
from tests.crash.cases import Case, cases

READ: frozenset[tuple[str, Kind]] = frozenset(
    (p.verb, p.kind) for p in (*READS, *OPTIONAL, *CONFIG_READS) if not p.subresource
)
GRANTED: frozenset[tuple[str, Kind]] = frozenset(
    {
        *READ,
        *((p.verb, p.kind) for p in (*DRY_RUN_POD, *EVENTS)),
        *((p.verb, p.kind) for kind, a in ACTUATORS.items() for on in Kind for p in a.rights(kind, on)),
    }
)
_OTHERWISE = frozenset({"logs", "usage", "can_i", "evict"})
"""Verbs of the port that stand for subresources, or for groups that every role has."""


@pytest.mark.parametrize("kind", sorted(OWNING))
def test_every_kind_that_is_read_as_an_owner_may_be_read(kind: Kind) -> None:
    assert ("get", kind) in READ


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_whatever_is_asked_of_the_api_server_is_granted_by_the_roles(
    tmp_path: Path, case: Case
) -> None:
    rig = case.rig(tmp_path / "rig.sqlite")
    asked: set[tuple[str, Kind]] = set()

    def note(request: Any, when: str) -> None:
        if request.kind is not None and when == "before" and request.verb not in _OTHERWISE:
            asked.add((request.verb, request.kind))

    await rig.born()
    rig.cluster.on_request(note)
    for _ in range(10):
        await case.hand(rig)
        await rig.run(30)
    assert asked
    assert asked <= GRANTED, sorted(asked - GRANTED)
    await rig.close()
