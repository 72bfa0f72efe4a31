"""Every param of every remediation takes its own type only, and a refusal names the place and what is allowed there."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from app.domain.errors import BadInput
from app.domain.remediation import AnyRemediation
from app.policy.load import load_policy
from app.policy.ordered import order_params
from remediations import CATALOGUE
from tests.orders import ORDERS

NO_RULE = load_policy({"p.yaml": "version: 1\nscope: {namespaces: [rag7]}\nrules: []\n"}, CATALOGUE)
PARAMS = [(r, name) for r in CATALOGUE.values() for name in r.params.model_fields]
SCHEMAS = {name: r.params.model_json_schema() for name, r in CATALOGUE.items()}
HUSH = "hush-hush"


def schema_types(remediation: AnyRemediation, name: str) -> set[str]:
    """The JSON types that the schema of the param tells, enums by their values."""
    whole = SCHEMAS[remediation.name]
    given = whole["properties"][name]
    options = given.get("anyOf", [given])
    resolved = [whole["$defs"][o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in options]
    return {str(o["type"]) for o in resolved}


def refused(remediation: AnyRemediation, name: str, value: Any) -> BadInput | None:
    """What an order with this value is refused with; None where this very value is not the reason."""
    others = dict(ORDERS[remediation.name].params) if remediation.name in ORDERS else {}
    try:
        order_params(NO_RULE, remediation, {**others, name: value})
    except BadInput as error:
        return error if error.code == "bad_params" and error.where.startswith(f"params.{name}") else None
    return None


@pytest.mark.parametrize(("remediation", "name"), PARAMS, ids=lambda v: getattr(v, "name", v))
def test_a_value_of_another_type_is_refused_with_place_and_form(
    remediation: AnyRemediation, name: str
) -> None:
    types = schema_types(remediation, name)
    wrong: list[Any] = [{"a": HUSH}]
    wrong += [] if "boolean" in types else [True, False]
    wrong += [1, "true"] if types == {"boolean"} else []
    wrong += ["8", f"8 {HUSH}"] if types <= {"integer", "number", "null"} else []
    wrong += [1.0, 1.5] if types <= {"integer", "null"} else []
    wrong += [] if "null" in types else [None]
    for value in wrong:
        error = refused(remediation, name, value)
        assert error is not None, value
        assert "expected " in error.message, (value, error.message)
        assert HUSH not in error.message


def test_a_number_out_of_bounds_names_the_bounds() -> None:
    with pytest.raises(BadInput) as caught:
        order_params(NO_RULE, CATALOGUE["scale"], {"replicas": 1_001})
    assert (caught.value.where, "a whole number from 0 to 1000" in caught.value.message) == (
        "params.replicas",
        True,
    )


def test_an_unknown_name_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(BadInput) as caught:
        order_params(NO_RULE, CATALOGUE["adjust-hpa"], {"minimum": 3})
    assert caught.value.where == "params.minimum"
    for name in CATALOGUE["adjust-hpa"].params.model_fields:
        assert name in caught.value.message


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_what_was_stored_reads_back(name: str) -> None:
    """The row of a run keeps params as JSON, and the verification reads them again."""
    given = dict(ORDERS[name].params) if name in ORDERS else {}
    rules = {"database-backup": {"to": "s3://b/p", "store_secret": "s", "uploader": "u:1"}}
    params = CATALOGUE[name].params(**{**rules.get(name, {}), **given})
    stored = TypeAdapter(dict[str, Any]).validate_json(params.model_dump_json())
    assert CATALOGUE[name].params.model_validate(stored) == params


@pytest.mark.parametrize(("utilization", "taken"), [(1, True), (400, True), (401, False), (1_000, False)])
def test_a_target_utilization_that_no_autoscaler_ever_reaches_is_refused(
    utilization: int, taken: bool
) -> None:
    """Above 100 % of the request pods go up to their limits; nothing scales any more far beyond."""
    found = refused(CATALOGUE["adjust-hpa"], "utilization", utilization)
    assert (found is None) is taken
    assert found is None or "400" in str(found)
