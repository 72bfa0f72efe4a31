"""Making steps: from builders' answers to a step with actions, or one that says why it does not apply.

Called by the handlers.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.evidence import Finding
from app.domain.plan import Action, Step
from app.domain.remediation import Scene
from app.kube.actions import Impossible, roll_back, unstick
from remediations.evidence.pods import pods_of
from remediations.evidence.rollouts import read_revisions


def act(name: str, why: str, built: Action | Impossible, more: Sequence[Action] = ()) -> Step:
    """The step that takes this action (and `more` besides), or the builder's reason why there is none."""
    if isinstance(built, Impossible):
        return refuse(name, built.why, built.advice)
    return Step(name, sentence(why), (built, *more))


def refuse(name: str, why: str, advice: str = "") -> Step:
    """A step that does not apply. `advice` is for a person: exactly what is wrong and what to do."""
    return Step(name, sentence(why), advice=sentence(advice))


def sentence(text: str) -> str:
    """With a capital first letter, unless it starts with a name that has a slash or a dot in it."""
    first = text.split(" ", 1)[0]
    return text if "/" in first or "." in first else text[:1].upper() + text[1:]


async def rollback_step(name: str, why: str, scene: Scene) -> Step:
    """The step that rolls back to the newest different revision that this incident has not left yet, together with
    the pod deletions without which a StatefulSet would wait forever for its bad pod."""
    found = await read_revisions(scene.cluster, scene.workload)
    if isinstance(found, str):
        return refuse(name, f"the revisions could not be read: {found}")
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return refuse(name, pods.text)
    built = roll_back(scene.workload, found, scene.history.left_revisions)
    return act(name, why, built, unstick(scene.workload, pods))
