"""Every undo of the catalogue: executed twice, and with every field of it changed by somebody else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.domain import half_way
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.secret import encoded
from app.kube.manifest import pointer, value_at
from app.store import audit, runs
from tests.crash.cases import Case, cases
from tests.crash.lives import invariants, live
from tests.crash.twice import TwiceEngine
from tests.scenario.rig import Rig

HELPED = [case for case in cases() if case.ends in (IncidentState.FIXED, IncidentState.CONTAINED)]


def _short(case: Case) -> str:
    return str(case).replace(" ", "-")


async def _actions(rig: Rig) -> tuple[str, list[Action]]:
    (run,) = await rig.store.read(lambda conn: runs.page(conn, None, 10))
    return run.id, list(run.step.actions)


async def _undo(rig: Rig, run_id: str, ends: RunState) -> list[dict[str, Any]]:
    await rig.operations.undo(run_id, "kim", despite=True)  # some lose rows, and say so
    await rig.run(60)
    assert (await rig.store.read(lambda conn: runs.get(conn, run_id))).state is ends
    trail = await rig.store.read(lambda conn: audit.for_run(conn, run_id))
    return [r.data for r in trail if r.kind is EventKind.UNDO_ENDED]


@pytest.mark.parametrize("case", HELPED, ids=_short)
async def test_an_undo_whose_steps_are_all_executed_twice_is_done_once(case: Case, tmp_path: Path) -> None:
    """Each action is taken back by one write of its object, or says why there is nothing to take back. Of a key that is put back the
    pods are restarted besides, once."""
    _, rig = await live(case, tmp_path / "rig.sqlite", engine_type=TwiceEngine)
    run_id, actions = await _actions(rig)
    ended = await _undo(rig, run_id, RunState.UNDONE)
    wanted = ["undone" if a.reversible else "nothing_to_undo" for a in actions]
    assert [e["result"] for e in ended] == wanted[::-1]
    undos = [m for m in rig.cluster.mutations if "/undo" in m.marker and not m.dry_run]
    back = [(a.object.kind, a.object.name) for a in actions if a.reversible and a.changes]
    back += [(a.target.kind, a.target.name) for a in actions if a.kind is ActionKind.ROTATE_KEY]
    assert Counter((m.kind, m.name) for m in undos if m.verb == "patch") == Counter(back)
    await invariants(rig)
    await rig.close()


def _other(path: str, value: Any) -> Any:
    """Another valid value of the same kind."""
    if isinstance(value, int):
        return value + 1
    if path.startswith("/data/"):
        return encoded("somebody's own")
    if isinstance(value, dict):
        spec = value["spec"]
        first = {**spec["containers"][0], "image": spec["containers"][0]["image"] + "-hotfix"}
        return {**value, "spec": {**spec, "containers": [first, *spec["containers"][1:]]}}
    return "777Mi" if str(value).endswith("i") else f"{value} and more"


async def _change(rig: Rig, action: Action, change: FieldChange) -> None:
    ref = action.object
    manifest: Any = rig.cluster.peek(ref.kind, ref.namespace, ref.name)
    found = value_at(manifest, change.path)  # the recorded value may be hidden
    patch = {"op": "replace", "path": pointer(manifest, change.path), "value": _other(change.path, found)}
    rig.cluster.edit(ref.kind, ref.namespace, ref.name, [patch])


@pytest.mark.parametrize("case", HELPED, ids=_short)
async def test_an_undo_leaves_alone_whatever_field_somebody_changed_since(case: Case, tmp_path: Path) -> None:
    """Field by field: the conflict is told, and nothing of the object is touched, nor what was done only while it stood so. A size that a restore
    stops from and starts again is nobody's hand, whatever it is by then."""
    number = 0
    while True:
        _, rig = await live(case, tmp_path / f"{number}.sqlite")
        run_id, actions = await _actions(rig)
        fixed = [a for a in actions if a.reversible and not half_way.goes_by_what_it_finds(a)]
        fields = [(a, c) for a in fixed for c in a.changes]
        if number >= len(fields):
            await rig.close()
            break
        action, change = fields[number]
        await _change(rig, action, change)
        ref = action.object
        before: Any = rig.cluster.peek(ref.kind, ref.namespace, ref.name)
        ended = await _undo(rig, run_id, RunState.UNDO_CONFLICT)
        after: Any = rig.cluster.peek(ref.kind, ref.namespace, ref.name)
        results = [e["result"] for e in ended if e["result"] != "nothing_to_undo"]
        assert set(results) == {"conflict"}, f"{case}: {change.path}"
        assert [before.get(part) for part in ("spec", "data")] == [
            after.get(part) for part in ("spec", "data")
        ]
        undos = [m for m in rig.cluster.mutations if "/undo" in m.marker and not m.dry_run]
        assert undos == [], f"{case}: {change.path}"
        await rig.close()
        number += 1
