"""High Error Rate: what is told and proposed in the shipped scenario and in its variations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.evidence import Certainty, Diagnosis, Finding, Trouble, look_again
from app.domain.plan import ActionKind
from app.domain.remediation import History
from app.domain.target import Kind
from app.kube.parse import fingerprint
from app.sim import Scenario
from app.sim.behaviour import Cpu, ErrorLine
from remediations import CATALOGUE
from remediations.high_error_rate import _meant
from remediations.shared import errors_counted
from tests.births import scenario_of
from tests.unit.remediations.stage import Metrics, Services, Stage, told

BOTH = ("postgres", "redis")
REFUSED = "OperationalError: connection refused"
IMAGE = "/spec/template/spec/containers/0/image"


def stage() -> Stage:
    return Stage("high-error-rate")


def saying(line: str, **fields: object) -> Scenario:
    """The shipped story, but v1.5.0 logs this error."""
    shipped = scenario_of("high-error-rate")
    bad, *rest = shipped.behaviours
    lines = (ErrorLine(line=f"{{time}} ERROR app [{{request}}] {line}"),)
    changed = bad.model_copy(update={"error_lines": lines, **fields})
    return shipped.model_copy(update={"behaviours": (changed, *rest)})


async def test_the_shipped_story_is_told_with_all_its_evidence() -> None:
    play = stage()
    play.metrics = play.cluster.metrics
    assert told(*await play.look(dependencies=BOTH)) == snapshot("""\
921 error lines in 5 min on 3 pods, 884 of them "TypeError: connect() got an unexpected keyword argument 'pool_size'"; revision 2 (v1.4.2 -> v1.5.0) was deployed 15 min ago; postgres and redis answer

errors.grouped: 921 error lines in 5 min on 3 pods, 884 of them "TypeError: connect() got an unexpected keyword argument 'pool_size'"
    884 x TypeError: connect() got an unexpected keyword argument 'pool_size'
    37 x ToolTimeout: search tool did not answer in 10 s
pods.state: 3 of 3 pods ready
cause.first: Healthy for 15 min: 3 of 3 pods ready
changes.recent: Last known change 15 min ago: revision 2 of langgraph (v1.4.2 -> v1.5.0) deployed by kubectl-set
    15 min ago: revision 2 of langgraph (v1.4.2 -> v1.5.0) deployed by kubectl-set
errors.origin: The last rollout can have brought the errors: 0.4 % of the requests failed before the rollout, 34 % since, and they name a fault of the program
usage.pods: 3 pods measured: CPU 10 % of the limit on average, memory 30 % of the limit at most
    langgraph-POD: CPU 100m of 1 core, memory 310 MiB of 1 GiB
    langgraph-POD: CPU 100m of 1 core, memory 310 MiB of 1 GiB
    langgraph-POD: CPU 100m of 1 core, memory 310 MiB of 1 GiB
rollout.recent: Revision 2 (v1.4.2 -> v1.5.0) was deployed 15 min ago
    revision 2: ghcr.io/stacey77/rag7:v1.5.0, 15 min ago, release v1.5.0
    revision 1: ghcr.io/stacey77/rag7:v1.4.2, 6 d ago, release v1.4.2
dependency.postgres: postgres: SELECT 1 answered in 2 ms
dependency.redis: redis: PING answered in 2 ms
metrics.errors: 34 % of the requests fail (5xx)
metrics.latency: 95 % of the requests are answered in 240 ms
metrics.throttling: CPU is throttled in 0 % of the periods

[roll-back] Revision 2 (v1.4.2 -> v1.5.0) was deployed 15 min ago; most frequent is "TypeError: connect() got an unexpected keyword argument 'pool_size'" (884 of 921 error lines); postgres and redis answer; revision 1 ran 5 d without an alert
    do: Roll back rag7/Deployment/langgraph from revision 2 (ghcr.io/stacey77/rag7:v1.5.0) to revision 1 (ghcr.io/stacey77/rag7:v1.4.2)

[scale-up] The errors come from the code, and more replicas of it fail alike: "TypeError: connect() got an unexpected keyword argument 'pool_size'" (884 of 921 error lines)
    advice: Fix the code or its input; the most frequent error is "TypeError: connect() got an unexpected keyword argument 'pool_size'" (884 of 921 error lines)
