"""An order for an autoscaler that KEDA makes: what of its ScaledObject is changed, what is refused or asked, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.domain.actuator import Clients
from app.domain.json import Obj
from app.domain.plan import ActionKind, Step
from app.domain.target import Kind
from app.kube.actuator import KubeActuator
from app.kube.look import obstacle
from app.kube.undo import foresee
from app.sim import load_scenario
from tests.orders import API, SCALER, keda_world, orders_world
from tests.unit.remediations.stage import Stage

Edit = tuple[Kind, str, dict[str, Any]]
FEW = {"min": 3, "max": 12, "utilization": 60}


def note(name: str, value: str) -> Edit:
    return (
        Kind.SCALED_OBJECT,
        "langgraph",
        {"op": "add", "path": "/metadata/annotations", "value": {name: value}},
    )


def spec(**fields: Any) -> list[Edit]:
    return [
        (Kind.SCALED_OBJECT, "langgraph", {"op": "add", "path": f"/spec/{name}", "value": value})
        for name, value in fields.items()
    ]


def keda(*edits: Edit) -> Stage:
    play = Stage("adjust-hpa", keda_world(), API)
    for kind, name, operation in edits:
        play.edit(kind, name, operation)
    play.clock.advance(5)
    return play


async def step_of(play: Stage, **params: Any) -> Step:
    given = {"min": None, "max": None, "utilization": None, **params}
    _, steps = await play.look(**given)
    (step,) = steps.values()
    return step


async def manifest(play: Stage) -> Obj:
    return await play.cluster.get(Kind.SCALED_OBJECT, "rag7", "langgraph")


async def test_bounds_and_target_are_set_field_by_field_on_the_scaled_object() -> None:
    step = await step_of(keda(), **FEW)
    (action,) = step.actions
    assert (action.kind, action.object.kind, action.object.name) == (
        ActionKind.ADJUST_SCALED_OBJECT,
        Kind.SCALED_OBJECT,
        "langgraph",
    )
    assert [(c.path, c.before, c.after) for c in action.changes] == [
        ("/spec/minReplicaCount", 2, 3),
        ("/spec/maxReplicaCount", 10, 12),
        ("/spec/triggers/1/metadata/value", "80", "60"),
    ]
    assert "target cpu utilization from 80 % to 60 %" in action.summary
    assert not action.seal().sealed  # whoever approves it sees every value
    assert step.asks == ""


CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}
MEMORY = {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "1024Mi"}}
OLD = {"type": "cpu", "metadata": {"type": "Utilization", "value": "80"}}


@pytest.mark.parametrize(
    ("fields", "params", "says"),
    [
        ({}, {"min": 2, "max": 10}, "has these values already"),
        ({}, {"min": 11}, "cannot hold at least 11 and at most 10 replicas"),
        ({"idleReplicaCount": 1}, {"min": 1}, "ScaledObject langgraph has idleReplicaCount 1, which has to be below minReplicaCount (1)"),
        ({"triggers": [CPU, CPU]}, {"utilization": 60}, "has 2 triggers for cpu"),
        ({}, {"average": "1Gi", "resource": "memory"}, "has no trigger for memory (triggers: prometheus, cpu)"),
        ({"triggers": [MEMORY]}, {"utilization": 60, "resource": "memory"}, "one of the type AverageValue (1024Mi)"),
        ({"triggers": [MEMORY]}, {"average": "1Gi", "resource": "memory"}, "has these values already"),
        ({}, {"metric": "s0-prometheus", "average": "5"}, "come from the triggers of ScaledObject langgraph (prometheus, cpu)"),
    ],
)  # fmt: skip
async def test_what_keda_would_refuse_or_what_is_so_already_is_no_step(
    fields: Mapping[str, Any], params: dict[str, Any], says: str
) -> None:
    step = await step_of(keda(*spec(**fields)), **params)
    assert (step.applies, says in step.why) == (False, True), step.why


@pytest.mark.parametrize(
    ("fields", "params", "says"),
    [
        ({"minReplicaCount": 0}, {"min": 3}, "minReplicaCount from 0 to 3 (it does not scale to 0 any more)"),
        ({"minReplicaCount": 2, "idleReplicaCount": 0}, {"min": 3}, "minReplicaCount from 2 to 3"),
        ({"minReplicaCount": 0}, {"max": 3}, "maxReplicaCount from 10 to 3"),
        ({"triggers": [OLD]}, {"utilization": 60}, "from 80 % to 60 %"),
        ({"triggers": [MEMORY]}, {"average": "2Gi", "resource": "memory"}, "memory average from 1024Mi to 2Gi"),
    ],
)  # fmt: skip
async def test_scaling_to_zero_and_older_forms_of_a_trigger_are_taken_as_they_are(
    fields: Mapping[str, Any], params: dict[str, Any], says: str
) -> None:
    (action,) = (await step_of(keda(*spec(**fields)), **params)).actions
    assert says in action.summary


async def test_a_maximum_below_the_fallback_is_asked_about() -> None:
    fields = spec(fallback={"failureThreshold": 3, "replicas": 6})
    assert (await step_of(keda(*fields), max=8)).asks == ""
    assert "fallback wants 6 replicas" in (await step_of(keda(*fields), max=5)).asks


@pytest.mark.parametrize(
    ("annotation", "value", "stops"),
    [
        ("autoscaling.keda.sh/paused", "true", True),
        ("autoscaling.keda.sh/paused", "", True),  # KEDA takes whatever is no boolean for a yes
        ("autoscaling.keda.sh/paused", "false", False),
        ("autoscaling.keda.sh/paused-replicas", "0", True),
        ("autoscaling.keda.sh/paused-scale-down", "true", False),
    ],
)
async def test_a_paused_scaled_object_is_left_alone_in_the_plan_and_right_before_the_write(
    annotation: str, value: str, stops: bool
) -> None:
    play = keda()
    (action,) = (await step_of(play, **FEW)).actions
    play.edit(*note(annotation, value))
    assert ("is paused" in obstacle(await manifest(play), action)) is stops
    play.clock.advance(5)
    step = await step_of(play, **FEW)
    assert ("is paused" in step.why, step.applies) == (stops, not stops)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"op": "add", "path": "/spec/triggers/0", "value": {**CPU, "type": "cron"}}, "/spec/triggers/1/type is"),
        ({"op": "replace", "path": "/spec/triggers/1/metricType", "value": "AverageValue"}, "/spec/triggers/1/metricType is"),
        ({"op": "replace", "path": "/spec/triggers/1/metadata/value", "value": "70"}, "/spec/triggers/1/metadata/value is"),
        ({"op": "remove", "path": "/spec/triggers/1"}, "/spec/triggers/1/type is absent"),
    ],
)  # fmt: skip
async def test_a_trigger_that_changed_meanwhile_is_never_overwritten(
    change: dict[str, Any], says: str
) -> None:
    play = keda()
    (action,) = (await step_of(play, utilization=60)).actions
    play.edit(Kind.SCALED_OBJECT, "langgraph", change)
    found = obstacle(await manifest(play), action)
    assert says in found


async def test_an_undo_leaves_another_trigger_that_stands_in_its_place() -> None:
    play = keda()
    (action,) = (await step_of(play, utilization=60)).actions
    other = {"type": "memory", "metricType": "Utilization", "metadata": {"value": "60"}}
    play.edit(Kind.SCALED_OBJECT, "langgraph", {"op": "replace", "path": "/spec/triggers/1", "value": other})
    why, (field,) = await foresee(play.cluster, action, "run/0.0")
    assert "not ours any more" in why
    assert "/spec/triggers/1/type is" in field.text


async def test_of_several_scaled_objects_none_is_chosen() -> None:
    play = keda()
    play.cluster.create({**SCALER, "metadata": {"name": "second", "namespace": "rag7"}})
    step = await step_of(play, **FEW)
    assert "2 ScaledObjects are for rag7/Deployment/langgraph-api (langgraph, second)" in step.why


async def test_an_autoscaler_of_somebody_else_beside_the_scaled_object_is_told() -> None:
    play = Stage("adjust-hpa", orders_world(), API)
    play.cluster.create({**SCALER, "metadata": {"name": "langgraph", "namespace": "rag7"}})
    step = await step_of(play, **FEW)
    assert "autoscalers not of its making size rag7/Deployment/langgraph-api" in step.why


async def test_of_several_autoscalers_none_is_chosen() -> None:
    """Kubernetes lets none of them size the workload (AmbiguousSelector): what is written to one changes nothing."""
    play = Stage("adjust-hpa", orders_world(), API)
    play.cluster.create(
        {
            **await play.cluster.get(Kind.HPA, "rag7", "langgraph-hpa"),
            "metadata": {"name": "second", "namespace": "rag7"},
        }
    )
    step = await step_of(play, **FEW)
    assert not step.applies
    assert "Several autoscalers size rag7/Deployment/langgraph-api (langgraph-hpa, second)" in step.why


async def test_an_autoscaler_of_keda_without_its_scaled_object_is_left_alone() -> None:
    play = Stage("adjust-hpa", orders_world(), API)
    mark = {"scaledobject.keda.sh/name": "langgraph"}
    play.edit(Kind.HPA, "langgraph-hpa", {"op": "add", "path": "/metadata/labels", "value": mark})
    step = await step_of(play, **FEW)
    assert "marked as KEDA's, and there is no ScaledObject langgraph" in step.why


@pytest.mark.parametrize("of_keda", [True, False])
async def test_scaled_objects_that_may_not_be_read_close_the_step_where_keda_makes_the_autoscaler(
    of_keda: bool,
) -> None:
    play = keda() if of_keda else Stage("adjust-hpa", orders_world(), API)
    play.cluster.deny("list", Kind.SCALED_OBJECT)
    step = await step_of(play, **FEW)
    assert (step.applies, "could not be read" in step.why) == (not of_keda, of_keda)


async def test_a_cluster_without_keda_changes_the_autoscaler_itself() -> None:
    assert "ScaledObject" not in {o["kind"] for o in load_scenario("_orders").objects}
    (action,) = (await step_of(Stage("adjust-hpa", orders_world(), API), **FEW)).actions
    assert action.kind is ActionKind.ADJUST_AUTOSCALER


async def test_what_the_order_is_for_is_so_when_keda_s_own_autoscaler_follows() -> None:
    play = keda()
    (action,) = (await step_of(play, **FEW)).actions
    clients = Clients(play.cluster, play.cluster.databases)
    effect = await KubeActuator().effect(clients, action)
    assert effect is not None
    assert (effect.good, "minReplicas is 2, not 3" in effect.text) == (False, True)
    assert "the target of cpu is 80, not 60" in effect.text
    for change in action.changes:
        play.edit(
            Kind.SCALED_OBJECT, "langgraph", {"op": "replace", "path": change.path, "value": change.after}
        )
    play.clock.advance(5)
    effect = await KubeActuator().effect(clients, action)
    assert effect is not None
    assert (effect.good, effect.text) == (
        True,
        "KEDA's autoscaler keda-hpa-langgraph follows ScaledObject langgraph",
    )
    play.edit(*note("autoscaling.keda.sh/paused", "true"))
    play.clock.advance(5)
    effect = await KubeActuator().effect(clients, action)
    assert effect is not None
    assert (effect.good, "it was paused since" in effect.text) == (False, True)
    play.cluster.deny("list", Kind.HPA)
    effect = await KubeActuator().effect(clients, action)
    assert effect is not None
    assert effect.good is None
