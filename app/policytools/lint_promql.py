"""PromQL, as far as a policy's lint needs it: how far an expression looks back, and which labels its result can have.

The grammar is the library's; what it does not understand makes the answer unsure, never wrong with confidence.
Called by `app.policytools.lint_rules`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import promql_parser as promql
from promql_parser import LabelModifierType, VectorMatchCardinality

_LEVEL = re.compile(r"[(+\-*/%^<>]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_NOTHING = re.compile(r"0+(?:ms|[smhdwy])?")  # the library takes no duration of zero
_MAX_LEVELS = 300  # the library recurses on the machine's stack, which several thousand levels overflow
_PICKS = frozenset(["topk", "bottomk", "limitk", "limit_ratio"])
_SETS = frozenset(["and", "unless"])
_COUNTS = frozenset([(">", 0.0), (">=", 1.0)])
REMEMBERING = frozenset(
    [
        "rate",
        "increase",
        "delta",
        "changes",
        "resets",
        "deriv",
        "predict_linear",
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "sum_over_time",
        "count_over_time",
        "quantile_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "present_over_time",
        "mad_over_time",
    ]
)
"""Functions whose result still tells of a fault for as long as it is inside of their range. `irate`, `idelta`,
`last_over_time` look at the newest samples only, `absent_over_time` ends with the first new one."""


@dataclass(frozen=True, slots=True)
class Lookback:
    """A range that remembers: the function over it, how long, and whether that is sure (a subquery adds to it)."""

    function: str
    span: timedelta
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """Labels of a result. `kept`: it has these at most, None for whatever the series have; `gone` it surely lacks;
    `known` are values that a selector fixes."""

    kept: frozenset[str] | None = None
    gone: frozenset[str] = frozenset()
    known: Mapping[str, str] = field(default_factory=dict)
    scalar: bool = False
    sure: bool = True

    def lacks(self, label: str) -> bool:
        """True when the result cannot have this label."""
        return label in self.gone or (self.kept is not None and label not in self.kept)


@dataclass(frozen=True, slots=True)
class Query:
    """What the lint knows of an expression. `counts`: it fires on anything above zero inside of its range."""

    lookbacks: tuple[Lookback, ...]
    shape: Shape
    counts: bool


def parse_span(text: str) -> timedelta | None:
    """Prometheus' durations, `1h30m`, `5m`, `2w`; None for what is none."""
    if _NOTHING.fullmatch(text):
        return timedelta()
    try:
        return None if text.isdecimal() else promql.parse_duration(text)
    except ValueError:
        return None


def read_query(text: str) -> Query:
    """Never raises: what is not understood is unsure."""
    unknown = Query((), Shape(sure=False), counts=False)
    if len(_LEVEL.findall(text)) > _MAX_LEVELS:
        return unknown
    try:
        expression = promql.parse(text)
    except ValueError:
        return unknown
    counts = (
        isinstance(expression, promql.BinaryExpr)
        and isinstance(expression.rhs, promql.NumberLiteral)
        and (str(expression.op), expression.rhs.val) in _COUNTS
    )
    return Query(tuple(_lookbacks(expression, "")), _shape(expression), counts)


def _lookbacks(expression: promql.Expr, function: str) -> Iterator[Lookback]:
    """Every range below this expression, inner ones first; `function` is the nearest call around it."""
    inner = [found for part, name in _parts(expression, function) for found in _lookbacks(part, name)]
    yield from inner
    if function not in REMEMBERING:
        return
    if isinstance(expression, promql.MatrixSelector):
        yield Lookback(function, expression.range)
    if isinstance(expression, promql.SubqueryExpr):
        longest = max((found.span for found in inner), default=timedelta())
        yield Lookback(function, (expression.range or timedelta()) + longest, sure=False)


def _parts(expression: promql.Expr, function: str) -> list[tuple[promql.Expr, str]]:
    match expression:
        case promql.Call():
            return [(argument, expression.func.name) for argument in expression.args]
        case promql.BinaryExpr():
            return [(expression.lhs, function), (expression.rhs, function)]
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [(expression.expr, function)]
    return []


