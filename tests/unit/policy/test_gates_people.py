"""Gates about people's switches and the owners' wishes: kill switch, scope, ownership, approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.change import FieldChange
from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.owner import Owner, Owners, Relation
from app.domain.plan import ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.domain.workload import Manager
from app.policy.facts import Pause, Unknown
from app.policy.gates.people import approval, hands, kill_switch
from app.policy.gates.target import ownership, scope
from tests.unit.policy.cases import NOW, action_of, ask_gate, case_of, policy_of, step_of


@pytest.mark.parametrize(
    ("pause", "code"),
    [
        ("all", Code.KILL_SWITCH),
        ("namespace:rag7", Code.PAUSED),
        ("target:rag7/Deployment/langgraph", Code.PAUSED),
        ("rule:errors", Code.PAUSED),
        ("remediation:high-error-rate", Code.PAUSED),
        ("namespace:rag", Code.ALLOWED),
        ("target:rag7/Deployment/postgres", Code.ALLOWED),
        ("rule:other", Code.ALLOWED),
        ("remediation:restart", Code.ALLOWED),
    ],
)
def test_a_pause_stops_what_it_names_and_nothing_else(pause: str, code: Code) -> None:
    result = ask_gate(kill_switch, pauses=(Pause(pause, "release", "ana"),))
    assert result.code is code
    assert result.verdict is (Verdict.ALLOW if code is Code.ALLOWED else Verdict.DENY)


def test_a_pause_says_who_and_why_and_ends_by_itself() -> None:
    end = NOW + timedelta(hours=1)
    result = ask_gate(kill_switch, pauses=(Pause("namespace:rag7", "database move", "ana", end),))
    assert result.value == "namespace:rag7 paused by ana: database move"
    assert result.retry_at == end


@pytest.mark.parametrize(("seconds", "verdict"), [(-1, Verdict.ALLOW), (0, Verdict.ALLOW), (1, Verdict.DENY)])
def test_a_pause_is_over_at_its_end(seconds: int, verdict: Verdict) -> None:
    end = NOW + timedelta(seconds=seconds)
    assert ask_gate(kill_switch, pauses=(Pause("all", "", "ana", end),)).verdict is verdict


def test_of_several_pauses_the_last_to_end_is_shown() -> None:
    short, long = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    both = (Pause("all", "", "ana", long), Pause("all", "", "ben", short))
    assert ask_gate(kill_switch, pauses=both).retry_at == long
    forever = ask_gate(kill_switch, pauses=(*both, Pause("all", "", "eve")))
    assert forever.retry_at is None
    assert "eve" in forever.value
    assert forever.remedy == "the pause ends (when someone resumes it)"


def test_unreadable_pauses_close_the_gate() -> None:
    result = ask_gate(kill_switch, pauses=Unknown("store did not answer"))
    assert (result.verdict, result.code) == (Verdict.DENY, Code.UNKNOWN_FACT)
    assert "store did not answer" in result.value


@pytest.mark.parametrize(
    ("head", "ceiling", "dry_run", "verdict"),
    [
        ("", None, False, Verdict.ALLOW),
        ("", Mode.AUTO, False, Verdict.ALLOW),
        ("", Mode.APPROVE, False, Verdict.ALLOW),
        ("", Mode.OBSERVE, False, Verdict.OBSERVE),
        ("mode: observe\n", None, False, Verdict.OBSERVE),
        ("mode: observe\n", Mode.OBSERVE, True, Verdict.ALLOW),
    ],
)
def test_a_ceiling_of_observe_lets_it_only_look(
    head: str, ceiling: Mode | None, dry_run: bool, verdict: Verdict
) -> None:
    result = ask_gate(kill_switch, head, ceiling=ceiling, dry_run=dry_run)
    assert result.verdict is verdict
    assert (result.code is Code.CEILING) is (verdict is Verdict.OBSERVE)


@pytest.mark.parametrize(
    ("namespace", "code"),
    [
        ("rag7", Code.ALLOWED),
        ("team-search", Code.ALLOWED),
        ("team-payments", Code.OUT_OF_SCOPE),
        ("default", Code.OUT_OF_SCOPE),
        ("RAG7", Code.OUT_OF_SCOPE),
        ("kube-system", Code.PROTECTED),
    ],
)
def test_only_namespaces_of_the_scope_are_touched(namespace: str, code: Code) -> None:
    assert ask_gate(scope, target=Target(namespace, Kind.DEPLOYMENT, "x")).code is code


def test_the_cluster_s_own_namespace_is_protected_even_from_a_scope_of_everything() -> None:
    policy = policy_of()
    everything = policy.model_copy(update={"scope": policy.scope.model_copy(update={"namespaces": ("*",)})})
    case = case_of(policy, target=Target("kube-system", Kind.DEPLOYMENT, "coredns"))
    assert scope(replace(case, policy=everything)).code is Code.PROTECTED


@pytest.mark.parametrize(
    ("opt", "marks", "code"),
    [
        ("out", {}, Code.ALLOWED),
        ("out", {"namespace": "true"}, Code.ALLOWED),
        ("out", {"object": "false"}, Code.OPTED_OUT),
        ("out", {"namespace": "false", "object": "true"}, Code.OPTED_OUT),
        ("out", {"object": "no"}, Code.OPTED_OUT),
        ("in", {}, Code.OPTED_OUT),
        ("in", {"object": "true"}, Code.ALLOWED),
        ("in", {"namespace": "true"}, Code.ALLOWED),
        ("in", {"namespace": "true", "object": "false"}, Code.OPTED_OUT),
        ("in", {"namespace": "yes"}, Code.OPTED_OUT),
        ("out", Unknown("403 on namespaces"), Code.UNKNOWN_FACT),
    ],
)
def test_the_owners_mark_decides(opt: str, marks: Any, code: Code) -> None:
    policy = policy_of()
    opted = policy.scope.model_validate_json(f'{{"namespaces": ["rag7"], "opt": "{opt}"}}')
    case = replace(case_of(policy, marks=marks), policy=policy.model_copy(update={"scope": opted}))
    result = scope(case)
    assert result.code is code
    assert result.verdict is (Verdict.ALLOW if code is Code.ALLOWED else Verdict.DENY)


def test_a_protected_kind_is_left_alone_also_when_only_an_action_touches_it() -> None:
    policy = policy_of()
    guarded = policy.model_copy(
        update={"scope": policy.scope.model_copy(update={"protected_kinds": (Kind.POD, Kind.STATEFUL_SET)})}
    )
    pod = ObjectRef(Kind.POD, "rag7", "langgraph-0", "uid-2", "7")
    deletes = step_of(action_of(ActionKind.DELETE_POD, 1, pod))
    assert scope(replace(case_of(policy), policy=guarded)).code is Code.ALLOWED
    assert scope(replace(case_of(policy, deletes), policy=guarded)).code is Code.PROTECTED
    database = case_of(policy, target=Target("rag7", Kind.STATEFUL_SET, "postgres"))
    assert scope(replace(database, policy=guarded)).value == "kind StatefulSet is protected"


@pytest.mark.parametrize(
    ("managers", "kind", "verdict"),
    [
        ((), ActionKind.ROLL_BACK, Verdict.ALLOW),
        ((Manager.ARGO_CD,), ActionKind.ROLL_BACK, Verdict.ASK),
        ((Manager.FLUX,), ActionKind.RAISE_MEMORY_LIMIT, Verdict.ASK),
        ((Manager.ARGO_CD,), ActionKind.ROLLOUT_RESTART, Verdict.ALLOW),
        ((Manager.ARGO_CD,), ActionKind.DELETE_POD, Verdict.ALLOW),
        ((Manager.HPA,), ActionKind.SCALE, Verdict.DENY),
        ((Manager.HPA,), ActionKind.RAISE_MIN_REPLICAS, Verdict.DENY),
        ((Manager.HPA,), ActionKind.ROLL_BACK, Verdict.ALLOW),
        ((Manager.HELM,), ActionKind.SCALE, Verdict.ALLOW),
        ((Manager.ARGO_CD, Manager.HPA), ActionKind.SCALE, Verdict.DENY),
    ],
)
def test_other_writers_matter_where_they_write_the_same(
    managers: tuple[Manager, ...], kind: ActionKind, verdict: Verdict
) -> None:
    rule = "ownership: {hpa: deny, gitops: ask, helm: allow}\n"
    result = ask_gate(ownership, rule=rule, step=step_of(action_of(kind)), managers=managers)
    assert result.verdict is verdict
    assert (result.code is Code.OWNED) is (verdict is not Verdict.ALLOW)


_MAKES = Owner(Relation.CONTROLS, Kind.HPA, "ScaledObject", "keda.sh", "rag7", "web", "KEDA")
_SCALES = Owner(Relation.SCALES, Kind.DEPLOYMENT, "ScaledObject", "keda.sh", "rag7", "web", "KEDA")
_DECLARES = Owner(Relation.DECLARES, Kind.SCALED_OBJECT, "", "", "rag7", "", "Argo CD")
_OPERATES = Owner(Relation.CONTROLS, Kind.SCALED_OBJECT, "HTTPScaledObject", "http.keda.sh", "rag7", "web")


@pytest.mark.parametrize(
    ("kind", "on", "owners", "verdict"),
    [
        (ActionKind.ADJUST_SCALED_OBJECT, Kind.SCALED_OBJECT, (_MAKES, _SCALES), Verdict.ALLOW),
        (ActionKind.ADJUST_SCALED_OBJECT, Kind.SCALED_OBJECT, (_MAKES, _DECLARES), Verdict.ASK),
        (ActionKind.ADJUST_SCALED_OBJECT, Kind.SCALED_OBJECT, (_MAKES, _OPERATES), Verdict.ASK),
        (ActionKind.ADJUST_AUTOSCALER, Kind.HPA, (_MAKES,), Verdict.DENY),
        (ActionKind.SCALE, Kind.DEPLOYMENT, (_SCALES,), Verdict.DENY),
        (ActionKind.DELETE_POD, Kind.POD, (_OPERATES,), Verdict.ALLOW),
    ],
)
def test_keda_s_own_object_is_changed_where_nobody_declares_it_and_what_keda_makes_of_it_never(
    kind: ActionKind, on: Kind, owners: tuple[Owner, ...], verdict: Verdict
) -> None:
    step = step_of(action_of(kind, 0, ObjectRef(on, "rag7", "web", "uid-4", "1")))
    assert ask_gate(ownership, step=step, owners=Owners(owners)).verdict is verdict


_MINIMUM = replace(
    action_of(ActionKind.RAISE_MIN_REPLICAS, 0, ObjectRef(Kind.HPA, "rag7", "keda-hpa-web", "uid-4", "1")),
    changes=(FieldChange("/spec/minReplicas", 2, 8),),
)
_ANNOTATE = "kubectl annotate scaledobject.keda.sh/web -n rag7 autoscaling.keda.sh/"


@pytest.mark.parametrize("mode", ["ask", "deny"])
def test_of_thousands_of_owners_the_first_are_told_and_all_are_judged(mode: str) -> None:
    """Only the last one forbids it; each decision, message and record holds all that is told."""
    many = [replace(_OPERATES, of=Kind.HPA, kind=f"K{n}") for n in range(3_000)]
    found = Owners((*many, _MAKES))
    rule = f"ownership: {{controller: {mode}}}\n"
    result = ask_gate(ownership, rule=rule, step=step_of(_MINIMUM), owners=found)
    assert result.verdict is Verdict.DENY
    assert len(str(result.value)) + len(str(result.remedy)) < 2_000
    assert "and 2,998 more" in str(result.value)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("", "minReplicaCount"),
        ("autoscaling.keda.sh/paused: true", f"{_ANNOTATE}paused- ends the pause; until then its bounds do nothing"),
        (
            "autoscaling.keda.sh/paused-replicas: 2",
            f"{_ANNOTATE}paused-replicas- ends the pause, or {_ANNOTATE}paused-replicas=8 --overwrite; until then its bounds do nothing",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("owner", [_MAKES, _SCALES], ids=["with its autoscaler", "without one"])
def test_a_paused_scaled_object_is_changed_where_it_is_paused(owner: Owner, held: str, told: str) -> None:
    object_ = _MINIMUM.object if owner.of is Kind.HPA else ObjectRef(owner.of, "rag7", "web", "uid-4", "1")
    path = "/spec/minReplicas" if owner.of is Kind.HPA else "/spec/replicas"
    action = replace(_MINIMUM, object=object_, changes=(FieldChange(path, 2, 8),))
    result = ask_gate(ownership, step=step_of(action), owners=Owners((replace(owner, held=held),)))
    assert told in str(result.remedy)
    assert ("minReplicaCount" in str(result.remedy)) is not bool(held)


@pytest.mark.parametrize(
    ("parts", "verdict"), [((), Verdict.ASK), (("app",), Verdict.ASK), (("proxy",), Verdict.ALLOW)]
)
def test_a_vertical_autoscaler_is_asked_about_for_the_containers_that_it_sizes(
    parts: tuple[str, ...], verdict: Verdict
) -> None:
    limit = "/spec/template/spec/containers/[name=app]/resources/limits/memory"
    action = replace(
        action_of(ActionKind.RAISE_MEMORY_LIMIT), changes=(FieldChange(limit, "512Mi", "768Mi"),)
    )
    vpa = Owner(
        Relation.SIZES, Kind.DEPLOYMENT, "VerticalPodAutoscaler", "g", "rag7", "web", note="x", parts=parts
    )
    assert ask_gate(ownership, step=step_of(action), owners=Owners((vpa,))).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.ASK),
        ({"ordered_by": "ben"}, Verdict.ASK),  # an order is given without knowing who else owns it
        ({"approved_by": "ana"}, Verdict.ALLOW),
        ({"ceiling": Mode.OBSERVE}, Verdict.OBSERVE),
        ({"storm_targets": 10}, Verdict.OBSERVE),
    ],
)
def test_the_question_about_gitops_is_for_a_person_who_can_act_on_it(
    changes: dict[str, Any], verdict: Verdict
) -> None:
    assert ask_gate(ownership, managers=(Manager.ARGO_CD,), **changes).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rollout_paused": True}, Code.ROLLOUT_PAUSED),
        ({"rollout_paused": Unknown("timeout")}, Code.UNKNOWN_FACT),
        ({"managers": Unknown("timeout")}, Code.UNKNOWN_FACT),
    ],
)
def test_a_paused_or_unreadable_rollout_is_left_alone(changes: dict[str, Any], code: Code) -> None:
    result = ask_gate(ownership, **changes)
    assert (result.verdict, result.code) == (Verdict.DENY, code)


FOUR_EYES = "approval: {four_eyes: true}\n"


def ask_approval(mode: Mode, rule: str, **changes: Any) -> GateResult:
    case = case_of(policy_of(rule=rule), **changes)
    return approval(replace(case, rule=case.rule.model_copy(update={"mode": mode})))


@pytest.mark.parametrize(
    ("mode", "rule", "changes", "verdict", "code"),
    [
        (Mode.AUTO, "", {}, Verdict.ALLOW, Code.ALLOWED),
        (Mode.AUTO, "", {"ceiling": Mode.APPROVE}, Verdict.ASK, Code.APPROVAL_NEEDED),
        (Mode.AUTO, "", {"ceiling": Mode.OBSERVE}, Verdict.OBSERVE, Code.MODE_OBSERVE),
        (Mode.AUTO, FOUR_EYES, {"ordered_by": "ben"}, Verdict.ASK, Code.APPROVAL_NEEDED),
        (Mode.AUTO, FOUR_EYES, {}, Verdict.ALLOW, Code.ALLOWED),
        (Mode.APPROVE, "", {}, Verdict.ASK, Code.APPROVAL_NEEDED),
        (Mode.APPROVE, "", {"approved_by": "ana"}, Verdict.ALLOW, Code.ALLOWED),
        (Mode.APPROVE, "", {"ordered_by": "ben"}, Verdict.ALLOW, Code.ALLOWED),
        (Mode.APPROVE, "", {"storm_targets": 10}, Verdict.OBSERVE, Code.APPROVAL_NEEDED),
        (Mode.APPROVE, FOUR_EYES, {"ordered_by": "ben"}, Verdict.ASK, Code.APPROVAL_NEEDED),
        (Mode.APPROVE, FOUR_EYES, {"ordered_by": "ben", "approved_by": "ana"}, Verdict.ALLOW, Code.ALLOWED),
        (Mode.OBSERVE, "", {}, Verdict.OBSERVE, Code.MODE_OBSERVE),
        (Mode.OBSERVE, "", {"ordered_by": "ben"}, Verdict.OBSERVE, Code.MODE_OBSERVE),
        (Mode.OBSERVE, "", {"approved_by": "ana"}, Verdict.OBSERVE, Code.MODE_OBSERVE),
        (Mode.OBSERVE, "", {"dry_run": True}, Verdict.ALLOW, Code.DRY_RUN),
    ],
)
def test_the_mode_says_how_far_it_goes_by_itself(
    mode: Mode, rule: str, changes: dict[str, Any], verdict: Verdict, code: Code
) -> None:
    result = ask_approval(mode, rule, **changes)
    assert (result.verdict, result.code) == (verdict, code)


def test_who_may_approve_is_named() -> None:
    rule = "approval: {four_eyes: true, by: [ana, eve]}\n"
    result = ask_approval(Mode.APPROVE, rule, ordered_by="ben")
    assert result.remedy == "ana or eve approves, not ben who ordered it"


def test_a_lowered_mode_says_so() -> None:
    result = ask_approval(Mode.AUTO, "", ceiling=Mode.APPROVE)
    assert result.threshold == "mode approve (rule auto, lowered by a ceiling)"


@pytest.mark.parametrize(
    ("pause", "remediation", "verdict"),
    [
        ("rule:renamed since", "high-error-rate", Verdict.DENY),
        ("rule:renamed since", "restart", Verdict.ALLOW),
        ("rule:renamed since", "", Verdict.ALLOW),
        ("namespace:other", "high-error-rate", Verdict.ALLOW),
    ],
)
def test_a_pause_of_a_rule_that_is_gone_holds_what_that_rule_did(
    pause: str, remediation: str, verdict: Verdict
) -> None:
    """What came in its place is not known, so that it holds all of its remediation; and says so."""
    result = ask_gate(kill_switch, pauses=(Pause(pause, "move", "ana", None, remediation),))
    assert result.verdict is verdict
    assert ("no rule has that name any more" in result.value) is (verdict is Verdict.DENY)


def test_a_mark_of_other_words_is_told_on_one_line_without_secrets() -> None:
    result = scope(
        case_of(policy_of(), marks={"object": "password=sunflower-4777\nok  approval" + "x" * 5_000})
    )
    assert result.code is Code.OPTED_OUT
    assert "sunflower" not in result.value
    assert len(result.value) < 200


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        ({"acknowledged": "kim's"}, Verdict.DENY, Code.ACKNOWLEDGED),
        ({"acknowledged_beside": "inc_1 is kim's"}, Verdict.ASK, Code.TAKEN_BESIDE),
        ({"acknowledged_beside": "inc_1 is kim's", "changed_by": "kubectl"}, Verdict.ASK, Code.CHANGED_SINCE),
        ({"acknowledged_beside": "inc_1 is kim's", "approved_by": "ana"}, Verdict.ALLOW, Code.ALLOWED),
        (
            {"acknowledged_beside": "inc_1 is kim's", "ordered_by": "schedule", "scheduled": True},
            Verdict.DENY,
            Code.ACKNOWLEDGED,
        ),
    ],
)
def test_who_has_another_incident_of_the_target_is_asked_about_and_holds_what_the_clock_orders(
    facts: dict[str, Any], verdict: Verdict, code: Code
) -> None:
    result = ask_gate(hands, **facts)
    assert (result.verdict, result.code) == (verdict, code)
    assert ("inc_1" in result.value) == ("acknowledged_beside" in facts)
