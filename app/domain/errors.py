"""The error tree. Every error of ours says what the caller should do about it.

    RemediatorError
    ├── CallerError          the request, policy or setting is wrong; repeating it does not help
    │   ├── BadInput           (400/422) a body, field, policy file or setting, with its place
    │   ├── NotAuthenticated   (401)
    │   ├── NotPermitted       (403)
    │   ├── Missing            (404)
    │   └── Refused            (409) the state does not allow it
    ├── TryLater             an outside part did not answer; `retry_after` in seconds when known
    │   ├── StoreUnavailable   nothing was committed, except of
    │   │   └── CommitUnclear    the answer to the commit was lost: nobody knows
    │   ├── ClusterUnavailable the API server or the way to it
    │   ├── ClusterThrottled   429 from the API server
    │   └── ProbeUnavailable   Prometheus, Alertmanager, PagerDuty, Slack, a database
    ├── ClusterRefused       the API server answered and said no
    │   ├── ObjectMissing      404
    │   ├── ObjectChanged      409: resourceVersion or uid precondition failed, or it already exists
    │   ├── AccessDenied       401/403: which verb on which resource is missing
    │   ├── ObjectInvalid      400/422: validation or admission refused the object
    │   └── DisruptionBlocked  an eviction that a PodDisruptionBudget does not allow now
    ├── Held                 a pause, a ceiling or a freeze forbids the write: nothing was sent
    └── OutcomeUnclear       a write may or may not have happened: read back, never repeat blindly

Foreign exceptions are translated at the edge of each outside system and kept as `__cause__`.
"""

from __future__ import annotations


class RemediatorError(Exception):
    """Root of all errors raised on purpose. `code` is stable and machine-readable, `where` the place of the fault."""

    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class CallerError(RemediatorError):
    """The caller has to change something; a repeat gives the same answer."""

    code = "caller_error"


class BadInput(CallerError):
    """A body, field, policy document or setting is not acceptable; `where` names it."""

    code = "bad_input"


class NotAuthenticated(CallerError):
    """No or wrong credentials."""

    code = "not_authenticated"


class NotPermitted(CallerError):
    """Known caller, missing scope."""

    code = "not_permitted"


class Missing(CallerError):
    """What was named does not exist here."""

    code = "not_found"


class Refused(CallerError):
    """The present state does not allow the request."""

    code = "refused"


class TryLater(RemediatorError):
    """Something outside did not answer. `retry_after` is in seconds, None when unknown."""

    code = "try_later"

    def __init__(
        self, message: str, *, code: str | None = None, where: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code, where=where)
        self.retry_after = retry_after


class StoreUnavailable(TryLater):
    """The store could not commit, be reached or be logged in to. Nothing of the request was kept, unless it is CommitUnclear."""

    code = "store_unavailable"


class CommitUnclear(StoreUnavailable):
    """The connection was lost during the commit: all of the request was kept, or nothing, and nobody knows which."""

    code = "commit_unclear"


class ClusterUnavailable(TryLater):
    """The API server could not be reached, timed out on a read, or answered 5xx."""

    code = "cluster_unavailable"


class ClusterThrottled(TryLater):
    """The API server answered 429 and did not process the request."""

    code = "cluster_throttled"


class ProbeUnavailable(TryLater):
    """A source of evidence (Prometheus, Alertmanager, a database, logs) could not be read."""

    code = "probe_unavailable"


PASSING = frozenset({"unreachable", "exhausted", "limited", "query_failed"})
"""Codes of those that may well work in a moment. A login that is missing or refused is not among them."""


class ClusterRefused(RemediatorError):
    """The API server processed the request and refused it. Nothing was changed."""

    code = "cluster_refused"


class ObjectMissing(ClusterRefused):
    """404: the object is not there."""

    code = "object_missing"


class ObjectChanged(ClusterRefused):
    """409: a resourceVersion or uid precondition failed, or the object exists already."""

    code = "object_changed"


class AccessDenied(ClusterRefused):
    """401/403: the message names verb and resource."""

    code = "access_denied"


class ObjectInvalid(ClusterRefused):
    """400/422: validation, admission, LimitRange or quota refused it."""

    code = "object_invalid"


class DisruptionBlocked(ClusterRefused):
    """A PodDisruptionBudget does not allow the eviction now. `retry_after` in seconds when the server told it."""

    code = "disruption_blocked"

    def __init__(self, message: str, *, where: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, where=where)
        self.retry_after = retry_after


class Held(RemediatorError):
    """Something that people set forbids the write at this moment. Nothing was sent."""

    code = "held"


class OutcomeUnclear(RemediatorError):
    """A write was sent and its answer was lost: read the object back before anything else."""

    code = "outcome_unclear"
