"""Whom the policy asks: is there a way to each step of its escalation, does Slack know the people and those who may answer, is anybody
in the user groups that may, may the token read who is on call?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.patient import Patient, Reply, ask
from app.policy.escalation import POLICY, SCHEDULE, EscalationStep
from app.policy.model import SLACK_GROUP

_SLACK, _PAGER = Voice(Area.SLACK), Voice(Area.PAGERDUTY)
_USER = "slack:"
_MAX_ASKED = 50  # people, groups and schedules that are asked about

Call = Callable[..., Awaitable[Reply]]


def _named(patient: Patient, *prefixes: str) -> list[str]:
    policy = patient.policy.escalation if patient.policy is not None else None
    return sorted(n for n in (policy.named if policy else ()) if n.startswith(prefixes))[:_MAX_ASKED]


def reached(patient: Patient) -> Iterator[Finding]:
    """Steps that reach nobody, as their ways out are not configured."""
    policy = patient.policy.escalation if patient.policy is not None else None
    if policy is None:
        return
    lists = [policy.steps, *(path.steps for path in policy.paths)]
    for steps in lists:
        silent = [step.name for step in steps if not _reaches(patient, step)]
        fix = "set REMEDIATOR_SLACK_BOT_TOKEN_FILE or REMEDIATOR_PAGERDUTY_ROUTING_KEY_FILE, or give the step another way"
        if len(silent) == len(steps):
            yield _PAGER.fail("escalation_no_channel", f"no step reaches anybody: {', '.join(silent)}", fix)
        elif silent:
            yield _PAGER.warn("escalation_silent_step", f"reaches nobody: {', '.join(silent)}", fix)


def _reaches(patient: Patient, step: EscalationStep) -> bool:
    slack = any(name.startswith((_USER, SLACK_GROUP)) for name in step.who)
    by_slack = slack and patient.settings.slack_bot_token is not None
    return by_slack or (step.page and patient.settings.pagerduty_routing_key is not None)


async def in_slack(patient: Patient, call: Call, token: str, scopes: set[str]) -> list[Finding]:
    """People and groups whom Slack does not know. Not looked at without the scope to."""
    found = []
    for prefix, scope, method, key in (
        (_USER, "users:read", "users.info", "user"),
        (SLACK_GROUP, "usergroups:read", "usergroups.users.list", "usergroup"),
    ):
        names = _named(patient, prefix)
        if names and scope not in scopes:
            text = f"whether Slack knows whom the escalation asks is not known without {scope}"
            found.append(_SLACK.skip("escalation_people", text))
            continue
        for name in names:
            answer = await call(patient, token, method, **{key: name.removeprefix(prefix)})
            if not answer.body.get("ok") or (answer.body.get("user") or {}).get("deleted"):
                why = foreign(answer.body.get("error", "deactivated"))
                text = f"the escalation asks {name}, and Slack says: {why}"
                found.append(_SLACK.fail("escalation_person_unknown", text, "correct who in the policy"))
    return found


def answering_groups(patient: Patient) -> list[str]:
    """User groups (`S...`) whose members may answer: those of rules, and the operators'."""
    rules = patient.policy.rules if patient.policy is not None else ()
    named = {n.removeprefix(SLACK_GROUP) for r in rules for n in r.approval.by if n.startswith(SLACK_GROUP)}
    return sorted(named | {name for name in patient.settings.operators if name.startswith("S")})[:_MAX_ASKED]


async def answering(patient: Patient, call: Call, token: str, scopes: set[str]) -> list[Finding]:
    """User groups that answer and cannot, as Slack does not know them, has switched them off, or nobody is in them."""
    found = []
    for group in answering_groups(patient) if "usergroups:read" in scopes else ():
        answer = await call(patient, token, "usergroups.users.list", usergroup=group)
        fix = "correct approval.by or REMEDIATOR_SLACK_OPERATORS, or put somebody into the group"
        if not answer.body.get("ok"):
            text = f"the user group {group} may answer, and Slack says: {foreign(answer.body.get('error'))}"
            found.append(_SLACK.fail("answering_group_unknown", text, fix))
        elif not answer.body.get("users"):
            text = f"the user group {group} may answer, and nobody is in it"
            found.append(_SLACK.warn("answering_group_empty", text, fix))
    return found


def _answering_users(patient: Patient) -> list[str]:
    rules = patient.policy.rules if patient.policy is not None else ()
    named = {n.removeprefix(_USER) for r in rules for n in r.approval.by if n.startswith(_USER)}
    return sorted(named | {name for name in patient.settings.operators if not name.startswith("S")})[
        :_MAX_ASKED
    ]


async def answering_people(patient: Patient, call: Call, token: str, scopes: set[str]) -> list[Finding]:
    """People who may answer and cannot, as Slack does not know them, or lets them in no more."""
    users = _answering_users(patient)
    if users and "users:read" not in scopes:
        text = "whether Slack knows who may answer is not known without users:read"
        return [_SLACK.skip("answering_people", text)]
    found = []
    for user in users:
        answer = await call(patient, token, "users.info", user=user)
        if not answer.body.get("ok") or (answer.body.get("user") or {}).get("deleted"):
            text = f"{user} may answer, and Slack says: {foreign(answer.body.get('error', 'deactivated'))}"
            fix = "correct approval.by or REMEDIATOR_SLACK_OPERATORS"
            found.append(_SLACK.fail("answering_person_unknown", text, fix))
    return found


async def on_call(patient: Patient, base: str, headers: dict[str, str]) -> list[Finding]:
    """Schedules and escalation policies that the token may not read, or that are not there."""
    found = []
    for name in _named(patient, SCHEDULE, POLICY):
        kind = "schedule_ids[]" if name.startswith(SCHEDULE) else "escalation_policy_ids[]"
        params: dict[str, Any] = {kind: name.partition(":")[2], "limit": "1"}
        answer = await ask(patient, "GET", f"{base}/oncalls", headers=headers, params=params)
        if answer.status in (401, 403):
            text = f"the REST token may not read who is on call ({name})"
            found.append(_PAGER.fail("pagerduty_on_call_right", text, "give it read access to on-calls"))
        elif answer.status >= 400:
            text = f"PagerDuty answers HTTP {answer.status} for {name}, which the escalation names"
            found.append(_PAGER.fail("pagerduty_on_call", text, "correct who in the policy"))
    return found
