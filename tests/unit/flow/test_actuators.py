"""The table of actuators: every kind has one, and the flow knows nothing of how a kind is carried out."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_type_hints

import pytest

import app.flow
from app.domain.actuator import Actuator, Clients, LongActuator, Means, by_kind
from app.domain.errors import Held
from app.domain.plan import ActionKind
from app.flow.actuators import ACTUATORS
from app.kube.actuator import KubeActuator
from app.sim import SimCluster, VirtualClock
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.test_apply import ID, Naps, scaling

RUNNING = Path(app.flow.__file__).parent / "running"
CARRIED_OUT = {"apply", "undo", "guarded", "look", "readback", "fields", "actuator"}
"""Modules of app.kube that carry an action out: behind the actuator, and nobody else's."""


def test_every_kind_of_action_has_one_actuator() -> None:
    assert set(ACTUATORS) == set(ActionKind)
    assert all(kind in actuator.kinds for kind, actuator in ACTUATORS.items())


@pytest.mark.parametrize("kind", ActionKind)
def test_whoever_gives_its_progress_can_tell_what_is_done_when_it_stops(kind: ActionKind) -> None:
    """What a long action has done stays, whatever stops it."""
    gives = "Progress" in str(get_type_hints(type(ACTUATORS[kind]).apply)["return"])
    assert isinstance(ACTUATORS[kind], LongActuator) is gives


def test_a_kind_without_an_actuator_or_with_two_is_refused() -> None:
    kinds = frozenset({ActionKind.SCALE})
    with pytest.raises(ValueError, match="no actuator carries out"):
        by_kind([KubeActuator(kinds)])
    with pytest.raises(ValueError, match="two actuators carry out scale"):
        by_kind([KubeActuator(), KubeActuator(kinds)])


@pytest.mark.parametrize("path", sorted(RUNNING.glob("*.py")), ids=lambda p: p.name)
def test_a_run_knows_no_kind_of_action_and_nothing_that_carries_one_out(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    names = {(n.module or "", a.name) for n in imports for a in n.names}
    assert not [f"{mod}.{name}" for mod, name in names if mod == "app.kube" and name in CARRIED_OUT]
    assert not [mod for mod, _ in names if mod.removeprefix("app.kube.") in CARRIED_OUT]
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "ActionKind"]


async def _held() -> None:
    raise Held("paused by kim")


async def test_what_holds_a_write_stops_the_request_of_the_actuator() -> None:
    cluster = FakeCluster(m.deployment())
    actuator: Actuator = ACTUATORS[ActionKind.SCALE]
    action, clients = scaling(cluster), Clients(cluster, SimCluster(VirtualClock()).databases)
    found = await actuator.check(clients, action)
    assert await actuator.dry_run(clients, action, ID, found) == ""
    with pytest.raises(Held, match="paused by kim"):
        await actuator.apply(Means(clients, _held, Naps()), action, ID, found)
    assert [verb for verb, dry in cluster.writes if not dry] == []
