"""Params of an order: what it must give, what a rule gives for it, how high it may go, and how the catalogue tells it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from app.domain.errors import BadInput
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Params
from app.flow.upkeep.views import parameters
from app.policy.load import load_policy
from app.policy.model import Policy
from app.policy.ordered import order_params, orderable
from remediations import CATALOGUE


class ReleaseParams(Params):
    """Of a release."""

    image: str = Field(description="What to run.")
    replicas: int = 3
    names: tuple[str, ...] = ()
    revision: int | None = None
    consent: Consent = Consent.ORDER


class Release:
    """A procedure as the catalogue has it."""

    name = "release"
    steps = ("set",)
    params = ReleaseParams
    procedure = Procedure()
    fixed_params: frozenset[str] = frozenset()
    ordered_params: frozenset[str] = frozenset()
    rule_first: frozenset[str] = frozenset({"names", "revision"})


RELEASE: Any = Release()


def policy_of(rule: str) -> Policy:
    text = f"version: 1\nscope: {{namespaces: [rag7]}}\nrules: [{rule}]\n"
    return load_policy({"p.yaml": text}, {"release": RELEASE})


NO_RULE = policy_of("")
RULE = policy_of("{name: a, remediation: release, params: {image: usual}, order_params: {replicas: 5}}")
RULE_WITHOUT = policy_of("{name: a, remediation: release}")


@pytest.mark.parametrize("policy", [NO_RULE, RULE_WITHOUT])
def test_an_order_without_a_param_that_has_no_default_says_which(policy: Policy) -> None:
    with pytest.raises(BadInput) as caught:
        order_params(policy, RELEASE, {})
    assert (caught.value.code, caught.value.where) == ("param_missing", "params.image")


def test_a_param_that_is_written_wrongly_is_told_before_the_one_that_is_missing_by_that() -> None:
    with pytest.raises(BadInput) as caught:
        order_params(NO_RULE, RELEASE, {"imag": "mine"})
    assert (caught.value.code, caught.value.where) == ("bad_params", "params.imag")
    assert "release has no such param; it has consent, image, " in caught.value.message


@pytest.mark.parametrize("policy", [NO_RULE, RULE_WITHOUT, RULE])
def test_an_order_gives_it(policy: Policy) -> None:
    _, found = order_params(policy, RELEASE, {"image": "mine"})
    assert found == ReleaseParams(image="mine")


def test_what_belongs_together_is_the_rules_once_it_writes_any_of_it() -> None:
    policy = policy_of("{name: a, remediation: release, params: {image: usual, names: [a]}}")
    with pytest.raises(BadInput) as refused:
        order_params(policy, RELEASE, {"revision": 3})
    assert (refused.value.code, refused.value.where) == ("param_fixed", "params.revision")
    _, found = order_params(RULE, RELEASE, {"revision": 3})
    assert found.revision == 3  # type: ignore[attr-defined]


def test_a_rule_gives_it_for_orders_that_do_not() -> None:
    _, found = order_params(RULE, RELEASE, {})
    assert found == ReleaseParams(image="usual")


@pytest.mark.parametrize(
    ("policy", "replicas", "most"), [(NO_RULE, 4, 3), (RULE_WITHOUT, 4, 3), (RULE, 6, 5)]
)
def test_numbers_of_an_order_stay_bounded(policy: Policy, replicas: int, most: int) -> None:
    with pytest.raises(BadInput, match=f"ask for {most} at most") as caught:
        order_params(policy, RELEASE, {"image": "x", "replicas": replicas})
    assert (caught.value.code, caught.value.where) == ("param_over_rule", "params.replicas")
    assert order_params(policy, RELEASE, {"image": "x", "replicas": most})[1].model_dump()["replicas"] == most


def test_the_catalogue_tells_each_parameter_in_short() -> None:
    assert [(p["name"], p["type"], p["required"], p["default"]) for p in parameters(ReleaseParams, ())] == [
        ("image", "text", True, None),
        ("replicas", "integer", False, 3),
        ("names", "list of text", False, []),
        ("revision", "integer or null", False, None),
        ("consent", "one of order, approval, two", False, "order"),
    ]
    assert parameters(ReleaseParams, ())[0]["about"] == "What to run."


class WatchParams(Params):
    """Of what alerts start."""

    size: int = 5
    enough: float = 0.5
    marks: tuple[str, ...] = ("one-way",)
    query: str = "up"
    where: str = "here"


class Watch:
    """A remediation that alerts start."""

    name = "watch"
    steps = ("grow",)
    params = WatchParams
    procedure = None
    fixed_params: frozenset[str] = frozenset({"where"})
    ordered_params: frozenset[str] = frozenset({"size"})
    rule_first: frozenset[str] = frozenset()


WATCH: Any = Watch()
ON = "when: 'alertname=\"X\"', target: {kind: Deployment, namespace: {label: namespace}, name: {label: deployment}}"


def watched(more: str = "") -> Policy:
    text = (
        f"version: 1\nscope: {{namespaces: [rag7]}}\nrules: [{{name: a, remediation: watch, {ON}{more}}}]\n"
    )
    return load_policy({"p.yaml": text}, {"watch": WATCH})


@pytest.mark.parametrize(
    "params",
    [
        {"enough": 0.4},
        {"enough": 0.6},
        {"marks": []},
        {"marks": ["x"]},
        {"query": "vector(1)"},
        {"where": "there"},
    ],
    ids=str,
)
@pytest.mark.parametrize("more", ["", ", mode: auto", ", order_params: {size: 9}"])
def test_what_alerts_start_looks_for_is_the_rules_in_either_direction(
    params: dict[str, Any], more: str
) -> None:
    """A lower threshold, no marks and a query of the caller's own would take away what the rule asks people about."""
    with pytest.raises(BadInput) as refused:
        order_params(watched(more), WATCH, params)
    assert (refused.value.code, refused.value.where) == ("param_fixed", f"params.{next(iter(params))}")


