"""Each planted fault is named by its own code, with what to do, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import app.doctor
from app.doctor.examine import look
from app.doctor.findings import Finding, Level
from app.domain.target import Kind
from tests.doubles.slack import ALL_SCOPES, TOKEN
from tests.unit.doctor.clinic import SUBSCRIPTION, Clinic, admitted

NOWHERE = "http://127.0.0.1:9"


async def examined(clinic: Clinic) -> list[Finding]:
    """What the doctor says, what is in order aside."""
    clinic.pager.subscriptions = clinic.pager.subscriptions or [SUBSCRIPTION]
    async with admitted(clinic) as patient:
        found = await look(patient)
    return [f for f in found if f.level in (Level.FAIL, Level.WARN)]


@pytest.mark.parametrize(
    ("mode", "may"), [(0o600, ""), (0o440, ""), (0o644, "read"), (0o602, "write"), (0o666, "read and write")]
)
async def test_a_secret_file_that_everybody_may_open_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, may: str
) -> None:
    secret = tmp_path / "token"
    secret.write_text("orchestration-123")
    secret.chmod(mode)
    monkeypatch.setenv("REMEDIATOR_ORCHESTRATION_SECRET_FILE", str(secret))
    found = await examined(Clinic(tmp_path))
    assert [f.code for f in found] == (["secret_file_open"] if may else [])
    assert (
        not may
        or f"everybody on this machine may {may} the file that REMEDIATOR_ORCHESTRATION_SECRET_FILE"
        in found[0].text
    )


async def test_where_all_is_well_nothing_is_found(tmp_path: Path) -> None:
    assert await examined(Clinic(tmp_path)) == []
    assert (
        await examined(Clinic(tmp_path, {"slack_signing_secret": "3f9c1ab27d64e8056b1f92ce47d083ae"})) == []
    )


def given(**settings: Any) -> Callable[[Clinic], None]:
    return lambda c: c.given.update(settings)


def scopes(*lacking: str) -> Callable[[Clinic], None]:
    return lambda c: c.slack.scopes.update({TOKEN: ALL_SCOPES - set(lacking)})


def answered_by_group(
    *lacking: str, operators: bool = False, members: tuple[str, ...] | None = None
) -> Callable[[Clinic], None]:
    """A user group that may answer, or operate; without `members` Slack does not know it."""

    def spoil(c: Clinic) -> None:
        scopes(*lacking)(c)
        if operators:
            c.given["slack_operators"] = "U07ABCD1234,S07ONCALL1"
        else:
            c.rule["approval"] = {"by": ["anna", "slack-group:S07ONCALL1"]}
        if members is not None:
            c.slack.usergroups["S07ONCALL1"] = list(members)

    return spoil


def channel(**changes: Any) -> Callable[[Clinic], None]:
    return lambda c: c.slack.channels.update(C0INCIDENTS=replace(c.slack.channels["C0INCIDENTS"], **changes))


def subscription(**changes: Any) -> Callable[[Clinic], None]:
    return lambda c: c.pager.subscriptions.append({**SUBSCRIPTION, **changes})


def deny(verb: str, kind: Kind) -> Callable[[Clinic], None]:
    return lambda c: c.kube.denied.add((verb, kind))


def keda_without_rights(c: Clinic) -> None:
    group("keda.sh", remediation="adjust-hpa", mode="approve")(c)
    deny("patch", Kind.SCALED_OBJECT)(c)


def group(name: str, **rule: Any) -> Callable[[Clinic], None]:
    def spoil(c: Clinic) -> None:
        c.kube.groups.add(name)
        c.rule.update(rule)

    return spoil


def rule(**changes: Any) -> Callable[[Clinic], None]:
    return lambda c: c.rule.update(changes)


def operates_nobody(c: Clinic) -> None:
    c.given.update(tokens=f"alertmanager:ingest:{'0' * 64},anna:read:{'1' * 64}")
    c.rule["approval"] = {}


class Planted(NamedTuple):
    """One fault: how it is made, which code names it, and words that its text must have."""

    code: str
    level: Level
    spoil: Callable[[Clinic], None]
    words: str


def asks(*steps: dict[str, Any], forbidden: bool = False, **settings: Any) -> Callable[[Clinic], None]:
    """A policy whose escalation has these steps."""

    def spoil(clinic: Clinic) -> None:
        clinic.policy["escalation"] = {
            "steps": [{"name": chr(97 + n), **step} for n, step in enumerate(steps)]
        }
        clinic.pager.forbids_on_call, clinic.pager.on_call = forbidden, {"PSCHED1": []}
        clinic.given.update(settings)

    return spoil


async def expect_named(folder: Path, planted: Planted) -> None:
    """This fault and no other is named, with a fix and no secret."""
    clinic = Clinic(folder)
    planted.spoil(clinic)
    found = await examined(clinic)
    assert [(f.code, f.level) for f in found] == [(planted.code, planted.level)]
    assert planted.words in found[0].text
    assert len(found[0].fix) > 8
    assert "geheim" not in str(found)


F, W = Level.FAIL, Level.WARN
FAULTS = [
    Planted(
        "nobody_sends",
        F,
        lambda c: (
            given(tokens=f"anna:read+operate:{'0' * 64}", pagerduty_webhook_secrets=None)(c)
            or subscription(active=False)(c)
        ),
        "ingest",
    ),
    Planted(
        "pagerduty_signature_unknown",
        W,
        given(pagerduty_webhook_secrets=None),
        "each delivery is refused with 401",
    ),
    Planted(
        "answering_person_unknown",
        F,
        given(slack_operators="U07ABCD1234,U07GONE1234"),
        "U07GONE1234 may answer, and Slack says: user_not_found",
    ),
    Planted(
        "answering_person_unknown",
        F,
        rule(approval={"by": ["anna", "slack:U07GONE1234"]}),
        "U07GONE1234 may answer",
    ),
    Planted(
        "answering_person_unknown",
        F,
        lambda c: c.slack.deactivated.add("U07ABCD1234"),
        "U07ABCD1234 may answer, and Slack says: deactivated",
    ),
    Planted("nobody_operates", W, operates_nobody, "approve, undo or pause"),
    Planted(
        "nobody_reads",
        W,
        given(tokens=f"alertmanager:ingest:{'0' * 64},anna:operate:{'1' * 64}"),
        "nobody can open the page",
    ),
    Planted(
        "namespace_protected",
        W,
        lambda c: c.policy.update(scope={"namespaces": ["rag7", "kube-system"], "secrets": ["web"]}),
        "kube-system",
    ),
    Planted("dependency_wrong", F, given(dependencies='{"db": "mysql://h/d"}'), "db"),
    Planted("cluster_half", W, lambda c: setattr(c.kube, "half", True), "no answer"),
    Planted("person_unknown", W, given(people="bob+slack:U07ABCD1234"), "bob"),
    Planted("audit_key_missing", W, given(audit_key=None), "no key"),
    Planted("encryption_key_missing", W, given(encryption_key=None), "not encrypted"),
    Planted("nobody_approves", F, rule(approval={"by": ["carl"]}), "carl"),
    Planted(
        "too_few_approvers", F, rule(approval={"by": ["anna", "carl"], "approvals": 2}), "1 could approve"
    ),
    Planted(
        "secrets_not_named", W, lambda c: c.policy.update(scope={"namespaces": ["rag7"]}), "scope.secrets"
    ),
    Planted("heartbeat_none", W, lambda c: c.policy.update(heartbeats=[]), "nobody is told"),
    Planted(
        "heartbeat_pace",
        F,
        lambda c: c.policy.update(heartbeats=[{"alertname": "Watchdog", "missing_after": "5m"}]),
        "Watchdog",
    ),
    Planted("dependency_missing", W, rule(params={"dependencies": ["postgres"]}), "postgres"),
    Planted("dependency_away", F, given(dependencies='{"db": "postgres://u:geheim@127.0.0.1:9/d"}'), "db"),
    Planted("cluster_away", F, lambda c: setattr(c.kube, "away", True), "no answer"),
    Planted("clock_skew", F, lambda c: setattr(c.kube, "ahead", timedelta(minutes=-2)), "ahead of"),
    Planted("clock_skew", W, lambda c: setattr(c.kube, "ahead", timedelta(seconds=10)), "behind"),
    Planted("namespace_missing", F, lambda c: c.kube.missing.add("rag7"), "rag7"),
    Planted("gitops_reverts", W, group("argoproj.io", ownership={"gitops": "allow"}), "Argo CD"),
    Planted(
        "vpa",
        W,
        group("autoscaling.k8s.io", remediation="out-of-memory", ownership={"vpa": "allow"}),
        "out-of-memory",
    ),
    Planted("keda_rights", W, keda_without_rights, "adjust-hpa may not patch scaledobjects in namespace"),
    Planted("no_metrics_api", W, lambda c: c.kube.groups.discard("metrics.k8s.io"), "no pod metrics"),
    Planted(
        "remediation_disabled",
        F,
        deny("patch", Kind.HPA),
        "high-latency is disabled: it may not patch horizontal",
    ),
    Planted("reads_missing", F, deny("list", Kind.PDB), "high-latency may not list poddisruptionbudgets"),
    Planted(
        "less_is_known", W, deny("list", Kind.SERVICE), "high-latency may not list services in namespace"
    ),
    Planted("right_not_needed", W, lambda c: c.kube.granted.add(("list", Kind.SECRET, "")), "list Secret"),
    Planted("slack_missing", W, given(slack_bot_token=None), "without a Slack token"),
    Planted("slack_token", F, given(slack_bot_token="xoxb-wrong"), "invalid_auth"),
    Planted("slack_away", F, given(slack_api_url=f"{NOWHERE}/api/"), "could not be reached"),
    Planted("slack_scope_write", F, scopes("chat:write"), "chat:write"),
    Planted("slack_scope_read", W, scopes("channels:history"), "twice"),
    Planted("slack_scope_groups", W, answered_by_group("usergroups:read"), "usergroups:read"),
    Planted("slack_scope_groups", W, answered_by_group("usergroups:read", operators=True), "usergroups:read"),
    Planted(
        "answering_group_unknown", F, answered_by_group(), "S07ONCALL1 may answer, and Slack says: no_such"
    ),
    Planted("answering_group_unknown", F, answered_by_group(operators=True), "S07ONCALL1"),
    Planted("answering_group_empty", W, answered_by_group(members=()), "nobody is in it"),
    Planted("slack_channel_missing", F, given(slack_channel="#elsewhere"), "#elsewhere was not found"),
    Planted("slack_not_member", F, channel(member=False), "not in the channel incidents"),
    Planted("slack_channel_archived", F, channel(archived=True), "archived"),
    Planted("slack_no_buttons", W, given(slack_app_token=None), "commands to run"),
    Planted("slack_no_operators", W, given(slack_operators=""), "nobody may undo"),
    Planted("slack_signing_secret", F, given(slack_signing_secret="xoxb-12-geheim"), "32 digits and letters"),
    Planted(
        "slack_signing_secret",
        F,
        given(slack_signing_secret="3f9c1ab27d64e8056b1f92ce47d083geheim"),
        "refused with 401",
    ),
    Planted("slack_socket", F, given(slack_app_token="xapp-wrong"), "invalid_auth"),
    Planted("pagerduty_no_pages", W, given(pagerduty_routing_key=None), "nobody is paged"),
    Planted("pagerduty_routing_key", F, given(pagerduty_routing_key="much-too-short"), "32 letters"),
    Planted("pagerduty_no_labels", W, given(pagerduty_api_token=None), "no alert labels"),
    Planted("pagerduty_token", F, given(pagerduty_api_token="wrong-token"), "401"),
    Planted("pagerduty_away", F, given(pagerduty_api_url=NOWHERE), "could not be reached"),
    Planted("pagerduty_from_missing", W, given(pagerduty_from=""), "notes are refused"),
    Planted("pagerduty_from", F, given(pagerduty_from="x@example.org"), "x@example.org"),
    Planted(
        "pagerduty_no_subscription",
        F,
        subscription(delivery_method={"url": "https://x"}),
        "/webhooks/pagerduty",
    ),
    Planted("pagerduty_subscription_off", F, subscription(active=False), "switched off"),
    Planted(
        "pagerduty_events",
        F,
        subscription(events=["incident.triggered"]),
        "incident.reopened, incident.resolved",
    ),
    Planted(
        "escalation_no_channel",
        F,
        asks({"who": ["pagerduty-schedule:PSCHED1"]}),
        "no step reaches anybody: a",
    ),
    Planted(
        "escalation_silent_step",
        W,
        asks({"page": True}, {"who": ["pagerduty-schedule:PSCHED1"]}),
        "reaches nobody: b",
    ),
    Planted("escalation_person_unknown", F, asks({"who": ["slack:U07GONE1234"]}), "slack:U07GONE1234"),
    Planted("escalation_person_unknown", F, asks({"who": ["slack-group:S07GONE1234"]}), "no_such_subteam"),
    Planted("pagerduty_on_call", F, asks({"who": ["pagerduty-schedule:PGONE"], "page": True}), "HTTP 404"),
    Planted(
        "pagerduty_on_call_right",
        F,
        asks({"who": ["pagerduty-policy:PSOME"], "page": True}, forbidden=True),
        "may not read",
    ),
]


@pytest.mark.parametrize("planted", FAULTS, ids=lambda p: f"{p.code}-{p.words[:20]}")
async def test_a_planted_fault_is_named(tmp_path: Path, planted: Planted) -> None:
    await expect_named(tmp_path, planted)


async def test_a_rule_that_waits_for_alerts_that_nobody_can_ask_for_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.rule["blocked_by"] = ['alertname="Upgrade"']
    clinic.given["alertmanager_url"] = ""
    codes = {f.code for f in await examined(clinic)}
    assert codes == {"blocked_without_alertmanager", "alertmanager_missing"}


async def test_approvers_in_slack_whose_clicks_nobody_receives_are_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.rule["approval"] = {"by": ["slack:U07ABCD1234"]}
    clinic.given["slack_app_token"] = None
    assert {f.code for f in await examined(clinic)} == {"clicks_not_received", "slack_no_buttons"}


async def test_a_user_group_that_somebody_is_in_may_answer_and_nothing_is_said(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    answered_by_group(members=("U07ABCD1234",))(clinic)
    assert await examined(clinic) == []


async def test_a_policy_without_rules_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, policy={"rules": []})
    assert [f.code for f in await examined(clinic)] == ["no_rules"]


async def test_loopback_inside_a_pod_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert [f.code for f in await examined(Clinic(tmp_path))] == ["host_loopback"]


async def test_without_the_scope_nobody_asks_slack_who_its_people_are(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, {"slack_operators": "U07GONE1234"})
    scopes("users:read")(clinic)
    assert await examined(clinic) == []


def test_every_fault_that_the_doctor_knows_is_planted_here() -> None:
    sources = Path(app.doctor.__file__).parent.glob("*.py")
    known = {c for s in sources for c in re.findall(r'\.(?:fail|warn)\(\s*"(\w+)"', s.read_text("utf-8"))}
    folder = Path(__file__).parent
    here = "".join(
        (folder / f"test_{name}.py").read_text("utf-8")
        for name in ("planted", "rights", "state", "sources", "routes", "command", "login", "patient")
    )
    here += (Path(__file__).parents[2] / "contract" / "test_store_roles.py").read_text("utf-8")
    assert {code for code in known if f'"{code}"' not in here} == set()
