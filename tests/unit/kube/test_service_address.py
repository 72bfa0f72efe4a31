"""Which Services a health check may ask: those of the target's own namespace that choose its pods, by their cluster IP."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.http_check import HttpAddress
from app.domain.target import Kind, Target
from app.kube.parse import parse_workload
from app.kube.service_address import address_of
from tests.orders import orders_world

MANIFESTS: dict[tuple[str, str], Any] = {
    (o["kind"], o["metadata"]["name"]): o for o in orders_world().objects
}
PLAIN: dict[str, Any] = {"clusterIP": "10.96.7.12", "selector": {"app": "langgraph"}, "ports": [{"port": 80}]}


def asked(port: int | None = None, namespace: str = "rag7", **spec: Any) -> HttpAddress | str:
    manifest: Any = MANIFESTS["Deployment", "langgraph"]
    meta = {**manifest["metadata"], "namespace": "rag7", "uid": "u", "resourceVersion": "1"}
    target = Target("rag7", Kind.DEPLOYMENT, "langgraph")
    workload = parse_workload(target, {**manifest, "metadata": meta})
    service = {"metadata": {"name": "web", "namespace": namespace}, "spec": {**PLAIN, **spec}}
    return address_of(service, workload, port, "/health")


def test_the_only_port_of_a_plain_service_is_asked_at_its_cluster_ip() -> None:
    assert asked() == HttpAddress("rag7", "web", "10.96.7.12", 80, "/health")
    assert str(asked()) == "http://web.rag7:80/health"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"namespace": "kube-system"}, "not in the namespace rag7"),
        ({"type": "ExternalName", "externalName": "169.254.169.254"}, "leads out of the cluster"),
        ({"selector": {}}, "written by hand"),
        ({"selector": {"app": "postgres"}}, "does not choose the pods"),
        ({"clusterIP": "None"}, "no cluster IP"),
        ({"clusterIP": ""}, "no cluster IP"),
        ({"port": 6443}, "no port 6443"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "which port is not said"),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, "which port is not said"),
    ],
)
def test_what_leads_elsewhere_has_no_address(spec: dict[str, Any], says: str) -> None:
    assert says in str(asked(**spec))