""")


async def test_the_plan_restores_the_version_before() -> None:
    _, steps = await stage().look(dependencies=BOTH)
    (action,) = steps["roll-back"].actions

    assert action.kind is ActionKind.ROLL_BACK
    assert action.params["to_images"] == ["ghcr.io/stacey77/rag7:v1.4.2"]
    assert not steps["scale-up"].applies


@pytest.mark.parametrize("down", ["postgres", "redis"])
async def test_a_dependency_that_is_down_is_named_instead_of_rolling_back(down: str) -> None:
    play = Stage("high-error-rate", saying(REFUSED))
    play.services = Services({**dict.fromkeys(BOTH, True), down: False})
    _, steps = await play.look(dependencies=BOTH)

    assert not any(r.applies for r in steps.values())
    assert steps["roll-back"].why == (
        f"{down.capitalize()} is down and an older version needs it as well: {down}: connection refused (2 ms)"
    )
    assert steps["roll-back"].advice.startswith(
        f"Restore {down} first ({down}: connection refused (2 ms)); "
        'the most frequent error is "OperationalError: connection refused" ('
    )
    assert "more replicas would load it more" in steps["scale-up"].why


async def test_a_dependency_of_which_nothing_is_known_closes_the_rollback_when_errors_speak_of_one() -> None:
    play = Stage("high-error-rate", saying(REFUSED))
    play.services = Services({"postgres": None})
    _, steps = await play.look(dependencies=["postgres"])

    assert not steps["roll-back"].applies
    assert steps["roll-back"].why == (
        "The errors speak of a dependency, and whether one is down is not known: "
        "postgres: refuses the login of this check (2 ms)"
    )
    assert steps["roll-back"].advice.startswith("Check postgres; the most frequent error is")


async def test_it_does_not_matter_when_the_errors_are_of_the_code() -> None:
    play = Stage("high-error-rate", saying("KeyError: 'tenant'"))
    play.services = Services({"postgres": None})
    _, steps = await play.look(dependencies=["postgres"])

    assert steps["roll-back"].applies
    assert steps["scale-up"].why.startswith(
        "The errors come from the code, and more replicas of it fail alike: \"KeyError: 'tenant'\" ("
    )


async def test_without_a_recent_deployment_nothing_is_rolled_back() -> None:
    _, steps = await stage().look(dependencies=BOTH, recent_deployment="10m")

    assert not any(r.applies for r in steps.values())
    assert steps["roll-back"].why == (
        "No recent deployment to roll back: Revision 2 (v1.4.2 -> v1.5.0) was deployed 15 min ago, "
        "outside of the window of 10 min"
    )


async def test_a_deployment_after_the_alert_is_not_blamed() -> None:
    play = stage()
    play.fired = play.clock.now() - timedelta(minutes=20)
    _, steps = await play.look(dependencies=BOTH)

    assert steps["roll-back"].why == (
        "Revision 2 (v1.4.2 -> v1.5.0) was deployed 15 min ago, after the alert fired, "
        "so it is not the cause and perhaps a repair"
    )


async def test_a_restart_in_the_history_is_not_taken_for_a_deployment() -> None:
    play = stage()
    play.edit(
        Kind.DEPLOYMENT,
        "langgraph",
        {
            "op": "add",
            "path": "/spec/template/metadata/annotations",
            "value": {"kubectl.kubernetes.io/restartedAt": "2026-03-04T03:01:00Z"},
        },
    )
    play.clock.advance(30)
    diagnosis, steps = await play.look(dependencies=BOTH)

    rollout = diagnosis.finding("rollout.recent")
    assert rollout is not None
    assert (rollout.data["revision"], rollout.data["previous"]) == (2, 1)
    (action,) = steps["roll-back"].actions
    assert action.params["to_images"] == ["ghcr.io/stacey77/rag7:v1.4.2"]


async def test_a_version_that_this_target_was_rolled_away_from_is_not_returned_to() -> None:
    play = stage()
    old = next(
        r
        for r in await play.cluster.list_objects(Kind.REPLICA_SET, "rag7", "app=langgraph")
        if r["spec"]["template"]["spec"]["containers"][0]["image"].endswith("v1.4.2")
    )
    play.history = History(left_revisions=frozenset({fingerprint(old["spec"]["template"])}))
    _, steps = await play.look(dependencies=BOTH)

    assert not steps["roll-back"].applies
    assert "rolled away from every different revision" in steps["roll-back"].why


async def test_a_paused_rollout_is_left_alone() -> None:
    play = stage()
    play.edit(Kind.DEPLOYMENT, "langgraph", {"op": "add", "path": "/spec/paused", "value": True})
    _, steps = await play.look(dependencies=BOTH)

    assert not steps["roll-back"].applies
    assert "is paused" in steps["roll-back"].why
    assert "kubectl rollout resume" in steps["roll-back"].advice


@pytest.mark.parametrize(
    ("line", "fields", "values", "why"),
    [
        (
            "ServerBusy: queue is full, answered 503",
            {},
            {},
            "Capacity problem: errors about capacity 100 % of all (high from 50 %)",
        ),
        (
            "ServerBusy: queue is full, answered 503",
            {"cpu": Cpu.model_validate({"base": "950m"})},
            {"throttled_periods": 0.6, "duration_seconds": 3.1},
            (
                "Capacity problem: CPU 95 % of the limit (high from 85 %); CPU throttling 60 % (high from 25 %); "
                "latency 3.10 s (high from 2.00 s); errors about capacity 100 % of all (high from 50 %)"
            ),
        ),
    ],
)
async def test_signs_of_a_capacity_problem_scale_up_to_five(
    line: str, fields: dict[str, object], values: dict[str, float | None], why: str
) -> None:
    play = Stage("high-error-rate", saying(line, **fields))
    play.metrics = Metrics(values)
    _, steps = await play.look(dependencies=BOTH, recent_deployment="1m")
    (action,) = steps["scale-up"].actions

    assert steps["scale-up"].why == why
    alone = "only the errors' words speak of too little capacity (CPU 10 % of the limit (high from 85 %))"
    assert steps["scale-up"].asks == ("" if values else alone)
    assert (action.kind, action.params["to"]) == (ActionKind.SCALE, 5)


async def test_without_a_sign_a_person_is_told_what_was_measured() -> None:
    scenario = saying("ServerBusy: queue is full, answered 503")
    play = Stage("high-error-rate", scenario)
    _, steps = await play.look(dependencies=BOTH, recent_deployment="1m", tokens=["NEVER"])

    assert not steps["scale-up"].applies
    assert steps["scale-up"].why == "No sign of a capacity problem (CPU 10 % of the limit (high from 85 %))"
    assert steps["scale-up"].advice == "Find out why rag7/Deployment/langgraph fails"


async def test_a_providers_rate_limit_is_not_met_with_more_replicas() -> None:
    play = Stage(
        "high-error-rate", saying("RateLimitError: Error code: 429", cpu=Cpu.model_validate({"base": "990m"}))
    )
    _, steps = await play.look(dependencies=BOTH, recent_deployment="1m")

    assert steps["scale-up"].why.startswith(
        "A provider limits our requests, and more replicas would ask more often: "
    )
    assert "ask the provider for a higher limit" in steps["scale-up"].advice


async def test_an_autoscaler_is_asked_instead_of_the_replicas_that_it_would_take_back() -> None:
    play = Stage("high-error-rate", saying("ServerBusy: queue is full, answered 503"))
    play.cluster.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "langgraph-hpa", "namespace": "rag7"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph"},
                "minReplicas": 3,
                "maxReplicas": 4,
            },
        }
    )
    _, steps = await play.look(recent_deployment="1m")
    (action,) = steps["scale-up"].actions

    assert action.kind is ActionKind.RAISE_MIN_REPLICAS
    assert (action.object.name, action.params["to"]) == ("langgraph-hpa", 4)


async def test_unreadable_sources_become_findings_and_close_the_steps() -> None:
    play = stage()
    play.cluster.deny("list", Kind.REPLICA_SET)
    play.cluster.metrics_api = False
    play.metrics = Metrics({"": None})
    assert told(*await play.look(dependencies=BOTH)) == snapshot("""\
