"""PromQL, as far as a policy's lint needs it: how far an expression looks back, and which labels its result can have.

A tolerant reader, not a full parser: what it does not understand makes the answer unsure, never wrong with confidence.
Called by `app.policytools.lint_rules`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<span>(?:\d+(?:ms|[smhdwy]))+(?!\w))
      | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
      | (?P<name>[A-Za-z_][\w:]*|:[A-Za-z_][\w:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^=<>{}()\[\],:@])
      | (?P<odd>.)""",
    re.VERBOSE | re.DOTALL,
)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_AGGREGATES = frozenset(
    ["sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "quantile"]
)
_PICKS = frozenset(["topk", "bottomk", "limitk", "limit_ratio"])
_BINARY = frozenset(
    ["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "and", "or", "unless", "atan2"]
)
_SCALARS = frozenset(["scalar", "time", "pi"])
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


class _Odd(Exception):
    """Something this reader does not understand."""


def parse_span(text: str) -> timedelta | None:
    """Prometheus' durations, `1h30m`, `5m`, `2w`; None for what is none."""
    parts = _PART.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return timedelta() if text == "0" else None
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in parts))


def read_query(text: str) -> Query:
    """Never raises: what is not understood is unsure."""
    tokens = [(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(text) if m.lastgroup != "blank"]
    try:
        reader = _Reader(tokens)
        shape = reader.expression()
        if reader.at < len(tokens):
            shape = replace(shape, sure=False)
    except (_Odd, RecursionError):
        shape = Shape(sure=False)
    words = [t for _, t in tokens]
    counts = words[-2:] in ([">", "0"], [">=", "1"])
    return Query(_lookbacks(tokens), shape, counts)


def _lookbacks(tokens: list[tuple[str, str]]) -> tuple[Lookback, ...]:
    found: list[Lookback] = []
    calls: list[str] = []
    for at, (_, text) in enumerate(tokens):
        if text == "(":
            kind, name = tokens[at - 1] if at else ("", "")
            calls.append(name if kind == "name" else "")
        elif text == ")" and calls:
            calls.pop()
        elif text == "[" and tokens[at + 1 : at + 2] and tokens[at + 1][0] == "span":
            span = parse_span(tokens[at + 1][1]) or timedelta()
            subquery = tokens[at + 2 : at + 3] == [("sign", ":")]
            inner = max((f.span for f in found), default=timedelta()) if subquery else timedelta()
            function = next((c for c in reversed(calls) if c), "")
            if function in REMEMBERING:
                found.append(Lookback(function, span + inner, not subquery))
    return tuple(found)


class _Reader:
    """Position among the tokens. Operators are read from left to right: their order of precedence moves no labels."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0

    def ahead(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.ahead()
        self.at += 1
        return token

    def take(self, text: str) -> bool:
        if self.ahead()[1].lower() != text or self.ahead()[0] == "text":
            return False
        self.at += 1
        return True

    def need(self, text: str) -> None:
        if not self.take(text):
            raise _Odd

    def expression(self) -> Shape:
        left = self.operand()
        while self.ahead()[0] in ("sign", "name") and self.ahead()[1].lower() in _BINARY:
            operator = self.next()[1].lower()
            matching, group = self._matching()
            left = _joined(operator, left, self.operand(), matching, group)
        return left

    def _matching(self) -> tuple[tuple[str, frozenset[str]] | None, tuple[str, frozenset[str]] | None]:
        self.take("bool")
        matching = group = None
        for word in ("on", "ignoring"):
            if self.take(word):
                matching = (word, self.labels())
        for word in ("group_left", "group_right"):
            if self.take(word):
                group = (word, self.labels() if self.ahead()[1] == "(" else frozenset())
        return matching, group

    def labels(self) -> frozenset[str]:
        self.need("(")
        found = []
        while not self.take(")"):
            kind, text = self.next()
            if kind not in ("name", "text"):
                raise _Odd
            found.append(text.strip("\"'`"))
            self.take(",")
        return frozenset(found)

    def operand(self) -> Shape:
        while self.take("-") or self.take("+"):
            pass
        shape = self.primary()
        while True:
            if self.take("["):
                while not self.take("]"):
                    if self.next()[0] == "end":
                        raise _Odd
            elif self.take("offset") or self.take("@"):
                self.take("-")
                self.primary()
            else:
                return shape

    def primary(self) -> Shape:
        kind, text = self.next()
        if kind in ("number", "text", "span"):
            return Shape(scalar=True)
        if text == "(":
            shape = self.expression()
            self.need(")")
            return shape
        if text == "{":
            self.at -= 1
            return self.selector()
        if kind != "name":
            raise _Odd
        if text.lower() in _AGGREGATES | _PICKS and self.ahead()[1].lower() in ("(", "by", "without"):
            return self.aggregate(text.lower())
        if self.ahead()[1] == "(":
            return _called(text.lower(), *self.arguments())
        return self.selector()

    def selector(self) -> Shape:
        known = {}
        if self.take("{"):
            while not self.take("}"):
                name, operator, value = self.next(), self.next(), self.next()
                if operator[0] != "sign" or value[0] != "text":
                    raise _Odd
                if operator[1] == "=":
                    known[name[1]] = value[1][1:-1]
                self.take(",")
        return Shape(known=known)

    def aggregate(self, name: str) -> Shape:
        grouping = self._grouping()
        shapes, texts = self.arguments()
        grouping = grouping or self._grouping()
        inner = next((s for s in shapes if not s.scalar), Shape(sure=False))
        if name in _PICKS:
            return inner
        if grouping is None:
            grouping = ("by", frozenset())
        if grouping[0] == "without":
            kept = None if inner.kept is None else inner.kept - grouping[1]
            return replace(
                inner, kept=kept, gone=inner.gone | grouping[1], known=_only(inner, None, grouping[1])
            )
        kept = grouping[1] if inner.kept is None else grouping[1] & inner.kept
        if name == "count_values" and texts:
            kept |= {texts[0]}
        return replace(inner, kept=kept, known=_only(inner, kept, frozenset()))

    def _grouping(self) -> tuple[str, frozenset[str]] | None:
        for word in ("by", "without"):
            if self.take(word):
                return word, self.labels()
        return None

    def arguments(self) -> tuple[list[Shape], list[str]]:
        """Shapes of the arguments, and the plain texts among them."""
        self.need("(")
        shapes, texts = [], []
        while not self.take(")"):
            kind, text = self.ahead()
            if kind == "text":
                texts.append(text[1:-1])
            shapes.append(self.expression())
            if not self.take(",") and self.ahead()[1] != ")":
                raise _Odd
        return shapes, texts


def _only(shape: Shape, kept: frozenset[str] | None, without: frozenset[str]) -> dict[str, str]:
    return {k: v for k, v in shape.known.items() if (kept is None or k in kept) and k not in without}


def _called(name: str, shapes: list[Shape], texts: list[str]) -> Shape:
    if name in _SCALARS:
        return Shape(scalar=True)
    if name == "vector":
        return Shape(kept=frozenset())
    inner = next((s for s in shapes if not s.scalar), Shape(kept=frozenset()))
    if name in ("absent", "absent_over_time"):
        return Shape(kept=frozenset(inner.known), known=inner.known, sure=inner.sure)
    if name in ("label_replace", "label_join") and texts:
        kept = None if inner.kept is None else inner.kept | {texts[0]}
        known = _only(inner, None, frozenset({texts[0]}))
        return replace(inner, kept=kept, gone=inner.gone - {texts[0]}, known=known)
    if name == "histogram_quantile":
        return replace(inner, gone=inner.gone | {"le"})
    return inner


def _joined(
    operator: str,
    left: Shape,
    right: Shape,
    matching: tuple[str, frozenset[str]] | None,
    group: tuple[str, frozenset[str]] | None,
) -> Shape:
    """Labels of `left operator right`."""
    if operator in ("and", "unless") or right.scalar:
        return left
    if left.scalar:
        return right
    sure = left.sure and right.sure
    if operator == "or":
        kept = None if left.kept is None or right.kept is None else left.kept | right.kept
        known = {k: v for k, v in left.known.items() if right.known.get(k) == v}
        return Shape(kept, left.gone & right.gone, known, sure=sure and kept == left.kept == right.kept)
    if group is not None:
        many = left if group[0] == "group_left" else right
        kept = None if many.kept is None else many.kept | group[1]
        return replace(many, kept=kept, gone=many.gone - group[1], sure=sure)
    if matching is not None and matching[0] == "on":
        return Shape(matching[1], frozenset(), _only(left, matching[1], frozenset()), sure=sure)
    if matching is not None:
        kept = None if left.kept is None else left.kept - matching[1]
        return replace(
            left, kept=kept, gone=left.gone | matching[1], known=_only(left, None, matching[1]), sure=sure
        )
    kept = right.kept if left.kept is None else left.kept
    known = {**right.known, **left.known}
    return Shape(
        kept, left.gone | right.gone, {k: v for k, v in known.items() if kept is None or k in kept}, sure=sure
    )
