"""A simulated cluster that answers as a real one does under the roles that `remediator rbac` prints for a policy: what they do not grant
is refused, and noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.domain.actuator import Permission
from app.domain.errors import AccessDenied
from app.domain.target import Kind
from app.kube.paths import POD_METRICS, RESOURCES
from app.kube.verbs import DRY_RUN_POD, OPTIONAL, rule_of
from app.policy.model import Policy
from app.policytools.rbac import Grant, Right, grants, namespaces_of
from app.sim import SimCluster
from app.sim.faults import Request
from remediations import CATALOGUE

INSIDE = frozenset({"sql", "info", "terminate", "remove", "vacuum", "rename"})
"""Requests to a database or a cache, which no role is about."""
UNGRANTED = frozenset(
    Right.of(p) for p in (*DRY_RUN_POD, *(p for p in OPTIONAL if not RESOURCES[p.kind].namespaced))
)
"""What tells more where somebody grants it beside the printed roles: the service does without."""
NOT_NAMED = frozenset({"langgraph-tls"})
"""Secrets of the pods that `scope.secrets` does not name: whether they have their keys is not known then, as documented."""


def right_of(request: Request) -> Right | None:
    """What a real API server would check; None for what is no request to it, and for access reviews, which everybody may ask."""
    if request.verb in INSIDE or request.verb == "can_i":
        return None
    if request.verb == "usage":
        return Right(POD_METRICS.group, POD_METRICS.plural, "list")
    if request.verb in ("logs", "evict"):
        verb, part = ("get", "log") if request.verb == "logs" else ("create", "eviction")
        return Right("", f"pods/{part}", verb, (request.name,))
    assert request.kind is not None, request
    found = RESOURCES[request.kind]
    resource = f"{found.plural}/{request.subresource}" if request.subresource else found.plural
    named = () if request.verb in ("list", "create") else (request.name,)
    return Right(found.group, resource, request.verb, named)


def allows(role: Iterable[Grant], right: Right) -> bool:
    """Whether RBAC's authorizer says yes. A rule with names is for these alone, and for no list and no creation."""
    return any(
        grant.group == right.group
        and grant.resource == right.resource
        and right.verb in grant.verbs
        and (not grant.names or (bool(right.names) and right.names[0] in grant.names))
        for grant in role
    )


class Roles:
    """The roles of a policy, in force on a cluster, `without` some rights; `denied` is what they refused, without names where none may be read."""

    def __init__(self, policy: Policy, without: Iterable[Permission] = ()) -> None:
        self._taken = frozenset((*rule_of(p)[1:], p.verb) for p in without)
        self._of: Mapping[str, list[Grant]] = {
            namespace: grants(policy, CATALOGUE, namespace) for namespace in namespaces_of(policy)
        }
        self.asked: set[Right] = set()
        self.denied: set[Right] = set()

    def rule(self, cluster: SimCluster) -> None:
        """From now on they hold."""
        cluster.on_request(self._check)

        async def can_i(verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = "") -> bool:
            plural = RESOURCES[kind].plural
            resource = f"{plural}/{subresource}" if subresource else plural
            named = (name,) if name else ()
            return self._may(namespace, Right(RESOURCES[kind].group, resource, verb, named))

        vars(cluster)["can_i"] = can_i

    def _may(self, namespace: str, right: Right) -> bool:
        plural, _, part = right.resource.partition("/")
        taken = (right.group, plural, part, right.verb) in self._taken
        return not taken and allows(self._of.get(namespace, ()), right)

    def _check(self, request: Request, when: str) -> None:
        right = right_of(request)
        if when != "before" or right is None:
            return
        self.asked.add(right)
        # A namespace is read under the role in it.
        namespace = request.name if request.kind is Kind.NAMESPACE else request.namespace
        if not self._may(namespace, right):
            self.denied.add(right)
            raise AccessDenied(f"cannot {right.verb} {right.resource} {request.name}", where=str(request))

    @property
    def missing(self) -> list[str]:
        """What the service needed and the roles do not grant."""
        optional = {(r.group, r.resource, r.verb) for r in UNGRANTED}
        return sorted(
            f"{r.verb} {r.resource}.{r.group} {' '.join(r.names)}"
            for r in self.denied
            if (r.group, r.resource, r.verb) not in optional
            and not (r.resource == "secrets" and r.verb == "get" and NOT_NAMED.issuperset(r.names))
        )
