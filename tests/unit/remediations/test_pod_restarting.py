"""Pod Crash Loop: roll back a bad revision, restart after a fix, tell a person exactly what only they can do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.plan import ActionKind, Step
from app.domain.target import Kind
from app.sim import Scenario
from app.sim.behaviour import Behaviour
from tests.births import scenario_of
from tests.unit.remediations.stage import Stage, told

IMAGE = "/spec/template/spec/containers/0/image"
ENV = "/spec/template/spec/containers/0/env"
WORKER = "langgraph-worker"


def stage() -> Stage:
    return Stage("pod-restarting")


def quiet(**update: Any) -> Scenario:
    """The shipped world without its deployment: v1.4.2 runs well."""
    return scenario_of("pod-restarting").model_copy(update={"story": (), **update})


def needing(name: str, key: str, kind: str = "configMapKeyRef") -> dict[str, Any]:
    reference = {"name": "NEEDED", "valueFrom": {kind: {"name": name, "key": key}}}
    return {"op": "add", "path": f"{ENV}/-", "value": reference}


def only(steps: Mapping[str, Step]) -> list[str]:
    return [name for name, step in steps.items() if step.applies]


async def test_the_shipped_story_is_told_with_all_its_evidence() -> None:
    assert told(*await stage().look()) == snapshot("""\
3 of 3 pods ready, 1 container crashing, at most 6 restarts; container worker of langgraph-worker-POD crashes with exit code 1, 6 restarts: said last "KeyError: 'RAG_QUEUE_NAME'"; revision 2 (v1.4.2 -> v1.5.1) was deployed 7 min ago

pods.state: 3 of 3 pods ready, 1 container crashing, at most 6 restarts
    langgraph-worker-POD/worker: CrashLoopBackOff, exit code 1, 6 restarts
cause.first: Container worker of langgraph-worker-POD crashes with exit code 1, 6 restarts: said last "KeyError: 'RAG_QUEUE_NAME'"
changes.recent: Last known change 7 min ago: revision 2 of langgraph-worker (v1.4.2 -> v1.5.1) deployed by kubectl-set
    7 min ago: revision 2 of langgraph-worker (v1.4.2 -> v1.5.1) deployed by kubectl-set
pods.revision: 1 pod of revision 2 broken and 0 ready; of older revisions 0 broken and 3 ready
config.missing: All ConfigMaps, Secrets and keys that the pods need exist
config.changed: ConfigMap langgraph-config was last written, as far as it tells, 6 d ago by kubectl-client-side-apply
rollout.recent: Revision 2 (v1.4.2 -> v1.5.1) was deployed 7 min ago
    revision 2: ghcr.io/stacey77/rag7-worker:v1.5.1, 7 min ago
    revision 1: ghcr.io/stacey77/rag7-worker:v1.4.2, 6 d ago
limits.containers: Requests and limits: worker: memory 256 MiB to 512 MiB, CPU 200m to 1 core
events.recent: 1 warning recorded, the newest BackOff 81 s ago (6 times): Back-off restarting failed container worker in pod langgraph-worker-POD
    BackOff 81 s ago (6 times): Back-off restarting failed container worker in pod langgraph-worker-POD

[roll-back] Container worker of langgraph-worker-POD crashes with exit code 1, 6 restarts: said last "KeyError: 'RAG_QUEUE_NAME'"; only pods of revision 2 show it, which changed containers[worker].image; revision 2 (v1.4.2 -> v1.5.1) was deployed 7 min ago; 1 pod of revision 2 broken and 0 ready; of older revisions 0 broken and 3 ready; revision 1 ran 5 d without an alert
    do: Roll back rag7/Deployment/langgraph-worker from revision 2 (ghcr.io/stacey77/rag7-worker:v1.5.1) to revision 1 (ghcr.io/stacey77/rag7-worker:v1.4.2)

[restart] Nothing was fixed since the last crash (ConfigMap langgraph-config was last written, as far as it tells, 6 d ago by kubectl-client-side-apply), so a restart would end the same way

