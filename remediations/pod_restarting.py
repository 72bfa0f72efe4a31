"""Pod Crash Loop: find out why pods are not ready; roll back a bad revision, restart after a fix, else tell a person.

Implements the runbook's section of that name (alert PodRestarting), and serves every alert about pods that do not run or are
not ready. Editing a ConfigMap or choosing an image is a person's work; the last step says exactly which. Called by the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.domain.evidence import Certainty, Diagnosis
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import rollout_restart
from remediations.causes import CauseCode, FirstCause, findings_of, investigate
from remediations.causes.creation import MISSING, is_missing
from remediations.causes.objections import shown_by
from remediations.causes.repaired import CHANGED, RUNS_AGAIN, Repair, Trial
from remediations.causes.report import beware_of
from remediations.evidence.happenings import events_finding
from remediations.evidence.leaks import limits_finding
from remediations.evidence.pods import pods_finding, troubles, unread_pods
from remediations.evidence.rollouts import RollbackParams, read_revisions, rollback_step, rollout_finding
from remediations.evidence.usage import count, joined, measured
from remediations.shared import Seconds, act, asking, cause_counted, no_way_back, pods_counted, refuse, warned

ROLL_BACK, RESTART, BY_HAND = "roll-back", "restart", "fix-by-hand"
_UNSURE = frozenset({CauseCode.NOT_READY, CauseCode.IMAGE_PULL, CauseCode.CANNOT_START})
"""Of these a person is asked where no pod of the newest revision is ready and nothing says enough of why."""


class PodRestartingParams(RollbackParams):
    """`crash_window`: how long ago a container may have ended to be counted among those in trouble."""

    crash_window: Seconds = 3600


class PodRestarting(Remediation[PodRestartingParams]):
    """The handler."""

    name = "pod-restarting"
    runbook = "Pod Crash Loop"
    steps: tuple[str, ...] = (ROLL_BACK, RESTART, BY_HAND)
    params: type[PodRestartingParams] = PodRestartingParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.ROLL_BACK, ActionKind.DELETE_POD, ActionKind.ROLLOUT_RESTART}
    )
    reads_config = True

    async def diagnose(self, scene: Scene, params: PodRestartingParams) -> Diagnosis:
        """The cause, recent changes, pods, configuration, limits, events, rollout history."""
        found, revisions = await asyncio.gather(
            investigate(scene), read_revisions(scene.cluster, scene.workload)
        )
        seen = found.seen
        since = scene.lately(params.crash_window)
        state = pods_finding(scene.workload, seen.pods, troubles(seen.pods, since))
        if "pods" in seen.unread:
            state = unread_pods(seen.unread["pods"])
        events = await events_finding(scene.cluster, scene.workload, seen.pods, scene.now)
        rollout = rollout_finding(revisions, scene, params)
        findings = (state, *findings_of(found), rollout, limits_finding(scene.workload), events)
        instead = findings[1].data.get("instead")
        summary = joined([state.text, findings[1].text, str(instead) if instead else rollout.text])
        rest = found.nothing_to_do
        cause = FirstCause(Diagnosis("", findings))
        counted = cause_counted(cause.code or "", sure=cause.sure, unknown=cause.unknown)
        return Diagnosis(rest or summary, findings, rest, (*pods_counted(state), *counted))

    async def ladder(self, scene: Scene, params: PodRestartingParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Roll back, restart after a fix, or a person's turn."""
        cause = FirstCause(diagnosis)
        if diagnosis.rest or cause.unknown or cause.code is None:
            return tuple(refuse(name, diagnosis.rest or cause.text) for name in self.steps)
        return (
            await _roll_back(scene, params, diagnosis, cause),
            _restart(scene, diagnosis, cause),
            _by_hand(diagnosis, cause),
        )