def test_an_order_gives_what_the_rule_says_already_and_amounts_up_to_the_rules() -> None:
    policy = watched(", params: {enough: 0.7, size: 6}")
    same = {"enough": 0.7, "marks": ["one-way"], "query": "up", "where": "here"}
    _, found = order_params(policy, WATCH, {**same, "size": 4})
    assert found.model_dump() == {"size": 4, **same, "marks": ("one-way",)}
    with pytest.raises(BadInput, match="ask for 6 at most"):
        order_params(policy, WATCH, {"size": 7})


def test_the_rules_author_opens_a_param_to_orders_by_name_as_far_as_they_say() -> None:
    policy = watched(", order_params: {enough: 0.4, query: down}")
    assert order_params(policy, WATCH, {"enough": 0.45, "query": "down"})[1].model_dump()["enough"] == 0.45
    wider: list[dict[str, Any]] = [{"enough": 0.3}, {"enough": 0.6}, {"query": "other"}, {"marks": []}]
    for params in wider:
        with pytest.raises(BadInput) as refused:
            order_params(policy, WATCH, params)
        assert refused.value.code == "param_fixed"
    told = {p["name"] for p in parameters(WatchParams, orderable(policy, WATCH)) if p["ordered"]}
    assert told == {"size", "enough", "query"}


def test_of_each_remediation_that_alerts_start_orders_change_amounts_alone() -> None:
    """No threshold, mark, key, place or query of the catalogue is open to them."""
    found = {name: entry.ordered_params for name, entry in CATALOGUE.items() if entry.procedure is None}
    assert found == {
        "high-error-rate": {"scale_to"},
        "high-latency": {"scale_to"},
        "pod-restarting": set(),
        "out-of-memory": {"factor", "max_memory", "scale_to"},
        "database-connections": {"most"},
        "api-rate-limits": set(),
    }
    for name, names in found.items():
        fields = CATALOGUE[name].params.model_fields
        assert all(fields[one].annotation in (int, float) or "query" not in one for one in names)
        assert names <= set(fields)
