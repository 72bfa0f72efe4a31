"""The cluster: does it answer, does its clock fit, who else changes workloads there, and what may we do?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from app.doctor import reads
from app.doctor.findings import Area, Finding, Voice
from app.doctor.patient import Patient, proxy_before
from app.domain.errors import (
    AccessDenied,
    ClusterRefused,
    ObjectInvalid,
    ObjectMissing,
    ProbeUnavailable,
    RemediatorError,
)
from app.domain.plan import WHERE_THERE_IS
from app.domain.target import Kind
from app.flow.readiness.rights import EVERY, Need, is_pattern, named_namespaces, needs
from app.kube.client import KubeCluster
from app.kube.paths import POD_METRICS as _USAGE
from app.kube.verbs import READS
from app.policy.facts import may_act
from app.policy.model import OwnedMode, Policy
from remediations import CATALOGUE

_SAY, _RIGHTS = Voice(Area.CLUSTER), Voice(Area.RIGHTS)
_SKEW, _MUCH = 5.0, 60.0  # seconds
_GITOPS = {"argoproj.io": "Argo CD", "kustomize.toolkit.fluxcd.io": "Flux", "helm.toolkit.fluxcd.io": "Flux"}
_DANGEROUS = (("list", Kind.SECRET, ""), ("delete", Kind.DEPLOYMENT, ""), ("create", Kind.POD, "exec"))
_ROLES = "apply what remediator rbac prints, or let the chart make the roles"
_CREATE = f"create the namespace if it is not there, or correct scope.namespaces; then {_ROLES}"
_NO_POD = "remediator.example.com/no-pod=has-this"


async def cluster(patient: Patient) -> list[Finding]:
    """Reachable, clock, namespaces, other controllers."""
    kube, policy = patient.cluster, patient.policy
    if kube is None:
        return []
    try:
        server = await kube.server()
    except RemediatorError as error:
        return [_away(error, proxy_before(kube.address))]
    found = [_SAY.ok("cluster_answers", f"{kube.name} answers, Kubernetes {server.version}")]
    if server.date is not None:
        found += _skew((patient.clock.now() - server.date).total_seconds())
    try:
        groups = await kube.api_groups()
        found += _others(groups, policy)
        for namespace in named_namespaces(policy.scope) if policy else ():
            found += await _namespace(kube, namespace)
    except RemediatorError as error:
        found.append(
            _SAY.warn("cluster_half", f"it could not be asked for everything: {error.message}", "try again")
        )
    return found


def _away(error: RemediatorError, proxy: str) -> Finding:
    """Why the API server tells nothing of itself: who answers there, or what is wrong with the way. `proxy`: the variable that puts one before it."""
    if error.code == "not_authenticated":
        fix = "renew the token or certificate of the kubeconfig's user; in a pod, look at its service account's token"
        return _SAY.fail("cluster_away", error.message, fix)
    if isinstance(error, ObjectInvalid):
        text = "what answers there takes no such request (HTTP 400): perhaps it wants https"
        return _SAY.fail("cluster_away", text, "look at the kubeconfig's server: it begins with https://")
    if isinstance(error, ClusterRefused):
        text = (
            f"what answers there is no API server, or one that keeps its version to itself: {error.message}"
        )
        return _SAY.fail("cluster_away", text, "look at the kubeconfig's server, and the proxy before it")
    fix = "look at REMEDIATOR_CLUSTER, the kubeconfig's server or the pod's token, and the network policy"
    text = f"the API server does not answer: {error.message}"
    if proxy:
        text += f"; requests to it go through the proxy that {proxy} names"
        fix = f"look at that proxy, or name the API server in NO_PROXY; then {fix}"
    return _SAY.fail("cluster_away", text, fix)


def _skew(seconds: float) -> list[Finding]:
    text = f"our clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the API server's"
    fix = "let a time service keep the node's clock"
    if abs(seconds) >= _MUCH:
        return [_SAY.fail("clock_skew", text, fix)]
    # The header has whole seconds, and the answer took a moment.
    return (
        [_SAY.warn("clock_skew", text, fix)]
        if abs(seconds) >= _SKEW
        else [_SAY.ok("clock", "the clocks agree")]
    )


def _others(groups: frozenset[str], policy: Policy | None) -> Iterator[Finding]:
    rules = policy.rules if policy else ()
    tools = sorted({name for group, name in _GITOPS.items() if group in groups})
    if tools and any(r.ownership.gitops is OwnedMode.ALLOW and r.mode is not r.mode.OBSERVE for r in rules):
        text = f"{', '.join(tools)} is installed and takes changes back that a rule may make (ownership.gitops: allow)"
        yield _SAY.warn(
            "gitops_reverts", text, "set ownership: {gitops: ask}, or ignore the fields in the tool"
        )
    elif tools:
        yield _SAY.ok("gitops", f"{', '.join(tools)} is installed; rules ask before they change what it owns")
    sized = [r for r in rules if r.remediation == "out-of-memory"]
    if "autoscaling.k8s.io" in groups and any(r.ownership.vpa is OwnedMode.ALLOW for r in sized):
        text = "vertical pod autoscalers are installed and take back memory limits that out-of-memory raises"
        yield _SAY.warn("vpa", text, "set ownership: {vpa: ask}, or updateMode Off")
    if "keda.sh" in groups:
        yield _SAY.ok(
            "keda",
            "KEDA is installed; its autoscalers are left alone, and adjust-hpa changes their ScaledObjects",
        )
    if "metrics.k8s.io" not in groups:
        text = "the cluster serves no pod metrics: usage and leaks are unknown without Prometheus"
        yield _SAY.warn("no_metrics_api", text, "install metrics-server")


async def _namespace(kube: KubeCluster, namespace: str) -> list[Finding]:
    try:
        await kube.get(Kind.NAMESPACE, "", namespace)
    except ObjectMissing:
        text = f"the policy's namespace {namespace} does not exist"
        return [_SAY.fail("namespace_missing", text, "create it, or correct scope.namespaces")]
    except AccessDenied:
        return []  # the rights say so
    return []


async def rights(patient: Patient) -> list[Finding]:
    """A SelfSubjectAccessReview for each right of each remediation. One that lacks a write is disabled, the others work."""
    kube, policy = patient.cluster, patient.policy
    if kube is None or policy is None:
        return []
    try:
        ceiling = patient.settings.ceiling
        wanted = needs(policy, CATALOGUE, ceiling)
        missing = await _missing(kube, wanted)
        groups = await kube.api_groups()
        found = [*_lacking(policy, missing, patient), *await _more_than_needed(kube, policy)]
        wished = [n for n in reads.wished(policy, CATALOGUE, ceiling, groups) if n not in wanted]
        found += await _less_known(kube, policy, wished, _closed(missing), measured=_USAGE.group in groups)
        if "keda.sh" in groups:
            with_keda = needs(policy, CATALOGUE, ceiling, there=WHERE_THERE_IS)
            found += _of_keda(await _missing(kube, sorted(set(with_keda) - set(wanted))), policy)
    except RemediatorError as error:
        return [_RIGHTS.skip("rights_unknown", f"nobody could be asked: {error.message}")]
    patterns = [n for n in policy.scope.namespaces if is_pattern(n)]
    if patterns:
        text = f"what {', '.join(patterns)} stands for is not known here; the service asks where an alert comes from"
        found.append(_RIGHTS.skip("rights_of_patterns", text))
    return found


async def _missing(kube: KubeCluster, wanted: Sequence[Need]) -> list[Need]:
    answers: dict[tuple[object, str], bool] = {}
    for need in wanted:
        p, asked = need.permission, (need.permission, need.namespace)
        if asked not in answers:
            answers[asked] = await kube.can_i(p.verb, p.kind, need.namespace, p.subresource, p.name)
    return [need for need in wanted if not answers[need.permission, need.namespace]]


def _of_keda(missing: Sequence[Need], policy: Policy) -> Iterator[Finding]:
    if missing:
        what = ", ".join(dict.fromkeys(need.told for need in missing))
        who = reads.names((need.remediation for need in missing), policy)
        text = f"KEDA is installed, and orders for its autoscalers are refused: {who} may not {what}"
        yield _RIGHTS.warn("keda_rights", text, _ROLES)


def _closed(missing: Sequence[Need]) -> set[str]:
    """Namespaces in which nothing may be read."""
    lost = [n.namespace for n in missing if n.remediation == EVERY]
    return {namespace for namespace in lost if lost.count(namespace) == len(READS)}


def _lacking(policy: Policy, missing: Sequence[Need], patient: Patient) -> Iterator[Finding]:
    lost, closed = {(n.permission, n.namespace) for n in missing if n.remediation == EVERY}, _closed(missing)
    everybody = reads.names((r.remediation for r in policy.rules), policy) or "whoever looks"
    for namespace in sorted({n.namespace for n in missing if n.remediation == EVERY}):
        if namespace in closed:
            text = f"nothing may be read in {namespace} by {everybody}: no role is bound there, or there is no such namespace"
            yield _RIGHTS.fail("reads_missing", text, _CREATE)
            continue
        mine = [n for n in missing if n.remediation == EVERY and n.namespace == namespace]
        what = ", ".join(f"{n.permission.verb} {n.resource}" for n in mine)
        text = f"{everybody} may not {what} in {namespace}: what needs it is unknown, and a gate that asks for it lets nothing through"
        yield _RIGHTS.fail("reads_missing", text, _ROLES)
    for name in sorted({r.remediation for r in policy.rules}):
        if not any(
            may_act(r, policy, patient.settings.ceiling) for r in policy.rules if r.remediation == name
        ):
            yield _RIGHTS.ok("only_observes", f"{name} only observes and needs no write")
            continue
        own = [n for n in missing if n.remediation == name and (n.permission, n.namespace) not in lost]
        if own:
            text = f"{name} is disabled: it may not {', '.join(n.told for n in own)}"
            fix = _CREATE if closed & {n.namespace for n in own} else _ROLES
            yield _RIGHTS.fail("remediation_disabled", text, fix)
        else:
            yield _RIGHTS.ok("remediation_enabled", f"{name} has the writes it needs")


async def _less_known(
    kube: KubeCluster, policy: Policy, wished: Sequence[Need], closed: Collection[str], *, measured: bool
) -> list[Finding]:
    """Who does without a right that only tells more. Of a `closed` namespace all is said."""
    missing = await _missing(kube, [need for need in wished if need.namespace not in closed])
    texts = list(reads.told(missing, policy))
    for namespace in named_namespaces(policy.scope) if measured else ():
        if namespace not in closed and not await _may_measure(kube, namespace):
            who = reads.names((r.remediation for r in policy.rules), policy)
            what = f"{who} may not list {_USAGE.full_name} in namespace {namespace}"
            texts.append(f"{what}: usage and leaks are unknown without Prometheus")
    return [_RIGHTS.warn("less_is_known", text, _ROLES) for text in texts]


async def _may_measure(kube: KubeCluster, namespace: str) -> bool:
    """By reading no pod's usage: a review knows only of kinds that there are objects of."""
    try:
        await kube.pod_usage(namespace, _NO_POD)
    except ProbeUnavailable as error:
        return not isinstance(error.__cause__, AccessDenied)
    return True


async def _more_than_needed(kube: KubeCluster, policy: Policy) -> list[Finding]:
    found = []
    for namespace in named_namespaces(policy.scope):
        for verb, kind, sub in _DANGEROUS:
            if await kube.can_i(verb, kind, namespace, sub):
                what = f"{verb} {kind.value}{'/' + sub if sub else ''}"
                text = f"it may {what} in {namespace}, which no remediation needs"
                found.append(_RIGHTS.warn("right_not_needed", text, "bind only what remediator rbac prints"))
    return found
