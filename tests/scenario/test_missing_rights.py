"""A remediation that lacks a right is disabled where it lacks it, tells a person what to grant, and leaves the others at work."""

from __future__ import annotations

from pathlib import Path

from app.domain.decision import Code, Verdict
from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.flow.readiness.access import AccessCheck
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, decision, the_incident, writes


async def _with_rights(tmp_path: Path, *denied: tuple[str, Kind]) -> Rig:
    rig = await born(tmp_path)
    for verb, kind in denied:
        rig.cluster.deny(verb, kind)
    assert rig.services is not None
    rig.services.rights.current = AccessCheck(rig.services)
    return rig


async def test_a_remediation_without_a_right_is_disabled_and_says_what_to_grant(tmp_path: Path) -> None:
    """high-error-rate would begin with a rollback, which it may do; it is disabled for the autoscaler it may not change."""
    rig = await _with_rights(tmp_path, ("patch", Kind.HPA))
    await rig.run(60)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.PERSON_NEEDED)
    assert (
        "Grant patch horizontalpodautoscalers in namespace rag7 (remediator rbac prints the role)"
        in found.text
    )
    assert "high-error-rate is disabled there" in found.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert writes(rig) == []
    assert "horizontalpodautoscalers" in rig.notebook.text
    await rig.close()


async def test_a_right_that_only_others_need_disables_nothing(tmp_path: Path) -> None:
    rig = await _with_rights(tmp_path, ("create", Kind.POD))
    await rig.run(60)
    assert (await decision(rig)).verdict is Verdict.ALLOW
    assert writes(rig)
    await rig.close()


async def test_a_right_that_is_taken_away_meanwhile_is_known_after_the_first_refusal(tmp_path: Path) -> None:
    rig = await _with_rights(tmp_path)
    access = AccessCheck(rig.services)
    rig.services.rights.current = access
    await access.look()
    rig.cluster.deny("patch", Kind.DEPLOYMENT)
    await rig.run(60)
    assert writes(rig) == []
    await access.look()
    assert "may not patch deployments" in access.problems["rights"]
    await rig.close()
