"""Params of an order: what it must give, what a rule gives for it, how high it may go, and how the catalogue tells it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from app.domain.errors import BadInput
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Params
from app.flow.deciding.investigate import order_params
from app.flow.upkeep.views import parameters
from app.policy.load import load_policy
from app.policy.model import Policy


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
    assert [(p["name"], p["type"], p["required"], p["default"]) for p in parameters(ReleaseParams)] == [
        ("image", "text", True, None),
        ("replicas", "integer", False, 3),
        ("names", "list of text", False, []),
        ("revision", "integer or null", False, None),
        ("consent", "one of order, approval, two", False, "order"),
    ]
    assert parameters(ReleaseParams)[0]["about"] == "What to run."
