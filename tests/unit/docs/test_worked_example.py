"""The worked example of CONTRIBUTING: its text is executed, listed, named by its rule, and fixes an alert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.target import Kind
from app.store import incidents
from remediations import CATALOGUE
from tests.scenario import rig as rigs
from tests.unit.docs.example import worked_example
from tests.unit.docs.fences import blocks
from tests.unit.remediations.stage import Stage


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's handler, listed beside the shipped ones."""
    made = worked_example()
    monkeypatch.setattr(rigs, "CATALOGUE", {**CATALOGUE, made.name: made})
    return made


async def _rig(path: Path, policy: str) -> rigs.Rig:
    return await rigs.Rig(
        path / "s.sqlite", scenarios=("high-latency",), policy_texts={"p.yaml": policy}
    ).born()


@pytest.fixture
def policy() -> str:
    """The example's rule."""
    (block,) = blocks("yaml", documents=("CONTRIBUTING.md",))
    return block.text


async def test_the_example_and_its_rule_fix_an_alert(handler: Any, policy: str, tmp_path: Path) -> None:
    rig = await _rig(tmp_path, policy)
    await rig.run(900)
    (incident,) = await rig.store.read(lambda conn: incidents.page(conn, None, 10))
    assert incident.state.value == "fixed", rig.notebook.text
    deployment = await rig.cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph-api")
    assert deployment["spec"]["replicas"] == 8
    assert "from 2 to 8 replicas" in rig.notebook.text
    await rig.close()


async def test_the_example_refuses_while_pods_are_not_ready(handler: Any) -> None:
    stage = Stage("high-latency")
    stage.edit(Kind.DEPLOYMENT, "langgraph-api", {"op": "replace", "path": "/spec/replicas", "value": 4})
    scene, params = await stage.scene(), handler.params(add=6)
    assert scene.workload.unavailable == 2
    (step,) = await handler.ladder(scene, params, await handler.diagnose(scene, params))
    assert not step.applies
    assert step.advice == "Find out first why pods are not ready"


def test_the_example_is_a_handler_as_the_catalogue_wants_it(handler: Any) -> None:
    assert handler.name == "add-replicas"
    assert handler.steps
    assert handler.params().model_dump() == {"add": 2, "most": 10}
