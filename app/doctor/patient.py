"""What the checks look at: the settings, the policy where it could be read, and clients to the outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.domain.errors import ProbeUnavailable
from app.domain.json import decoded
from app.domain.ports import Clock
from app.kube.client import KubeCluster
from app.policy.model import Policy
from app.settings import Settings

TIMEOUT = 8.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Patient:
    """One set-up. `cluster` is None where it could not be connected to; a finding says so then."""

    settings: Settings
    policy: Policy | None
    clock: Clock
    http: httpx.AsyncClient
    cluster: KubeCluster | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer with a JSON body; `body` is None when it was no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


async def ask(patient: Patient, method: str, url: str, **request: Any) -> Reply:
    """One request. Raises ProbeUnavailable when there is no answer; never with the URL, which may hold a password."""
    try:
        answer = await patient.http.request(method, url, timeout=TIMEOUT, follow_redirects=False, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProbeUnavailable(f"it could not be reached ({type(error).__name__})") from error
    try:
        body = decoded(answer.content)
    except ValueError:
        body = None
    return Reply(answer.status_code, answer.headers, body)
