"""The small languages: selectors, quantities, durations, names, FNV fingerprints."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import target_hint
from app.domain.errors import ObjectInvalid
from app.sim.alerts import fingerprint
from app.sim.kinds import seconds_of, stamp
from app.sim.naming import Names, template_hash
from app.sim.quantity import amount, cpu, memory
from app.sim.selectors import field_selector, label_selector, matches
from app.sim.units import seconds

LABELS = {"app": "web", "tier": "front", "track": ""}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app!=web", False),
        ("none!=web", True),
        ("app in (api, web)", True),
        ("app in (api)", False),
        ("app notin (api,web)", False),
        ("none notin (api)", True),
        ("app", True),
        ("none", False),
        ("!app", False),
        ("!none", True),
        ("track=", True),
        ("app=web,tier in (back,front),!none", True),
    ],
)
def test_label_selectors_choose_as_kubectl_does(text: str, chosen: bool) -> None:
    assert label_selector(text)(LABELS) is chosen


@pytest.mark.parametrize("text", ["app=web=api", "app in web", "a b", "=x", "app>3"])
def test_a_selector_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ObjectInvalid):
        label_selector(text)


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selector_objects_choose_as_the_api_does(selector: Any, chosen: bool) -> None:
    assert matches(selector, LABELS) is chosen


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", True),
        ("metadata.name=web-1", True),
        ("metadata.name=web-1,status.phase!=Running", False),
        ("status.phase!=Pending", True),
        ("spec.none=", True),
    ],
)
def test_field_selectors_compare_text(text: str, chosen: bool) -> None:
    obj = {"metadata": {"name": "web-1"}, "spec": {}, "status": {"phase": "Running"}}
    assert field_selector(text)(obj) is chosen


def test_a_field_selector_without_a_comparison_is_refused() -> None:
    with pytest.raises(ObjectInvalid):
        field_selector("metadata.name")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256Mi", 268435456),
        ("1Gi", 1073741824),
        ("1G", 10**9),
        ("1e3", 1000),
        ("1.5Ki", 1536),
        ("128974848", 128974848),
        ("1500m", 2),
        (0, 0),
    ],
)
def test_memory_is_counted_in_bytes(text: str | int, size: int) -> None:
    assert memory(text) == size


@pytest.mark.parametrize(
    ("text", "size"), [("250m", 250), ("1", 1000), ("0.5", 500), ("12345n", 1), (2, 2000)]
)
def test_cpu_is_counted_in_millicores(text: str | int, size: int) -> None:
    assert cpu(text) == size


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1KiB", "Mi", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ObjectInvalid):
        memory(text)


def test_a_resource_is_counted_in_its_own_unit() -> None:
    assert amount("requests.cpu", "1") == 1000
    assert amount("limits.memory", "1Ki") == 1024
    assert amount("pods", "3") == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("14m", 840), ("-14m", -840), ("1h30m", 5400), ("6d", 518400), ("250ms", 0.25), (7, 7)],
)
def test_durations_are_counted_in_seconds(text: str | float, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "5", "1h 30m", "5 m", True])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_times_go_through_their_text_form(at: int) -> None:
    assert seconds_of(stamp(at)) == at


def test_names_are_fresh_and_repeatable() -> None:
    first, second = Names("a"), Names("a")
    names = [first.suffix() for _ in range(200)]
    assert names == [second.suffix() for _ in range(200)]
    assert len(set(names)) == 200
    assert first.uid() != first.uid()
    assert Names("b").uid() != Names("c").uid()


def test_a_template_hash_depends_on_the_template_alone() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "x:1"}]}}
    assert template_hash(template) == template_hash(dict(template))
    assert template_hash(template) != template_hash({"spec": {}})
    assert template_hash(template) != template_hash(template, collisions=1)


def test_generated_names_are_recognised_as_pods_of_their_deployment() -> None:
    names = Names("seed")
    for number in range(50):
        pod = f"langgraph-{template_hash({'n': number})}-{names.suffix()}"
        assert target_hint({"pod": pod}) == "Pod/langgraph"


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("checkout-api-7c9f6d5b8c-2kxvw", "163f1b7682685560"),
        ("checkout-api-7c9f6d5b8c-9tq4m", "8f3758464e5c2159"),
        ("checkout-api-7c9f6d5b8c-hx7sd", "acab0ff95019b274"),
    ],
)
def test_fingerprints_are_those_of_alertmanager(pod: str, expected: str) -> None:
    labels = {
        "pod": pod,
        "alertname": "HighErrorRate",
        "cluster": "eu-west-prod",
        "deployment": "checkout-api",
        "namespace": "shop",
        "prometheus": "monitoring/main",
        "severity": "critical",
        "team": "payments",
    }
    assert fingerprint(labels) == expected
    assert fingerprint(dict(reversed(labels.items()))) == expected


def test_the_fingerprint_of_no_labels_is_the_offset_of_fnv() -> None:
    assert fingerprint({}) == "cbf29ce484222325"
