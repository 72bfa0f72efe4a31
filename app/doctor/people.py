"""Slack and PagerDuty: would a message arrive, would a click be heard, would somebody be paged?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.doctor import asked
from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.patient import Patient, Reply, ask
from app.domain.errors import ProbeUnavailable
from app.notify.client import Away, Unclear
from app.notify.slack_errors import classify
from app.setting_texts import revealed

_SLACK, _PAGER = Voice(Area.SLACK), Voice(Area.PAGERDUTY)
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,}")
_READS = ({"channels:history", "groups:history"}, {"channels:read", "groups:read"})
_SIGNING = re.compile(r"[0-9a-f]{32}")
_PAGES = 50
_WANTED_EVENTS = {"incident.triggered", "incident.reopened", "incident.resolved"}
_NETWORK = "look at the network policy's egress, the proxy and the URL"


async def slack(patient: Patient) -> list[Finding]:
    """Token, scopes, channel, and who receives clicks."""
    given = patient.settings
    if given.slack_bot_token is None:
        text = "without a Slack token messages are printed to the log alone"
        return [_SLACK.warn("slack_missing", text, "set REMEDIATOR_SLACK_BOT_TOKEN_FILE")]
    token = given.slack_bot_token.get_secret_value()
    try:
        answer = await _call(patient, token, "auth.test")
        if "ok" not in answer.body:
            raise ProbeUnavailable(
                f"it answers with HTTP {answer.status} and nothing of Slack's: the token was not judged"
            )
        if not answer.body.get("ok"):
            text = f"Slack refuses the bot token ({foreign(answer.body.get('error'))})"
            return [_SLACK.fail("slack_token", text, "install the app again and put in its new bot token")]
        found = [
            _SLACK.ok(
                "slack_token", f"Slack knows the bot token as {foreign(answer.body.get('user', 'a bot'))}"
            )
        ]
        scopes = {s.strip() for s in answer.headers.get("x-oauth-scopes", "").split(",") if s.strip()}
        found += _scopes(scopes, groups=bool(asked.answering_groups(patient)))
        found += await _channel(patient, token, scopes)
        found += await _clicks(patient)
        found += await asked.in_slack(patient, _call, token, scopes)
        found += await asked.answering(patient, _call, token, scopes)
        found += await asked.answering_people(patient, _call, token, scopes)
    except ProbeUnavailable as error:
        return [_SLACK.fail("slack_away", f"Slack: {error.message}", _NETWORK)]
    return found


async def _call(patient: Patient, token: str, method: str, **params: str) -> Reply:
    url = f"{patient.settings.slack_api_url.rstrip('/')}/{method}"
    # Methods that read take no JSON, and those without arguments want a body.
    given: dict[str, Any] = {"params": params} if params else {"json": {}}
    headers = {"Authorization": f"Bearer {token}"}
    answer = await ask(patient, "GET" if params else "POST", url, headers=headers, **given)
    if not isinstance(answer.body, dict):
        raise ProbeUnavailable(f"it answered HTTP {answer.status} without JSON")
    if not answer.body.get("ok"):
        error = str(answer.body.get("error", ""))
        if _unwell(answer) or isinstance(classify(error, what=method), (Away, Unclear)):
            raise ProbeUnavailable(f"it is not well at present (HTTP {answer.status}: {foreign(error)})")
    return answer


def _unwell(answer: Reply) -> bool:
    """Whether an answer says nothing of what was asked."""
    return answer.status == 429 or answer.status >= 500


def _scopes(scopes: set[str], *, groups: bool) -> Iterator[Finding]:
    add = "add it to the app and install it again"
    if not scopes:
        yield _SLACK.skip("slack_scopes", "Slack did not say which scopes the token has")
        return
    if "chat:write" not in scopes:
        yield _SLACK.fail("slack_scope_write", "the token lacks chat:write, so no message can be posted", add)
    for either in _READS:
        if not scopes & either:
            text = f"the token lacks {' or '.join(sorted(either))}: after a crash a message can appear twice"
            yield _SLACK.warn("slack_scope_read", text, add)
    if groups and "usergroups:read" not in scopes:
        text = "the token lacks usergroups:read: who is in the user groups that may answer is not known, so nobody of them may"
        yield _SLACK.warn("slack_scope_groups", text, add)


async def _channel(patient: Patient, token: str, scopes: set[str]) -> list[Finding]:
    wanted = patient.settings.slack_channel.lstrip("#")
    if scopes and not scopes & _READS[1]:
        return [_SLACK.skip("slack_channel", f"whether {wanted} exists is not known without channels:read")]
    cursor = ""
    for _ in range(_PAGES):
        params = {"types": "public_channel,private_channel", "limit": "200"}
        answer = await _call(
            patient, token, "conversations.list", **params, **({"cursor": cursor} if cursor else {})
        )
        for channel in answer.body.get("channels") or ():
            if wanted in (channel.get("id"), channel.get("name")):
                return [_seen(channel)]
        cursor = str((answer.body.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor:
            break
    private = "; a private one shows only to its members" if not _CHANNEL_ID.fullmatch(wanted) else ""
    text = f"the channel {patient.settings.slack_channel} was not found{private}"
    return [_SLACK.fail("slack_channel_missing", text, "correct REMEDIATOR_SLACK_CHANNEL, or invite the app")]


def _seen(channel: dict[str, Any]) -> Finding:
    name = foreign(channel.get("name"))
    if channel.get("is_archived"):
        return _SLACK.fail("slack_channel_archived", f"the channel {name} is archived", "choose another one")
    if not channel.get("is_member"):
        return _SLACK.fail(
            "slack_not_member", f"the app is not in the channel {name}", f"/invite it in {name}"
        )
    return _SLACK.ok("slack_channel", f"the app is in the channel {name}")


async def _clicks(patient: Patient) -> list[Finding]:
    given = patient.settings
    if not given.interactive:
        fix = "set REMEDIATOR_SLACK_SIGNING_SECRET and the app's request URL, or REMEDIATOR_SLACK_APP_TOKEN"
        return [_SLACK.warn("slack_no_buttons", "nobody receives clicks: messages name commands to run", fix)]
    found = list(_signing(revealed(given.slack_signing_secret)))
    if not given.operators:
        text = "REMEDIATOR_SLACK_OPERATORS is empty: nobody may undo or pause from Slack"
        found.append(_SLACK.warn("slack_no_operators", text, "name users (U...) or user groups (S...)"))
    if given.slack_app_token is not None:
        answer = await _call(patient, given.slack_app_token.get_secret_value(), "apps.connections.open")
        if answer.body.get("ok"):
            found.append(_SLACK.ok("slack_socket", "Socket Mode opens a connection"))
        else:
            text = f"Socket Mode opens no connection: {foreign(answer.body.get('error'))}"
            fix = "turn on Socket Mode and use an app-level token with connections:write"
            found.append(_SLACK.fail("slack_socket", text, fix))
    return found


def _signing(secret: str) -> Iterator[Finding]:
    if secret and not _SIGNING.fullmatch(secret):
        text = "the signing secret has not the form of one (32 digits and letters a to f): each click would be refused with 401"
        fix = "copy the one that Slack shows in the settings of the app"
        yield _SLACK.fail("slack_signing_secret", text, fix)


async def pagerduty(patient: Patient) -> list[Finding]:
    """Token, the user we act as, the webhook subscription, the routing key's form."""
    given = patient.settings
    found = [*_without_asking(patient), *asked.reached(patient)]
    if given.pagerduty_api_token is None:
        return found
    headers = {
        "Authorization": f"Token token={given.pagerduty_api_token.get_secret_value()}",
        "Accept": "application/vnd.pagerduty+json;version=2",
    }
    base = given.pagerduty_api_url.rstrip("/")
    try:
        answer = await ask(
            patient, "GET", f"{base}/users", headers=headers, params={"query": given.pagerduty_from}
        )
        if _unwell(answer):
            raise ProbeUnavailable(f"it is not well at present (HTTP {answer.status})")
        if answer.status not in (401, 403) and not (answer.status == 200 and isinstance(answer.body, dict)):
            text = f"it answers with HTTP {answer.status} and no JSON of PagerDuty's: the token was not judged. Is there a proxy between?"
            raise ProbeUnavailable(text)
        if answer.status in (401, 403):
            text = f"PagerDuty refuses the REST token with HTTP {answer.status}"
            return [*found, _PAGER.fail("pagerduty_token", text, "put in a REST API key of this account")]
        found.append(_PAGER.ok("pagerduty_token", "the REST token works"))
        found += _from(given.pagerduty_from, answer.body.get("users") or [])
        found += await asked.on_call(patient, base, headers)
        params = {"limit": "100"}
        hooks = await ask(patient, "GET", f"{base}/webhook_subscriptions", headers=headers, params=params)
        listed = hooks.body.get("webhook_subscriptions") if isinstance(hooks.body, dict) else None
        found += _subscriptions(_ours(listed or []), checked=given.pagerduty_webhook_secrets is not None)
    except ProbeUnavailable as error:
        found.append(_PAGER.fail("pagerduty_away", f"PagerDuty: {error.message}", _NETWORK))
    return found


