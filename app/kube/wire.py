"""Requests to the API server as they go over the wire: paths, queries and bodies of writes, and what an answer says beside its body.

Used by `app.kube.client`. Pure; sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj, decoded
from app.domain.target import Kind
from app.kube.faults import Request
from app.kube.paths import RESOURCES, Resource

WRITE_SECONDS: Final = 15.0
"""How long the API server works on a write of ours."""
JSON_PATCH: Final = "application/json-patch+json"

Query = list[tuple[str, str]]
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    request: Request
    query: Query
    body: Any = None
    content_type: str = "application/json"


def patching(kind: Kind, at: tuple[str, str, str], patch: Sequence[dict[str, Any]], *, dry_run: bool) -> Call:
    """A JSON patch of an object or of its subresource: `at` is namespace, name, subresource. Unknown fields are refused."""
    namespace, name, subresource = at
    resource = RESOURCES[kind]
    whose = f"{resource.full_name}/{subresource}" if subresource else resource.full_name
    request = Request("patch", whose, place(resource, namespace, name), not dry_run)
    query = [*write_query(dry_run=dry_run), ("fieldValidation", "Strict")]
    return Call("PATCH", resource.path(namespace, name, subresource), request, query, list(patch), JSON_PATCH)


class How(StrEnum):
    """How a whole object is put: by server-side apply by force, whose fields become what it says, whoever held them; made anew; or merged into
    the one that is there, with its lists as they are."""

    APPLIED = "application/apply-patch+yaml"
    MADE = "application/json"
    MERGED = "application/merge-patch+json"


def putting(at: tuple[Resource, str], body: Obj, how: How, manager: str, *, dry_run: bool) -> Call:
    """One object into the namespace `at[1]`."""
    (resource, namespace), name = at, body["metadata"]["name"]
    verb, method = ("create", "POST") if how is How.MADE else ("patch", "PATCH")
    request = Request(verb, resource.full_name, place(resource, namespace, name), not dry_run)
    query = [("fieldManager", manager), ("timeout", f"{WRITE_SECONDS:.0f}s")]
    query += [("force", "true")] if how is How.APPLIED else []
    query += [("dryRun", "All")] if dry_run else []
    path = resource.path(namespace, "" if how is How.MADE else name)
    return Call(method, path, request, query, body, how.value)


def deleting(kind: Kind, at: Place, uid: str, *, dry_run: bool) -> Call:
    """The removal of the object that has this uid."""
    resource = RESOURCES[kind]
    request = Request("delete", resource.full_name, place(resource, *at), not dry_run)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", **delete_options(uid, dry_run=dry_run)}
    query = [("timeout", f"{WRITE_SECONDS:.0f}s")]
    return Call("DELETE", resource.path(*at), request, query, options)


def place(resource: Resource, namespace: str, name: str = "") -> str:
    """Namespace and name as error texts have them."""
    parts = [namespace] if resource.namespaced else [""]
    return "/".join([*parts, name]) if name else parts[0]


def write_query(*, dry_run: bool) -> Query:
    """The server gives up when we do, so that a lost write does not land minutes later."""
    query = [("fieldManager", FIELD_MANAGER), ("timeout", f"{WRITE_SECONDS:.0f}s")]
    return [*query, ("dryRun", "All")] if dry_run else query


def delete_options(uid: str, *, dry_run: bool) -> Obj:
    """The options of a removal that is bound to a uid."""
    options: Obj = {"preconditions": {"uid": uid}}
    return {**options, "dryRun": ["All"]} if dry_run else options


_LONGEST_STATUS = 64 * 1024


def status_object(data: bytes) -> Mapping[str, Any]:
    """The Status that a refusal has as its body, or nothing."""
    try:
        found = decoded(data) if len(data) <= _LONGEST_STATUS else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


def seconds_of(headers: Mapping[str, str]) -> float | None:
    """What Retry-After asks for, in seconds."""
    text = headers.get("Retry-After", "")
    return float(text) if _NUMBER.fullmatch(text) else None
