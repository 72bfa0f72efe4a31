"""The table of faults: what the API server says, as what our callers should do."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any, cast

import aiohttp
import pytest

from app.domain import errors as e
from app.kube.faults import Answer, Request, broken, refusal

READ = Request("get", "deployments.apps", "rag7/langgraph", mutates=False)
WRITE = Request("patch", "deployments.apps", "rag7/langgraph", mutates=True)
EVICT = Request("create", "pods/eviction", "rag7/pod-1", mutates=True)


def _status(
    message: str = "", reason: str = "", causes: list[dict[str, Any]] | None = None, **details: Any
) -> dict[str, Any]:
    if causes:
        details["causes"] = causes
    return {"kind": "Status", "message": message, "reason": reason, "details": details}


_BUDGET = [
    {
        "reason": "DisruptionBudget",
        "message": "The disruption budget web needs 3 healthy pods and has 3 currently",
    }
]
_WEBHOOK = 'admission webhook "policy.example" denied the request: no'
_CAUSE = [{"field": "spec.replicas", "message": "Invalid value: -7: must be greater than or equal to 0"}]


@pytest.mark.parametrize(
    ("request_", "status", "body", "kind", "code"),
    [
        (READ, 401, {}, e.ClusterUnavailable, "not_authenticated"),
        (WRITE, 401, {}, e.ClusterUnavailable, "not_authenticated"),
        (
            READ,
            403,
            _status('deployments.apps "x" is forbidden: User "u" cannot get'),
            e.AccessDenied,
            "access_denied",
        ),
        (WRITE, 403, _status(_WEBHOOK), e.ObjectInvalid, "admission_denied"),
        (
            WRITE,
            403,
            _status("pods x is forbidden: exceeded quota: small"),
            e.ObjectInvalid,
            "admission_denied",
        ),
        *(
            (WRITE, 403, _status(f'pods "x" is forbidden: {why}'), e.ObjectInvalid, "admission_denied")
            for why in (
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
                'error looking up service account rag7/app: serviceaccount "app" not found',
                "no PriorityClass with name high was found",
                'violates PodSecurity "restricted:latest": privileged',
            )
        ),
        (
            WRITE,
            403,
            _status('pods is forbidden: User "u" cannot create resource "pods"'),
            e.AccessDenied,
            "access_denied",
        ),
        (READ, 404, _status("not found"), e.ObjectMissing, "object_missing"),
        (READ, 404, {}, e.ObjectMissing, "object_missing"),
        (WRITE, 409, _status("the object has been modified", "Conflict"), e.ObjectChanged, "object_changed"),
        (WRITE, 409, _status("exists", "AlreadyExists"), e.ObjectChanged, "already_exists"),
        (READ, 410, _status("too old resource version"), e.ClusterUnavailable, "list_expired"),
        (
            WRITE,
            422,
            _status("the server rejected our request", "Invalid"),
            e.ObjectChanged,
            "object_changed",
        ),
        (WRITE, 422, _status("is invalid", "Invalid", _CAUSE), e.ObjectInvalid, "object_invalid"),
        (WRITE, 400, _status("strict decoding error"), e.ObjectInvalid, "object_invalid"),
        (WRITE, 413, {}, e.ObjectInvalid, "object_invalid"),
        (WRITE, 405, _status("no"), e.ClusterRefused, "cluster_refused"),
        (READ, 429, _status(), e.ClusterThrottled, "cluster_throttled"),
        (WRITE, 429, _status(), e.ClusterThrottled, "cluster_throttled"),
        (EVICT, 429, _status("Cannot evict pod", causes=_BUDGET), e.DisruptionBlocked, "disruption_blocked"),
        (
            EVICT,
            500,
            _status("This pod has more than one PodDisruptionBudget, which is"),
            e.DisruptionBlocked,
            "disruption_blocked",
        ),
        (READ, 500, _status("etcdserver: request timed out"), e.ClusterUnavailable, "cluster_unavailable"),
        (WRITE, 500, _status("etcdserver: request timed out"), e.OutcomeUnclear, "outcome_unclear"),
        (
            WRITE,
            500,
            _status('Internal error occurred: failed calling webhook "x"'),
            e.ClusterUnavailable,
            "webhook_unavailable",
        ),
        (
            WRITE,
            500,
            _status(
                'failed to create typed patch object (rag7/web; apps/v1, Kind=Deployment): .spec: duplicate entries for key [name="A"]'
            ),
            e.ObjectInvalid,
            "not_appliable",
        ),
        (WRITE, 502, {}, e.OutcomeUnclear, "outcome_unclear"),
        (WRITE, 503, {}, e.OutcomeUnclear, "outcome_unclear"),
        (WRITE, 504, _status("", "Timeout"), e.OutcomeUnclear, "outcome_unclear"),
        (READ, 503, {}, e.ClusterUnavailable, "cluster_unavailable"),
        (READ, 302, {}, e.ClusterUnavailable, "cluster_unavailable"),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(
    request_: Request, status: int, body: dict[str, Any], kind: type[e.RemediatorError], code: str
) -> None:
    error = refusal(request_, Answer(status, body))
    assert (type(error), error.code) == (kind, code)
    assert error.where.startswith(request_.verb)


@pytest.mark.parametrize(
    ("header", "told", "seconds"), [(7.0, 10, 7.0), (None, 10, 10.0), (None, 0, None), (0.0, 10, 0.0)]
)
def test_the_waiting_time_is_the_headers_else_the_statuss(
    header: float | None, told: int, seconds: float | None
) -> None:
    for causes in (None, _BUDGET):
        error = refusal(EVICT, Answer(429, _status(causes=causes, retryAfterSeconds=told), header))
        assert isinstance(error, e.ClusterThrottled | e.DisruptionBlocked)
        assert error.retry_after == seconds


def test_a_missing_permission_names_verb_resource_and_namespace() -> None:
    error = refusal(EVICT, Answer(403, _status("forbidden")))
    assert error.message == "the verb create on pods/eviction in namespace rag7 is not granted"
    assert (
        str(error)
        == "create pods/eviction rag7/pod-1: the verb create on pods/eviction in namespace rag7 is not granted"
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Invalid value: -7: must be greater than or equal to 0",
            "spec.x: Invalid value: must be greater than or equal to 0",
        ),
        (
            'Invalid value: "hunter2": must be no more than 3 bytes',
            "spec.x: Invalid value: must be no more than 3 bytes",
        ),
        ('Invalid value: {"env":[{"value":"hunter2"}]}', "spec.x: Invalid value"),
        (
            'Unsupported value: "hunter2": supported values: "A", "B"',
            'spec.x: Unsupported value: supported values: "A", "B"',
        ),
        ("Required value", "spec.x: Required value"),
    ],
)
def test_validation_errors_are_shown_without_the_values_they_quote(message: str, shown: str) -> None:
    body = _status(
        f'Deployment "x" is invalid: spec.x: {message}', "Invalid", [{"field": "spec.x", "message": message}]
    )
    assert refusal(WRITE, Answer(422, body)).message == shown


def test_messages_are_bounded() -> None:
    assert len(refusal(WRITE, Answer(400, _status("x" * 10_000))).message) <= 300


@pytest.mark.parametrize(
    ("request_", "error", "sent", "kind"),
    [
        (WRITE, TimeoutError(), True, e.OutcomeUnclear),
        (WRITE, aiohttp.ServerDisconnectedError("Bearer abc"), True, e.OutcomeUnclear),
        (WRITE, aiohttp.ServerDisconnectedError(), False, e.ClusterUnavailable),
        (READ, TimeoutError(), True, e.ClusterUnavailable),
        (READ, OSError("token file"), False, e.ClusterUnavailable),
    ],
)
def test_a_request_without_an_answer_is_unclear_only_if_it_could_have_changed_something(
    request_: Request, error: BaseException, sent: bool, kind: type[e.RemediatorError]
) -> None:
    found = broken(request_, error, sent=sent)
    assert type(found) is kind
    assert found.message in {
        f"timed out ({type(error).__name__})",
        f"connection failed ({type(error).__name__})",
    }
    assert "Bearer" not in str(found)


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


_UNTRUSTED = ssl.SSLCertVerificationError()
_UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (_caused(aiohttp.ClientError(), _UNTRUSTED), "connection failed (its certificate is not trusted: self-signed certificate; name its CA's file in the kubeconfig (certificate-authority))"),
        (aiohttp.ClientConnectorCertificateError(cast("Any", None), _UNTRUSTED), "connection failed (its certificate is not trusted: self-signed certificate; name its CA's file in the kubeconfig (certificate-authority))"),
        (aiohttp.ClientConnectorCertificateError(cast("Any", None), OSError("secret")), "connection failed (its certificate is not trusted: it was not verified; name its CA's file in the kubeconfig (certificate-authority))"),
        (_caused(aiohttp.ClientError(), ConnectionRefusedError("secret")), "connection failed (nothing listens there)"),
        (_caused(OSError(), socket.gaierror(-2, "secret")), "connection failed (DNS does not know its name)"),
        (json.JSONDecodeError("secret", "secret", 0), "what came back is no answer of an API server (JSONDecodeError)"),
    ],
)  # fmt: skip
def test_why_there_was_no_answer_is_told_in_words(error: BaseException, told: str) -> None:
    assert broken(READ, error, sent=isinstance(error, json.JSONDecodeError)).message == told


@pytest.mark.parametrize("details", [[], "x", 1, {"causes": "x"}, {"causes": [1, None, {}]}, {"retryAfterSeconds": "soon"},
                                     {"retryAfterSeconds": -1}, {"retryAfterSeconds": 10**400}, {"causes": {"a": 1}}])  # fmt: skip
@pytest.mark.parametrize("status", [403, 422, 429, 500])
def test_an_odd_status_object_is_a_refusal_all_the_same(status: int, details: object) -> None:
    """A proxy in between, or an extension's API server, writes what it likes."""
    answer = Answer(status, {"kind": "Status", "message": "no", "details": details})
    error = refusal(Request("patch", "deployments.apps", "rag7/x", mutates=True), answer)
    assert getattr(error, "retry_after", None) is None


def test_the_words_of_a_disruption_budget_tell_no_value() -> None:
    cause = [
        {
            "reason": "DisruptionBudget",
            "message": 'The disruption budget "web" says DB_PASSWORD="sunflower" and\nok',
        }
    ]
    told = str(refusal(EVICT, Answer(429, _status(causes=cause))))
    assert "sunflower" not in told