def _without_asking(patient: Patient) -> Iterator[Finding]:
    given = patient.settings
    key = given.pagerduty_routing_key
    if key is None:
        text = "no PagerDuty routing key: nobody is paged when a run is stuck"
        yield _PAGER.warn("pagerduty_no_pages", text, "set REMEDIATOR_PAGERDUTY_ROUTING_KEY_FILE")
    elif not re.fullmatch(r"[A-Za-z0-9]{32}", key.get_secret_value()):
        text = "the routing key has not the form of one (32 letters and digits)"
        yield _PAGER.fail(
            "pagerduty_routing_key", text, "use the integration key of an Events API v2 integration"
        )
    if given.pagerduty_api_token is None and given.pagerduty_webhook_secrets is not None:
        text = "webhooks of PagerDuty carry no alert labels, and there is no token to fetch them"
        yield _PAGER.warn("pagerduty_no_labels", text, "set REMEDIATOR_PAGERDUTY_API_TOKEN_FILE")


def _from(email: str, users: list[dict[str, Any]]) -> Iterator[Finding]:
    if not email:
        text = "REMEDIATOR_PAGERDUTY_FROM is empty: notes are refused"
        yield _PAGER.warn("pagerduty_from_missing", text, "set it to a user's e-mail address")
    elif not any(str(user.get("email", "")).casefold() == email.casefold() for user in users):
        text = f"no user of PagerDuty has the address {email}: notes are refused"
        yield _PAGER.fail("pagerduty_from", text, "set REMEDIATOR_PAGERDUTY_FROM to a user's e-mail address")


