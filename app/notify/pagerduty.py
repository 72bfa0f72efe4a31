"""PagerDuty as a client: pages a person through Events v2 and ends the page, leaves notes and status updates on an incident that came
from PagerDuty.

Called by `app.flow.calling.calls`. Events may be repeated, as they go by their dedup key, and a note is only posted when none with
the same text is there; a status update may not. Keys and tokens never get into errors. Hosts come from settings only.
Source: PagerDuty's documentation of Events v2 (202; 429 and 5xx repeat, 400 does not) and of the REST API (`From`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from app.domain.free_text import one_line
from app.domain.json import JsonValue, decoded
from app.domain.pieces import PIECE
from app.domain.ports import Clock
from app.notify.client import Never, Retry
from app.notify.limits import shorten
from app.notify.text import clean
from app.notify.timeline import Escalation, Timeline
from app.notify.wording import standing_lines, to_look_at

SUMMARY: Final = 1_024
"""Characters in `payload.summary`."""
_DETAIL: Final = 4_000  # our own: keeps an event far below the 512 KB limit
_LONGEST_REASON: Final = 300
_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 30.0
_SEVERITIES: Final = {
    "critical": "critical",
    "error": "error",
    "warning": "warning",
    "info": "info",
    "none": "info",
}
_INCIDENT_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class PagerDutyAccess:
    """Where and as whom. An empty routing key means no paging, an empty token no notes; URLs have no trailing slash."""

    events_url: str = "https://events.pagerduty.com"
    api_url: str = "https://api.pagerduty.com"
    routing_key: str = field(default="", repr=False)
    api_token: str = field(default="", repr=False)
    from_email: str = ""

    @property
    def pages(self) -> bool:
        """Pages need a key."""
        return bool(self.routing_key)

    @property
    def notes(self) -> bool:
        """Notes need a token and the e-mail address of a user."""
        return bool(self.api_token and self.from_email)


@dataclass(frozen=True, slots=True)
class Page:
    """What a paged person reads first. `dedup_key` names the page: one open at a time for an incident."""

    dedup_key: str
    summary: str
    severity: str
    source: str
    details: Mapping[str, JsonValue]


def severity_of(text: str) -> str:
    """An alert's severity in PagerDuty's words."""
    return _SEVERITIES.get(text.lower(), "error")


def page_for(timeline: Timeline, escalation: Escalation, key: str, mark: Callable[[str, str], str]) -> Page:
    """The page of an escalation under this key; a stuck one is always critical. Its summary ends with key and mark (made of key and text),
    by which its own events are known when PagerDuty sends them back."""
    word = "STUCK" if escalation.stuck else "ESCALATED"
    summary = clean(
        f"{word}: {timeline.alertname or 'no alertname'} on {timeline.place}: {escalation.reason}"
    )
    text = shorten(summary, SUMMARY - len(f" [{key} {mark(key, '')}]"))
    return Page(
        dedup_key=key[:255],
        summary=f"{text} [{key} {mark(key, text)}]",
        severity="critical" if escalation.stuck else severity_of(timeline.severity),
        source=shorten(clean(timeline.target or timeline.place), 255),
        details={
            "incident": timeline.incident_id,
            "run": timeline.run_id,
            "tried": [shorten(clean(t), _DETAIL) for t in escalation.tried[:20]],
            "in_place": [shorten(clean(t), _DETAIL) for t in escalation.in_place[:20]],
            "done": [shorten(clean(t), _DETAIL) for t in escalation.done[:20]],
            "not_done": [shorten(clean(t), _DETAIL) for t in escalation.not_done[:20]],
            "commands": [shorten(clean(t), _DETAIL) for t in escalation.commands[:20]],
            "look_at": [shorten(clean(t), _DETAIL) for t in to_look_at(escalation)[:20]],
            "evidence": shorten(clean(timeline.diagnosis.summary), _DETAIL) if timeline.diagnosis else "",
            "explain": f"remediator explain {timeline.incident_id}",
        },
    )


def note_for(timeline: Timeline, escalation: Escalation) -> str:
    """The note on PagerDuty's own incident."""
    lines = [
        f"alert-remediator handed this to a person: {escalation.reason}",
        *[f"Tried: {t}" for t in escalation.tried],
        *[f"Not taken: {t}" for t in escalation.not_taken],
        *standing_lines(escalation),
        *[f"Look at: {t}" for t in to_look_at(escalation)],
        f"Details: remediator explain {timeline.incident_id}",
    ]
    return shorten("\n".join(clean(li) for li in lines), _DETAIL)


