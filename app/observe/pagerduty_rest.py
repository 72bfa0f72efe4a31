"""PagerDuty's REST API, read only: an incident's status, its alerts, which its webhook does not carry, and who is on call.

Asked by the flow before deciding and before a person is asked. The host comes from settings, never from a payload; the token goes to that host only
(no redirects). Every failure becomes ProbeUnavailable, without token and URL. Source: PagerDuty REST API, 960 requests
a minute for a key; 429 sometimes comes without a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from app.domain.errors import ProbeUnavailable
from app.domain.free_text import name_told
from app.domain.json import ANSWER, decoded_beside
from app.domain.ports import Clock
from app.domain.text import visible
from app.observe.http_json import at_most, read_bounded

TIMEOUT = 5.0
"""Seconds for connecting, and again for each part of the answer."""
LIMIT = 4 * 1024 * 1024
"""Bytes of an answer that are read."""
ATTEMPTS = 3
_LONGEST_WAIT = 10.0
_WHERE = "pagerduty"
_SHORT = 80
_STATUSES = frozenset({"triggered", "acknowledged", "resolved"})
_INCIDENT_ID = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)


class _Transient(ProbeUnavailable):
    """The next attempt may succeed: no connection, time-out, 429, 5xx."""


class PagerDutyRest:
    """Reads below `base_url` with a REST token."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, token: str, clock: Clock) -> None:
        self._client = client
        self._base = base_url.rstrip("/")
        self._headers = {
            "Authorization": f"Token token={token}",
            "Accept": "application/vnd.pagerduty+json;version=2",
        }
        self._clock = clock

    async def incident_status(self, incident_id: str) -> tuple[str, str]:
        """Status of an incident (`triggered`, `acknowledged` or `resolved`), and by whom it is acknowledged, as one clause that is
        empty unless it is. Raises ProbeUnavailable."""
        answer = await self._of_incident(incident_id, "")
        incident = answer.get("incident") if isinstance(answer, dict) else None
        status = incident.get("status") if isinstance(incident, dict) else None
        if not isinstance(incident, dict) or not isinstance(status, str) or status not in _STATUSES:
            raise _refused("the answer is not an incident with a status")
        return status, _acknowledged(incident) if status == "acknowledged" else ""

    async def incident_alerts(self, incident_id: str) -> Mapping[str, Any]:
        """The answer of `GET /incidents/{id}/alerts`: `{"alerts": [{..., "body": {"details": ...}}]}`, 100 at most.

        Raises ProbeUnavailable; `code` is `pagerduty_refused` when a repeat will not help (wrong token, no such
        incident).
        """
        answer = await self._of_incident(incident_id, "/alerts")
        if not isinstance(answer, dict) or not isinstance(answer.get("alerts"), list):
            raise _refused("the answer is not a list of alerts")
        return answer

    async def on_calls(self, kind: str, identity: str) -> Sequence[Mapping[str, Any]]:
        """The entries of `GET /oncalls` now, 100 at most, of a `schedule` or an escalation `policy`. Raises ProbeUnavailable."""
        if _INCIDENT_ID.fullmatch(identity) is None:
            raise _refused("the id has an unexpected form")
        name = "schedule_ids[]" if kind == "schedule" else "escalation_policy_ids[]"
        answer = await self._retried("/oncalls", {name: identity, "limit": "100"})
        entries = answer.get("oncalls") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise _refused("the answer is not a list of people on call")
        return [entry for entry in entries if isinstance(entry, dict)]

    async def _of_incident(self, incident_id: str, below: str) -> Any:
        if _INCIDENT_ID.fullmatch(incident_id) is None:
            # It comes out of a payload and would become part of the path.
            raise _refused("the incident id has an unexpected form")
        return await self._retried(f"/incidents/{incident_id}{below}", {"limit": "100"})

    async def _retried(self, path: str, params: Mapping[str, str]) -> Any:
        attempts = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception_type(_Transient),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await attempts(self._get, path, params)

    async def _get(self, path: str, params: Mapping[str, str]) -> Any:
        request = self._client.stream(
            "GET",
            self._base + path,
            params=dict(params),
            headers=self._headers,
            timeout=TIMEOUT,
            follow_redirects=False,
            extensions=at_most(LIMIT),
        )
        try:
            async with request as response:
                _check(response)
                body = await read_bounded(response, LIMIT)
                if body is None:
                    raise _refused(f"the answer has more than {LIMIT // 1024 // 1024} MiB")
                return await _decode(body)
        except httpx.TimeoutException as error:
            raise _transient(f"no answer within {TIMEOUT:g} s") from error
        except httpx.TransportError as error:
            raise _transient("PagerDuty could not be reached") from error
        except (httpx.DecodingError, httpx.InvalidURL) as error:
            raise _refused("the answer could not be read") from error


def _acknowledged(incident: Mapping[str, Any]) -> str:
    """The newest acknowledgement: `{"at": ..., "acknowledger": {"summary": ...}}`."""
    given = incident.get("acknowledgements")
    entries = [e for e in given if isinstance(e, dict)] if isinstance(given, list) else []
    newest = max(entries, key=lambda e: str(e.get("at", "")), default={})
    who = newest.get("acknowledger")
    name = str(who.get("summary") or "") if isinstance(who, dict) else ""
    at = f" at {visible(str(newest['at']))[:_SHORT]}" if newest.get("at") else ""
    return f"acknowledged in PagerDuty by {name_told(name, _SHORT) or 'somebody'}{at}"


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status == 429 or status >= 500:
        raise _transient(f"PagerDuty answered {status}", retry_after=_seconds(response))
    if not response.is_success:
        raise _refused(f"PagerDuty answered {status}{_HINTS.get(status, '')}")


_HINTS = {401: ": the token is wrong", 403: ": the token lacks a permission", 404: ": no such incident"}


async def _decode(body: bytes) -> Any:
    try:
        return await decoded_beside(body, ANSWER)
    except ValueError as error:  # UnicodeDecodeError too
        raise _refused("the answer is not JSON") from error


def _seconds(response: httpx.Response) -> float | None:
    """Retry-After or PagerDuty's ratelimit-reset, both in seconds."""
    for name in ("retry-after", "ratelimit-reset"):
        text = response.headers.get(name, "")
        if text.isascii() and text.isdigit():
            return float(text)
    return None


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    told = error.retry_after if isinstance(error, ProbeUnavailable) else None
    return float(min(told if told is not None else 0.5 * 2**state.attempt_number, _LONGEST_WAIT))


def _transient(text: str, *, retry_after: float | None = None) -> _Transient:
    return _Transient(text, code="pagerduty_unavailable", where=_WHERE, retry_after=retry_after)


def _refused(text: str) -> ProbeUnavailable:
    return ProbeUnavailable(text, code="pagerduty_refused", where=_WHERE)