[fix-by-hand] Only a person can fix this: Container worker of langgraph-worker-POD crashes with exit code 1, 6 restarts: said last "KeyError: 'RAG_QUEUE_NAME'"
    advice: Read kubectl logs --previous of langgraph-worker in namespace rag7 and fix the code or its input about "KeyError: 'RAG_QUEUE_NAME'"
""")


async def test_the_plan_restores_the_version_before() -> None:
    _, steps = await stage().look()
    (action,) = steps["roll-back"].actions

    assert only(steps) == ["roll-back"]
    assert action.kind is ActionKind.ROLL_BACK
    assert action.params["to_images"] == ["ghcr.io/stacey77/rag7-worker:v1.4.2"]


async def test_a_missing_key_that_only_the_new_revision_needs_is_rolled_back() -> None:
    play = Stage("pod-restarting", quiet())
    play.edit(Kind.DEPLOYMENT, WORKER, needing("langgraph-config", "RAG_QUEUE_NAME"))
    play.clock.advance(60)

    assert told(*await play.look()) == snapshot("""\
3 of 3 pods ready, 1 container without its configuration; container worker needs key RAG_QUEUE_NAME of ConfigMap langgraph-config, which does not have it; revision 2 (same image v1.4.2, changed env) was deployed 59 s ago

pods.state: 3 of 3 pods ready, 1 container without its configuration
    langgraph-worker-POD/worker: CreateContainerConfigError
cause.first: Container worker needs key RAG_QUEUE_NAME of ConfigMap langgraph-config, which does not have it
changes.recent: Last known change 59 s ago: revision 2 of langgraph-worker (same image v1.4.2, changed env) deployed by kubectl-edit
    59 s ago: revision 2 of langgraph-worker (same image v1.4.2, changed env) deployed by kubectl-edit
pods.revision: 1 pod of revision 2 broken and 0 ready; of older revisions 0 broken and 3 ready
config.missing: Missing: container worker needs ConfigMap langgraph-config key RAG_QUEUE_NAME
    container worker needs ConfigMap langgraph-config key RAG_QUEUE_NAME
config.changed: ConfigMap langgraph-config was last written, as far as it tells, 6 d ago by kubectl-client-side-apply
rollout.recent: Revision 2 (same image v1.4.2, changed env) was deployed 59 s ago
    revision 2: ghcr.io/stacey77/rag7-worker:v1.4.2, 59 s ago
    revision 1: ghcr.io/stacey77/rag7-worker:v1.4.2, 6 d ago
limits.containers: Requests and limits: worker: memory 256 MiB to 512 MiB, CPU 200m to 1 core
events.recent: 1 warning recorded, the newest Failed 8 s ago (6 times): couldn't find key RAG_QUEUE_NAME in ConfigMap rag7/langgraph-config
    Failed 8 s ago (6 times): couldn't find key RAG_QUEUE_NAME in ConfigMap rag7/langgraph-config

[roll-back] Container worker needs key RAG_QUEUE_NAME of ConfigMap langgraph-config, which does not have it; only pods of revision 2 show it, which changed containers[worker].env[NEEDED]; revision 2 (same image v1.4.2, changed env) was deployed 59 s ago; 1 pod of revision 2 broken and 0 ready; of older revisions 0 broken and 3 ready; revision 1 ran 6 d without an alert
    do: Roll back rag7/Deployment/langgraph-worker from revision 2 (ghcr.io/stacey77/rag7-worker:v1.4.2) to revision 1 (ghcr.io/stacey77/rag7-worker:v1.4.2)

[restart] Container worker needs key RAG_QUEUE_NAME of ConfigMap langgraph-config, which does not have it: a restart would end the same way
    advice: Create ConfigMap langgraph-config key RAG_QUEUE_NAME in namespace rag7; the pods start by themselves then

[fix-by-hand] Only a person can fix this: Container worker needs key RAG_QUEUE_NAME of ConfigMap langgraph-config, which does not have it
    advice: Create ConfigMap langgraph-config key RAG_QUEUE_NAME in namespace rag7; the pods start by themselves then