async def _roll_back(
    scene: Scene, params: PodRestartingParams, diagnosis: Diagnosis, cause: FirstCause
) -> Step:
    rollout, revision = diagnosis.finding("rollout.recent"), diagnosis.finding("pods.revision")
    if rollout is None or rollout.certainty is Certainty.UNKNOWN or revision is None:
        return refuse(ROLL_BACK, rollout.text if rollout else "the rollout history was not read")
    older = measured(diagnosis, "pods.revision", "older_ready") or 0
    stuck = older > 0 and revision.data["newest_ready"] == 0
    if rollout.data["nothing_older"] is True:
        step = await rollback_step(ROLL_BACK, rollout.text, scene, params, starts=True)
        return no_way_back(step, rollout.data["revision"], cause.advice)
    if rollout.data["recent"] is not True and not stuck:
        return refuse(ROLL_BACK, f"no recent deployment to roll back: {rollout.text}")
    if rollout.data["after_alert"] is True and not stuck:
        return refuse(ROLL_BACK, f"{rollout.text}, so it is not the cause and perhaps a repair")
    if cause.held:
        return refuse(ROLL_BACK, cause.held, cause.advice)
    if not cause.by_rollout:
        return refuse(ROLL_BACK, f"{cause.text}; {cause.rollout_why}", cause.advice)
    dark = cause.code in _UNSURE and revision.data["newest_ready"] == 0
    if not cause.sure and not dark:
        return refuse(ROLL_BACK, f"the cause is not sure enough to roll back for: {cause.text}")
    why = joined([cause.text, cause.rollout_why, rollout.text, revision.text])
    step = await rollback_step(ROLL_BACK, why, scene, params, starts=True, shows=shown_by(diagnosis))
    # No pod of the new revision is ready and nothing says why: the plan is a question, whatever the rule's mode.
    unsure = "" if cause.sure else f"the cause is not sure: {cause.text}"
    return warned(asking(step, unsure, cause.asks), beware_of(diagnosis))


def _restart(scene: Scene, diagnosis: Diagnosis, cause: FirstCause) -> Step:
    missing = diagnosis.finding(MISSING)
    if missing is None or missing.certainty is Certainty.UNKNOWN:
        return refuse(RESTART, missing.text if missing else "configuration was not looked at")
    if is_missing(diagnosis) or cause.code not in RUNS_AGAIN:
        return refuse(RESTART, f"{cause.text}: a restart would end the same way", cause.advice)
    repair = Repair(diagnosis.finding(CHANGED), cause.code, scene.now)
    serving = _serving(diagnosis)
    if repair.told and (repair.trial is not Trial.NONE or (repair.elsewhere and serving)):
        return refuse(RESTART, repair.told, repair.advice, repair.later)
    if repair.told:
        step = act(RESTART, repair.told, rollout_restart(scene.workload, scene.now))
        return asking(step, serving, repair.other)
    changed = diagnosis.finding(CHANGED)
    known = f" ({changed.text})" if changed else ""
    return refuse(
        RESTART, f"nothing was fixed since the last crash{known}, so a restart would end the same way"
    )


def _serving(diagnosis: Diagnosis) -> str:
    """Which pods serve without what was written: nobody knows whether it is good for them, and nothing brings the old one back. The container that
    crashes begins with it anyway."""
    revision = diagnosis.finding("pods.revision")
    if revision is None:
        return "whether pods serve with the configuration of before is not known"
    ready = (measured(diagnosis, "pods.revision", "newest_ready") or 0) + (
        measured(diagnosis, "pods.revision", "older_ready") or 0
    )
    return (
        f"{count(int(ready), 'pod')} ready now would begin anew with what no pod has tried" if ready else ""
    )


def _by_hand(diagnosis: Diagnosis, cause: FirstCause) -> Step:
    """Never acts: what is left is a person's work."""
    if diagnosis.rest:
        return refuse(BY_HAND, diagnosis.rest)
    return refuse(BY_HAND, f"only a person can fix this: {cause.text}", cause.advice)
