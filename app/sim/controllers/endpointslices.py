"""The EndpointSlice controller: which addresses get the requests of a Service. Called by the world.

Not modelled: IPv6, zones, a Service with more than 100 addresses, topology hints, native sidecars.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.json import Obj, canonical
from app.domain.target import Kind
from app.sim.controllers.pods import is_ready, is_terminating, owner_reference
from app.sim.objects import Key
from app.sim.selectors import matches
from app.sim.world import World

OF_SERVICE = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
_MANAGER = "kube-controller-manager"
_HEADLESS = "service.kubernetes.io/headless"


class EndpointSlices:
    """Reconciles the slices of one Service: one for each set of ports that its pods have, and an empty one where it has no pods. It writes
    none of somebody else's, and none for a Service without a selector."""

    def __init__(self, world: World) -> None:
        self._world = world

    def reconcile(self, key: Key) -> None:
        """Make the slices of this Service say what its pods are now."""
        service = self._world.store.find(key)
        if service is None or not service["spec"].get("selector"):
            return
        wanted = self._wanted(service)
        mine = list(self._mine(service))
        for old in mine:
            ports = canonical(old["ports"])
            if ports in wanted:
                endpoints = wanted.pop(ports)[1]
                self._world.store.update({**old, "endpoints": endpoints}, _MANAGER)
            elif wanted:
                new = wanted.pop(next(iter(wanted)))
                self._world.store.update({**old, "ports": new[0], "endpoints": new[1]}, _MANAGER)
            else:
                self._world.store.delete(
                    Key(Kind.ENDPOINT_SLICE, key.namespace, str(old["metadata"]["name"]))
                )
        for ports_of, endpoints in wanted.values():
            self._world.store.create(_slice(service, ports_of, endpoints), _MANAGER)

    def _wanted(self, service: Obj) -> dict[str, tuple[list[Obj], list[Obj]]]:
        """Ports and endpoints of each slice there should be, by the ports."""
        selector = {"matchLabels": service["spec"]["selector"]}
        found: dict[str, tuple[list[Obj], list[Obj]]] = {}
        for pod in self._world.store.all(Kind.POD, service["metadata"]["namespace"]):
            status = pod.get("status", {})
            over = status.get("phase") in ("Succeeded", "Failed")
            if over or not status.get("podIP") or not matches(selector, pod["metadata"].get("labels", {})):
                continue
            ports = list(_ports(service, pod))
            found.setdefault(canonical(ports), (ports, []))[1].append(_endpoint(service, pod))
        return found or {canonical([]): ([], [])}

    def _mine(self, service: Obj) -> Iterator[Obj]:
        for one in self._world.store.all(Kind.ENDPOINT_SLICE, service["metadata"]["namespace"]):
            labels = one["metadata"].get("labels", {})
            if labels.get(OF_SERVICE) == service["metadata"]["name"] and labels.get(MANAGED_BY) == CONTROLLER:
                yield one


def _slice(service: Obj, ports: list[Obj], endpoints: list[Obj]) -> Obj:
    name = service["metadata"]["name"]
    labels = {**service["metadata"].get("labels", {}), OF_SERVICE: name, MANAGED_BY: CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    }


def _endpoint(service: Obj, pod: Obj) -> Obj:
    serving, terminating = is_ready(pod), is_terminating(pod)
    early = service["spec"].get("publishNotReadyAddresses") is True
    metadata = pod["metadata"]
    target = {k: metadata[k] for k in ("name", "namespace", "uid")}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": early or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": pod["spec"].get("nodeName"),
        "targetRef": {"kind": "Pod", **target},
    }


def _ports(service: Obj, pod: Obj) -> Iterator[Obj]:
    """The ports under which this pod has what the Service asks for; one that no container names is left out."""
    for port in service["spec"].get("ports", []):
        protocol, target = port.get("protocol", "TCP"), port.get("targetPort", port["port"])
        if isinstance(target, str):
            target = next((p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", [])
                           if p.get("name") == target and p.get("protocol", "TCP") == protocol), None)  # fmt: skip
        if target is not None:
            yield {"name": port.get("name", ""), "port": target, "protocol": protocol}
