"""Who writes an object, by their marks on it: tools that write it from what is declared elsewhere, in a repository, a package or another
object; what persons work with; and the cluster's own controllers.

Called by `app.kube.owners` and `app.kube.hands`. Pure. Argo CD, Flux and Helm are `app.kube.owners`' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.domain.json import Obj
from app.domain.owner import Relation

_MANAGED_BY, _CREATED_BY = "app.kubernetes.io/managed-by", "app.kubernetes.io/created-by"


@dataclass(frozen=True, slots=True)
class Tool:
    """`marks` are beginnings of label and annotation names, `writers` of field managers, `managed_by` values of the label of that name.
    `values`: what a mark's value must be, where not every value means that the tool is at work."""

    name: str
    marks: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    managed_by: tuple[str, ...] = ()
    relation: Relation = Relation.DECLARES
    values: re.Pattern[str] = re.compile("")


_TOOLS = (
    Tool("K3s or RKE2", ("objectset.rio.cattle.io/owner-gvk",), ("deploy@", "helm-controller@"), values=re.compile(r"(k3s|helm)\.cattle\.io/")),
    Tool("Rancher Fleet", ("objectset.rio.cattle.io/", "fleet.cattle.io/"), ("fleetagent", "fleet-agent")),
    Tool("Config Sync", ("configmanagement.gke.io/managed",), ("configsync", "configmanagement"), ("configmanagement.gke.io",), values=re.compile("enabled|$")),
    Tool("Config Sync", ("configsync.gke.io/",)),
    Tool("Config Sync", ("configmanagement.gke.io/system",), values=re.compile("true$")),
    Tool("Argo CD", (), (), ("argocd", "argo-cd", "ArgoCD", "argocd.argoproj.io")),
    Tool("Flux", (), (), ("flux", "fluxcd", "Flux")),
    Tool("Razee", ("deploy.razee.io/",), ("razeedeploy",)),
    Tool("kpt", ("config.k8s.io/owning-inventory", "config.kubernetes.io/owning-inventory")),
    Tool("kapp", ("kapp.k14s.io/app", "kapp.k14s.io/association", "kapp.k14s.io/identity"), ("kapp",)),
    Tool("Operator Lifecycle Manager", ("olm.owner", "olm.managed", "operators.coreos.com/"), ("olm", "catalog-operator")),
    Tool("addon-manager", ("addonmanager.kubernetes.io/mode", "kubernetes.io/cluster-service"), values=re.compile("Reconcile$|true$")),
    Tool("EKS add-ons", (), ("eks",)),
    Tool("Crossplane", ("crossplane.io/",), ("apiextensions.crossplane.io/", "crossplane", "kubernetes.crossplane.io/"), ("crossplane",)),
    Tool("KubeVela", ("app.oam.dev/", "oam.dev/"), ("vela-core", "kubevela"), ("kubevela",)),
    Tool("Karmada", ("karmada.io/managed", "work.karmada.io/", "resourcebinding.karmada.io/", "propagationpolicy.karmada.io/"), ("karmada",)),
    Tool("Open Cluster Management", ("apps.open-cluster-management.io/", "multicluster-operators-"), ("work-agent", "multicluster-operators")),
    Tool("Sveltos", ("projectsveltos.io/",), ("application/apply-patch-sveltos", "sveltos")),
    Tool("OpenShift's version operator", ("release.openshift.io/", "include.release.openshift.io/"), ("cluster-version-operator",)),
    Tool("OpenShift image triggers", ("image.openshift.io/triggers",)),
    Tool("Keel", ("keel.sh/policy",), ("keel",)),
    Tool("Elastic operator", ("common.k8s.elastic.co/type",), ("elastic-operator",)),
    Tool("vcluster", ("vcluster.loft.sh/",), ("vcluster",)),
    Tool("cass-operator", ("cassandra.datastax.com/", "k8ssandra.io/")),
    Tool("MySQL operator", ("mysql.oracle.com/", "mysql.presslabs.org/")),
    Tool("Vitess operator", ("planetscale.com/", "db.planetscale.com/")),
    Tool("StackGres", ("stackgres.io/",)),
    Tool("KubeDB", ("kubedb.com/",), (), ("kubedb.com",)),
    Tool("MinIO operator", ("v1.min.io/",)),
    Tool("Rook", ("rook.io/", "ceph.rook.io/"), (), ("rook-ceph-operator",)),
    Tool("ClickHouse operator", ("clickhouse.altinity.com/",)),
    Tool("Knative", ("serving.knative.dev/",)),
    Tool("Gateway API", ("gateway.networking.k8s.io/gateway-name",)),
    Tool("GitHub's runner controller", ("actions.github.com/", "actions-runner-controller/")),
    Tool("KubeBlocks", ("apps.kubeblocks.io/",), (), ("kubeblocks",)),
    Tool("Terraform", (), ("Terraform", "terraform", "OpenTofu", "HashiCorp"), ("terraform", "Terraform", "opentofu"), Relation.DEPLOYS),
    Tool("Pulumi", ("pulumi.com/",), ("pulumi",), ("pulumi",), Relation.DEPLOYS),
    Tool("Spinnaker", ("moniker.spinnaker.io/", "artifact.spinnaker.io/"), (), ("spinnaker",), Relation.DEPLOYS),
    Tool("Timoni", (), ("timoni",), ("timoni",), Relation.DEPLOYS),
    Tool("Skaffold", ("skaffold.dev/",), (), ("skaffold",), Relation.DEPLOYS),
)  # fmt: skip
_OPERATOR = re.compile(r"[a-z0-9.-]*(?:operator|controller)", re.IGNORECASE)
_MARK = re.compile(
    r"(?P<domain>[a-z0-9.-]+)/(?:(?:managed|owned|controlled|created)-?by|own(?:er|ing)(?:[-_.].*)?)|(?P<operator>[a-z0-9.-]*\boperators?[.-][a-z0-9.-]*)/.*",
    re.IGNORECASE,
)
"""Names of labels and annotations by which an operator marks what is its own: `emqx.io/managed-by`, `operator.tigera.io/x`."""
_NO_OPERATORS = frozenset({"app.kubernetes.io", "backstage.io", "kubernetes.io", "helm.sh", "meta.helm.sh"})
"""Domains of such labels that anybody sets."""
_KNOWN_WRITERS = re.compile(r"(?:kustomize|helm|source|deployment|statefulset|daemonset|replicaset|horizontal-pod-autoscaler|keda)-?(?:controller|operator)?|argocd.*|"
                            r"alert-remediator.*|.*(?:rollouts?|hpa|autoscaler|descheduler)-?controller")  # fmt: skip


