"""What an order is refused for, and in which words: images, containers, health checks, sizes, autoscalers of others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.http_check import HttpAddress
from app.domain.target import Kind
from app.policy.ordered import order_params
from remediations import CATALOGUE
from remediations.deploy import DeployParams, repository, whole
from tests.orders import API, LANGGRAPH, orders_world
from tests.scenario.rig import shipped_policy
from tests.unit.remediations.stage import Stage

RAG7 = "ghcr.io/stacey77/rag7"


async def step_of(name: str, target: str = LANGGRAPH, *edits: Any, **params: Any) -> Any:
    play = Stage(name, orders_world(), target)
    for kind, thing, operation in edits:
        play.edit(kind, thing, operation)
    play.clock.advance(30)
    _, steps = await play.look(**params)
    (step,) = steps.values()
    return step


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"image": ":v1.4.2"}, "runs already, on all 3 pods"),
        ({"image": f"{RAG7}:v1.4.2"}, "runs already, on all 3 pods"),
        ({"image": ":latest"}, "moving_tag=true"),
        ({"image": RAG7}, "neither tag nor digest"),
        ({"image": "nginx"}, "The image nginx has neither tag nor digest"),
        ({"image": "nginx:1.29"}, "The repository nginx is another repository"),
        ({"image": "ghcr.io/elsewhere/rag7:v1.5.0"}, "another repository"),
        ({"image": "localhost:5000/rag7:v1.5.0"}, "another repository"),
        ({"container": "worker"}, "no container worker: say which (param container), there are langgraph"),
        ({"service": "postgres"}, "The health check cannot be made: there is no Service postgres"),
        ({"port": 81, "service": "langgraph"}, "no port 81"),
    ],
)
async def test_a_release_that_is_refused_says_why(params: dict[str, Any], says: str) -> None:
    step = await step_of("deploy", **{"image": ":v1.5.0", "service": "", **params})
    assert not step.applies
    assert says in step.why


@pytest.mark.parametrize(
    ("params", "image"),
    [
        ({"image": ":v1.5.0"}, f"{RAG7}:v1.5.0"),
        ({"image": f"@sha256:{'a' * 64}"}, f"{RAG7}@sha256:{'a' * 64}"),
        ({"image": ":latest", "moving_tag": True}, f"{RAG7}:latest"),
        ({"image": f":latest@sha256:{'a' * 64}"}, f"{RAG7}:latest@sha256:{'a' * 64}"),
        ({"image": "ghcr.io/b/rag7:v2", "repositories": ("ghcr.io/b/rag7",)}, "ghcr.io/b/rag7:v2"),
    ],
)
async def test_a_release_sets_one_field_of_the_container(params: dict[str, Any], image: str) -> None:
    step = await step_of("deploy", **params)
    (change,) = (c for c in step.actions[0].changes if "change-cause" not in c.path)
    assert (change.path, change.before, change.after) == (
        "/spec/template/spec/containers/[name=langgraph]/image",
        f"{RAG7}:v1.4.2",
        image,
    )


async def test_of_several_containers_one_has_to_be_named() -> None:
    step = await step_of("deploy", API, image=":v2.0.1", service="")
    assert "say which (param container), there are api, proxy" in step.why
    assert (await step_of("deploy", API, image=":v2.0.1", container="api", service="")).applies


@pytest.mark.parametrize(
    "image", ["", "UPPER:v1", "a b:v1", "x:v1\n", "http://x/y:v1", ":", "@sha256:abc", "x;y:1"]
)
def test_what_is_no_image_is_no_param(image: str) -> None:
    with pytest.raises(ValidationError):
        DeployParams(image=image)


@pytest.mark.parametrize(
    "path",
    [
        "health",
        "//evil",
        "/a b",
        "/x\r\nHost: y",
        "/@x",
        "/#y",
        "http://x/",
        "/\\evil",
        "/health?token=hush",
        "/a&b=c",
    ],
)
def test_a_path_that_could_name_a_host_or_a_header_is_no_param(path: str) -> None:
    if path == "//evil":  # stays a path: the host is the Service's cluster IP
        assert DeployParams(image=":a", path=path).path == path
        return
    with pytest.raises(ValidationError):
        DeployParams(image=":a", path=path)


def test_the_words_for_an_address_never_repeat_a_query() -> None:
    assert (
        str(HttpAddress("rag7", "web", "10.96.7.12", 80, "/health?token=hush")) == "http://web.rag7:80/health"
    )


async def test_a_service_that_also_chooses_pods_of_others_tells_nothing_of_the_target() -> None:
    play = Stage("deploy", orders_world(), LANGGRAPH)
    pods: Any = await play.cluster.list_objects(Kind.POD, "rag7")
    other = next(p["metadata"]["name"] for p in pods if p["metadata"]["name"].startswith("langgraph-api"))
    play.edit(Kind.POD, other, {"op": "replace", "path": "/metadata/labels/app", "value": "langgraph"})
    _, steps = await play.look(image=":v1.5.0", service="langgraph")
    (step,) = steps.values()
    assert not step.applies
    assert (
        f"Service langgraph also chooses pods that are not rag7/Deployment/langgraph's: {other};" in step.why
    )


async def test_a_release_sets_the_cause_that_the_history_tells() -> None:
    step = await step_of("deploy", image=":v1.5.0", service="")
    assert [(c.before, c.after) for c in step.actions[0].changes if "change-cause" in c.path] == [
        ("release v1.4.2", f"langgraph {RAG7}:v1.5.0 (alert-remediator)")
    ]


def test_a_registry_with_a_port_is_no_tag() -> None:
    assert repository("registry:5000/a/b") == "registry:5000/a/b"
    assert repository("registry:5000/a/b:v1@sha256:00") == "registry:5000/a/b"
    assert whole("@sha256:1", "registry:5000/a/b:v1") == "registry:5000/a/b@sha256:1"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"revision": 9}, "no revision 9; kept are 2, 1"),
        ({"revision": 2}, "in place already"),
    ],
)
async def test_a_revision_that_cannot_be_gone_back_to_says_why(params: dict[str, Any], says: str) -> None:
    step = await step_of("rollback", **{"service": "", **params})
    assert not step.applies
    assert says in step.why


async def test_zero_replicas_are_an_explicit_word_and_asked_about() -> None:
    assert "to_zero=true" in (await step_of("scale", replicas=0)).why
    step = await step_of("scale", replicas=0, to_zero=True)
    assert step.applies
    assert step.asks


@pytest.mark.parametrize(
    ("name", "target", "params", "says"),
    [
        ("scale", LANGGRAPH, {"replicas": 21, "max_replicas": 20}, "Replicas 21 was ordered"),
        ("scale", API, {"replicas": 21, "max_replicas": 20, "autoscaler": "minimum"}, "at most 20"),
        ("adjust-hpa", API, {"min": 3, "max": 51, "max_replicas": 50}, "maxReplicas 51 was ordered"),
        ("adjust-hpa", API, {"min": 60, "max": None, "max_replicas": 50}, "minReplicas 60 was ordered"),
    ],
)
async def test_a_size_above_the_rules_ceiling_is_refused_with_both_numbers(
    name: str, target: str, params: dict[str, Any], says: str
) -> None:
    step = await step_of(name, target, **params)
    assert (step.applies, says.lower() in step.why.lower(), "the rule allows at most" in step.why) == (
        False,
        True,
        True,
    )


def test_the_shipped_rules_hold_orders_of_sizes_below_a_ceiling() -> None:
    for name, most in (("scale", 20), ("adjust-hpa", 50)):
        rule, params = order_params(
            shipped_policy(), CATALOGUE[name], {"replicas": 2} if name == "scale" else {}
        )
        assert (rule.mode, getattr(params, "max_replicas", None)) == (Mode.APPROVE, most)
        with pytest.raises(BadInput) as caught:
            order_params(
                shipped_policy(),
                CATALOGUE[name],
                {"replicas": 2, "max_replicas": 500} if name == "scale" else {"max_replicas": 500},
            )
        assert (caught.value.code, caught.value.where) == ("param_fixed", "params.max_replicas")


async def test_a_rule_may_send_a_size_to_the_autoscaler() -> None:
    step = await step_of("scale", API, replicas=4, autoscaler="minimum")
    assert [(c.path, c.before, c.after) for c in step.actions[0].changes] == [("/spec/minReplicas", 2, 4)]
    assert (
        "cannot hold at least 40 and at most 10"
        in (await step_of("scale", API, replicas=40, autoscaler="minimum")).why
    )


KEDA = {"op": "add", "path": "/metadata/labels", "value": {"scaledobject.keda.sh/name": "langgraph"}}


async def test_a_size_that_a_rule_sends_to_keda_s_autoscaler_is_refused_with_the_order_for_its_scaled_object() -> (
    None
):
    step = await step_of("scale", API, (Kind.HPA, "langgraph-hpa", KEDA), replicas=4, autoscaler="minimum")
    assert not step.applies
    assert "ScaledObject langgraph" in step.why
    assert f"remediator trigger adjust-hpa --target {API} --param min=4" in step.advice
    assert "kubectl patch scaledobject langgraph -n rag7" in step.advice


QUEUE = {
    "type": "External",
    "external": {
        "metric": {"name": "queue_length"},
        "target": {"type": "AverageValue", "averageValue": "30"},
    },
}
RATE = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Ingress", "name": "web"},
        "metric": {"name": "requests"},
        "target": {"type": "Value", "value": "2k"},
    },
}


@pytest.mark.parametrize(
    ("params", "path", "says"),
    [
        (
            {"metric": "queue_length", "average": "50"},
            "/spec/metrics/1/external/target/averageValue",
            "from 30 to 50",
        ),
        (
            {"metric": "requests", "value": "3k"},
            "/spec/metrics/2/object/target/value",
            "target requests value from 2k to 3k",
        ),
        ({"metric": "requests", "average": "3k"}, "", "it has a target of the type Value (2k)"),
        (
            {"metric": "lag", "average": "3k"},
            "",
            "its metrics: cpu (Utilization 80), external queue_length (AverageValue 30), object requests (Value 2k)",
        ),
        ({"resource": "memory", "average": "3k"}, "", "the param metric names one that is no resource"),
        ({"metric": "lag"}, "", "No target for lag was given"),
        ({"metric": "lag", "utilization": 50}, "", "(lag) has no utilization"),
        ({"value": "50"}, "", "Value is the target of a metric by its name"),
    ],
)
async def test_a_target_of_a_metric_that_is_no_resource_is_set_by_its_name(
    params: dict[str, Any], path: str, says: str
) -> None:
    edits = [
        (Kind.HPA, "langgraph-hpa", {"op": "add", "path": "/spec/metrics/-", "value": m})
        for m in (QUEUE, RATE)
    ]
    given = {"min": None, "max": None, "utilization": None, **params}
    step = await step_of("adjust-hpa", API, *edits, **given)
    assert says in " ".join([step.why, *(a.summary for a in step.actions)])
    assert [c.path for a in step.actions for c in a.changes] == ([path] if path else [])


AVERAGE = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}


@pytest.mark.parametrize(
    ("params", "applies", "says"),
    [
        ({"average": "1536Mi", "resource": "memory"}, True, "target memory average from 1Gi to 1536Mi"),
        ({"average": "1024Mi", "resource": "memory"}, False, "has these values already"),
        (
            {"average": "500m"},
            False,
            "no target for the average of cpu; it has a target of the type Utilization (80)",
        ),
        (
            {"utilization": 60, "resource": "memory"},
            False,
            "no target for the utilization of memory; it has a target of the type AverageValue (1Gi)",
        ),
    ],
)
async def test_a_target_is_set_in_the_type_that_the_autoscaler_has(
    params: dict[str, Any], applies: bool, says: str
) -> None:
    more = {"op": "add", "path": "/spec/metrics/-", "value": {"type": "Resource", "resource": AVERAGE}}
    given = {"min": None, "max": None, "utilization": None, **params}
    step = await step_of("adjust-hpa", API, (Kind.HPA, "langgraph-hpa", more), **given)
    assert step.applies is applies
    assert says in " ".join([step.why, *(a.summary for a in step.actions)])
    if applies:
        (change,) = step.actions[0].changes
        assert (change.path, change.after) == ("/spec/metrics/1/resource/target/averageValue", "1536Mi")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"min": None, "max": None, "utilization": None}, "othing to change was given"),
        ({"min": 2, "max": 10, "utilization": 80}, "has these values already"),
        ({"min": 11, "max": None, "utilization": None}, "at least 11 and at most 10"),
        ({"resource": "memory"}, "no target for the utilization of memory"),
    ],
)
async def test_bounds_that_change_nothing_or_cannot_be_say_why(params: dict[str, Any], says: str) -> None:
    assert says in (await step_of("adjust-hpa", API, **params)).why
