"""The rendered chart on a real API server: every object is taken, and the service account may do exactly what its roles say."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.flow.readiness.access import AccessCheck
from app.kube.client import KubeCluster
from app.kube.paths import RESOURCES
from app.observe.metrics import Metrics
from app.observe.system import SystemClock
from app.policy.load import load_policy
from app.policy.model import Policy
from remediations import CATALOGUE
from tests.live.chart.helm import NAME, NAMESPACE, Helm, Rendered
from tests.live.stack import ControlPlane
from tests.unit.chart.test_kinds import TAKEN
from tests.unit.chart.test_values import with_values
from tests.unit.flow.test_access import services_with

pytestmark = pytest.mark.live
UNKNOWN = {"ServiceMonitor", "PrometheusRule", "AlertmanagerConfig", "HTTPRoute"}
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
EVERYTHING = "everything"
ONE_FAMILY = (
    "--set-json",
    "service.ipFamilies=[]",
    "--set",
    "service.ipFamilyPolicy=SingleStack",
)  # as this cluster has it
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def _collection(one: Obj) -> str:
    version = one["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(one["kind"], one["kind"].lower() + "s")
    return f"{root}/namespaces/{one['metadata'].get('namespace', NAMESPACE)}/{plural}"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """With the namespaces of the values, the release's own under the restricted Pod Security standard."""
    names = {NAMESPACE: RESTRICTED, "rag7": {}, "team-a": {}, "elsewhere": {}}
    for name, labels in names.items():
        metadata = {"name": name, "labels": labels}
        control_plane.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        )
    yield control_plane
    for name in names:
        control_plane.client().delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("way", ["default", "postgres", "minimal-rights", "everything", "upgrade"])
def test_the_api_server_takes_every_object_as_it_is(helm: Helm, plane: ControlPlane, way: str) -> None:
    found = helm.template(*ONE_FAMILY, values=way)
    assert refused_objects(plane, found) == []
    untried = {one["kind"] for one in found.objects if one["kind"] in UNKNOWN}
    assert untried == (UNKNOWN if way == EVERYTHING else set())


@pytest.mark.parametrize("case", [c for c in TAKEN if c[1] != ""], ids=lambda c: f"{c[0]}={c[1]}"[:60])
def test_the_api_server_takes_what_the_schema_takes(
    helm: Helm, plane: ControlPlane, tmp_path: Path, case: tuple[str, Any]
) -> None:
    key, given = case
    for word in reversed(key.split("__")):
        given = {word: given}
    file = tmp_path / "values.txt"
    file.write_text(json.dumps(given), "utf-8")
    found = helm.template(*ONE_FAMILY, "--values", str(file), values=EVERYTHING)
    assert refused_objects(plane, found) == []


def refused_objects(plane: ControlPlane, found: Rendered) -> list[tuple[str, str, str, list[str]]]:
    """What the API server refuses or warns of; what it does not know is left out."""
    refused = []
    for one in found.objects:
        if one["kind"] in UNKNOWN:
            continue
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        answer = plane.client().post(_collection(one), json=one, params=query)
        warnings = answer.headers.get_list("Warning")
        if answer.status_code != 201 or warnings:
            refused.append((one["kind"], one["metadata"]["name"], answer.text[:300], warnings))
    return refused


def test_its_pods_are_within_the_restricted_standard(helm: Helm, plane: ControlPlane) -> None:
    """The standard is enforced on pods, and only warned about for what makes pods: so the pods themselves are sent."""
    for way in ("default", "postgres", EVERYTHING):
        template = helm.template(values=way).workload["spec"]["template"]
        metadata = {**template["metadata"], "name": "try", "namespace": NAMESPACE}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        pod["spec"] = {k: v for k, v in template["spec"].items() if k != "priorityClassName"}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        answer = plane.client().post(path, json=pod, params={"dryRun": "All"})
        assert answer.status_code == 201, answer.text
        loose = {**pod, "spec": {**pod["spec"], "hostNetwork": True}}
        assert plane.client().post(path, json=loose, params={"dryRun": "All"}).status_code == 403


# --- exactly these rights ---