def tools_of(manifest: Obj) -> Iterator[tuple[str, Relation]]:
    """Each tool that declares this object elsewhere or deploys it, once, by name. A writer of the spec that calls itself an operator or
    controller and is not known is one by its own name, and so is a domain whose label or annotation marks what it owns."""
    meta = manifest["metadata"]
    labels: Mapping[str, str] = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    writers = _writers(manifest)
    seen: set[str] = set()
    for tool in _TOOLS:
        if tool.name not in seen and _shows(tool, labels, writers):
            seen.add(tool.name)
            if tool.name == "K3s or RKE2":
                seen.add("Rancher Fleet")  # the same marks
            yield tool.name, tool.relation
    named = (labels.get(_MANAGED_BY, ""), labels.get(_CREATED_BY, ""))
    for name in dict.fromkeys((*named, *sorted(writers))):
        if not seen and _OPERATOR.fullmatch(name) and not _KNOWN_WRITERS.fullmatch(name):
            yield name, Relation.DECLARES
            return
    if not seen and (marks := sorted(filter(None, map(_marking, labels)))):
        yield marks[0], Relation.DECLARES


def is_tool(manager: str) -> bool:
    """Is this field manager one of the tools that declare or deploy objects, which are told by that?"""
    return any(tool.writers and manager.startswith(tool.writers) for tool in _TOOLS)


def _marking(name: str) -> str:
    """The domain of an operator whose mark this is; empty for any other name."""
    found = _MARK.fullmatch(name)
    domain = (found["domain"] or found["operator"] or "") if found else ""
    return "" if domain in _NO_OPERATORS or domain.startswith("alert-remediator.") else domain


def _writers(manifest: Obj) -> set[str]:
    """Field managers of the spec."""
    return {
        str(entry.get("manager", ""))
        for entry in manifest["metadata"].get("managedFields") or ()
        if not entry.get("subresource") and "f:spec" in (entry.get("fieldsV1") or {})
    }


def _shows(tool: Tool, labels: Mapping[str, str], writers: set[str]) -> bool:
    marked = (
        any(name.startswith(tool.marks) and tool.values.match(str(value)) for name, value in labels.items())
        if tool.marks
        else False
    )
    written = bool(tool.writers) and any(writer.startswith(tool.writers) for writer in writers)
    return marked or written or labels.get(_MANAGED_BY) in tool.managed_by