def _ours(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        s
        for s in listed
        if str((s.get("delivery_method") or {}).get("url", "")).endswith("/webhooks/pagerduty")
    ]


def _subscriptions(ours: list[dict[str, Any]], *, checked: bool) -> Iterator[Finding]:
    """What is wrong with those that lead to us; `checked`: we know the secrets that they sign with. Without, nobody has to want one."""
    if not checked:
        if any(s.get("active", True) for s in ours):
            text = "a webhook subscription leads to /webhooks/pagerduty, and its signatures cannot be checked: if it is this service's, each delivery is refused with 401"
            fix = "set REMEDIATOR_PAGERDUTY_WEBHOOK_SECRETS_FILE to the secret that PagerDuty showed once, or delete the subscription"
            yield _PAGER.warn("pagerduty_signature_unknown", text, fix)
        return
    if not ours:
        text = "no webhook subscription leads to /webhooks/pagerduty"
        yield _PAGER.fail("pagerduty_no_subscription", text, "add one (charts/alert-remediator/examples)")
    for one in ours:
        method = one.get("delivery_method") or {}
        if not one.get("active", True) or method.get("temporarily_disabled"):
            text = "the webhook subscription is switched off, as after three refused deliveries"
            yield _PAGER.fail("pagerduty_subscription_off", text, "find out why, then enable it in PagerDuty")
        lacking = sorted(_WANTED_EVENTS - set(one.get("events") or ()))
        if lacking:
            text = f"the webhook subscription does not send {', '.join(lacking)}"
            yield _PAGER.fail("pagerduty_events", text, "add the events to the subscription")