""")


async def test_a_missing_key_that_the_revision_before_needs_too_is_a_persons_work() -> None:
    play = Stage("pod-restarting", quiet())
    play.edit(Kind.CONFIG_MAP, "langgraph-config", {"op": "remove", "path": "/data/RAG_BATCH_SIZE"})
    play.edit(Kind.DEPLOYMENT, WORKER, {"op": "replace", "path": IMAGE, "value": "x/rag7-worker:v9"})
    play.clock.advance(60)
    _, steps = await play.look()

    assert only(steps) == []
    assert steps["roll-back"].why == (
        "Container worker needs key RAG_BATCH_SIZE of ConfigMap langgraph-config, which does not have it; "
        "revision 2 (v1.4.2 -> v9) changed containers[worker].image, which does not bring that: the revision before needs ConfigMap "
        "langgraph-config as well"
    )
    assert steps["fix-by-hand"].advice == (
        "Create ConfigMap langgraph-config key RAG_BATCH_SIZE in namespace rag7; the pods start by themselves then"
    )


async def test_a_missing_secret_is_named_without_looking_at_values() -> None:
    play = Stage("pod-restarting", quiet())
    play.edit(Kind.DEPLOYMENT, WORKER, needing("worker-secrets", "TOKEN", "secretKeyRef"))
    play.clock.advance(60)
    _, steps = await play.look(recent_deployment="1s")

    assert steps["fix-by-hand"].advice.startswith("Create Secret worker-secrets key TOKEN in namespace rag7")


async def test_an_image_that_does_not_exist_is_rolled_back_and_named() -> None:
    play = Stage("pod-restarting", quiet(missing_images=("x/rag7-worker:v9",)))
    play.edit(Kind.DEPLOYMENT, WORKER, {"op": "replace", "path": IMAGE, "value": "x/rag7-worker:v9"})
    play.clock.advance(60)
    diagnosis, steps = await play.look()

    assert only(steps) == ["roll-back"]
    finding = diagnosis.finding("cause.first")
    assert finding is not None
    assert finding.text.startswith("Container worker cannot get image x/rag7-worker:v9 (ImagePullBackOff)")
    assert finding.data["object"] == "image x/rag7-worker:v9"
    assert "a restart would end the same way" in steps["restart"].why
    assert steps["fix-by-hand"].advice.startswith("Push image x/rag7-worker:v9 or set one that exists (")


def crashing(**crash: Any) -> Scenario:
    """A world in which v1.4.2 crashes as well, while FIXED is missing from the ConfigMap."""
    behaviour = Behaviour.model_validate(
        {
            "name": "crashing",
            "when": {"container": "worker", "config_missing": "langgraph-config/FIXED"},
            "crash": {"after": "3s", "exit_code": 1, "message": "KeyError: 'FIXED'", **crash},
        }
    )
    return quiet(behaviours=(behaviour, *scenario_of("pod-restarting").behaviours), age=7200.0)


async def test_a_crash_without_a_deployment_is_a_persons_work_with_its_last_words() -> None:
    play = Stage("pod-restarting", crashing(log=("{time} ERROR worker KeyError: 'FIXED'",)))
    play.clock.advance(300)
    _, steps = await play.look()

    assert only(steps) == []
    assert steps["roll-back"].why.startswith("No recent deployment to roll back: Revision 1")
    assert steps["restart"].why.startswith(
        "Nothing was fixed since the last crash (ConfigMap langgraph-config was"
    )
    assert steps["fix-by-hand"].advice == (
        "Read kubectl logs --previous of langgraph-worker in namespace rag7 and fix the code or its input "
        "about \"KeyError: 'FIXED'\""
    )


async def test_configuration_that_changed_after_the_last_crash_is_tried_by_a_restart() -> None:
    play = Stage("pod-restarting", crashing())
    play.clock.advance(300)
    play.edit(Kind.CONFIG_MAP, "langgraph-config", {"op": "add", "path": "/data/FIXED", "value": "yes"})
    play.clock.advance(1)
    _, steps = await play.look()

    assert only(steps) == ["restart"]
    assert steps["restart"].why.startswith(
        "ConfigMap langgraph-config was last written, as far as it tells, 1 s ago by kubectl-edit, after the last run that failed began "
    )
    assert [a.kind for a in steps["restart"].actions] == [ActionKind.ROLLOUT_RESTART]


async def test_a_fix_that_the_pods_have_tried_is_not_tried_again() -> None:
    play = Stage("pod-restarting", crashing())
    play.clock.advance(60)
    play.edit(Kind.CONFIG_MAP, "langgraph-config", {"op": "add", "path": "/data/OTHER", "value": "yes"})
    play.clock.advance(600)
    _, steps = await play.look()

    assert only(steps) == []


async def test_an_out_of_memory_kill_is_sent_to_its_own_remediation() -> None:
    behaviour = Behaviour.model_validate(
        {"name": "hungry", "when": {"container": "worker"}, "memory": {"start": "100Mi", "growth": "50Mi"}}
    )
    play = Stage("pod-restarting", quiet(behaviours=(behaviour,), age=7200.0))
    play.clock.advance(120)
    _, steps = await play.look()

    assert only(steps) == []
    assert steps["fix-by-hand"].advice == (
        "Raise the memory limit of worker (the remediation out-of-memory does), or find what uses it"
    )


async def test_pods_of_an_older_revision_that_crash_too_acquit_the_newest() -> None:
    play = Stage("pod-restarting", crashing())
    play.clock.advance(60)
    play.edit(Kind.DEPLOYMENT, WORKER, {"op": "replace", "path": IMAGE, "value": "x/rag7-worker:v9"})
    play.clock.advance(120)
    _, steps = await play.look()

    assert not steps["roll-back"].applies
    assert "; not the newest revision alone is broken: pod langgraph-worker-" in steps["roll-back"].why


async def test_a_stuck_rollout_is_rolled_back_however_old_it_is() -> None:
    play = stage()
    play.clock.advance(7200)
    _, steps = await play.look()

    assert only(steps) == ["roll-back"]
    assert "was deployed 2 h 7 min ago, outside of the window of 1 h" in steps["roll-back"].why


async def test_a_deployment_after_the_alert_is_not_blamed_unless_it_is_stuck() -> None:
    play = Stage("pod-restarting", quiet())
    play.edit(
        Kind.DEPLOYMENT,
        WORKER,
        {"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}},
        {"op": "replace", "path": IMAGE, "value": "ghcr.io/stacey77/rag7-worker:v1.5.1"},
    )
    play.clock.advance(120)
    play.fired = play.clock.now() - timedelta(minutes=10)
    _, steps = await play.look()

    assert not steps["roll-back"].applies
    assert "after the alert fired, so it is not the cause" in steps["roll-back"].why


async def test_healthy_pods_are_left_alone() -> None:
    play = Stage("pod-restarting", quiet())
    _, steps = await play.look()

    assert only(steps) == []
    assert {r.why for r in steps.values()} == {"Healthy for 6 d, nothing to do: 3 of 3 pods ready"}


@pytest.mark.parametrize(
    ("verb", "kind", "step", "why"),
    [
        ("list", Kind.POD, "roll-back", "The pods could not be read: cannot list pods"),
        ("list", Kind.REPLICA_SET, "restart", "The pods could not be read: cannot list replicasets"),
        (
            "get",
            Kind.CONFIG_MAP,
            "restart",
            "Whether configuration is missing is not known: cannot get configmaps",
        ),
    ],
)
async def test_what_cannot_be_read_closes_the_step_that_needs_it(
    verb: Any, kind: Kind, step: str, why: str
) -> None:
    play = stage()
    play.cluster.deny(verb, kind)
    _, steps = await play.look()

    assert not steps[step].applies
    assert steps[step].why == why


async def test_a_statefulset_that_waits_for_its_bad_pod_gets_that_pod_deleted_too() -> None:
    play = Stage("pod-restarting", quiet(missing_images=("postgres:99",)), target="rag7/StatefulSet/postgres")
    play.edit(Kind.STATEFUL_SET, "postgres", {"op": "replace", "path": IMAGE, "value": "postgres:99"})
    play.clock.advance(120)
    _, steps = await play.look()

    assert [a.kind for a in steps["roll-back"].actions] == [ActionKind.ROLL_BACK, ActionKind.DELETE_POD]
