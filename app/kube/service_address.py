"""Where a Service of the target's own namespace answers HTTP: the only hosts that a health check may ask.

Pure; works on a Service's manifest. What leads out of the cluster, or to pods of somebody else, has no address: an ExternalName is any
host of anybody's choice, a Service without selector has endpoints that somebody wrote by hand.
"""

from __future__ import annotations

from app.domain.http_check import HttpAddress
from app.domain.json import Obj
from app.domain.workload import Workload


def address_of(service: Obj, workload: Workload, port: int | None, path: str) -> HttpAddress | str:
    """The address to ask, or why there is none. `port` is one of the Service's ports; None: its only one."""
    meta, spec = service["metadata"], service.get("spec") or {}
    name, namespace = meta["name"], workload.target.namespace
    if meta.get("namespace") != namespace:
        return f"Service {name} is not in the namespace {namespace}"
    if spec.get("type") == "ExternalName" or spec.get("externalName"):
        return f"Service {name} is an ExternalName: it leads out of the cluster"
    selector = spec.get("selector") or {}
    if not selector:
        return f"Service {name} has no selector: its endpoints are written by hand"
    if not selector.items() <= workload.pod_labels.items():
        return f"Service {name} does not choose the pods of {workload.target}"
    ip = spec.get("clusterIP", "")
    if not ip or ip == "None":
        return f"Service {name} has no cluster IP"
    ports = [p["port"] for p in spec.get("ports") or () if p.get("protocol", "TCP") == "TCP"]
    if port is None and len(ports) == 1:
        port = ports[0]
    if port is None or port not in ports:
        wanted = "which port is not said" if port is None else f"it has no port {port}"
        return f"Service {name} has the ports {', '.join(map(str, ports)) or 'none'}, and {wanted}"
    return HttpAddress(namespace, name, ip, port, path)
