"""Alertmanager's matcher syntax: `alertname="HighErrorRate", severity=~"critical|warning"`.

Grammar as in Alertmanager's UTF-8 parser: optional braces, optional trailing comma, names and values quoted (Go's escapes)
or bare; a missing label has the empty value; regular expressions are RE2's, anchored at both ends, and take linear time
whatever the label's value is. One difference on purpose: a
list without any matcher is refused, because a rule that silently matches every alert is a trap.
Used by policy rules and for blocking alerts. Compiled once; pure. Below it which labels of an alert name its namespace, pod and workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Protocol

import re2
from pydantic import Field

from app.domain.errors import BadInput
from app.domain.subject import DEFAULT_EXPORTERS, DEFAULT_SOURCES, NAMES, LabelNames
from app.policy.block import Block

MAX_MATCHERS = 100
"""Of one list; all of them are compared with each other."""
_RESERVED = frozenset("{}!=~,\\\"'`")
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_CODED = {"x": 2, "u": 4, "U": 8}


class Pattern(Protocol):
    """A compiled expression of RE2."""

    def fullmatch(self, text: str) -> object | None:
        """Something when all of `text` matches."""


class Operator(StrEnum):
    """How a label is compared; longest first, as they are tried."""

    REGEX = "=~"
    NOT_REGEX = "!~"
    NOT_EQUAL = "!="
    EQUAL = "="


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison of one label."""

    name: str
    operator: Operator
    value: str
    pattern: Pattern | None = field(default=None, compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Compare; a label that is not there is empty."""
        actual = labels.get(self.name, "")
        found = self._found(actual) if self.pattern else actual == self.value
        return found != (self.operator in (Operator.NOT_EQUAL, Operator.NOT_REGEX))

    def _found(self, actual: str) -> bool:
        # RE2 reads UTF-8, which has no lone surrogates: they become question marks.
        text = actual.encode("utf-8", "replace").decode()
        return self.pattern is not None and self.pattern.fullmatch(text) is not None

    def __str__(self) -> str:
        return f"{_quoted_name(self.name)}{self.operator}{quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class When:
    """Lists of matchers as a rule writes them: all of one list must match, any of the lists is enough."""

    texts: tuple[str, ...]
    lists: tuple[tuple[Matcher, ...], ...] = field(compare=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """True when one list matches completely."""
        return any(all(m.matches(labels) for m in matchers) for matchers in self.lists)

    def pinned(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels that every list which matches asks for by their very value: whoever wrote that knows of them."""
        found = [
            {m.name: m.value for m in matchers if m.operator is Operator.EQUAL}
            for matchers in self.lists
            if all(m.matches(labels) for m in matchers)
        ]
        first = found[0] if found else {}
        return {name: value for name, value in first.items() if all(f.get(name) == value for f in found)}

    def covers(self, other: When) -> bool:
        """True when surely everything that matches `other` matches this: each list of `other` has all of one of ours."""
        return all(any(set(mine) <= set(theirs) for mine in self.lists) for theirs in other.lists)

    @property
    def filters(self) -> tuple[tuple[str, ...], ...]:
        """The lists as Alertmanager's API takes them, one `filter` a matcher: one query for each list, results joined."""
        return tuple(tuple(str(m) for m in matchers) for matchers in self.lists)

    def as_written(self) -> str | list[str]:
        """The form of the policy file."""
        return self.texts[0] if len(self.texts) == 1 else list(self.texts)

    def __str__(self) -> str:
        return " or ".join(self.texts)


NEVER = When((), ())
"""What no alert matches: of a rule that only orders use. It cannot be written."""


def parse_when(value: object) -> When:
    """Read one matcher list or several alternatives. Raises ValueError with the column of the fault."""
    if isinstance(value, When):
        return value
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(t, str) for t in texts):
        raise ValueError(
            f"expected matchers such as 'alertname=\"HighErrorRate\"', or a list of them, got {value!r}"
        )
    return When(tuple(texts), tuple(parse_matchers(t) for t in texts))


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read one comma-separated list, with or without braces. Raises ValueError with the column of the fault."""
    reader = _Reader(text)
    braces = reader.take("{")
    matchers = []
    while not reader.done and not reader.ahead("}"):
        matchers.append(_one(reader))
        if len(matchers) > MAX_MATCHERS:
            raise ValueError(f"more than {MAX_MATCHERS} matchers in one list")
        if not reader.take(","):
            break
    if braces and not reader.take("}"):
        raise reader.fault("a comma or a closing brace '}'")
    if not reader.done:
        if not braces and reader.ahead("}"):
            raise reader.fault("an opening brace '{' at the start")
        raise reader.fault("nothing after the closing brace" if braces else "a comma")
    if not matchers:
        raise ValueError('no matcher in it; to match every alert write alertname=~".*"')
    _contradiction(matchers)
    return tuple(matchers)


def quoted(value: str) -> str:
    """A value in double quotes with escapes, as `parse_matchers` reads it back."""
    escapes = {code: f"\\{char}" for char, code in _SIMPLE.items()}
    return '"' + "".join(escapes.get(ord(c), c) for c in value) + '"'


def _quoted_name(name: str) -> str:
    return name if name and not any(c in _RESERVED or c.isspace() for c in name) else quoted(name)


def compile_anchored(pattern: str) -> Pattern:
    """Compile for `fullmatch` (Alertmanager anchors at both ends). Raises ValueError saying what RE2 does not accept."""
    options = re2.Options()
    options.log_errors = False  # else it writes to stderr by itself
    try:
        compiled: Pattern = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        why = error.args[0]
        reason = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"bad regular expression {pattern!r}: {reason}") from error
    return compiled


def _one(reader: _Reader) -> Matcher:
    name = reader.word("a label name")
    operator = next((op for op in Operator if reader.take(op.value)), None)
    if operator is None:
        raise reader.fault("one of = != =~ !~")
    value = reader.word("a value")
    if not name:
        raise reader.fault("a label name that is not empty")
    regex = operator in (Operator.REGEX, Operator.NOT_REGEX)
    return Matcher(name, operator, value, compile_anchored(value) if regex else None)


def _contradiction(matchers: list[Matcher]) -> None:
    """Refuse a list that can never match because of an equality, e.g. `a="x", a="y"`."""
    for fixed in matchers:
        if fixed.operator is Operator.EQUAL:
            against = [m for m in matchers if m.name == fixed.name and not m.matches({m.name: fixed.value})]
            if against:
                raise ValueError(f"can never match: {fixed} contradicts {against[0]}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


class _Reader:
    """Position in the text of one matcher list."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._skip_blanks()

    @property
    def done(self) -> bool:
        return self.at >= len(self.text)

    def ahead(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> bool:
        if not self.ahead(token):
            return False
        self.at += len(token)
        self._skip_blanks()
        return True

    def fault(self, expected: str) -> ValueError:
        rest = self.text[self.at : self.at + 12]
        return ValueError(
            f"column {self.at + 1}: expected {expected}, got {rest!r}"
            if rest
            else f"column {self.at + 1}: expected {expected}, got the end"
        )

    def word(self, expected: str) -> str:
        """A quoted or bare name or value."""
        start = self.at
        if self.ahead('"'):
            value = self._quoted()
        else:
            while not self.done and not (self.text[self.at] in _RESERVED or self.text[self.at].isspace()):
                self.at += 1
            value = self.text[start : self.at]
            if not value:
                raise self.fault(expected)
            if not _is_utf8(value):
                self.at = start
                raise self.fault("valid UTF-8")
        self._skip_blanks()
        return value

    def _skip_blanks(self) -> None:
        while not self.done and self.text[self.at].isspace():
            self.at += 1

    def _quoted(self) -> str:
        start = self.at
        self.at += 1
        out = bytearray()
        while not self.ahead('"'):
            if self.done or self.ahead("\n"):
                self.at = start
                raise self.fault("a closing quote")
            if self.ahead("\\"):
                out += self._escape()
            else:
                out += self.text[self.at].encode("utf-8", "surrogatepass")
                self.at += 1
        self.at += 1
        try:
            return out.decode()
        except UnicodeDecodeError as error:
            self.at = start
            raise self.fault("valid UTF-8") from error

    def _escape(self) -> bytes:
        char = self.text[self.at + 1 : self.at + 2]
        if char in _SIMPLE:
            self.at += 2
            return bytes([_SIMPLE[char]])
        start, length, base = (self.at + 2, _CODED[char], 16) if char in _CODED else (self.at + 1, 3, 8)
        digits = self.text[start : start + length]
        try:
            code = int(digits, base) if len(digits) == length and digits.isalnum() else -1
            encoded = chr(code).encode() if char in ("u", "U") else bytes([code])
        except (ValueError, OverflowError) as error:
            raise self.fault("a known escape") from error
        self.at = start + length
        return encoded


def labels_of(text: str, where: str) -> dict[str, str]:
    """The labels of an alert that somebody writes down: `alertname=HighErrorRate,namespace=rag7`, quotes as in matchers.

    Raises BadInput (`bad_labels`) that names `where` they were written.
    """
    try:
        matchers = parse_matchers(text)
    except ValueError as error:
        raise BadInput(str(error), code="bad_labels", where=where) from error
    odd = [str(m) for m in matchers if m.operator is not Operator.EQUAL]
    if odd:
        raise BadInput(f"an alert has values, so write = instead of {odd[0]}", code="bad_labels", where=where)
    return {m.name: m.value for m in matchers}


# The label mapping of a policy: which labels of an alert name its namespace, pod and workload.
#
# Its defaults are those of `app.domain.subject`, which has the rules of reading. Pure.

Sources = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1)]