The pods could not be read: cannot list replicasets; postgres and redis answer

pods.state (unknown): The pods could not be read: cannot list replicasets
rollout.recent (unknown): The rollout history could not be read: cannot list replicasets
dependency.postgres: postgres: SELECT 1 answered in 2 ms
dependency.redis: redis: PING answered in 2 ms
metrics.errors (unknown): 5xx not measured: Prometheus did not answer within 5 s
metrics.latency (unknown): Latency not measured: Prometheus did not answer within 5 s
metrics.throttling (unknown): CPU throttling not measured: Prometheus did not answer within 5 s

[roll-back] The rollout history could not be read: cannot list replicasets

[scale-up] No sign of a capacity problem (nothing could be measured)
    advice: Find out why rag7/Deployment/langgraph fails
""")


async def test_a_rollback_is_not_proposed_when_its_revisions_cannot_be_read_any_more() -> None:
    play = stage()
    scene = await play.scene()
    handler = CATALOGUE["high-error-rate"]
    params = handler.params(dependencies=BOTH)
    diagnosis = await handler.diagnose(scene, params)
    play.cluster.deny("list", Kind.REPLICA_SET)
    roll_back, _ = await handler.ladder(scene, params, diagnosis)

    assert not roll_back.applies
    assert roll_back.why.startswith("The revisions could not be read: cannot list replicasets")


async def test_readable_logs_without_errors_do_not_justify_a_rollback() -> None:
    """The revision is recent, the logs are read and silent; failing requests in the metrics still count."""
    play = stage()
    scene, handler = await play.scene(), CATALOGUE["high-error-rate"]
    params = handler.params(dependencies=BOTH)
    found = await handler.diagnose(scene, params)
    silent = Finding("errors.grouped", "No error lines in 5 min", data={"errors": 0})
    rest = tuple(f for f in found.findings if f.code not in ("errors.grouped", "metrics.errors"))
    failing = Finding("metrics.errors", "30 % fail", data={"value": 0.3})

    (refused, _) = await handler.ladder(scene, params, Diagnosis("", (silent, *rest)))
    (applied, _) = await handler.ladder(scene, params, Diagnosis("", (silent, failing, *rest)))

    assert refused.why.startswith("The logs have no errors that a deployment could have brought")
    assert (refused.applies, applied.applies) == (False, True)


async def test_a_dependency_that_the_errors_do_not_name_is_no_hint() -> None:
    """Postgres cannot be asked, and the errors are about a name that does not resolve."""
    finding = Finding(
        "dependency.postgres",
        "postgres: refuses our login",
        Certainty.UNKNOWN,
        {"name": "postgres", "kind": "postgres"},
    )
    assert _meant([finding], "lookup api.pay.test: server misbehaving") == "what the error names"
    assert _meant([finding], "OperationalError: connection refused") == "postgres"


async def test_pods_at_their_limit_right_after_somebodys_return_to_another_version_are_a_question() -> None:
    """Whoever went back seconds ago is perhaps still at work."""
    shipped = scenario_of("high-error-rate")
    quiet = tuple(b.model_copy(update={"error_ratio": 0.0}) for b in shipped.behaviours)
    play = Stage("high-error-rate", shipped.model_copy(update={"behaviours": quiet}))
    play.edit(
        Kind.DEPLOYMENT,
        "langgraph",
        {"op": "replace", "path": IMAGE, "value": "ghcr.io/stacey77/rag7:v1.4.2"},
    )
    play.clock.advance(400)
    play.metrics = Metrics({"throttled_periods": 0.6})
    diagnosis, steps = await play.look(dependencies=BOTH)

    rollout = diagnosis.finding("rollout.recent")
    assert rollout is not None
    assert rollout.data["restored"] is True
    assert steps["scale-up"].applies
    assert "restored" in steps["scale-up"].asks


@pytest.mark.parametrize(
    ("counts", "later", "gone"),
    [
        ((90, 10), (0, 10), True),
        ((20, 20, 20, 20, 20), (0, 20, 20, 20, 20), False),
        ((45, 30, 25), (0, 30, 25), None),
    ],
    ids=["the one that is most of them", "one kind of many", "nearly a half"],
)
def test_one_kind_of_error_that_goes_is_all_of_them_only_where_it_was_most(
    counts: tuple[int, ...], later: tuple[int, ...], gone: bool | None
) -> None:
    def counted(numbers: tuple[int, ...]) -> list[Trouble]:
        groups = [{"key": f"error {n}", "count": number} for n, number in enumerate(numbers) if number]
        data: Any = {"errors": sum(numbers), "groups": groups, "pods": 2, "lines": 500}
        return list(errors_counted(Finding("errors.grouped", "", data=data)))

    found = look_again(counted(counts), counted(later))
    assert (found.gone, found.partly) == (gone, gone is None)
