"""What the API server's refusals and broken connections mean, as errors of `app.domain.errors`.

Called by `app.kube.client` only. Pure tables: HTTP status, the Status object's reason and causes, the kind of
transport fault, and whether the request could have changed something. Never puts a token, a request or a response body
into a message: of a Status only its bounded message is shown, without the values it quotes.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import (
    AccessDenied,
    ClusterRefused,
    ClusterThrottled,
    ClusterUnavailable,
    DisruptionBlocked,
    ObjectChanged,
    ObjectInvalid,
    ObjectMissing,
    OutcomeUnclear,
    RemediatorError,
)
from app.kube.quoted import without_values

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, for messages and for judging faults. `verb` and `resource` are RBAC's words.

    `mutates` is False for reads, reviews and dry runs: nothing can have happened there.
    """

    verb: str
    resource: str
    where: str
    mutates: bool

    @property
    def text(self) -> str:
        """`patch deployments.apps rag7/langgraph`."""
        return f"{self.verb} {self.resource} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP status, the decoded Status object (empty when the body was none), Retry-After in seconds."""

    status: int
    body: Mapping[str, Any]
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """Status.reason, e.g. AlreadyExists."""
        return str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        """Status.message as sent; for judging, not for showing."""
        return str(self.body.get("message") or "")

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """Status.details.causes."""
        causes = self._details.get("causes")
        return [c for c in causes if isinstance(c, Mapping)] if isinstance(causes, list) else []

    @property
    def seconds(self) -> float | None:
        """How long to wait: the header's word, else the Status's."""
        told = self._details.get("retryAfterSeconds")
        if self.retry_after is not None or not isinstance(told, int) or not 0 < told < 1_000_000:
            return self.retry_after
        return float(told)

    @property
    def _details(self) -> Mapping[str, Any]:
        # A proxy in between, or an extension's API server, may put anything there.
        found = self.body.get("details")
        return found if isinstance(found, Mapping) else {}


def refusal(request: Request, answer: Answer) -> RemediatorError:
    """The error for a response that is not a success."""
    where, text = request.text, _shown(answer)
    status = answer.status
    if status == 429 or _is_budget(answer):
        return _too_many(answer, where)
    if status == 401:
        # Nothing was done. Tokens rotate: what is refused now is accepted in a moment, or a person hears of it at last.
        text = "the API server does not accept our credentials"
        return ClusterUnavailable(text, code="not_authenticated", where=where)
    if status == 403:
        return _denied(request, answer)
    if status == 404:
        return ObjectMissing(text or "not found", where=where)
    if status == 409:
        code = "already_exists" if answer.reason == "AlreadyExists" else None
        return ObjectChanged(text or "the object changed in the meantime", code=code, where=where)
    if status == 410:
        return ClusterUnavailable("the list expired while it was read", code="list_expired", where=where)
    if status in (400, 413, 415, 422):
        return _invalid(request, answer)
    if status >= 500:
        return _server_fault(request, answer)
    if status >= 400:
        return ClusterRefused(f"HTTP {status}: {text}", where=where)
    return ClusterUnavailable(f"unexpected answer: HTTP {status}", where=where)


def _is_budget(answer: Answer) -> bool:
    """Also a pod under several budgets, which the eviction API refuses with 500 before doing anything."""
    if any(c.get("reason") == "DisruptionBudget" for c in answer.causes):
        return True
    return "more than one PodDisruptionBudget" in answer.message


def _too_many(answer: Answer, where: str) -> RemediatorError:
    if _is_budget(answer):
        causes = "; ".join(str(c["message"]) for c in answer.causes if c.get("message"))
        text = without_values(causes or answer.message)
        return DisruptionBlocked(text[:_LONGEST], where=where, retry_after=answer.seconds)
    return ClusterThrottled("the API server limits requests", where=where, retry_after=answer.seconds)


_RBAC = re.compile(r'forbidden: User "|^forbidden$|^$')
"""How every authorizer's refusal reads; a 403 with other words comes from admission (quota, LimitRange, Pod Security, a webhook,
a missing ServiceAccount or PriorityClass), and is about the object."""


