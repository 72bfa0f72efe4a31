"""Which rights a policy needs: no more than its rules can use, and a remediation without them is disabled where they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.target import Kind, Target
from app.flow.readiness.rights import EVERY, needs
from app.kube.verbs import EVENTS, OPTIONAL, READS, rule_of
from app.policy.load import load_dir, load_policy
from app.policy.model import Policy
from app.policytools.rbac import Account, Grant, as_values, as_yaml, grants, manifests, namespaces_of
from remediations import CATALOGUE
from tests.unit.flow.test_access import Granting, check

SHIPPED = load_dir(Path(__file__).resolve().parents[3] / "policies", CATALOGUE)


def policy_with(scope: str = "namespaces: [rag7]", mode: str = "auto", **rule: str) -> Policy:
    """A policy of one rule."""
    keys = {"remediation": "high-latency", "mode": mode, "when": "'alertname=\"A\"'", **rule}
    text = "".join(f", {key}: {value}" for key, value in keys.items())
    return load_policy({"p.yaml": f"version: 1\nscope: {{{scope}}}\nrules: [{{name: a{text}}}]"}, CATALOGUE)


def rights_of(policy: Policy, namespace: str = "rag7") -> set[tuple[str, str]]:
    return {(v, g.resource) for g in grants(policy, CATALOGUE, namespace) for v in g.verbs}


def grant_of(policy: Policy, resource: str) -> list[Grant]:
    return [g for g in grants(policy, CATALOGUE, "rag7") if g.resource == resource]


TARGET = "{kind: Deployment, name: {default: web}, on_default: act}"


def test_a_rule_that_only_observes_needs_no_write() -> None:
    assert {verb for verb, _ in rights_of(policy_with(mode="observe", target=TARGET))} == {"get", "list"}


def test_a_ceiling_of_observe_needs_no_write() -> None:
    policy = policy_with(target=TARGET).model_copy(update={"mode": Mode.OBSERVE})
    assert {verb for verb, _ in rights_of(policy)} == {"get", "list"}


def test_only_the_kind_that_the_rule_names_may_be_changed() -> None:
    patched = {r for v, r in rights_of(policy_with(target=TARGET)) if v == "patch"}
    assert patched == {"deployments", "horizontalpodautoscalers"}


def test_an_order_for_an_autoscaler_may_change_keda_s_object_and_alerts_may_not() -> None:
    patched = {
        r
        for v, r in rights_of(policy_with(remediation="adjust-hpa", mode="approve", target=TARGET))
        if v == "patch"
    }
    assert patched == {"horizontalpodautoscalers", "scaledobjects"}
    assert "scaledobjects" not in {r for v, r in rights_of(policy_with(target=TARGET)) if v == "patch"}


@pytest.mark.parametrize("pods", ["{name: {default: web}, pod: {label: pod}}", "{name: {label: deployment}}"])
def test_labels_and_owners_may_be_of_any_kind_that_is_not_protected(pods: str) -> None:
    every = {"deployments", "statefulsets", "daemonsets", "horizontalpodautoscalers"}
    assert {r for v, r in rights_of(policy_with(target=pods)) if v == "patch"} == every
    protected = policy_with("namespaces: [rag7], protected_kinds: [StatefulSet]", target=pods)
    assert {r for v, r in rights_of(protected) if v == "patch"} == every - {"statefulsets"}


def test_no_rule_no_right_of_its_remediation() -> None:
    assert not [g for g in grants(SHIPPED, CATALOGUE, "rag7") if g.resource == "pods/eviction"]
    (found,) = grant_of(policy_with(target=TARGET), "configmaps")
    assert found.needed_by == ("high-latency",)


@pytest.mark.parametrize("names", [(), ("b", "a")])
def test_secrets_are_read_only_by_the_names_that_the_policy_gives(names: tuple[str, ...]) -> None:
    scope = f"namespaces: [rag7], secrets: [{', '.join(names)}]"
    found = grant_of(policy_with(scope, remediation="pod-restarting", target=TARGET), "secrets")
    assert [(g.verbs, g.names) for g in found] == ([(("get",), ("a", "b"))] if names else [])


def test_every_write_names_the_remediations_that_need_it() -> None:
    for grant in grants(SHIPPED, CATALOGUE, "rag7"):
        if {"patch", "delete"} & set(grant.verbs):
            assert set(grant.needed_by) <= set(CATALOGUE)
            assert grant.needed_by
    lines = as_yaml(SHIPPED, CATALOGUE, ["rag7"], Account()).splitlines()
    rules = [line for line in lines if line.startswith("  - {apiGroups")]
    assert rules
    assert all("}  # " in line for line in rules)


def test_only_the_namespaces_own_mark_is_read() -> None:
    (mark,) = grant_of(SHIPPED, "namespaces")
    assert (mark.verbs, mark.names) == (("get",), ("rag7",))


def test_the_roles_are_of_the_namespaces_that_the_scope_names() -> None:
    scope = "namespaces: [team-b, 'team-*', kube-system, team-a], exclude_namespaces: [team-b]"
    policy = policy_with(scope, target=TARGET)
    assert namespaces_of(policy) == ["team-a"]
    assert namespaces_of(policy, ["team-z"]) == ["team-a", "team-z"]
    for outside in ("other", "team-b", "kube-system"):
        with pytest.raises(BadInput, match="does not act in"):
            namespaces_of(policy, [outside])


def test_a_scope_of_patterns_alone_asks_which_namespaces_they_stand_for() -> None:
    with pytest.raises(BadInput, match=r"RBAC knows no patterns.*team-\*"):
        namespaces_of(policy_with("namespaces: ['team-*']", target=TARGET))


def test_all_forms_say_the_same() -> None:
    import yaml

    wanted = [g.rule() for g in grants(SHIPPED, CATALOGUE, "rag7")]
    to = Account("ops", "fixer")
    text: list[Any] = list(yaml.safe_load_all(as_yaml(SHIPPED, CATALOGUE, ["rag7"], to)))
    assert text == manifests(SHIPPED, CATALOGUE, ["rag7"], to)
    assert text[1]["rules"] == wanted
    values = yaml.safe_load(as_values(SHIPPED, CATALOGUE, ["rag7"]))["rbac"]["roles"]["rag7"]
    needed = [list(g.needed_by) for g in grants(SHIPPED, CATALOGUE, "rag7")]
    assert [v.pop("neededBy") for v in values] == needed
    assert values == wanted


def test_the_review_asks_for_what_the_roles_grant() -> None:
    asked = {(n.permission.verb, n.resource) for n in needs(SHIPPED, CATALOGUE)}
    assert asked <= rights_of(SHIPPED)
    besides = {"configmaps", "secrets"} | {rule_of(p)[2] for p in (*EVENTS, *OPTIONAL)}
    assert {r for _, r in rights_of(SHIPPED) - asked} <= besides | {
        "pods"
    }  # and pod metrics, of another group
    assert {n.permission for n in needs(SHIPPED, CATALOGUE) if n.remediation == EVERY} == set(READS)


# --- what is missing disables what needs it ---

RULE = SHIPPED.rules[0]
WEB = Target("rag7", Kind.DEPLOYMENT, "web")


async def test_a_right_on_another_kind_than_the_targets_disables_nothing() -> None:
    access, _, _ = check(Granting(("patch", Kind.DAEMON_SET)))
    assert await access.lacking(RULE, WEB) == []
    assert await access.lacking(RULE, Target("rag7", Kind.DAEMON_SET, "agent"))


async def test_what_a_remediation_lacks_is_told_where_it_lacks() -> None:
    cluster = Granting(("patch", Kind.HPA))
    access, _, _ = check(cluster)
    told = [need.told for need in await access.lacking(RULE, WEB)]
    assert told == ["patch horizontalpodautoscalers in namespace rag7"]
    restarting = next(r for r in SHIPPED.rules if r.remediation == "pod-restarting")
    assert await access.lacking(restarting, WEB) == []


async def test_the_answers_of_the_review_are_used_and_asked_again_in_time() -> None:
    cluster = Granting(("patch", Kind.DEPLOYMENT))
    access, _, clock = check(cluster)
    await access.look()
    asked = cluster.asked
    assert await access.lacking(RULE, WEB)
    assert cluster.asked == asked
    cluster.denied.clear()
    clock.at = 61.0
    assert await access.lacking(RULE, WEB) == []
    assert cluster.asked == asked + 1  # what was granted is believed for longer


async def test_a_cluster_that_cannot_be_asked_disables_nothing() -> None:
    cluster = Granting(("patch", Kind.DEPLOYMENT))
    cluster.away = True
    access, _, _ = check(cluster)
    assert await access.lacking(RULE, WEB) == ()


@pytest.mark.parametrize("how", ["rule", "ceiling"])
async def test_who_only_observes_lacks_nothing(how: str) -> None:
    ceiling = Mode.OBSERVE if how == "ceiling" else Mode.AUTO
    access, _, _ = check(Granting(("patch", Kind.DEPLOYMENT)), ceiling=ceiling)
    rule = RULE.model_copy(update={"mode": Mode.OBSERVE}) if how == "rule" else RULE
    assert await access.lacking(rule, WEB) == ()


@pytest.mark.parametrize(
    ("params", "name"), [("{}", "langgraph-secrets"), ("{secret: db-login}", "db-login")]
)
def test_the_secret_of_a_database_is_read_by_the_name_in_the_rule(params: str, name: str) -> None:
    policy = policy_with(remediation="database-connections", target=TARGET, params=params, mode="observe")
    found = grant_of(policy, "secrets")
    assert [(g.verbs, g.names, g.needed_by) for g in found] == [
        (("get",), (name,), ("database-connections",))
    ]


def test_ending_sessions_needs_no_right_to_write_to_the_cluster() -> None:
    """Where the server's kind is protected nothing else of the remediation acts."""
    scope = "namespaces: [rag7], protected_kinds: [StatefulSet]"
    target = "{kind: StatefulSet, name: {default: postgres}, on_default: act}"
    policy = policy_with(scope, remediation="database-connections", target=target)
    assert {r for v, r in rights_of(policy) if v not in ("get", "list")} == {"events"}


_KEYS = "{provider: openai, secret: api-keys, active_key: KEY, keys: [A, B], cache_secret: cache}"


@pytest.mark.parametrize(
    ("params", "mode", "verbs"),
    [
        (_KEYS, "approve", {"api-keys": ("get", "patch"), "cache": ("get",)}),
        (_KEYS, "observe", {"api-keys": ("get",), "cache": ("get",)}),
        ("{}", "approve", {}),
    ],
)
def test_only_the_secret_whose_key_a_rule_rotates_is_written(
    params: str, mode: str, verbs: dict[str, tuple[str, ...]]
) -> None:
    policy = policy_with(remediation="api-rate-limits", target=TARGET, params=params, mode=mode)
    assert {name: g.verbs for g in grant_of(policy, "secrets") for name in g.names} == verbs
    told = {n.told for n in needs(policy, CATALOGUE) if n.permission.kind is Kind.SECRET}
    wanted = {f"{verb} secrets api-keys in namespace rag7" for verb in ("get", "patch")}
    assert told == (wanted if verbs.get("api-keys") == ("get", "patch") else set())
