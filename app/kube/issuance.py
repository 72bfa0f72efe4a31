"""What stands against an issuance at one moment: who shares the Secret, the issuer, what is under way, and the limit of ACME.

Asked by the handler for its plan and by the actuator right before the write, so that both refuse the same. Reads only. What cannot be read is
said, never taken for fine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing, RemediatorError, TryLater
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.units import utc
from app.kube.certificates import (
    GROUP,
    ISSUER_KINDS,
    Certificate,
    condition,
    orders_since,
    orders_under_way,
    requests_under_way,
    said_of_requests,
)

WEEK: Final = timedelta(days=7)
ISSUER, ORDERS = "issuer", "orders"


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer: what is said of it, why it cannot issue, and why that is not known. `acme` is None where it is not known."""

    text: str
    no: str = ""
    unknown: str = ""
    acme: bool | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What was read. `sharing` are other Certificates with the same Secret. `pending` is what cert-manager works on for it; None when that
    is not known, and then `unread` says why. `ordered` counts ACME Orders of the last week: None where they cannot be read. `later` is
    the first read that may succeed when it is repeated."""

    certificate: Certificate
    sharing: tuple[str, ...]
    issuer: Issuer
    pending: tuple[str, ...] | None
    unread: str
    ordered: int | None
    later: TryLater | None = None

    def unknown(self) -> Mapping[str, str]:
        """What a person has to be asked about, as it could not be read."""
        found = {ISSUER: self.issuer.unknown} if self.issuer.unknown else {}
        if self.issuer.acme is not False and self.ordered is None:
            text = "how many ACME certificates of the same names were ordered in 7 days is not known"
            found[ORDERS] = text
        return found


async def standing(
    cluster: Cluster, namespace: str, one: Certificate, known: Iterable[Certificate], now: datetime
) -> Standing:
    """Read it. `known` are all Certificates of the namespace. Raises nothing of ours."""
    issuer, requests, orders = await asyncio.gather(
        _issuer(cluster, namespace, one),
        _listed(cluster, Kind.CERTIFICATE_REQUEST, namespace),
        _listed(cluster, Kind.ACME_ORDER, namespace),
    )
    pending = None
    if not isinstance(requests, RemediatorError):
        pending = tuple(f"CertificateRequest {n}" for n in requests_under_way(requests, one))
        if not isinstance(orders, RemediatorError):
            pending += tuple(f"Order {n}" for n in orders_under_way(orders, one))
    found, fault = issuer
    return Standing(
        certificate=one,
        sharing=tuple(sorted(c.name for c in known if c.secret == one.secret and c.name != one.name)),
        issuer=found,
        pending=pending,
        unread=requests.message if isinstance(requests, RemediatorError) else "",
        ordered=None if isinstance(orders, RemediatorError) else orders_since(orders, one, now - WEEK),
        later=next((e for e in (fault, requests, orders) if isinstance(e, TryLater)), None),
    )


def against(found: Standing, weekly: int, now: datetime) -> tuple[str, str] | None:
    """Why nothing is renewed, and what to do; None when nothing stands against it. `weekly` is the rule's limit for ACME."""
    one = found.certificate
    if found.sharing:
        others = ", ".join(found.sharing)
        why = f"Secret {one.secret} belongs to {one.name} and to {others} as well: each renewal would overwrite the other's"
        return why, f"give each of these Certificates a Secret of its own: {one.name}, {others}"
    if found.issuer.no:
        return found.issuer.no, f"make the issuer of {one.name} ready first"
    if one.under_way:
        return f"an issuance of {one.name} is under way ({one.issuing.reason})", ""
    if found.pending is None:
        return "whether an issuance is under way is not known: CertificateRequests could not be read", ""
    if found.pending:
        why = f"an issuance is under way: {', '.join(found.pending)}"
        return why, "wait for its end, or find out why it hangs"
    if until := one.backs_off_until(now):
        why = f"issuing {one.name} failed {one.attempts or 1} times in a row, last at {utc(one.failed_at or until)}"
        advice = "mend what made it fail; another try now would fail too"
        return f"{why}; cert-manager waits until {utc(until)}", advice
    if found.issuer.acme is not False and found.ordered is not None and found.ordered + 1 > weekly:
        why = f"{found.ordered} ACME Orders for the same names were made within 7 days, and {weekly} are the limit of the rule"
        return f"{why} (Let's Encrypt issues 5)", "wait until the oldest of them is 7 days old"
    return None


async def waits_for(cluster: Cluster, namespace: str, one: Certificate) -> str:
    """Why there is no newer revision, in cert-manager's words. While it issues, the Certificate itself only says that the one before is fine."""
    if not one.under_way:
        return one.ready.text
    requests = await _listed(cluster, Kind.CERTIFICATE_REQUEST, namespace)
    said = "" if isinstance(requests, RemediatorError) else said_of_requests(requests, one)
    return f"an issuance is under way: {said or one.issuing.reason}"


async def _issuer(
    cluster: Cluster, namespace: str, one: Certificate
) -> tuple[Issuer, RemediatorError | None]:
    kind, name, group = one.issuer
    told = f"{kind} {name}"
    if group != GROUP or kind not in ISSUER_KINDS:
        text = f"{told} of {group} is an issuer of its own kind, whose state is not read"
        return Issuer(text, unknown=text), None
    try:
        found = await cluster.get(ISSUER_KINDS[kind], namespace, name)
    except ObjectMissing:
        return Issuer(f"{told} does not exist", no=f"{told} does not exist"), None
    except RemediatorError as error:
        text = f"{told} could not be read ({error.code}), so whether it is ready is not known"
        return Issuer(text, unknown=text), error
    acme = "acme" in (found.get("spec") or {})
    ready = condition(found, "Ready")
    how = " (ACME)" if acme else ""
    if ready.status == "True":
        return Issuer(f"{told}{how} is ready", acme=acme), None
    no = f"{told}{how} is not ready" + (f" ({ready.reason}: {ready.text})" if ready.reason else "")
    return Issuer(no, no=no, acme=acme), None


async def _listed(cluster: Cluster, kind: Kind, namespace: str) -> list[Obj] | RemediatorError:
    try:
        return await cluster.list_objects(kind, namespace)
    except RemediatorError as error:
        return error
