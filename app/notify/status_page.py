"""The status page's webhook: one POST of a JSON object. Called by `app.flow.calling.calls`.

Posts once a call. What did not arrive, or was not taken by the page's own word (429, 5xx), is Retry, under the same Idempotency-Key; a lost
answer is Never, because a second post could tell the public the same again. URL and token come from settings only, no redirect is followed, and neither gets into an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx

from app.notify.client import Never, Retry

TIMEOUT: Final = 10.0
"""Seconds for connecting, and again for the answer."""


class StatusPageClient:
    """Posts below a bearer token; an empty token sends none."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._token = token

    async def post(self, body: Mapping[str, Any], key: str) -> None:
        """Post it. `key` goes along as Idempotency-Key. Raises Retry when the page says that it did not take it (429, 5xx) or was not
        reached, Never else."""
        headers = {"Idempotency-Key": key}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            answer = await self._http.post(
                self._url, json=dict(body), headers=headers, timeout=TIMEOUT, follow_redirects=False
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Retry("the status page could not be reached", code="unreachable") from error
        except httpx.HTTPError as error:
            text = f"the status page's answer was lost ({type(error).__name__}); it is posted once at most"
            raise Never(text, code="unclear_once") from error
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or answer.is_server_error:
            raise Retry(
                f"the status page answered HTTP {answer.status_code}", code=f"http_{answer.status_code}"
            )
        if not answer.is_success:
            text = f"the status page refused it with HTTP {answer.status_code}: check REMEDIATOR_STATUS_PAGE_URL and _TOKEN"
            raise Never(text, code=f"http_{answer.status_code}")
