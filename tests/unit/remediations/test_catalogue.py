"""What holds for every remediation: its names, the runbook's numbers, and that no failing source makes it raise."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from app.domain.change import DigestKey
from app.domain.evidence import Certainty
from app.domain.plan import Step
from app.domain.remediation import Params
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from app.stories import STORIES
from remediations import CATALOGUE
from tests.orders import ORDERS
from tests.unit.remediations.stage import Metrics, Services, stage_of

NAMES = sorted(CATALOGUE)
DEPENDENT = ("high-error-rate", "high-latency")
Verb = Literal["get", "list"]


def test_the_catalogue_has_the_alerts_of_the_runbook() -> None:
    assert {r.name: r.runbook for r in CATALOGUE.values()} == {
        "high-error-rate": "High Error Rate",
        "high-latency": "High Latency",
        "pod-restarting": "Pod Crash Loop",
        "out-of-memory": "Out of Memory (OOM)",
        "database-connections": "Database Connection Issues",
        "deploy": "Deployment Procedure",
        "hotfix": "Deployment Procedure (Hotfix)",
        "rollback": "Rollback Procedure",
        "scale": "Scaling Procedure",
        "adjust-hpa": "Scaling Procedure (Adjust HPA)",
        "api-rate-limits": "API Rate Limiting",
        "clean-checkpoints": "Database Maintenance",
        "database-vacuum": "Database Maintenance",
        "logs-and-volumes": "Log Rotation",
        "database-backup": "Backup Procedure",
        "certificate-renewal": "Certificate Renewal",
        "configuration-backup": "Backup Procedure (Configuration)",
        "database-restore": "Recovery Procedures",
    }
    assert [r.name for r in CATALOGUE.values()] == list(CATALOGUE)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("high-error-rate", "scale_to", 5),
        ("high-error-rate", "recent_deployment", 3600),
        ("high-latency", "scale_to", 8),
        ("out-of-memory", "scale_to", 6),
        ("out-of-memory", "factor", 1.5),
        ("out-of-memory", "max_memory", 4 * 1024**3),
        ("pod-restarting", "recent_deployment", 3600),
        ("database-connections", "idle_in_transaction", 600),
        ("database-connections", "lock", 300),
        ("clean-checkpoints", "days", 30),
    ],
)
def test_defaults_are_the_runbooks_numbers(name: str, field: str, value: float) -> None:
    assert getattr(CATALOGUE[name].params(), field) == value


def given(name: str) -> dict[str, Any]:
    """What an order of it has to give."""
    return dict(ORDERS[name].params) if CATALOGUE[name].procedure else {}


def test_the_demo_has_a_story_for_everything_in_the_catalogue() -> None:
    assert set(STORIES) == set(CATALOGUE)
    assert all(bool(STORIES[name].target) == (r.procedure is not None) for name, r in CATALOGUE.items())


def test_every_procedure_has_an_order_for_the_tests_over_the_catalogue() -> None:
    assert set(ORDERS) == {name for name, r in CATALOGUE.items() if r.procedure}


@pytest.mark.parametrize("name", NAMES)
def test_params_are_strict_and_survive_being_stored(name: str) -> None:
    model: type[Params] = CATALOGUE[name].params
    assert model.model_config["extra"] == "forbid"
    defaults = model(**given(name))
    assert model.model_validate(json.loads(defaults.model_dump_json())) == defaults
    assert json.dumps(model.model_json_schema())


@pytest.mark.parametrize("name", NAMES)
async def test_the_ladder_has_all_steps_in_order_and_everything_can_be_stored(name: str) -> None:
    play = stage_of(name)
    diagnosis, steps = await play.look(
        **({"dependencies": ("postgres", "redis")} if name in DEPENDENT else {})
    )

    assert tuple(steps) == CATALOGUE[name].steps
    assert any(r.applies for r in steps.values()) == bool(CATALOGUE[name].actions)
    for step in steps.values():
        assert step.why
        assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step.seal()
    for finding in diagnosis.findings:
        assert json.loads(json.dumps(finding.data, allow_nan=False)) == _plain(finding.data)
        assert "\n" not in finding.text
    codes = [f.code for f in diagnosis.findings]
    assert len(codes) == len(set(codes))


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("name", NAMES)
async def test_a_second_look_at_an_unchanged_world_proposes_the_same_plan(name: str) -> None:
    play = stage_of(name)
    _, first = await play.look()
    _, second = await play.look()
    key = DigestKey(b"a key of a test")
    assert [r.seal(key).hash for r in first.values()] == [r.seal(key).hash for r in second.values()]


@pytest.mark.parametrize("name", NAMES)
async def test_a_handler_never_writes(name: str) -> None:
    play = stage_of(name)
    await play.look()
    assert play.cluster.mutations == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("list", Kind.POD),
        ("list", Kind.REPLICA_SET),
        ("list", Kind.EVENT),
        ("list", Kind.LIMIT_RANGE),
        ("list", Kind.RESOURCE_QUOTA),
        ("get", Kind.CONFIG_MAP),
        ("get", Kind.SECRET),
        ("logs", Kind.POD),
    ],
)
async def test_a_source_that_may_not_be_read_becomes_a_finding_or_a_closed_step(
    name: str, verb: Verb, kind: Kind
) -> None:
    play = stage_of(name)
    play.cluster.deny(verb, kind)
    diagnosis, steps = await play.look()

    assert tuple(steps) == CATALOGUE[name].steps
    assert diagnosis.summary


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("effect", [FaultKind.UNREACHABLE, FaultKind.THROTTLED, FaultKind.DENIED])
async def test_a_cluster_that_stops_answering_raises_nothing_and_proposes_nothing_blind(
    name: str, effect: FaultKind
) -> None:
    play = stage_of(name)
    handler, scene = CATALOGUE[name], await play.scene()
    params = handler.params(**given(name))
    play.cluster.faults.add(Fault(effect, times=10_000))

    diagnosis = await handler.diagnose(scene, params)
    steps = await handler.ladder(scene, params, diagnosis)

    unknown = [f for f in diagnosis.findings if f.certainty is Certainty.UNKNOWN]
    assert name == "adjust-hpa" or unknown  # it looks at nothing that was not read already
    assert handler.procedure is not None or "pods.state" in [f.code for f in unknown]
    # A number of replicas sets back nothing; whatever restarts pods needs to have seen them.
    blind = {"high-latency": ["scale-out"], "scale": ["set-replicas"]}
    assert [r.name for r in steps if r.applies] == blind.get(name, [])


@pytest.mark.parametrize("name", DEPENDENT)
async def test_all_probes_down_is_told_and_not_raised(name: str) -> None:
    play = stage_of(name)
    play.metrics = Metrics({"": None})
    play.services = Services({"postgres": True}, None)
    diagnosis, steps = await play.look(dependencies=["postgres"])

    assert any("not measured" in f.text for f in diagnosis.findings)
    assert tuple(steps) == CATALOGUE[name].steps
