"""Ordered: the params of an order, between what whoever gives it wants and what the rule allows.

Owns which of them an order may change and how far: amounts up to the rule's, or to what its author lets an order ask for. What a remediation
that alerts start looks for, where, with which query and how much is enough is the rule's alone, in either direction. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from app.domain.errors import BadInput
from app.domain.params import params_of
from app.domain.remediation import AnyRemediation, Params
from app.policy.match import rule_for_order
from app.policy.model import Policy, Rule


def order_params(
    policy: Policy, remediation: AnyRemediation, params: Mapping[str, object]
) -> tuple[Rule, Params]:
    """The rule and the params of an order. Raises BadInput: `bad_params`, `param_missing` for one without a default that neither gives,
    `param_over_rule` for a number above the rule's, or else the default, that `order_params` does not allow, `param_fixed` for another value of
    one that only the rule sets."""
    own = rule_for_order(policy, remediation.name, {}, remediation.procedure)
    rule = rule_for_order(policy, remediation.name, params, remediation.procedure)
    found = params_of(remediation, rule.params)
    required = {k for k, field in remediation.params.model_fields.items() if field.is_required()}
    given = {k: v for k, v in params.items() if k in required}  # of these the rule alone may have none
    standing = params_of(remediation, {**given, **own.params})
    highest = params_of(remediation, {**given, **own.params, **own.order_params})
    fixed = _fixed(remediation, own)
    for name in params:
        value, limit = getattr(found, name, None), getattr(highest, name, None)
        usual = getattr(standing, name, None)
        if value != usual and (name in fixed or not _open(remediation, own, name, (usual, value, limit))):
            raise BadInput("only the rule sets this", code="param_fixed", where=f"params.{name}")
        if _number(value) and _number(limit) and value > max(limit, usual if _number(usual) else limit):
            text = f"the rule {own.name!r} lets an order ask for {limit} at most"
            raise BadInput(text, code="param_over_rule", where=f"params.{name}")
    return rule, found


def orderable(policy: Policy, remediation: AnyRemediation) -> frozenset[str]:
    """Names of the params that an order may change under the policy in force."""
    own = rule_for_order(policy, remediation.name, {}, remediation.procedure)
    amounts = remediation.ordered_params | set(own.order_params)
    procedure = remediation.procedure is not None
    return frozenset(remediation.params.model_fields if procedure else amounts) - _fixed(remediation, own)


def _fixed(remediation: AnyRemediation, rule: Rule) -> frozenset[str]:
    """What no order may change, whatever the rule's author lets it ask for."""
    together = remediation.rule_first if remediation.rule_first & set(rule.params) else frozenset()
    return remediation.fixed_params | together


def _open(remediation: AnyRemediation, rule: Rule, name: str, values: tuple[object, object, object]) -> bool:
    """Whether an order may change it: of a procedure, or an amount. Another one only where the rule's author names it, to that value or to a number
    between it and the usual one."""
    if remediation.procedure is not None or name in remediation.ordered_params:
        return True
    usual, value, named = values
    if _number(usual) and _number(value) and _number(named):
        return name in rule.order_params and min(usual, named) <= value <= max(usual, named)
    return name in rule.order_params and value == named


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
