"""Ready means that alerts can be stored; nothing else keeps them out."""

from __future__ import annotations

from types import SimpleNamespace

from app.domain.errors import StoreUnavailable
from app.flow.readiness.health import Health


class Probe:
    """A store that says what it is told to."""

    def __init__(self) -> None:
        self.fault = ""

    async def __call__(self) -> None:
        if self.fault:
            raise StoreUnavailable(self.fault)


async def test_a_store_that_cannot_write_is_the_one_thing_that_is_not_ready() -> None:
    probe = Probe()
    health = Health(probe, [SimpleNamespace(problems={"cluster": "no answer"})])
    found = await health()
    assert (found.problems, found.degraded) == ({}, {"cluster": "no answer"})
    probe.fault = "the disk is full"
    assert (await health()).problems == {"store": "the disk is full"}
