"""Making steps: from builders' answers to a step with actions, or one that says why it does not apply.

Called by the handlers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.domain.evidence import Finding
from app.domain.plan import Action, Step
from app.domain.remediation import Scene
from app.kube.actions import Impossible, roll_back, unstick
from app.kube.known_good import Word, release_after
from remediations.evidence.one_way import one_way_since
from remediations.evidence.pods import pods_of
from remediations.evidence.rollouts import RollbackParams, read_revisions, records_of, was_redeployed


def act(
    name: str, why: str, built: Action | Impossible, more: Sequence[Action] = (), *, open_task: str = ""
) -> Step:
    """The step that takes this action (and `more` besides), or the builder's reason why there is none. `open_task` marks
    relief: what a person has still to do when it helped."""
    if isinstance(built, Impossible):
        return refuse(name, built.why, built.advice)
    return Step(name, sentence(why), (built, *more), open_task=open_task)


def refuse(name: str, why: str, advice: str = "") -> Step:
    """A step that does not apply. `advice` is for a person: exactly what is wrong and what to do."""
    return Step(name, sentence(why), advice=sentence(advice))


def sentence(text: str) -> str:
    """With a capital first letter, unless it starts with a command or with a name that has a slash or a dot in it."""
    first = text.split(" ", 1)[0]
    return text if "/" in first or "." in first or first == "kubectl" else text[:1].upper() + text[1:]


async def rollback_step(name: str, why: str, scene: Scene, params: RollbackParams) -> Step:
    """The step that rolls back to the newest revision that is known to be good, together with the pod deletions without which
    a StatefulSet would wait forever for its bad pod. It asks where no revision is known to be good, and where a one-way step
    lies in between."""
    found = await read_revisions(scene.cluster, scene.workload)
    if isinstance(found, str):
        return refuse(name, f"the revisions could not be read: {found}")
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return refuse(name, pods.text)
    records = records_of(found, scene, params.known_good)
    again = was_redeployed(found, scene, records)
    built = roll_back(scene.workload, found, scene.history.left_revisions, records, redeployed=again)
    if isinstance(built, Impossible):
        return refuse(name, built.why, built.advice)
    goal = next(r for r in found if r.number == built.params["to_revision"])
    standing = records.standing(goal)
    unsure = (
        []
        if standing.word is Word.GOOD
        else [f"revision {goal.number} is not known to be good: {standing.why}"]
    )
    since = release_after(records.lives, goal)
    if between := await one_way_since(scene, found, goal, since, params.one_way):
        unsure.append(between)
    known = f"; {standing.why}" if standing.word is Word.GOOD else ""
    step = act(name, f"{why}{known}", built, unstick(scene.workload, pods))
    return replace(step, asks="; ".join(unsure))
