"""One order of each procedure that does something in the world `orders`: for whatever runs over the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.json import digest
from app.domain.ports import Clock
from app.sim import load_scenario
from app.sim.scenario import Scenario

WORLD = Path(__file__).resolve().parent / "data" / "scenarios" / "orders.yaml"
LANGGRAPH, API = "rag7/Deployment/langgraph", "rag7/Deployment/langgraph-api"
POSTGRES = "rag7/StatefulSet/postgres"


@dataclass(frozen=True)
class Order:
    """What is ordered, on what, with which params; `scenario` is the shipped one in which it does something, else the world `orders`."""

    target: str
    params: Mapping[str, Any]
    scenario: str = ""

    def world(self) -> Scenario:
        """The world in which it does something."""
        return _world(self.scenario or WORLD)

    def delivery(self, name: str, clock: Clock, by: str = "kim", key: str = "once") -> Delivery:
        """The order as the API stores it; a second one under the same key is the same."""
        request = ManualRequest(name, self.target, dict(self.params), "as agreed", by, may_approve=True)
        body = digest([name, self.target, dict(self.params)])
        return Delivery(Source.MANUAL, clock.now(), by, dedupe_key=key, body_digest=body, manual=request)


ORDERS: Mapping[str, Order] = {
    "deploy": Order(LANGGRAPH, {"image": ":v1.5.0", "service": "langgraph"}),
    "hotfix": Order(LANGGRAPH, {"image": "ghcr.io/stacey77/rag7:v1.5.0"}),
    "rollback": Order(LANGGRAPH, {"service": "langgraph"}),
    "scale": Order(LANGGRAPH, {"replicas": 5}),
    "adjust-hpa": Order(API, {"min": 3, "max": 12, "utilization": 60}),
    "clean-checkpoints": Order(POSTGRES, {}, "clean-checkpoints"),
    "database-backup": Order(POSTGRES, {}, "database-backup"),
    "database-restore": Order("rag7/Deployment/langgraph-threads", {}, "database-restore"),
    "database-vacuum": Order(POSTGRES, {}, "database-vacuum"),
    "logs-and-volumes": Order("rag7/Deployment/langgraph-store", {}, "logs-and-volumes"),
}
"""By name. A procedure of the catalogue without one here fails the tests over the catalogue."""


@cache
def _world(scenario: str | Path) -> Scenario:
    return load_scenario(scenario)


def orders_world() -> Scenario:
    """The world in which orders without a scenario of their own do something."""
    return _world(WORLD)
