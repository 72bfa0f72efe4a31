"""Pod Crash Loop: find out why containers restart; roll back a bad revision, restart after a fix, else tell a person.

Implements the runbook's section of that name (alert PodRestarting). Editing a ConfigMap or choosing an image is a
person's work; the last step says exactly which. Called by the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Params, Scene
from app.kube.actions import rollout_restart
from remediations.evidence.causes import image_finding, killed_finding, revision_finding, words_finding
from remediations.evidence.config import changed_finding, missing_finding, missing_refs
from remediations.evidence.happenings import events_finding
from remediations.evidence.pods import Fault, limits_finding, pods_finding, pods_of, troubles
from remediations.evidence.rollouts import read_revisions, rollout_finding
from remediations.evidence.services import measured
from remediations.evidence.units import joined, span
from remediations.params import Seconds
from remediations.steps import act, refuse, rollback_step

ROLL_BACK, RESTART, BY_HAND = "roll-back", "restart", "fix-by-hand"


class PodRestartingParams(Params):
    """`recent_deployment`: how old a deployment may be to be held responsible. `crash_window`: how long ago a
    container may have ended to count as crashing now."""

    recent_deployment: Seconds = 3600
    crash_window: Seconds = 3600


class PodRestarting:
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
        """Pods and last words, missing and changed configuration, images, limits, events, rollout history."""
        cluster, workload = scene.cluster, scene.workload
        pods, revisions, missing, changed = await asyncio.gather(
            pods_of(cluster, workload),
            read_revisions(cluster, workload),
            missing_finding(cluster, workload),
            changed_finding(scene.now, cluster, workload),
        )
        rollout = rollout_finding(revisions, scene, params.recent_deployment)
        always = [missing, changed, rollout, limits_finding(workload)]
        if isinstance(pods, Finding):
            return Diagnosis(pods.text, (pods, *always))
        found = troubles(pods, scene.now - timedelta(seconds=params.crash_window))
        known = [] if isinstance(revisions, str) else revisions
        words, events = await asyncio.gather(
            words_finding(cluster, found), events_finding(cluster, workload, pods, scene.now)
        )
        special = (
            words,
            image_finding(found),
            killed_finding(found),
            revision_finding(pods, found, known, missing),
        )
        state = pods_finding(workload, pods, found)
        findings = (state, *(f for f in special if f is not None), *always, events)
        return Diagnosis(_summary(findings), findings)

    async def ladder(self, scene: Scene, params: PodRestartingParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Roll back, restart after a fix, or a person's turn."""
        del params  # their thresholds are in the findings already
        return (await _roll_back(scene, diagnosis), _restart(scene, diagnosis), _by_hand(scene, diagnosis))


_CAUSES = ("config.missing", "image.pull", "memory.killed", "logs.last")


def _summary(findings: Sequence[Finding]) -> str:
    diagnosis = Diagnosis("", tuple(findings))
    parts = [findings[0].text]
    cause = _cause(diagnosis)
    parts += [cause.text] if cause else []
    parts += [f.text for f in findings if f.code == "rollout.recent"]
    return joined(parts)


def _cause(diagnosis: Diagnosis) -> Finding | None:
    """The finding that explains most: what is missing before what was said."""
    for code in _CAUSES:
        finding = diagnosis.finding(code)
        if finding is not None and (code != "config.missing" or missing_refs(finding)):
            return finding
    return None


def _nothing_wrong(diagnosis: Diagnosis) -> str:
    """Why nothing can be done about the pods: unknown, or none in trouble. Empty when some are."""
    state = diagnosis.finding("pods.state")
    if state is None or state.certainty is Certainty.UNKNOWN:
        return state.text if state else "the pods were not read"
    if any(state.data.get(f.value) for f in Fault) or missing_refs(diagnosis.finding("config.missing")):
        return ""
    return f"no container is crashing now: {state.text}"


async def _roll_back(scene: Scene, diagnosis: Diagnosis) -> Step:
    if nothing := _nothing_wrong(diagnosis):
        return refuse(ROLL_BACK, nothing)
    rollout, revision = diagnosis.finding("rollout.recent"), diagnosis.finding("pods.revision")
    if rollout is None or rollout.certainty is Certainty.UNKNOWN or revision is None:
        return refuse(ROLL_BACK, rollout.text if rollout else "the rollout history was not read")
    if revision.data["only_newest"] is not True:
        return refuse(ROLL_BACK, f"not the newest revision alone is broken: {revision.text}")
    older = measured(diagnosis, "pods.revision", "older_ready") or 0
    stuck = older > 0 and revision.data["newest_ready"] == 0
    if rollout.data["recent"] is not True and not stuck:
        if rollout.data["nothing_older"] is True:
            return await rollback_step(ROLL_BACK, rollout.text, scene)  # says why there is no way back
        return refuse(ROLL_BACK, f"no recent deployment to roll back: {rollout.text}")
    if rollout.data["after_alert"] is True and not stuck:
        return refuse(ROLL_BACK, f"{rollout.text}, so it is not the cause and perhaps a repair")
    missing = diagnosis.finding("config.missing")
    if missing and revision.data["same_need"] is True:
        return refuse(
            ROLL_BACK, f"the revision before needs it as well: {missing.text}", _advice(scene, diagnosis)
        )
    cause = _cause(diagnosis)
    parts = [rollout.text, revision.text, *([cause.text] if cause else [])]
    return await rollback_step(ROLL_BACK, joined(parts), scene)


def _restart(scene: Scene, diagnosis: Diagnosis) -> Step:
    if nothing := _nothing_wrong(diagnosis):
        return refuse(RESTART, nothing)
    missing = diagnosis.finding("config.missing")
    if missing is None or missing.certainty is Certainty.UNKNOWN:
        return refuse(RESTART, missing.text if missing else "configuration was not looked at")
    if missing_refs(missing):
        return refuse(RESTART, f"{missing.text}: a restart would end the same way", _advice(scene, diagnosis))
    for code in ("image.pull", "memory.killed"):
        if finding := diagnosis.finding(code):
            return refuse(
                RESTART, f"{finding.text}: a restart would end the same way", _advice(scene, diagnosis)
            )
    if why := _fixed(scene, diagnosis):
        return act(RESTART, why, rollout_restart(scene.workload, scene.now))
    changed = diagnosis.finding("config.changed")
    known = f" ({changed.text})" if changed else ""
    return refuse(
        RESTART, f"nothing was fixed since the last crash{known}, so a restart would end the same way"
    )


def _fixed(scene: Scene, diagnosis: Diagnosis) -> str:
    """Why the pods have not tried the present configuration yet; empty when they have, or it is not known."""
    state, changed = diagnosis.finding("pods.state"), diagnosis.finding("config.changed")
    if state and state.data.get(Fault.CONFIG.value):
        return f"the missing configuration is there now: {state.text}"
    if state is None or changed is None or changed.certainty is Certainty.UNKNOWN:
        return ""
    at, ended = changed.data.get("at"), state.data.get("last_end")
    if not isinstance(at, str) or not isinstance(ended, str):
        return ""
    if datetime.fromisoformat(at) <= datetime.fromisoformat(ended):
        return ""
    since = span((scene.now - datetime.fromisoformat(ended)).total_seconds())
    return f"{changed.text}, after the last crash {since} ago: the pods have not tried it yet"


def _by_hand(scene: Scene, diagnosis: Diagnosis) -> Step:
    """Never acts: what is left is a person's work."""
    if nothing := _nothing_wrong(diagnosis):
        return refuse(BY_HAND, nothing)
    cause = _cause(diagnosis)
    why = cause.text if cause else "the containers end without saying why"
    return refuse(BY_HAND, f"only a person can fix this: {why}", _advice(scene, diagnosis))


def _advice(scene: Scene, diagnosis: Diagnosis) -> str:
    target = scene.workload.target
    if missing := diagnosis.finding("config.missing"):
        rows = [
            f"{ref.kind} {ref.name}" + (f" key {ref.key}" if ref.key else "") for ref in missing_refs(missing)
        ]
        if rows:
            return (
                f"create {', '.join(rows)} in namespace {target.namespace}; the pods start by themselves then"
            )
    if image := diagnosis.finding("image.pull"):
        said = image.data.get("message") or "no words from the registry"
        return f"push image {image.data['image']} or set one that exists ({said})"
    if killed := diagnosis.finding("memory.killed"):
        return f"{killed.text}: the remediation out-of-memory applies, point a rule for this alert at it"
    words = diagnosis.finding("logs.last")
    said = f' about "{words.data["said"]}"' if words else ""
    return f"read kubectl logs --previous of {target.name} in namespace {target.namespace} and fix the code or its input{said}"
