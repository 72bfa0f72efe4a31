"""Owns what fake pods do: the kwok configuration whose stages write the status of nodes and pods.

A pod becomes Ready at once, or misbehaves as annotations of the pod (so: of the pod template) ask:

    kwok.test/fault            crash       CrashLoopBackOff after an Error
                               flapping    runs, not ready, between two crashes
                               oom         CrashLoopBackOff after OOMKilled
                               image-pull  ImagePullBackOff
                               config      CreateContainerConfigError
                               not-ready   runs, but the readiness probe fails
                               fail        the pod ends as Failed (for Jobs)
                               any other value leaves the pod's status to the test
    kwok.test/fault-container  the only container at fault (default: all)
    kwok.test/restarts         the restartCount of a crashing container (default "5")
    kwok.test/delay            how long the pod takes to reach its state, as "1.5s" (default: at once)
    kwok.test/run-for          how long a Job's pod runs before it succeeds (default: at once)

The annotations can be changed on a running pod too; without the fault the pod heals. An in-place resize
(PATCH pods/NAME/resize) is always carried out at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FAULT = "kwok.test/fault"

_METRICS_PATH = "/metrics/nodes/{nodeName}/metrics/resource"
_ALIVE = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_FAULT_KEY = f'.metadata.annotations["{FAULT}"]'
_HEALTHY = {"key": _FAULT_KEY, "operator": "DoesNotExist"}
_FOR_THE_KUBELET = '.metadata.labels["alert-remediator.io/procedure"]'
"""Pods with this label are run by the test kubelet."""
_OURS = {"key": _FOR_THE_KUBELET, "operator": "DoesNotExist"}
_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'

_HEAD = """
{{ $now := Now }}
{{ $status := or .status dict }}
{{ $annotations := or .metadata.annotations dict }}
{{ $only := or ( index $annotations "kwok.test/fault-container" ) "" }}
{{ $restarts := or ( index $annotations "kwok.test/restarts" ) "5" }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "READY", lastTransitionTime: {{ $now | Quote }}REASON}
- {type: ContainersReady, status: "READY", lastTransitionTime: {{ $now | Quote }}REASON}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
"""

_REASON = ', reason: ContainersNotReady, message: "containers with unready status"'

_INIT_CONTAINERS = """
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
{{ if eq ( or .restartPolicy "" ) "Always" }}
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ else }}
  state:
    terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}
{{ end }}
{{ end }}
"""

# A pod keeps its address: each call of PodIPsWith gives a new one, and a second one is refused.
_TAIL = """
{{ $hostIPs := NodeIPsWith .spec.nodeName }}
{{ with $hostIPs }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ if not $status.podIP }}
{{ $podIPs := PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
{{ with $podIPs }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ end }}
startTime: {{ or $status.startTime $now | Quote }}
"""

# A running container; it keeps its count of restarts, as one does that has healed.
_RUNNING = """
- name: {{ $item.name | Quote }}
  image: {{ $item.image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: {{ $count }}
  resources: {{ $item.resources | toJson }}
  state: {running: {startedAt: {{ $now | Quote }}}}
"""

_FAULTY = """
- name: {{ $item.name | Quote }}
  image: {{ $item.image | Quote }}
  imageID: ""
  ready: false
  started: false
"""


# What the kubelet would report beside the status.
_EVENTS = {
    "crash": ("BackOff", "Back-off restarting failed container"),
    "flapping": ("BackOff", "Back-off restarting failed container"),
    "oom": ("BackOff", "Back-off restarting failed container"),
    "image-pull": (
        "Failed",
        "Failed to pull image: rpc error: code = NotFound desc = failed to pull and unpack image: manifest unknown",
    ),
    "config": ("Failed", 'Error: configmap "settings" not found'),
    "not-ready": ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
}


def _containers(faulty: str) -> str:
    """The container statuses: those at fault get the given text, the others run."""
    return (
        """
containerStatuses:
{{ range $index, $item := .spec.containers }}
{{ $count := 0 }}
{{ range $status.containerStatuses }}
{{ if eq .name $item.name }}{{ $count = .restartCount }}{{ end }}
{{ end }}
{{ if or ( not $only ) ( eq $item.name $only ) }}
"""
        + faulty
        + "{{ else }}"
        + _RUNNING
        + "{{ end }}\n{{ end }}\n"
    )


def _status(phase: str, containers: str, *, ready: bool) -> str:
    head = _HEAD.replace("READY", str(ready)).replace("REASON", "" if ready else _REASON)
    return head + containers + _INIT_CONTAINERS + _TAIL + f"phase: {phase}\n"


def _terminated(code: int, reason: str) -> str:
    times = "startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}"
    return f"terminated: {{exitCode: {code}, reason: {reason}, {times}}}"


def _waiting(reason: str, message: str) -> str:
    return (
        f"  restartCount: {{{{ $count }}}}\n  state: {{waiting: {{reason: {reason}, message: {message}}}}}\n"
    )


def _crashed(code: int, reason: str) -> str:
    message = '"back-off 5m0s restarting failed container"'
    return (
        "  restartCount: {{ $restarts }}\n"
        f"  state: {{waiting: {{reason: CrashLoopBackOff, message: {message}}}}}\n"
        f"  lastState: {{{_terminated(code, reason)}}}\n"
    )


def _stage(kind: str, name: str, conditions: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            **spec,
        },
    }


def _after(annotation: str) -> dict[str, Any]:
    source = {"expressionFrom": f'.metadata.annotations["{annotation}"]'}
    return {"durationMilliseconds": 0, "durationFrom": source}


def _fault_stage(fault: str, phase: str, faulty: str, not_yet: tuple[str, str]) -> dict[str, Any]:
    """A stage that applies until the status shows the fault, so also to pods that get it later."""
    path, value = not_yet
    conditions: list[dict[str, Any]] = [
        _ALIVE,
        {"key": _FAULT_KEY, "operator": "In", "values": [fault]},
        {"key": ".status.phase", "operator": "In", "values": ["Pending", "Running"]},
        {"key": path, "operator": "NotIn", "values": [value]},
    ]
    template = _status(phase, _containers(_FAULTY + faulty), ready=False)
    next_: dict[str, Any] = {"statusTemplate": template}
    if fault in _EVENTS:
        reason, message = _EVENTS[fault]
        next_["event"] = {"type": "Warning", "reason": reason, "message": message}
    return _stage("Pod", f"pod-{fault}", conditions, delay=_after("kwok.test/delay"), next=next_)


def _fault_stages() -> list[dict[str, Any]]:
    last = ".status.containerStatuses.[].lastState.terminated.reason"
    waiting = ".status.containerStatuses.[].state.waiting.reason"
    pull = '{{ printf "Back-off pulling image %q" $item.image | Quote }}'
    running = "  restartCount: {{ $count }}\n  state: {running: {startedAt: {{ $now | Quote }}}}\n"
    flapping = running.replace("$count", "$restarts") + f"  lastState: {{{_terminated(1, 'Error')}}}\n"
    failed = "  restartCount: 0\n  state: {" + _terminated(1, "Error") + "}\n"
    config = _waiting("CreateContainerConfigError", '"configmap \\"settings\\" not found"')
    return [
        _fault_stage("crash", "Running", _crashed(1, "Error"), (last, "Error")),
        _fault_stage("flapping", "Running", flapping, (last, "Error")),
        _fault_stage("oom", "Running", _crashed(137, "OOMKilled"), (last, "OOMKilled")),
        _fault_stage(
            "image-pull", "Pending", _waiting("ImagePullBackOff", pull), (waiting, "ImagePullBackOff")
        ),
        _fault_stage("config", "Pending", config, (waiting, "CreateContainerConfigError")),
        _fault_stage("not-ready", "Running", running, (_READY, "False")),
        _fault_stage("fail", "Failed", failed, (".status.phase", "Failed")),
    ]


def _healthy_stages() -> list[dict[str, Any]]:
    running = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
    begun = {"key": ".status.phase", "operator": "In", "values": ["Pending", "Running"]}
    not_ready = {"key": _READY, "operator": "NotIn", "values": ["True"]}
    of_job = {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": ["Job"]}
    resized = {
        "key": "[.spec.containers[].resources // {}] == [.status.containerStatuses[].resources // {}]",
        "operator": "In",
        "values": ["false"],
    }
    is_ready = {"key": _READY, "operator": "In", "values": ["True"]}
    ready = _status("Running", _containers(_RUNNING), ready=True)
    done = _FAULTY + "  restartCount: {{ $count }}\n  state: {" + _terminated(0, "Completed") + "}\n"
    succeeded = _status("Succeeded", _containers(done), ready=False).replace(
        "ContainersNotReady", "PodCompleted"
    )
    ready_next = {"statusTemplate": ready}
    delay = _after("kwok.test/delay")
    return [
        _stage("Pod", "pod-ready", [_ALIVE, _HEALTHY, _OURS, begun, not_ready], delay=delay, next=ready_next),
        _stage("Pod", "pod-resize", [_ALIVE, _HEALTHY, running, is_ready, resized], next=ready_next),
        _stage(
            "Pod",
            "pod-complete",
            [_ALIVE, _HEALTHY, running, of_job, is_ready],
            delay=_after("kwok.test/run-for"),
            # A Job's pod is also one that could be resized: this stage wins.
            weight=1,
            next={"statusTemplate": succeeded},
        ),
        _stage(
            "Pod",
            "pod-delete",
            [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}],
            next={"delete": True},
        ),
    ]


_NODE_STATUS = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ .metadata.name | Quote }}}
daemonEndpoints: {kubeletEndpoint: {Port: {{ NodePort }}}}
allocatable: {cpu: "64", memory: 256Gi, pods: "500"}
capacity: {cpu: "64", memory: 256Gi, pods: "500"}
nodeInfo:
  architecture: amd64
  bootID: ""
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  kubeProxyVersion: ""
  kubeletVersion: kwok
  machineID: ""
  operatingSystem: linux
  osImage: kwok
  systemUUID: ""
phase: Running
"""


def _node_stage() -> dict[str, Any]:
    not_ready = {"key": _READY, "operator": "NotIn", "values": ["True"]}
    return _stage("Node", "node-ready", [not_ready], next={"statusTemplate": _NODE_STATUS})


def node_annotations(name: str) -> dict[str, str]:
    """Marks a node as kwok's, and tells metrics-server where its numbers are."""
    return {
        "kwok.x-k8s.io/node": "fake",
        "metrics.k8s.io/resource-metrics-path": _METRICS_PATH.format(nodeName=name),
    }


def _usage_expression(resource: str, default: str) -> dict[str, str]:
    key = f"kwok.x-k8s.io/usage-{resource}"
    given = f'Quantity(pod.metadata.annotations["{key}"])'
    return {"expression": f'"{key}" in pod.metadata.annotations ? {given} : Quantity("{default}")'}


def _metric(name: str, dimension: str, kind: str, value: str) -> dict[str, Any]:
    names = {"namespace": "pod.metadata.namespace", "pod": "pod.metadata.name", "container": "container.name"}
    wanted = {"node": (), "pod": ("namespace", "pod"), "container": ("namespace", "pod", "container")}[
        dimension
    ]
    labels = [{"name": label, "value": names[label]} for label in wanted]
    metric = {"name": name, "dimension": dimension, "help": name, "kind": kind, "value": value}
    return {**metric, "labels": labels} if labels else metric


def _usage_documents() -> list[dict[str, Any]]:
    """What pods use, and the kubelet's page that shows it."""
    metrics = [
        _metric("container_start_time_seconds", "container", "gauge", "pod.SinceSecond()"),
        _metric(
            "container_cpu_usage_seconds_total",
            "container",
            "counter",
            'pod.CumulativeUsage("cpu", container.name)',
        ),
        _metric(
            "container_memory_working_set_bytes", "container", "gauge", 'pod.Usage("memory", container.name)'
        ),
        _metric("pod_cpu_usage_seconds_total", "pod", "counter", 'pod.CumulativeUsage("cpu")'),
        _metric("pod_memory_working_set_bytes", "pod", "gauge", 'pod.Usage("memory")'),
        _metric("node_cpu_usage_seconds_total", "node", "counter", 'node.CumulativeUsage("cpu")'),
        _metric("node_memory_working_set_bytes", "node", "gauge", 'node.Usage("memory")'),
    ]
    usage = {"cpu": _usage_expression("cpu", "1m"), "memory": _usage_expression("memory", "1Mi")}
    group = {"apiVersion": "kwok.x-k8s.io/v1alpha1"}
    return [
        {
            **group,
            "kind": "ClusterResourceUsage",
            "metadata": {"name": "use"},
            "spec": {"usages": [{"usage": usage}]},
        },
        {
            **group,
            "kind": "Metric",
            "metadata": {"name": "resource"},
            "spec": {"path": _METRICS_PATH, "metrics": metrics},
        },
    ]


def write_config(path: Path, empty_log: Path) -> None:
    """Writes kwok's configuration; a container without a log of its own shows the empty one."""
    logs = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "silent"},
        "spec": {"logs": [{"logsFile": str(empty_log), "previousLogsFile": str(empty_log)}]},
    }
    documents = [_node_stage(), *_healthy_stages(), *_fault_stages(), logs, *_usage_documents()]
    # JSON is YAML too, and needs no library to write.
    path.write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents), "utf-8")


def logs_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of Logs, by which a pod's log files are named while kwok runs."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Logs", "listKind": "LogsList", "plural": "logs", "singular": "logs"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "logs.kwok.x-k8s.io"},
        "spec": {"group": "kwok.x-k8s.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }
