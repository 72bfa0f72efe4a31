"""Params of every remediation: whatever a rule writes there is taken, or refused with file, line and a sentence."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from pydantic import BeforeValidator

from app.domain.param_form import form
from app.policy.faults import PolicyFault, PolicyInvalid
from app.policy.load import load_policy
from remediations import CATALOGUE

HEAD = "version: 1\nscope: {namespaces: [rag7]}\nrules:\n"
RULE = """  - name: A
    when: alertname="A"
    target: {name: {label: deployment}}
    remediation: %s
    mode: approve
    %s: %s
"""
VALUES: tuple[Any, ...] = ("s1", "", 7, -1, 1.5, True, None, [], ["a"], {}, {"a": "b"})
HALF = "a key is rotated by provider, secret, active_key and keys_key (or keys) together"


def said_of(remediation: str, block: str, params: object, more: str = "") -> list[str]:
    """The faults of a policy with one rule, whose params are in line 9."""
    text = HEAD + RULE % (remediation, block, json.dumps(params)) + more
    found: tuple[PolicyFault, ...] = ()
    try:
        load_policy({"p.yaml": text}, CATALOGUE)
    except PolicyInvalid as invalid:
        found = invalid.faults
    assert all(f.file == "p.yaml" and f.message for f in found)
    return [f"{f.line}: {f.message}" for f in found]


@pytest.mark.parametrize("block", ["params", "order_params"])
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_params_that_are_half_written_or_of_a_wrong_type_are_told_at_their_line(
    name: str, block: str
) -> None:
    """A key that is missing is told at the rule, where no params stand."""
    fields = CATALOGUE[name].params.model_fields
    missing = {f'the key "{param}" is missing' for param, field in fields.items() if field.is_required()}
    assert {told.partition(": ")[2] for told in said_of(name, block, {})} == missing
    assert len(said_of(name, block, {"no_such_param": 1})) == 1 + len(missing)
    for param, value in itertools.product(fields, VALUES):
        for told in said_of(name, block, {param: value}):
            line, _, sentence = told.partition(": ")
            assert line == "9" or sentence in missing, (param, value, told)


CANARY = "wJalrXUtnFEMI7"
CREDENTIALS = (f"postgresql://app:{CANARY}@db/x", f"https://minio:{CANARY}@minio:9000", f"password={CANARY}")


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_no_fault_repeats_a_credential_that_somebody_wrote_in_the_wrong_place(
    name: str, credential: str
) -> None:
    """A refused policy stands in the audit trail, from which nothing can be taken out again."""
    for block, param in itertools.product(("params", "order_params"), CATALOGUE[name].params.model_fields):
        for value in (credential, [credential], {"a": credential}, " " * 190 + credential):
            assert CANARY not in "".join(said_of(name, block, {param: value})), (param, value)
    assert CANARY not in "".join(said_of(name, "params", {credential: 1}))
    assert CANARY not in "".join(said_of(name, credential, 1))
    assert CANARY not in "".join(said_of(credential, "params", {}))


@pytest.mark.parametrize(("longest", "taken"), [("1s", True), ("24d", True), ("25d", False), (0.5, False)])
def test_no_vacuum_may_take_longer_than_the_server_can_count_nor_have_no_limit(
    longest: object, taken: bool
) -> None:
    """Its limit is of whole milliseconds, 2^31 - 1 at most, and 0 is none."""
    told = said_of(
        "database-vacuum", "params", {"service": "db", "secret": "s", "url_key": "u", "longest": longest}
    )
    assert [line.partition(": ")[0] for line in told] == ([] if taken else ["9"])
    assert "a number from 1 to 2073600" in form(CATALOGUE["database-vacuum"].params.model_fields["longest"])


SPANS = [
    (name, param)
    for name, remediation in CATALOGUE.items()
    for param, field in remediation.params.model_fields.items()
    if field.annotation is float and any(isinstance(m, BeforeValidator) for m in field.metadata)
]


@pytest.mark.parametrize(("name", "param"), SPANS)
def test_no_span_is_so_long_that_there_is_no_such_moment(name: str, param: str) -> None:
    """Nothing else of a policy is longer than a year either; what adds it to a moment would fail in the middle of a run."""
    told = said_of(name, "params", {param: 1e20})
    assert [line for line in told if line.startswith("9: ") and (", at most " in line or " to " in line)], (
        told
    )


def test_what_is_wrong_with_all_params_together_is_told_once_at_the_block() -> None:
    assert said_of("api-rate-limits", "params", {"secret": "s1"}) == [f"9: {HALF}"]
    assert said_of("api-rate-limits", "order_params", {"secret": "s1"}) == [f"9: {HALF}"]
    more = "    order_params: {least: 7}\n"
    assert said_of("api-rate-limits", "params", {"secret": "s1"}, more) == [f"9: {HALF}"]
