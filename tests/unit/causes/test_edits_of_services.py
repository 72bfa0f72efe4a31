"""A Service whose labels alone were written was not edited: what was never served hides no guilty release, and is no cause that is new."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from remediations.causes.changes import changes_of
from remediations.causes.edits import edit_of
from remediations.causes.model import Sureness
from remediations.causes.report import FirstCause
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.test_endpoints import HTTP, acts_on_the_release, good
from tests.unit.causes.test_errors import KEY, failing
from tests.unit.causes.world import SPACE, World, at

LABELS: Obj = {"f:metadata": {"f:labels": {"f:helm.sh/chart": {}}}}
PORTS: Obj = {"f:spec": {"f:ports": {}}}
BOTH: Obj = {**LABELS, **PORTS}


def entry(fields: Obj, minutes: float, by: str = "helm") -> Obj:
    return {"manager": by, "operation": "Update", "time": at(minutes=minutes), "fieldsV1": fields}


def written(world: World, *entries: Obj) -> World:
    """Who wrote the Service."""
    world.cluster.of(Kind.SERVICE, "web", SPACE)["metadata"]["managedFields"] = list(entries)
    return world


def old_port(world: World, *entries: Obj) -> World:
    """A port that no slice has, in slices that were written with the release."""
    return written(good(world, ports=[], changed=6), *entries)


def test_labels_alone_are_no_edit_and_a_chart_s_run_is_an_uncertain_one() -> None:
    def edit(*entries: Obj, workload: Any = ()) -> tuple[str, bool] | None:
        service = {"metadata": {"name": "web", "managedFields": list(entries)}}
        found = edit_of(service, {"metadata": {"managedFields": list(workload)}})
        return None if found is None else (found.write.by, found.sure)

    assert edit(entry(LABELS, 6, "kubectl-label")) is None
    assert edit(entry(PORTS, 60), entry(LABELS, 6, "kubectl-label")) == ("helm", True)
    assert edit(entry(PORTS, 6, "kubectl-edit")) == ("kubectl-edit", True)
    assert edit(entry(BOTH, 6)) == ("helm", True), "the Service alone"
    assert edit(entry(BOTH, 6), workload=[entry(BOTH, 6.2)]) == ("helm", False)
    assert edit(entry(BOTH, 6), workload=[entry(BOTH, 600)]) == ("helm", True)
    assert edit(entry(BOTH, 6), workload=[entry(BOTH, 6, "kubectl-set")]) == ("helm", True)
    assert edit(entry(BOTH, 6), entry(PORTS, 3, "kubectl-edit"), workload=[entry(BOTH, 6)]) == (
        "kubectl-edit",
        True,
    )
    assert edit() is None


@pytest.mark.parametrize("fields", [LABELS, BOTH], ids=["the label", "the chart's objects"])
async def test_a_label_of_a_new_chart_hides_no_guilty_release(fields: Obj) -> None:
    world = failing(KEY, deployed=6)
    world.by = "helm"
    await acts_on_the_release(old_port(world, entry(fields, 6), entry(PORTS, 9000, "kubectl-apply")))


async def test_an_edit_of_the_ports_is_the_cause_as_before() -> None:
    world = old_port(failing(KEY, deployed=6), entry(LABELS, 6), entry(PORTS, 5, "kubectl-edit"))
    diagnosis, steps = await world.look(HighErrorRate())
    cause, finding = FirstCause(diagnosis), diagnosis.finding("cause.first")
    assert finding is not None
    assert (cause.code, finding.data.get("sureness")) == (C.SERVICE_PORT, Sureness.CERTAIN)
    assert not steps["roll-back"].applies


async def test_a_service_that_was_labelled_is_no_change_of_lately() -> None:
    found = await written(good(World(), asked=[HTTP]), entry(PORTS, 9000), entry(LABELS, 6)).investigate()
    (told,) = (one for one in changes_of(found.seen) if one.kind is Kind.SERVICE)
    assert found.seen.now - told.at == timedelta(minutes=9000)