@pytest.fixture(scope="module")
def installed(helm: Helm, plane: ControlPlane) -> Rendered:
    """Account, roles and bindings of a release are there."""
    found = helm.template(values=EVERYTHING)
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for one in found.all(kind):
            plane.create(_collection(one), one)
    return found


@pytest.fixture
async def account(installed: Rendered, plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    """The service's own client with exactly the token of the service account."""
    token = _token(plane)
    configuration = Configuration()
    configuration.host = plane.url
    configuration.ssl_ca_cert = str(plane.ca_file)
    configuration.api_key = {"BearerToken": f"Bearer {token}"}
    client = KubeCluster(configuration, "live")
    yield client
    await client.close()


def _token(plane: ControlPlane) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    return str(plane.create(path, body)["status"]["token"])


def _allowed(role: Obj) -> set[tuple[str, str, str, str]]:
    return {
        (verb, group, resource, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def _review(client: httpx.Client, asked: dict[str, str]) -> bool:
    spec = {"user": f"system:serviceaccount:{NAMESPACE}:{NAME}", "resourceAttributes": asked}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = (
        client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body).raise_for_status().json()
    )
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("namespace", ["rag7", "elsewhere", NAMESPACE, "kube-system", ""])
def test_the_account_may_do_what_its_role_says_and_nothing_else(
    installed: Rendered, plane: ControlPlane, namespace: str
) -> None:
    """Every verb on every kind that the code knows, and on what is dangerous besides."""
    roles = {r["metadata"]["namespace"]: _allowed(r) for r in installed.all("Role")}
    wanted = {(v, g, r) for v, g, r, name in roles.get(namespace, set()) if not name}
    resources = [(r.group, r.plural) for r in RESOURCES.values()]
    resources += [("", "pods/log"), ("", "pods/eviction"), ("", "pods/exec"), ("", "serviceaccounts/token")]
    resources += [
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ]
    resources += [("metrics.k8s.io", "pods"), ("", "nodes/proxy")]
    wrong = []
    for group, resource in resources:
        plural, _, sub = resource.partition("/")
        for verb in VERBS:
            asked = {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": plural,
                "subresource": sub,
            }
            allowed = _review(plane.client(), asked)
            if allowed != ((verb, group, resource) in wanted):
                wrong.append((verb, group, resource, allowed))
    assert wrong == []


SENT = {
    "get": ("GET", {}), "list": ("GET", {}), "watch": ("GET", {"watch": "true", "timeoutSeconds": "1"}), "create": ("POST", {"dryRun": "All"}),
    "update": ("PUT", {"dryRun": "All"}), "patch": ("PATCH", {"dryRun": "All"}), "delete": ("DELETE", {"dryRun": "All"}),
    "deletecollection": ("DELETE", {"dryRun": "All"}),
}  # fmt: skip
WHOLE = {"list", "watch", "create", "deletecollection"}
"""Verbs on a collection; the others are on one object."""
FOR_ALL = {(verb, "certificates.k8s.io", "clustertrustbundles") for verb in ("get", "list", "watch")}
"""What Kubernetes lets every service account read (`system:cluster-trust-bundle-discovery`)."""
OWN_PERSON = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
"""What Kubernetes lets every account ask about itself (`system:basic-user`)."""


def _served(plane: ControlPlane) -> list[tuple[str, str, Obj]]:
    """Everything that this API server has, as it says itself: root, group, and each resource with its verbs."""
    client = plane.client()
    groups = client.get("/apis").raise_for_status().json()["groups"]
    roots = [("/api/v1", "")]
    roots += [(f"/apis/{g['preferredVersion']['groupVersion']}", g["name"]) for g in groups]
    return [
        (root, group, resource)
        for root, group in roots
        for resource in client.get(root).raise_for_status().json()["resources"]
        if resource["name"] not in OWN_PERSON
    ]


@pytest.mark.parametrize("namespace", ["rag7", "elsewhere", NAMESPACE, "kube-system", ""])
def test_every_request_beyond_its_role_is_forbidden_to_its_token(
    installed: Rendered, plane: ControlPlane, namespace: str
) -> None:
    """Every verb on every resource that the API server has, sent with the token itself. Without a namespace: over all of them at once."""
    roles = {r["metadata"]["namespace"]: _allowed(r) for r in installed.all("Role")}
    granted = {(v, g, r) for v, g, r, name in roles.get(namespace, set()) if not name}
    wrong, refused = [], 0
    headers, verify = (
        {"authorization": f"Bearer {_token(plane)}"},
        ssl.create_default_context(cafile=str(plane.ca_file)),
    )
    with httpx.Client(base_url=plane.url, headers=headers, verify=verify, trust_env=False) as client:
        for root, group, resource in _served(plane):
            name, _, sub = resource["name"].partition("/")
            inside = resource["namespaced"] and namespace
            place = f"{root}/namespaces/{namespace}" if inside else root
            for verb in resource["verbs"]:
                asked = (verb, group, resource["name"])
                if asked in FOR_ALL or (asked in granted and inside):
                    continue
                path = f"{place}/{name}" if verb in WHOLE and not sub else f"{place}/{name}/one"
                method, query = SENT[verb]
                answer = client.request(method, f"{path}/{sub}" if sub else path, params=query)
                refused += answer.status_code == 403
                if answer.status_code != 403:
                    wrong.append((*asked, answer.status_code))
    assert wrong == []
    assert refused > 300


def test_of_the_secrets_only_the_named_one_may_be_read(installed: Rendered, plane: ControlPlane) -> None:
    def may(verb: str, name: str) -> bool:
        asked = {"namespace": "rag7", "verb": verb, "group": "", "resource": "secrets", "name": name}
        return _review(plane.client(), asked)

    assert may("get", "langgraph-secrets")
    assert not may("get", "other")
    assert not [verb for verb in VERBS if verb != "get" and may(verb, "langgraph-secrets")]


async def test_the_services_own_review_finds_all_rights_that_the_namespaces_named_need(
    account: KubeCluster,
) -> None:
    access = _access(account)
    await access.look()
    assert access.missing == ()
    for rule in _policy().rules:
        for namespace in ("rag7", "team-a"):
            assert await access.lacking(rule, Target(namespace, Kind.DEPLOYMENT, "web")) == []
        lacks = await access.lacking(rule, Target("elsewhere", Kind.DEPLOYMENT, "web"))
        needs_none = (
            rule.remediation == "database-vacuum"
        )  # here it reads no Secret, and it writes to no object
        assert bool(lacks) is not needs_none, "out of scope, and of its roles"
    await access.look()
    assert access.problems == {}


async def test_a_removed_verb_disables_exactly_what_needs_it(
    account: KubeCluster, plane: ControlPlane
) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/roles/{NAME}"
    role = plane.client().get(path).json()
    kept = [
        r
        for r in role["rules"]
        if not (r["resources"] == ["horizontalpodautoscalers"] and "patch" in r["verbs"])
    ]
    assert len(kept) == len(role["rules"]) - 1
    plane.client().put(path, json={**role, "rules": kept}).raise_for_status()
    access = _access(account)
    for _ in range(50):  # the API server's own view of roles follows within milliseconds
        if not await account.can_i("patch", Kind.HPA, "team-a"):
            break
        await asyncio.sleep(0.1)
    lacking = {
        r.remediation: [n.told for n in await access.lacking(r, Target("team-a", Kind.DEPLOYMENT, "web"))]
        for r in _policy().rules
    }
    told = ["patch horizontalpodautoscalers in namespace team-a"]
    assert lacking == {
        "high-error-rate": told,
        "high-latency": told,
        "out-of-memory": told,
        "pod-restarting": [],
        "database-connections": [],
        "api-rate-limits": [],
        "database-vacuum": [],
    }
    assert not [r for r in _policy().rules if await access.lacking(r, Target("rag7", Kind.DEPLOYMENT, "web"))]


def _policy() -> Policy:
    from tests.live.chart.helm import CHART

    return load_policy(with_values(CHART / "ci" / "everything-values.yaml")["policy"]["files"], CATALOGUE)


def _access(cluster: KubeCluster) -> AccessCheck:
    metrics: Any = Metrics(CollectorRegistry())
    return AccessCheck(services_with(cluster, _policy(), SystemClock(), metrics))
