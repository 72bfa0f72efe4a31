"""One order of each procedure that does something in the world `orders`: for whatever runs over the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.json import digest
from app.domain.ports import Clock
from app.sim.scenario import Scenario
from app.stories import STORIES
from tests.births import scenario_of

WORLD = "_orders"
LANGGRAPH, API = "rag7/Deployment/langgraph", "rag7/Deployment/langgraph-api"
POSTGRES = "rag7/StatefulSet/postgres"


@dataclass(frozen=True)
class Order:
    """What is ordered, on what, with which params; `scenario` is the shipped one in which it does something."""

    target: str
    params: Mapping[str, Any]
    scenario: str = WORLD

    def world(self) -> Scenario:
        """The world in which it does something."""
        return scenario_of(self.scenario)

    def delivery(self, name: str, clock: Clock, by: str = "kim", key: str = "once") -> Delivery:
        """The order as the API stores it; a second one under the same key is the same."""
        request = ManualRequest(name, self.target, dict(self.params), "as agreed", by, may_approve=True)
        body = digest([name, self.target, dict(self.params)])
        return Delivery(Source.MANUAL, clock.now(), by, dedupe_key=key, body_digest=body, manual=request)


ORDERS: Mapping[str, Order] = {
    name: Order(story.target, story.params, story.scenario) for name, story in STORIES.items() if story.target
}
"""By name, as the demo orders them. A procedure of the catalogue without one fails the tests over the catalogue."""


SCALER: Mapping[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "langgraph", "namespace": "rag7"},
    "spec": {
        "scaleTargetRef": {"name": "langgraph-api"},
        "minReplicaCount": 2,
        "maxReplicaCount": 10,
        "triggers": [
            {"type": "prometheus", "metadata": {"query": "sum(up)", "threshold": "100"}},
            {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}},
        ],
    },
}
"""KEDA's own object for the target of the order of an autoscaler."""


@cache
def keda_world(**spec: Any) -> Scenario:
    """The world of orders where KEDA makes the autoscaler."""
    base = orders_world()
    others = [o for o in base.objects if o["kind"] != "HorizontalPodAutoscaler"]
    scaler = {**SCALER, "spec": {**SCALER["spec"], **spec}}
    return base.model_copy(update={"objects": (*others, scaler)})


def orders_world() -> Scenario:
    """The world in which orders without a scenario of their own do something."""
    return scenario_of(WORLD)
