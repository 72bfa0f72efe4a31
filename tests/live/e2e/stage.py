"""Owns the telling of scenes: all that were selected, side by side, each with an end and a failure of its own.

A small machine then waits once for two dozen services instead of for one after the other, and a slow one tells fewer at once and waits longer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live.e2e.scene import NOT_YET, Cast, Question, Scene, Script, Tools

_AT_ONCE = 4, 10  # services, on a slow machine and at most: more on two cores would starve one another
_FAST = 0.2  # seconds in which a machine that can have the most counts to four million
_LOOK = 0.4  # seconds between two rounds of questions: each is a request that the services have to answer
_PATIENCE = 480.0  # seconds for one scene

Write = Callable[..., Script]
"""A script: of a scene and, when it has several cases, of one of them."""


@dataclass(frozen=True, eq=False)
class Told:
    """A script and who takes part. `first`: it waits long, so it begins early. `services`: how many it keeps busy."""

    name: str
    write: Write
    cast: Cast
    first: bool
    services: int


Key = tuple[Told, Any]
"""A scene and its case."""


def scene(
    cast: Cast | None = None,
    *,
    cases: Sequence[Any] = (),
    first: bool = False,
    services: int = 0,
    **of_rules: Any,
) -> Callable[[Write], Any]:
    """Makes a test of a script, one for each of `cases`. `of_rules` are keys of every rule, for a cast of one replica."""

    def wrap(write: Write) -> Any:
        who = cast or Cast(of_rules=of_rules)
        told = Told(write.__name__, write, who, first, services or who.replicas)
        return _test_of(told, tuple(cases))

    return wrap


def _test_of(told: Told, cases: tuple[Any, ...]) -> Any:
    def once(stage: Stage) -> None:
        stage.check((told, None))

    def each(stage: Stage, case: Any) -> None:
        stage.check((told, case))

    test: Any = each if cases else once
    test.__name__ = test.__qualname__ = told.name
    test.__doc__, test.__module__ = told.write.__doc__, told.write.__module__
    test.told = told
    return pytest.mark.parametrize("case", cases)(test) if cases else test


def selected(items: Sequence[Any]) -> Iterator[Key]:
    """The scenes among the tests of this run."""
    for item in items:
        told = getattr(getattr(item, "function", None), "told", None)
        if told is not None:
            yield told, item.callspec.params["case"] if hasattr(item, "callspec") else None


@dataclass
class _Act:
    """A scene on its way: the question it waits for, and until when."""

    scene: Scene
    script: Script
    question: Question
    deadline: float


class Stage:
    """The scenes of this test run; they are told when the first of them is asked for."""

    def __init__(self, tools: Tools, keys: Sequence[Key]) -> None:
        self.tools = tools
        self._failed: dict[Key, BaseException] = {}
        self._scenes: list[Scene] = []
        left = deque(sorted(keys, key=lambda key: not key[0].first))
        acts: dict[Key, _Act] = {}
        at_once = _at_once()
        while left or acts:
            while left and sum(told.services for told, _ in acts) + left[0][0].services <= at_once:
                key = left.popleft()
                acts[key] = self._open(key)
            acts = {key: act for key, act in acts.items() if not self._over(key, act)}
            time.sleep(_LOOK)

    def _open(self, key: Key) -> _Act:
        told, case = key
        scene = Scene(self.tools, told.cast)
        self._scenes.append(scene)
        script = told.write(scene) if case is None else told.write(scene, case)
        return _Act(scene, script, lambda: True, time.monotonic() + _PATIENCE)

    def _over(self, key: Key, act: _Act) -> bool:
        """Goes on with a scene as far as it gets now; whether it has ended."""
        try:
            while _true(act.question):
                act.question = next(act.script)
            if time.monotonic() < act.deadline:
                return False
            raise TimeoutError(f"waits in {_where(act.script)}")
        except StopIteration:
            pass
        except Exception as error:  # the others go on; the test of this scene raises it
            error.add_note(act.scene.trust_level())
            self._failed[key] = error
        act.scene.closes()
        return True

    def check(self, key: Key) -> None:
        """Raises what went wrong in this scene."""
        if key in self._failed:
            raise self._failed[key]

    def close(self) -> None:
        """Ends what is left of the processes."""
        for scene in self._scenes:
            for service in scene.services:
                service.close()


def _at_once() -> int:
    """As many services as this machine, beside what else it does, keeps alive: their waits for the API server end after seconds."""
    least, most = _AT_ONCE
    began = time.perf_counter()
    for _ in range(4_000_000):
        pass
    return max(least, min(most, round(most * _FAST / (time.perf_counter() - began))))


def _true(question: Question) -> bool:
    try:
        return bool(question())
    except NOT_YET:
        return False


def _where(script: Script) -> str:
    """The lines that wait, outermost first."""
    lines: list[str] = []
    at: Any = script
    while at is not None and at.gi_frame is not None:
        lines.append(f"{at.gi_code.co_name}:{at.gi_frame.f_lineno}")
        at = at.gi_yieldfrom
    return " > ".join(lines)
