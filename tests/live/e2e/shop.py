"""Owns one workload of a test: a Deployment named web with two revisions in a namespace of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.cluster import MARKER
from app.domain.decision import Mode
from app.domain.json import Obj
from app.policy.load import load_policy
from app.policytools.rbac import grants
from remediations import CATALOGUE
from tests.live.stack import FAULT, ControlPlane, Mutation, wait_until
from tests.live.workload import wait_out_last_second

SERVICE_USER = "remediator"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
BAD, GOOD = "registry.test/web:v2", "registry.test/web:v1"
ERRORS = ["INFO started"] + ["ERROR TypeError: connect() got an unexpected keyword argument 'pool_size'"] * 40


def role_rules(namespace: str, *, writes: bool = True, text: str = "") -> list[Obj]:
    """The rules of the role that `remediator rbac` prints for a policy, by default the tests': exactly these rights have to be enough."""
    from tests.live.e2e.service import policy

    loaded = load_policy({"policy.yaml": text or policy()}, CATALOGUE)
    if not writes:
        loaded = loaded.model_copy(update={"mode": Mode.OBSERVE})
    return [grant.rule() for grant in grants(loaded, CATALOGUE, namespace)]


class Shop:
    """The workload, what a person does to it, and what the API server says was done to it."""

    def __init__(self, plane: ControlPlane, *, writes: bool = True) -> None:
        self.plane = plane
        self.namespace = plane.create_namespace("e2e")
        plane.grant(SERVICE_USER, role_rules(self.namespace, writes=writes), self.namespace)

    @property
    def labels(self) -> dict[str, str]:
        """Alert labels that mean this workload."""
        return {"namespace": self.namespace, "deployment": "web", "severity": "critical"}

    def path(self, name: str = "web") -> str:
        """The Deployment's place in the API."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"

    def create(self) -> None:
        """Creates the first revision and waits for its pods."""
        self.begin()
        self.settle()

    def begin(self, replicas: int = 2, image: str = GOOD, memory_request: str = "256Mi") -> None:
        """Creates the first revision."""
        resources = {"limits": {"memory": "512Mi"}, "requests": {"memory": memory_request, "cpu": "100m"}}
        container = {"name": "main", "image": image, "resources": resources}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
        self.plane.create(self.path("").rstrip("/"), manifest)

    def deploy(self, image: str = BAD, **annotations: str) -> None:
        """Rolls out another revision, as a team does; the one before it has run for the second that the tests' policies ask for as
        a proof that it works."""
        stamps = [datetime.fromisoformat(one["metadata"]["creationTimestamp"]) for one in self._revisions()]
        proven = max(stamps, default=datetime.now(UTC)) + timedelta(seconds=1)
        wait_until(lambda: datetime.now(UTC) >= proven, what="the revision before to have run for a second")
        spec = {"containers": [{"name": "main", "image": image}]}
        self.edit({"spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}}})

    def deploy_bad_version(self) -> None:
        """Two revisions, the newer one healthy to look at and full of errors."""
        self.create()
        self.deploy()
        self.settle()
        self.plane.set_logs(self.namespace, "app=web", "main", ERRORS)

    def edit(self, body: Obj, headers: dict[str, str] | None = None) -> None:
        """Changes the Deployment as kubectl edit does."""
        query = {"fieldManager": "kubectl-edit"}
        sent = headers or STRATEGIC
        self.plane.client().patch(self.path(), json=body, headers=sent, params=query).raise_for_status()

    def break_pods(self, fault: str) -> None:
        """Breaks the running pods, and waits for it; pods that come after them are healthy."""
        self.put_fault(fault)
        wait_until(self.broken, what="the pods to break")

    def put_fault(self, fault: str) -> None:
        """Has the running pods break."""
        for pod in self.pods():
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
            body = {"metadata": {"annotations": {FAULT: fault}}}
            self.plane.client().patch(path, json=body, headers=MERGE).raise_for_status()

    def broken(self) -> bool:
        """Whether no pod is ready."""
        return not any(map(_ready, self.pods()))

    def add(self, group_version: str, plural: str, kind: str, spec: Obj) -> None:
        """Creates another object of the name web beside it."""
        manifest = {"apiVersion": group_version, "kind": kind, "metadata": {"name": "web"}, "spec": spec}
        self.plane.create(f"/apis/{group_version}/namespaces/{self.namespace}/{plural}", manifest)

    def add_autoscaler(self) -> None:
        """An HPA that owns the replicas."""
        ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 10}
        self.add("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", spec)

    def get(self, path: str = "") -> Obj:
        """The Deployment, or what is at another path of the API."""
        found: Obj = self.plane.client().get(path or self.path()).raise_for_status().json()
        return found

    def pods(self) -> list[Obj]:
        """The pods of the namespace."""
        found: list[Obj] = self.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return found

    def _revisions(self) -> list[Obj]:
        found: list[Obj] = self.get(f"/apis/apps/v1/namespaces/{self.namespace}/replicasets")["items"]
        return found

    def wait_out_last_second(self) -> None:
        """Waits until the second of the last change of the workload is over.

        The API server stamps whole seconds: a change in the second in which an alert fires counts as made after it.
        """
        wait_out_last_second(self.plane, self.path())

    @property
    def container(self) -> Obj:
        """The container of the Deployment's template."""
        found: Obj = self.get()["spec"]["template"]["spec"]["containers"][0]
        return found

    def settled(self) -> bool:
        """Whether the rollout is complete."""
        found = self.get()
        status, wanted = found["status"], found["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        counts = (status.get("updatedReplicas"), status.get("availableReplicas"), status.get("replicas"))
        return bool(seen and counts == (wanted,) * 3)

    def settle(self) -> None:
        """Waits until the rollout is complete."""
        wait_until(self.settled, 60.0, what="web to settle")

    @property
    def written(self) -> list[Mutation]:
        """What the service's user has changed in the namespace.

        A service that is killed may be gone before the answer, and then the log does not tell whether its write was carried
        out. The object tells: it bears the mark of the write.
        """
        found = self.plane.mutations(user=SERVICE_USER, namespace=self.namespace, include_unanswered=True)
        answered = {mark_of(m) for m in found if m.answered}
        return [m for m in found if m.answered or (mark_of(m) not in answered and self._bears(m))]

    def _bears(self, mutation: Mutation) -> bool:
        mark = mark_of(mutation)
        annotations = self.get(mutation.uri.partition("?")[0])["metadata"].get("annotations", {})
        return mark is not None and annotations.get(MARKER) == mark

    @property
    def dry_run_result(self) -> list[Mutation]:
        """The dry runs of the service's user in the namespace."""
        every = self.plane.mutations(user=SERVICE_USER, namespace=self.namespace, include_dry_run=True)
        return [mutation for mutation in every if mutation.dry_run]

    @property
    def events(self) -> list[Any]:
        """Kubernetes Events that the service has left in the namespace."""
        items = self.get(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")["items"]
        return [event for event in items if event.get("reason") in ("Remediated", "Undone")]


def mark_of(mutation: Mutation) -> str | None:
    """The service's name for this write, of its action or of the undo of it; None when it carries none."""
    operations = mutation.request_object if isinstance(mutation.request_object, list) else []
    marks = [
        op["value"]
        for op in operations
        if op["path"].endswith(f"/{MARKER.replace('/', '~1')}") and "value" in op
    ]
    return marks[0] if marks else None


def _ready(pod: Obj) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
