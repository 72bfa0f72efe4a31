"""What pods do: the part of a scenario that maps a container's image, environment and labels to its behaviour.

Used by the kubelet (start, readiness, crash, memory) and by the traffic model (capacity, errors, latency, log lines).
Because behaviour follows from the template, a rollback, a scale or a raised limit really changes what happens.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field

from app.domain.json import Obj
from app.sim.units import Bytes, Millicores, Seconds, Strict

_PLACES = frozenset({"time", "request", "pod", "number"})


def _template(line: str) -> str:
    """Check a log line's places. Raises ValueError naming the allowed ones."""
    used = {name for _, name, _, _ in string.Formatter().parse(line) if name is not None}
    if unknown := used - _PLACES:
        raise ValueError(f"unknown place {sorted(unknown)} in a log line; allowed: {sorted(_PLACES)}")
    return line


LineTemplate = Annotated[str, AfterValidator(_template)]
"""A log line; `{time}` RFC 3339, `{request}` a request id, `{pod}` the pod's name, `{number}` a counter."""


class When(Strict):
    """Which containers are meant; every given condition must hold. Patterns are shell globs."""

    image: str = "*"
    container: str = "*"
    labels: dict[str, str] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    config_missing: str = ""
    """`NAME/KEY`: true while this ConfigMap lacks the key (read when the container starts)."""
    secret: dict[str, str] = Field(default_factory=dict)
    """`NAME/KEY` of a Secret to the text that has to stand there (read when the container starts)."""


class Memory(Strict):
    """Working set in bytes: `start`, growing by `growth` a second up to `plateau` (never ending without one)."""

    start: Bytes = 64 * 1024 * 1024
    growth: Bytes = 0
    plateau: Bytes | None = None
    per_rps: Bytes = 0

    def at(self, age: float, rps: float) -> int:
        """Bytes used `age` seconds after the start under `rps` requests a second."""
        grown = self.start + self.growth * max(0.0, age) if self.growth else self.start
        return int(grown if self.plateau is None else min(self.plateau, grown)) + int(self.per_rps * rps)


class Cpu(Strict):
    """Millicores: idle use and what one request a second costs."""

    base: Millicores = 10
    per_rps: Millicores = 0


class Crash(Strict):
    """The container ends `after` its start with this exit code, message and last log lines."""

    after: Seconds
    exit_code: int = 1
    message: str = ""
    log: tuple[LineTemplate, ...] = ()


class ErrorLine(Strict):
    """One kind of error line; `share` weighs it against the others."""

    line: LineTemplate
    share: float = Field(default=1.0, gt=0)


class Behaviour(Strict):
    """How one kind of container behaves."""

    name: str = "plain"
    when: When = When()
    ready_after: Seconds = 2.0
    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    crash: Crash | None = None
    capacity: float | None = Field(default=None, gt=0)
    """Requests a second that one pod can answer; None means enough for everything."""
    latency: Seconds = 0.05
    """95th percentile of an idle pod, in seconds."""
    error_ratio: float = Field(default=0.0, ge=0, le=1)
    error_lines: tuple[ErrorLine, ...] = ()
    overload_line: LineTemplate = "{time} ERROR server [{request}] TimeoutError: request queue is full"
    request_line: LineTemplate = ""
    start_lines: tuple[LineTemplate, ...] = ()


PLAIN = Behaviour()


class Behaviours:
    """The scenario's behaviours; the first that matches a container is its own."""

    def __init__(
        self,
        known: Sequence[Behaviour],
        missing_images: Sequence[str],
        has_key: Callable[[str, str, str], bool],
        secret_text: Callable[[str, str, str], str] = lambda _namespace, _name, _key: "",
    ) -> None:
        self._known = tuple(known)
        self._missing_images = tuple(missing_images)
        self._has_key = has_key
        self._secret_text = secret_text

    def of(self, pod: Obj, container: Obj) -> Behaviour:
        """The behaviour of a container that starts now."""
        return next((b for b in self._known if self._fits(b.when, pod, container)), PLAIN)

    def image_exists(self, image: str) -> bool:
        """Can this image be pulled?"""
        return not any(fnmatchcase(image, pattern) for pattern in self._missing_images)

    def _fits(self, when: When, pod: Obj, container: Obj) -> bool:
        labels = pod["metadata"].get("labels", {})
        env = {e["name"]: e.get("value", "") for e in container.get("env", [])}
        if not fnmatchcase(container["image"], when.image) or not fnmatchcase(
            container["name"], when.container
        ):
            return False
        if any(labels.get(k) != v for k, v in when.labels.items()):
            return False
        if any(not fnmatchcase(env.get(k, ""), v) for k, v in when.env.items()):
            return False
        namespace = pod["metadata"]["namespace"]
        for place, text in when.secret.items():
            name, _, key = place.partition("/")
            if self._secret_text(namespace, name, key) != text:
                return False
        if when.config_missing:
            name, _, key = when.config_missing.partition("/")
            return not self._has_key(namespace, name, key)
        return True
