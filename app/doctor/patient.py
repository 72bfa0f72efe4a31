"""What the checks look at: the settings, the policy where it could be read, and clients to the outside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import httpx

from app.domain.errors import ProbeUnavailable
from app.domain.json import decoded
from app.domain.ports import Clock
from app.kube.client import KubeCluster
from app.kube.faults import why_not_reached
from app.observe.http_json import at_most, read_bounded
from app.policy.model import Policy
from app.settings import Settings

TIMEOUT = 8.0
"""Seconds for one answer, to its last byte."""
LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that are read."""


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
    """One request, within TIMEOUT in all and of a LIMIT in size. Raises ProbeUnavailable when there is no such answer; never with the URL,
    which may hold a password."""
    sent = {"timeout": TIMEOUT, "follow_redirects": False, "extensions": at_most(LIMIT), **request}
    try:
        async with asyncio.timeout(TIMEOUT), patient.http.stream(method, url, **sent) as answer:
            raw = await read_bounded(answer, LIMIT)
    except TimeoutError as error:
        raise ProbeUnavailable(f"it gave no whole answer within {TIMEOUT:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProbeUnavailable(f"it could not be reached ({_why(error)}{_through(url)})") from error
    if raw is None:
        raise ProbeUnavailable(f"it answered with more than {LIMIT // 1024 // 1024} MiB")
    try:
        body = decoded(raw)
    except ValueError:
        body = None
    return Reply(answer.status_code, answer.headers, body)


def proxy_before(url: str) -> str:
    """The variable that puts a proxy before this address, empty without one; never what it says, which may hold a password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in getproxies_environment() or proxy_bypass(host):
        return ""
    name = f"{parts.scheme}_proxy"
    return name if name in os.environ else name.upper()


def _through(url: str) -> str:
    name = proxy_before(url)
    return f", through the proxy that {name} names" if name else ""


def _why(error: Exception) -> str:
    """What went wrong below HTTP, in words that say where to look."""
    if told := why_not_reached(error, "SSL_CERT_FILE"):
        return told
    if isinstance(error, httpx.RemoteProtocolError):
        return "it does not answer in HTTP: perhaps it wants https"
    return type(error).__name__