# Operators, by the API group of their objects.

_OPERATORS = {
    "keda.sh": "KEDA",
    "argoproj.io": "Argo",
    "flagger.app": "Flagger",
    "postgresql.cnpg.io": "CloudNativePG",
    "acid.zalan.do": "Zalando Postgres operator",
    "postgres-operator.crunchydata.com": "Crunchy Postgres operator",
    "monitoring.coreos.com": "Prometheus Operator",
    "kafka.strimzi.io": "Strimzi",
    "core.strimzi.io": "Strimzi",
    "rabbitmq.com": "RabbitMQ operator",
    "serving.knative.dev": "Knative",
    "apps.kruise.io": "OpenKruise",
}
"""By API group; a group that ends in one of `_FAMILIES` counts too."""
_FAMILIES = {"k8s.elastic.co": "Elastic operator", "mongodb.com": "MongoDB operator"}


def tool_of(group: str) -> str:
    """The operator whose objects these are; empty for one that is not known."""
    known = _OPERATORS.get(group)
    return known or next((tool for end, tool in _FAMILIES.items() if group.endswith(end)), "")


# Field managers that are no tools: the cluster's own controllers, and what persons work with.

AUTOMATIC = frozenset(
    {
        "kube-controller-manager",
        "horizontal-pod-autoscaler",
        "kube-scheduler",
        "hyperkube",
        "k3s",
        "kubelite",
        "keda",
        "keda-operator",
        "flagger",
    }
)
"""Controllers of the cluster itself, also where one binary holds them all (k3s, MicroK8s), KEDA and Flagger: an autoscaler or a canary's
controller that scales is no hand on the object."""
_PERSONS = frozenset(
    {
        *("kubectl", "oc", "k9s", "lens", "openlens", "freelens", "headlamp", "headlamp-server"),
        *("kubernetes-dashboard", "dashboard", "rancher", "kubenav", "seabird", "aptakube"),
        *("okteto", "tilt", "telepresence", "mozilla", "node-fetch"),
    }
)
_COMMANDS = ("kubectl-", "oc-")
"""kubectl names each of its commands: kubectl-edit, kubectl-client-side-apply."""
_SERVANTS = ("-operator", "-controller", "-agent", "-proxy")


_BY_ITSELF = re.compile(
    r"cert-manager.*|trust-manager|(?:[a-z]+\.)?external-secrets.*|secrets-store.*|.*reloader|.*reflector|.*replicator|"
    r"(?!sealed)[a-z0-9-]*(?:vault|secrets?)[a-z0-9-]*-(?:operator|injector|agent|manager|provider|webhook|sync(?:er)?)|"
    r"(?:infisical|doppler|onepassword|1password|bitwarden|akeyless|conjur|akv2k8s|azure-key-vault)[a-z0-9.-]*|"
    r"python(?:-kubernetes|-requests)?|openapi-generator|swagger-codegen|pykube.*|lightkube|kr8s|kopf|java|kubernetes[ -]java[ -]client.*|okhttp|"
    r"kubernetes-?client|fabric8.*|ruby|dotnet|kube-rs|go-http-client"
)
"""What renews, refreshes and copies of its own accord, and libraries with which programs write: their counters, their elections, their heartbeat.
The official client of Python calls itself OpenAPI-Generator."""


def writes_by_itself(manager: str) -> bool:
    """A program that writes time and again without anybody's word, as far as its name tells. What carries out what somebody has declared
    (Argo CD, Flux, Helm, an operator) is none."""
    return _BY_ITSELF.fullmatch(manager.lower()) is not None


_DECLARED = re.compile(
    r"argocd.*|(?:kustomize|helm|flux)[a-z0-9-]*|before-first-apply|ansible.*|gitlab.*|jenkins.*|github.*|spinnaker.*"
)
"""What carries out what a person has declared elsewhere, or lets a pipeline carry it out."""


def is_hand(manager: str) -> bool:
    """A person's tool, or one that carries out what a person has declared or lets run, as far as its name tells; nobody's name may be anybody's. A
    program that is not known is no hand for certain, and no machine either."""
    return (
        not manager
        or is_person(manager)
        or is_tool(manager)
        or _DECLARED.fullmatch(manager.lower()) is not None
    )


def is_person(manager: str) -> bool:
    """A person's tool, as far as its name tells; whatever else is a pipeline or a controller."""
    name = manager.lower().removesuffix(".exe")
    if name.endswith(_SERVANTS):
        return False
    return name in _PERSONS or name.startswith(_COMMANDS)