def _denied(request: Request, answer: Answer) -> RemediatorError:
    if answer.status == 403 and _RBAC.search(answer.message) is None:
        return ObjectInvalid(_shown(answer), code="admission_denied", where=request.text)
    namespace = request.where.partition("/")[0]
    scope = f" in namespace {namespace}" if namespace else ""
    return AccessDenied(
        f"the verb {request.verb} on {request.resource}{scope} is not granted", where=request.text
    )


def _invalid(request: Request, answer: Answer) -> RemediatorError:
    """A JSON patch that does not fit the document is a bare 422: the document is not what we had read."""
    if answer.status == 422 and request.verb == "patch" and not answer.causes:
        return ObjectChanged("the patch does not fit the object as it is now", where=request.text)
    return ObjectInvalid(_shown(answer) or f"HTTP {answer.status}", where=request.text)


_BEFORE_STORING = ("failed calling webhook", "no endpoints available for service")


_UNAPPLIABLE = re.compile(
    r"^failed to (?:create|convert) .{0,400}\btyped\b|: duplicate entries for key \[", re.DOTALL
)
"""Server-side apply cannot tell the entries of a list apart, in what was sent or in what is there. It is told before anything is stored."""


def _server_fault(request: Request, answer: Answer) -> RemediatorError:
    if answer.status == 500 and request.verb == "patch" and _UNAPPLIABLE.search(answer.message):
        return ObjectInvalid(_shown(answer), code="not_appliable", where=request.text)
    text = f"HTTP {answer.status}: {_shown(answer)}".rstrip(": ")
    if any(sign in answer.message for sign in _BEFORE_STORING):  # the API server itself is there
        code = "webhook_unavailable"
        return ClusterUnavailable(text, code=code, where=request.text, retry_after=answer.seconds)
    if request.mutates:
        return OutcomeUnclear(text, where=request.text)
    return ClusterUnavailable(text, where=request.text, retry_after=answer.seconds)


def _shown(answer: Answer) -> str:
    """The Status's message for people: bounded, and without the field values that validation quotes (environment
    variables are field values too)."""
    if answer.causes and answer.status in (400, 422):
        causes = ((c.get("field", ""), without_values(str(c.get("message", "")))) for c in answer.causes)
        return "; ".join(f"{field}: {text}" for field, text in causes)[:_LONGEST]
    return without_values(answer.message)[:_LONGEST]


_NO_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
    }
)
"""OpenSSL's reasons for a first answer that is none of TLS."""


def why_not_reached(error: BaseException, authority: str) -> str:
    """What went wrong below HTTP, in words that say where to look; empty where they are not known. `authority`: where that of a certificate is named."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # aiohttp's own kind is one of these by name alone, and holds the real one.
            found = getattr(cause, "certificate_error", cause)
            told = getattr(found, "verify_message", "") or "it was not verified"
            return f"its certificate is not trusted: {told}; name its CA's file in {authority}"
        if isinstance(cause, ssl.SSLError):
            if cause.reason in _NO_TLS:
                return "it answers in plain text and the URL says https"
            return f"TLS failed: {cause.reason or 'for an unknown reason'}"
        if isinstance(cause, socket.gaierror):
            return "DNS does not know its name"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there"
        cause = cause.__cause__ or cause.__context__
    return ""


def broken(request: Request, error: BaseException, *, sent: bool) -> RemediatorError:
    """The error for a request without an answer. `sent`: at least part of it may have reached the API server."""
    what = "timed out" if isinstance(error, TimeoutError) else "connection failed"
    if sent and isinstance(error, ValueError | TypeError | KeyError):
        what = "what came back is no answer of an API server"
    told = why_not_reached(error, "the kubeconfig (certificate-authority)") or type(error).__name__
    text = f"{what} ({told})"
    if sent and request.mutates:
        return OutcomeUnclear(text, where=request.text)
    return ClusterUnavailable(text, where=request.text)
