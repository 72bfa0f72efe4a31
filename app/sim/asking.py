"""How a request to the simulated world is made, whatever it is a request to. Implemented by the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from app.sim.faults import Request

T = TypeVar("T")


class Asking(Protocol):
    """Hooks, faults and the record of a request around it."""

    async def __call__(self, request: Request, act: Callable[[], T]) -> T:
        """Make it."""
        ...