class PagerDutyClient:
    """Sends pages and notes, each tried three times. Raises Retry when PagerDuty does not take it, Never when it refuses."""

    def __init__(self, access: PagerDutyAccess, http: httpx.AsyncClient, clock: Clock) -> None:
        self._access = access
        self._http = http
        self._clock = clock

    @property
    def access(self) -> PagerDutyAccess:
        """What is configured."""
        return self._access

    async def trigger(self, page: Page) -> None:
        """Open a page, or add to the open one with this dedup key."""
        body = {
            "routing_key": self._access.routing_key,
            "event_action": "trigger",
            "dedup_key": page.dedup_key,
            "client": "alert-remediator",
            "payload": {
                "summary": page.summary,
                "source": page.source,
                "severity": page.severity,
                "custom_details": dict(page.details),
            },
        }
        await self._send("page", "POST", f"{self._access.events_url}/v2/enqueue", json=body)

    async def end(self, key: str, action: str) -> None:
        """Acknowledge or resolve the page with this key. Without an open one nothing happens, says PagerDuty's documentation."""
        body = {"routing_key": self._access.routing_key, "event_action": action, "dedup_key": key[:255]}
        await self._send("page", "POST", f"{self._access.events_url}/v2/enqueue", json=body)

    async def status_update(self, pagerduty_incident: str, message: str) -> None:
        """Tell the subscribers of PagerDuty's own incident. There is nothing to look for before a repeat, so only what certainly was not
        taken is Retry; a lost answer is Never."""
        url = self._incident_url(pagerduty_incident, "status_updates")
        try:
            await self._send(
                "status update", "POST", url, headers=self._rest_headers(), json={"message": message}
            )
        except Retry as lost:
            if lost.code in ("http_429", "unreachable"):
                raise
            raise Never(f"{lost.message}, and it is sent once at most", code="unclear_once") from lost

    async def note(self, pagerduty_incident: str, content: str) -> None:
        """Leave a note on an incident of PagerDuty, unless the same note is there already."""
        url, headers = self._incident_url(pagerduty_incident, "notes"), self._rest_headers()
        # A POST whose answer was lost may have made the note; looking first makes a repeat harmless.
        known = await self._send("list notes", "GET", url, headers=headers)
        if any(note.get("content") == content for note in known.get("notes", ())):
            return
        await self._send("note", "POST", url, headers=headers, json={"note": {"content": content}})

    def _incident_url(self, pagerduty_incident: str, below: str) -> str:
        if not _INCIDENT_ID.fullmatch(pagerduty_incident):
            raise Never("not an id of a PagerDuty incident", where=pagerduty_incident[:80])
        return f"{self._access.api_url}/incidents/{pagerduty_incident}/{below}"

    def _rest_headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Token token={self._access.api_token}",
            "Accept": "application/vnd.pagerduty+json;version=2",
            "From": self._access.from_email,
        }

    async def _send(self, what: str, method: str, url: str, **request: Any) -> dict[str, Any]:
        attempts = _ATTEMPTS if what not in ("note", "status update") else 1
        async for attempt in AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(attempts),
            wait=_wait,
            retry=retry_if_exception_type(Retry),
            reraise=True,
        ):
            with attempt:
                return await self._once(what, method, url, **request)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, what: str, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, url, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Retry(f"PagerDuty could not be reached for the {what}", code="unreachable") from error
        except httpx.HTTPError as error:
            raise Retry(f"PagerDuty did not answer to {what} ({type(error).__name__})") from error
        if answer.status_code == 429 or answer.status_code >= 500:
            text = f"PagerDuty answered HTTP {answer.status_code} to {what}"
            raise Retry(text, code=f"http_{answer.status_code}", retry_after=_retry_after(answer))
        if not answer.is_success:
            raise Never(self._refusal(what, answer), code=f"http_{answer.status_code}")
        return _object(answer)

    def _refusal(self, what: str, answer: httpx.Response) -> str:
        """Status, PagerDuty's own reasons without our key, and what to check."""
        body = _object(answer)
        error = body.get("error")
        reasons = error.get("errors") if isinstance(error, dict) else body.get("errors")
        told = (
            "; ".join(str(r) for r in reasons) if isinstance(reasons, list) else str(body.get("message", ""))
        )
        for secret in (self._access.routing_key, self._access.api_token):
            told = told.replace(secret, "[key]") if secret else told
        name = (
            "REMEDIATOR_PAGERDUTY_ROUTING_KEY"
            if what == "page"
            else "REMEDIATOR_PAGERDUTY_API_TOKEN and _FROM"
        )
        return f"PagerDuty refused the {what} with HTTP {answer.status_code} ({one_line(told, _LONGEST_REASON)}): check {name}"


def _wait(state: RetryCallState) -> float:
    """Seconds until the next attempt: what PagerDuty asked for, within reason, else 1, 2, 4."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Retry) else None
    return min(_LONGEST_WAIT, asked if asked is not None else float(2 ** (state.attempt_number - 1)))


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds, from either header that PagerDuty uses; a 429 sometimes has none."""
    text = answer.headers.get("retry-after") or answer.headers.get("ratelimit-reset") or ""
    return float(text) if re.fullmatch(r"[0-9]{1,6}", text) else None


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = decoded(answer.content) if len(answer.content) <= PIECE else None
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
