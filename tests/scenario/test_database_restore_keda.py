"""Restores of an application whose replicas KEDA sets: what its ScaledObject would do meanwhile is known before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.outcome import RunState
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run
from tests.scenario.test_database_restore import approved, born, order, replicas, rests, writes
from tests.scenario.test_database_restore_sizes import WHERE


def _of_keda(rig: Rig, **notes: str) -> None:
    rig.cluster.create(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "threads", "namespace": "rag7", "annotations": notes},
            "spec": {"scaleTargetRef": {"name": "langgraph-threads"}, "minReplicaCount": 1},
        }
    )


HELD, PAUSED = "autoscaling.keda.sh/paused-replicas", "autoscaling.keda.sh/paused"
KEDA: dict[str, tuple[dict[str, str], int, dict[str, Any], str]] = {
    "it scales": (
        {},
        3,
        {},
        "ScaledObject threads of KEDA would start rag7/Deployment/langgraph-threads again: pause",
    ),
    "it is to keep another size": (
        {HELD: "3"},
        3,
        {},
        "which it is to keep at a size (autoscaling.keda.sh/paused-replicas: 3)",
    ),
    "it has not stopped it yet": ({HELD: "0"}, 3, {}, "which is at 3: order it once it stands at 0"),
    "its size is KEDA's": (
        {PAUSED: "true"},
        3,
        {},
        "is paused, and how many pods there are is still KEDA's to say",
    ),
    "its start would be KEDA's": ({PAUSED: "true"}, 0, {"replicas": 2}, "is still KEDA's to say"),
    "it would stop it again": (
        {HELD: "0"},
        0,
        {"replicas": 2},
        "would stop it again: order it without replicas",
    ),
}


@pytest.mark.parametrize("what", KEDA)
async def test_a_scaled_object_that_would_move_the_application_is_told_before_anything_is_written(
    tmp_path: Path, what: str
) -> None:
    notes, size, params, words = KEDA[what]
    rig = await born(tmp_path)
    _of_keda(rig, **notes)
    rig.cluster.scale(*WHERE, size, "keda-operator")
    await order(rig, **params)
    await rig.run(60)
    assert writes(rig) == []
    assert words in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("notes", [{HELD: "0"}, {PAUSED: "true"}])
async def test_what_a_paused_scaled_object_leaves_at_0_is_restored_under_and_not_started(
    tmp_path: Path, notes: dict[str, str]
) -> None:
    """What KEDA holds at 0 it would stop again: people read what resumes it."""
    rig = await born(tmp_path)
    _of_keda(rig, **notes)
    rig.cluster.scale(*WHERE, 0, "keda-operator")
    await rig.run(20)
    await order(rig)
    await approved(rig)
    resume = f"kubectl annotate scaledobject threads -n rag7 {HELD}-"
    assert (f"{resume} lets KEDA start it" in rig.notebook.text) is (HELD in notes)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, await replicas(rig)) == (RunState.FIXED, 0), run.result
    assert writes(rig) == ["rehearse", "restore", "safety", "rename"]
    await rig.close()
