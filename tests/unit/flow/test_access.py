"""Rights are looked at before the first alert needs them, and a missing one is told with all its names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from app.domain.decision import Mode
from app.domain.errors import ClusterUnavailable
from app.domain.plan import ActionKind
from app.domain.target import Kind, Target
from app.flow.readiness.access import AccessCheck
from app.flow.readiness.rights import needs
from app.flow.services import Services
from app.observe.metrics import Metrics
from app.policy.load import load_dir
from app.policy.model import Policy
from remediations import CATALOGUE

POLICY = load_dir(Path(__file__).resolve().parents[3] / "policies", CATALOGUE)


class Granting:
    """A cluster that grants all but `denied`."""

    def __init__(self, *denied: tuple[str, Kind]) -> None:
        self.denied, self.asked, self.away = set(denied), 0, False

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        del namespace, subresource, name
        self.asked += 1
        if self.away:
            raise ClusterUnavailable("no answer")
        return (verb, kind) not in self.denied


class Hands:
    """A monotonic clock moved by hand."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


def check(
    cluster: Granting, policy: Policy = POLICY, ceiling: Mode = Mode.AUTO
) -> tuple[AccessCheck, Metrics, Hands]:
    metrics, clock = Metrics(CollectorRegistry()), Hands()
    services = services_with(cluster, policy, clock, metrics, ceiling)
    return AccessCheck(services), metrics, clock


def services_with(
    cluster: Any, policy: Policy, clock: Any, metrics: Metrics, ceiling: Mode = Mode.AUTO
) -> Services:
    """Only what the check of our rights uses."""
    found = SimpleNamespace(
        cluster=cluster,
        clock=clock,
        policy=lambda: policy,
        catalogue=CATALOGUE,
        metrics=metrics,
        ceiling=ceiling,
    )
    return cast("Services", found)


async def test_a_missing_right_names_verb_resource_namespace_and_remediation() -> None:
    access, metrics, _ = check(Granting(("patch", Kind.DEPLOYMENT)))
    await access.look()
    told = access.problems["rights"]
    assert "may not patch deployments in namespace rag7 (needed by high-error-rate)" in told
    labels = {
        "verb": "patch",
        "resource": "deployments",
        "namespace": "rag7",
        "remediation": "high-error-rate",
    }
    assert metrics.registry.get_sample_value("remediator_missing_rights", labels) == 1


async def test_a_right_that_was_granted_meanwhile_is_missing_no_more() -> None:
    cluster = Granting(("patch", Kind.DEPLOYMENT))
    access, metrics, clock = check(cluster)
    await access.look()
    cluster.denied.clear()
    clock.at = 61.0
    await access.look()
    assert access.problems == {}
    assert next(iter(metrics.missing_rights.collect())).samples == []


async def test_between_reviews_one_small_question_shows_whether_the_cluster_answers() -> None:
    cluster = Granting()
    access, _, _ = check(cluster)
    await access.look()
    asked = cluster.asked
    await access.look()
    assert cluster.asked == asked + 1
    cluster.away = True
    with pytest.raises(ClusterUnavailable):
        await access.look()
    assert access.problems == {"cluster": "no answer"}
    cluster.away = False
    await access.look()
    assert access.problems == {}


async def test_what_only_some_clusters_have_is_missed_by_a_plan_for_it_alone() -> None:
    """A cluster without KEDA, and a role from before, do without; `remediator rbac` prints it all the same."""
    (rule,) = [rule for rule in POLICY.rules if rule.remediation == "adjust-hpa"]
    access, _, _ = check(Granting(("patch", Kind.SCALED_OBJECT), ("get", Kind.SCALED_OBJECT)))
    await access.look()
    assert access.problems == {}
    target = Target("rag7", Kind.DEPLOYMENT, "web")
    assert await access.lacking(rule, target, {ActionKind.ADJUST_AUTOSCALER}) == []
    told = [need.told for need in await access.lacking(rule, target, {ActionKind.ADJUST_SCALED_OBJECT})]
    assert told == ["get scaledobjects in namespace rag7", "patch scaledobjects in namespace rag7"]


@pytest.mark.parametrize("how", ["policy", "ceiling"])
def test_who_only_observes_needs_no_writes(how: str) -> None:
    policy = POLICY.model_copy(update={"mode": Mode.OBSERVE}) if how == "policy" else POLICY
    found = needs(policy, CATALOGUE, Mode.OBSERVE if how == "ceiling" else Mode.AUTO)
    assert {n.permission.verb for n in found} <= {"get", "list"}
    assert any(n.permission.verb == "patch" for n in needs(POLICY, CATALOGUE))


async def test_what_a_pattern_stands_for_is_reviewed_once_alerts_came_from_there() -> None:
    """RBAC knows no patterns, so that a right in all namespaces is more than anybody should grant."""
    scope = POLICY.scope.model_copy(update={"namespaces": ("rag7", "team-*")})
    policy = POLICY.model_copy(update={"scope": scope})
    assert {n.namespace for n in needs(policy, CATALOGUE)} == {"rag7"}
    access, _, clock = check(Granting(("patch", Kind.DEPLOYMENT)), policy)
    await access.look()
    await access.lacking(policy.rules[0], Target("team-a", Kind.DEPLOYMENT, "web"))
    clock.at = 61.0
    await access.look()
    assert {n.namespace for n in access.missing} == {"rag7", "team-a"}


def test_every_shipped_remediation_says_which_actions_it_takes() -> None:
    for handler in CATALOGUE.values():
        assert handler.actions or handler.name == "logs-and-volumes"  # which only looks
        assert handler.actions <= set(ActionKind)


async def test_a_refusal_of_the_cluster_has_all_rights_reviewed_at_the_next_look() -> None:
    """Not only after ten minutes, in which orders would be taken up that cannot be carried out."""
    cluster = Granting()
    access, _, _ = check(cluster)
    await access.look()
    cluster.denied.add(("patch", Kind.DEPLOYMENT))
    await access.look()
    assert access.problems == {}
    access.doubt()
    await access.look()
    assert "may not patch deployments" in access.problems["rights"]