class LabelMapping(Block):
    """For each name the labels that are read for it, the first that is there wins; `exported_*` is what Prometheus keeps of a
    series when the scraped exporter has the label itself. What matches `exporters` (patterns with `*`) only measured the
    alert: it is never the target. `our_cluster` is what alerts call the cluster in which this service acts, or a list of what they call it: an alert
    that names another one, by `cluster` or any other label of a Kubernetes cluster (`k8s.cluster.name`, `exported_cluster`, `clusterName`,
    `cluster_id`, `destination_cluster`), is none of ours. Empty: all alerts are of this cluster, whatever they call it."""

    namespace: Sources = DEFAULT_SOURCES["namespace"]
    pod: Sources = DEFAULT_SOURCES["pod"]
    container: Sources = DEFAULT_SOURCES["container"]
    deployment: Sources = DEFAULT_SOURCES["deployment"]
    statefulset: Sources = DEFAULT_SOURCES["statefulset"]
    daemonset: Sources = DEFAULT_SOURCES["daemonset"]
    replicaset: Sources = DEFAULT_SOURCES["replicaset"]
    horizontalpodautoscaler: Sources = DEFAULT_SOURCES["horizontalpodautoscaler"]
    exporters: tuple[str, ...] = DEFAULT_EXPORTERS
    our_cluster: Annotated[str, Field(max_length=256)] | Sources = ""

    @property
    def names(self) -> LabelNames:
        """As the domain reads labels."""
        return _names(self)

    @property
    def clusters(self) -> tuple[str, ...]:
        """What alerts call our cluster; empty where nobody said it."""
        ours = self.our_cluster
        return ((ours,) if ours else ()) if isinstance(ours, str) else ours


@lru_cache(maxsize=64)
def _names(mapping: LabelMapping) -> LabelNames:
    own = {name: getattr(mapping, name) for name in LabelMapping.model_fields if name in DEFAULT_SOURCES}
    if {**DEFAULT_SOURCES, **own} == DEFAULT_SOURCES and mapping.exporters == DEFAULT_EXPORTERS:
        return NAMES
    return LabelNames({**DEFAULT_SOURCES, **own}, mapping.exporters)
