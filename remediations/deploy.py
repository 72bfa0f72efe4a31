"""Deploy: another image for one container, followed to its health, taken back when it is not (runbook, Deployment Procedure).

Ordered; needs no alert. Never judges whether a version is meant to be deployed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from app.domain.actuator import Effect
from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Remediation, Scene
from app.domain.workload import ContainerSpec, RolloutState, Workload
from app.kube.actions import set_image
from app.kube.lineage import lives, release_after, template_written_at
from app.kube.rollout import rollout_status
from remediations.aftermath import (
    ERRORS,
    HEALTH,
    HEALTH_CHECK,
    AftermathParams,
    after,
    errors_finding,
    health_finding,
)
from remediations.evidence.pods import pods_of
from remediations.evidence.rollouts import (
    MARKS,
    ONE_WAY_MARKS,
    RollbackParams,
    last_deployment,
    one_way_since,
    read_revisions,
    rollout_finding,
)
from remediations.shared import Names, act, nothing, refuse

SET_IMAGE = "set-image"
_IMAGE = (
    r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]{1,2}[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_SHORT = r"^(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$"
_TAG = re.compile(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
Image = Annotated[str, Field(max_length=512, pattern=f"{_IMAGE}|{_SHORT}")]


class DeployParams(AftermathParams):
    """`repositories` are where images may come from besides the present image's own repository."""

    image: Image = Field(
        description="Image with tag or digest; `:TAG` or `@sha256:DIGEST` alone for the present repository"
    )
    container: str = Field(
        default="",
        max_length=63,
        description="Container; empty: the only one, or the one named like the target",
    )
    moving_tag: bool = Field(
        default=False, description="Allows the tag `latest`, which may mean another image tomorrow"
    )
    repositories: Names = Field(
        default=(), description="Other repositories that an image may come from; only a rule sets it"
    )
    one_way: Names = Field(default=ONE_WAY_MARKS, description=MARKS)


class HotfixParams(DeployParams):
    """A hotfix is held against its error lines more closely."""

    error_growth: float = Field(
        default=1.5,
        ge=1.0,
        le=100.0,
        description="Error lines after the change: at most so many times those before",
    )
    few_errors: float = Field(
        default=1.0,
        ge=0.0,
        le=1_000.0,
        description="Error lines a minute and pod that are never held against it",
    )


class Deploy(Remediation[DeployParams]):
    """The handler."""

    name = "deploy"
    runbook = "Deployment Procedure"
    steps: tuple[str, ...] = (SET_IMAGE,)
    params: type[DeployParams] = DeployParams
    actions = frozenset({ActionKind.SET_IMAGE})
    reads_config = True
    fixed_params = frozenset({"repositories", "one_way"})
    rule_first = HEALTH_CHECK
    procedure: Procedure | None = Procedure()

    async def diagnose(self, scene: Scene, params: DeployParams) -> Diagnosis:
        """The rollout history, the health check and the error lines as they are before the change."""
        found = await read_revisions(scene.cluster, scene.workload)
        history = rollout_finding(found, scene, RollbackParams())
        health = await health_finding(scene, params)
        errors = await errors_finding(scene)
        return Diagnosis(history.text, (history, health, errors))

    async def ladder(self, scene: Scene, params: DeployParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """One step, unless the image is refused or runs already."""
        container = container_of(scene.workload, params.container)
        if isinstance(container, str):
            return (refuse(SET_IMAGE, container),)
        image = whole(params.image, container.image)
        if no := _refused(scene.workload, container, image, params):
            stands = nothing if image == container.image and _complete(scene.workload) else refuse
            return (stands(SET_IMAGE, no),)
        health, errors = diagnosis.finding(HEALTH), diagnosis.finding(ERRORS)
        if health is not None and health.data.get("usable") is False:
            return (
                refuse(
                    SET_IMAGE,
                    health.text,
                    f"{health.text}: name a Service of the namespace that chooses the pods",
                ),
            )
        if errors is None or errors.data.get("pods") is False:
            return (refuse(SET_IMAGE, errors.text if errors else "nobody looked at the pods"),)
        rate = errors.data["rate"]
        built = set_image(scene.workload, container, image, {"errors_before": rate})
        step = act(SET_IMAGE, f"the image {image} was ordered; {diagnosis.summary}", built)
        return (step if rate is not None else replace(step, asks=errors.text),)

    async def effect(self, scene: Scene, params: DeployParams, step: Step) -> Effect | None:
        """Health check, error lines, and the cause while the rollout hangs."""
        return await after(scene, params, step)

    async def kept(self, scene: Scene, params: DeployParams, step: Step) -> str:
        """A migration of the new version, or its mark: the version before may not work any more. What cannot be read, or is not kept, is such a
        reason too."""
        del step
        found = await read_revisions(scene.cluster, scene.workload)
        if isinstance(found, str):
            return f"whether the version before works any more is not known: {found}"
        pods, written = await pods_of(scene.cluster, scene.workload), template_written_at(scene.workload)
        last = last_deployment(found, scene.now, written)
        if last is None or last.previous is None:
            return "whether the version before works any more is not known: no revision of it is kept (revisionHistoryLimit)"
        since, own = (
            release_after(lives(found, written), last.previous),
            () if isinstance(pods, Finding) else pods,
        )
        return await one_way_since(scene, found, last.previous, since, params.one_way, own)


class Hotfix(Deploy):
    """The same, watched at once and closely, after somebody has approved the plan."""

    name = "hotfix"
    runbook = "Deployment Procedure (Hotfix)"
    params: type[DeployParams] = HotfixParams
    procedure: Procedure | None = Procedure(
        Consent.APPROVAL,
        settle=timedelta(minutes=1),
        timeout=timedelta(minutes=5),
        poll=timedelta(seconds=5),
    )


def container_of(workload: Workload, name: str) -> ContainerSpec | str:
    """The container that is meant, or why none is."""
    own = [c for c in workload.containers if not c.init]
    named = [c for c in own if c.name == (name or workload.target.name)]
    if named:
        return named[0]
    if not name and len(own) == 1:
        return own[0]
    names = ", ".join(c.name for c in own)
    what = f"no container {name}" if name else "several containers and none is named like it"
    return f"{workload.target} has {what}: say which (param container), there are {names}"


def whole(image: str, present: str) -> str:
    """The image with its repository: that of the present one where only a tag or digest was given."""
    return f"{repository(present)}{image}" if image[0] in ":@" else image


def repository(image: str) -> str:
    """The image without tag and digest."""
    name = image.partition("@")[0]
    return _TAG.sub("", name)


def _refused(workload: Workload, container: ContainerSpec, image: str, params: DeployParams) -> str:
    """Why this image is not set; empty when it may be."""
    name, at, _ = image.partition("@")
    tag = name[len(repository(image)) + 1 :]
    if not tag and not at:
        return f"the image {image} has neither tag nor digest: what it means changes"
    if tag == "latest" and not at and not params.moving_tag:
        return f"the image {image} may mean another image tomorrow; moving_tag=true says that this is wanted"
    if repository(image) not in (repository(container.image), *params.repositories):
        return (
            f"the repository {repository(image)} is another repository than that of the present image, {repository(container.image)}; "
            "the rule lists others in its param repositories"
        )
    if image == container.image:
        if _complete(workload):
            return f"the image {image} runs already, on all {workload.desired} pods"
        return f"the image {image} is set already, and its rollout goes on: {rollout_status(workload).text}"
    return ""


def _complete(workload: Workload) -> bool:
    return rollout_status(workload).state is RolloutState.COMPLETE
