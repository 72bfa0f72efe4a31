"""YAML text -> plain values with the place of each of them. Strict: no duplicate keys, no tags, no recursion.

YAML 1.2: `yes` and `16:00` are text. Called by `app.policy.load` only. Pure: it is given the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from app.policy.faults import Place, PolicyFault

Path: TypeAlias = tuple[str | int, ...]
MAX_BYTES = 256 * 1024
"""Of one file, in UTF-8; more than any policy has. Nothing longer is parsed."""
MAX_NODES = 20_000
"""Of one file, counted while it is parsed; and once more while it is read, as aliases multiply them."""
MAX_DEPTH = 40
"""How deep values may stand inside of each other; a policy needs 8."""
MAX_TEXT = 8 * 1024
"""Characters of one key or value."""
_MAX_DIGITS = 40
"""Of a number; Python refuses to print the longest ones, and no policy means them."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"


@dataclass
class Source:
    """One parsed file: its value, where each key and value stands, and what is wrong with it as YAML."""

    file: str
    value: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[PolicyFault] = field(default_factory=list)

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Where the value (or key) of `path` stands; of the nearest ancestor when it is absent."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(1, 1))

    def fault(
        self, path: Path, message: str, allowed: tuple[str, ...] = (), *, of_key: bool = False
    ) -> PolicyFault:
        """A fault at this place."""
        place = self.place(path, of_key=of_key)
        return PolicyFault(self.file, place.line, place.column, message, allowed)


def never() -> bool:
    """For whoever may take as long as it takes."""
    return False


def cut_off(over: Callable[[], bool]) -> None:
    """Raise TimeoutError when it is `over`: a thread cannot be ended from outside."""
    if over():
        raise TimeoutError("it was to end before the policy was read")


def read_source(file: str, text: str, over: Callable[[], bool] = never) -> Source:
    """Parse one document. Faults are collected in the result, never raised. Raises TimeoutError when it is `over`."""
    source = Source(file)
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        source.faults.append(PolicyFault(file, 1, 1, f"longer than {MAX_BYTES // 1024} KB"))
        return source
    yaml = YAML(typ="safe", pure=True)

    class _Cut(_Bounded):
        until = staticmethod(over)

    yaml.Composer = _Cut
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        source.faults.append(
            PolicyFault(file, place.line, place.column, f"not YAML: {error.problem or error.context}")
        )
    except RecursionError:
        source.faults.append(PolicyFault(file, 1, 1, "not YAML: nested too deep"))
    except (
        YAMLError,
        ValueError,
        AssertionError,
    ) as error:  # the last for a version that is none, as in "%YAML 1.9"
        source.faults.append(PolicyFault(file, 1, 1, f"not YAML: {error}"))
    else:
        if node is None:
            source.faults.append(PolicyFault(file, 1, 1, "the file is empty"))
        else:
            source.value = _Reader(source).read(node, ())
    return source


class _Bounded(Composer):
    """Stops parsing at the limits: what comes behind them is not even looked at."""

    nodes = depth = 0
    until: Callable[[], bool] = staticmethod(never)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One value with everything in it. Raises MarkedYAMLError at a limit, TimeoutError when it is over."""
        cut_off(self.until)
        self.nodes += 1
        self.depth += 1
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            why = f"more than {MAX_NODES} values" if self.nodes > MAX_NODES else "nested too deep"
            raise MarkedYAMLError(problem=why, problem_mark=self.parser.peek_event().start_mark)
        event = self.parser.peek_event()
        if (
            isinstance(event, NodeEvent)
            and not isinstance(event, AliasEvent)
            and event.anchor in self.anchors
        ):
            why = f"the anchor &{event.anchor} stands here twice"
            raise MarkedYAMLError(problem=why, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.nodes = 0
        self.open: set[int] = set()

    def read(self, node: Node, path: Path) -> Any:
        self.nodes += 1
        self.source.values[path] = _place(node)
        if self.nodes > MAX_NODES or id(node) in self.open:
            why = "an alias contains itself" if id(node) in self.open else f"more than {MAX_NODES} values"
            if self.nodes <= MAX_NODES + 1:
                self.source.faults.append(self.source.fault(path, why))
            return None
        self.open.add(id(node))
        value = self._value(node, path)
        self.open.discard(id(node))
        return value

    def _value(self, node: Node, path: Path) -> Any:
        if not isinstance(node, ScalarNode) and str(node.tag) not in (f"{_TAG}map", f"{_TAG}seq"):
            self.source.faults.append(self.source.fault(path, f"the tag {node.tag} is not accepted"))
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*path, at)) for at, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.source.faults.append(self._at(key_node, "a key must be plain text"))
                continue
            key = str(key_node.value)
            if why := _no_text(key):
                self.source.faults.append(self._at(key_node, why))
                continue
            if key in result:
                self.source.faults.append(self._at(key_node, f'key "{key}" stands here twice'))
                continue
            self.source.keys[*path, key] = _place(key_node)
            result[key] = self.read(value_node, (*path, key))
        return result

    def _scalar(self, node: Node, path: Path) -> Any:
        text, tag = str(node.value), str(node.tag).removeprefix(_TAG)
        match tag:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float" if len(text) > _MAX_DIGITS:
                message = f"a number of more than {_MAX_DIGITS} characters"
                self.source.faults.append(self.source.fault(path, message))
                return None
            case "int":
                return _integer(text)
            case "float":
                return _number(text)
            case "str" | "timestamp" if why := _no_text(text):
                self.source.faults.append(self.source.fault(path, why))
                return None
            case "str" | "timestamp":
                return text
            case _:
                self.source.faults.append(self.source.fault(path, f"the tag {node.tag} is not accepted"))
                return None

    def _at(self, node: Node, message: str) -> PolicyFault:
        place = _place(node)
        return PolicyFault(self.source.file, place.line, place.column, message)


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _no_text(text: str) -> str:
    """Why this is no text that a policy may have; empty when it is one."""
    if len(text) > MAX_TEXT:
        return f"a text of more than {MAX_TEXT} characters"
    return "half of a surrogate pair is no text" if _SURROGATE.search(text) else ""


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    try:
        return int(digits, 10 if digits.lstrip("+-").isdigit() else 0)
    except ValueError:
        return text


def _number(text: str) -> float | str:
    """Infinity and not-a-number stay text: no policy value may be one."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