def _shape(expression: promql.Expr) -> Shape:
    match expression:
        case promql.NumberLiteral() | promql.StringLiteral():
            return Shape(scalar=True)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _shape(expression.expr)
        case promql.MatrixSelector():
            return _shape(expression.vector_selector)
        case promql.VectorSelector():
            equal = [m for m in expression.matchers.matchers if m.op == promql.MatchOp.Equal]
            return Shape(known={m.name: m.value for m in equal if m.name != "__name__"})
        case promql.AggregateExpr():
            return _aggregated(expression)
        case promql.Call():
            return _called(expression.func.name, expression.args)
        case promql.BinaryExpr():
            return _joined(expression)
    return Shape(sure=False)


def _aggregated(expression: promql.AggregateExpr) -> Shape:
    inner, name = _shape(expression.expr), str(expression.op)
    if name in _PICKS:
        return inner
    modifier = expression.modifier
    labels = frozenset(modifier.labels if modifier else ())
    if modifier and modifier.type == promql.AggModifierType.Without:
        return _without(inner, labels)
    kept = labels if inner.kept is None else labels & inner.kept
    if isinstance(expression.param, promql.StringLiteral):  # count_values writes its result into this label
        kept |= {expression.param.val}
    return replace(inner, kept=kept, known=_only(inner, kept))


def _called(name: str, arguments: Sequence[Any]) -> Shape:
    if name in ("scalar", "time", "pi"):
        return Shape(scalar=True)
    if name == "vector":
        return Shape(kept=frozenset())
    inner = next((s for s in map(_shape, arguments) if not s.scalar), Shape(kept=frozenset()))
    if name in ("absent", "absent_over_time"):
        return Shape(kept=frozenset(inner.known), known=inner.known, sure=inner.sure)
    if name in ("label_replace", "label_join"):
        label = arguments[1].val
        kept = None if inner.kept is None else inner.kept | {label}
        known = {k: v for k, v in inner.known.items() if k != label}
        return replace(inner, kept=kept, gone=inner.gone - {label}, known=known)
    if name == "histogram_quantile":
        return replace(inner, gone=inner.gone | {"le"})
    return replace(inner, sure=False) if name == "info" else inner


def _joined(expression: promql.BinaryExpr) -> Shape:
    """Labels of `left operator right`."""
    operator, left, right = str(expression.op), _shape(expression.lhs), _shape(expression.rhs)
    if operator in _SETS or right.scalar:
        return left
    if left.scalar:
        return right
    sure = left.sure and right.sure
    if operator == "or":
        kept = None if left.kept is None or right.kept is None else left.kept | right.kept
        known = {k: v for k, v in left.known.items() if right.known.get(k) == v}
        return Shape(kept, left.gone & right.gone, known, sure=sure and kept == left.kept == right.kept)
    return replace(_matched(expression.modifier, left, right), sure=sure)


def _matched(modifier: promql.BinModifier | None, left: Shape, right: Shape) -> Shape:
    """Labels of one-to-one and many-to-one matches."""
    if modifier and modifier.card in (VectorMatchCardinality.ManyToOne, VectorMatchCardinality.OneToMany):
        many = left if modifier.card == VectorMatchCardinality.ManyToOne else right
        carried = frozenset(modifier.group_labels or ())
        return replace(
            many, kept=None if many.kept is None else many.kept | carried, gone=many.gone - carried
        )
    if modifier and modifier.matching:
        labels = frozenset(modifier.matching.labels)
        if modifier.matching.type == LabelModifierType.Include:
            return Shape(labels, known=_only(left, labels))
        return _without(left, labels)
    kept = right.kept if left.kept is None else left.kept
    both = Shape(known={**right.known, **left.known})
    return Shape(kept, left.gone | right.gone, _only(both, kept))


def _without(shape: Shape, labels: frozenset[str]) -> Shape:
    kept = None if shape.kept is None else shape.kept - labels
    known = {k: v for k, v in shape.known.items() if k not in labels}
    return replace(shape, kept=kept, gone=shape.gone | labels, known=known)


def _only(shape: Shape, kept: frozenset[str] | None) -> dict[str, str]:
    return {k: v for k, v in shape.known.items() if kept is None or k in kept}
