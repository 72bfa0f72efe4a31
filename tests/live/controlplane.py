"""Owns a real Kubernetes control plane on loopback, with fake nodes and the audit log as a witness."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import ssl
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.live import audit, kwok
from tests.live.build import binary
from tests.live.podlogs import Line, PodLogs
from tests.live.process import Process, free_ports, port_open, stop_all, wait_until

# EC key in DER up to the private scalar, and after it: SEC 1 without the public point, which can be left out.
_EC_HEAD = bytes.fromhex("30310201010420")
_EC_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")

_ADMINS = ("admin", *audit.COMPONENTS)
PARTS = ("etcd", "kubernetes", "kwok")


class ControlPlane:
    """etcd, kube-apiserver, controller-manager, scheduler and kwok.

    User admin is in system:masters. The other users (by default remediator and outsider) may do nothing
    until a test calls grant(). `controllers` is what the controller-manager runs: `*,-NAME` is all but one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        nodes: int = 3,
        users: Mapping[str, Sequence[str]] | None = None,
        controllers: str = "*",
    ) -> None:
        self._data = Path(tempfile.mkdtemp(prefix="live-control-plane-"))
        self.folder = folder or self._data / "logs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._controllers = controllers
        self.nodes = [f"node-{number}" for number in range(1, nodes + 1)]
        self._groups: dict[str, Sequence[str]] = dict.fromkeys(_ADMINS, ("system:masters",))
        self._groups |= users if users is not None else {"remediator": (), "outsider": ()}
        self._tokens = {user: secrets.token_hex(16) for user in self._groups}
        self._clients: dict[str, httpx.Client] = {}
        self._ports = free_ports(4)
        self.processes: dict[str, Process] = {}
        self._audit = audit.AuditLog(self.folder / "audit.log")
        self._logs = PodLogs(self._data / "podlogs")

    # -- addresses and identities -----------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address of the API server."""
        return f"https://127.0.0.1:{self._ports[2]}"

    @property
    def ca_file(self) -> Path:
        """The certificates to verify the API server by."""
        return self._data / "certs" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one event a line."""
        return self._audit.path

    def token(self, user: str) -> str:
        """The bearer token of a user."""
        return self._tokens[user]

    def kubeconfig(self, user: str = "admin") -> Path:
        """A kubeconfig file for a user."""
        path = self._data / f"{user}.kubeconfig"
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        context = {"cluster": "live", "user": user}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "live",
            "clusters": [{"name": "live", "cluster": cluster}],
            "contexts": [{"name": "live", "context": context}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
        }
        path.write_text(json.dumps(config, indent=1), "utf-8")
        return path

    def client(self, user: str = "admin") -> httpx.Client:
        """An HTTP client that speaks to the API server as the user; closed with the control plane."""
        if user not in self._clients:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            headers = {"Authorization": f"Bearer {self.token(user)}"}
            self._clients[user] = httpx.Client(
                base_url=self.url, headers=headers, verify=context, timeout=30.0, trust_env=False
            )
        return self._clients[user]

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts everything; returns when the nodes are Ready."""
        try:
            self._start_etcd()
            self._start_apiserver()
            self._create_objects()
            self._start_controllers()
            self._start_kwok()
            self._wait_for_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends everything and removes the data; logs in a folder of the caller's stay."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        stop_all([process for name, process in self.processes.items() if name != "etcd"])
        # Last, so that nobody logs pages of errors about its loss.
        stop_all([process for name, process in self.processes.items() if name == "etcd"])
        shutil.rmtree(self._data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raises when one of the servers has exited."""
        for process in self.processes.values():
            process.check()

    def _run(self, name: str, *flags: str) -> Process:
        process = Process([binary(name), *flags], self.folder / f"{name}.log").start()
        self.processes[name] = process
        return process

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports[:2])
        etcd = self._run(
            "etcd",
            f"--data-dir={self._data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # The data need not outlive the machine's next crash.
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        etcd.wait_for_port(self._ports[0])

    def _start_apiserver(self) -> None:
        key = self._write_signing_key()
        audit.write_policy(self._data / "audit-policy.yaml")
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._ports[0]}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._ports[2]}",
            f"--cert-dir={self._data / 'certs'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--token-auth-file={self._write_tokens()}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://live.test",
            # A loopback address is refused as an endpoint of the kubernetes Service.
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={self._data / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            # Megabytes; a rotated log would lose its beginning to us.
            "--audit-log-maxsize=10000",
        )
        wait_until(self._ready, 60.0, what="kube-apiserver", ignoring=(httpx.TransportError, OSError))

    def _ready(self) -> bool:
        self.check()
        return self.client().get("/readyz").is_success

    def _write_signing_key(self) -> Path:
        # The top bit is cleared, which keeps the number below the curve's order.
        scalar = bytes([secrets.randbelow(127) + 1]) + os.urandom(31)
        der = base64.encodebytes(_EC_HEAD + scalar + _EC_TAIL).decode()
        path = self._data / "service-accounts.pem"
        path.write_text(f"-----BEGIN EC PRIVATE KEY-----\n{der}-----END EC PRIVATE KEY-----\n", "utf-8")
        return path

    def _write_tokens(self) -> Path:
        path = self._data / "tokens.csv"
        rows = [
            f'{self.token(user)},{user},{user},"{",".join(groups)}"' for user, groups in self._groups.items()
        ]
        path.write_text("\n".join(rows) + "\n", "utf-8")
        return path

    def _create_objects(self) -> None:
        definition = kwok.logs_definition()
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        for number, name in enumerate(self.nodes):
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
            labels["topology.kubernetes.io/zone"] = f"zone-{number % 3}"
            metadata = {"name": name, "labels": labels, "annotations": kwok.node_annotations(name)}
            self.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})

    def _start_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--controllers={self._controllers}",
            f"--service-account-private-key-file={self._data / 'service-accounts.pem'}",
            # 15 s would be most of a test's time.
            "--horizontal-pod-autoscaler-sync-period=2s",
            # A busy machine must not look like the death of a node.
            "--node-monitor-grace-period=10m",
        )
        self._run(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _start_kwok(self) -> None:
        empty = self._data / "empty.log"
        empty.touch()
        config = self._data / "kwok.yaml"
        kwok.write_config(config, empty)
        logs = "/apis/kwok.x-k8s.io/v1alpha1/logs"
        wait_until(lambda: self.client().get(logs).is_success, what="the definition of Logs")
        port = self._ports[3]
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig('kwok')}",
            f"--config={config}",
            "--manage-all-nodes=true",
            "--enable-crds=Logs",
            "--node-ip=127.0.0.1",
            # Without a name of the node it loses its address.
            "--node-name=localhost",
            f"--node-port={port}",
            f"--server-address=127.0.0.1:{port}",
            # The API server does not verify a kubelet's certificate, so its own will do.
            f"--tls-cert-file={self.ca_file}",
            f"--tls-private-key-file={self.ca_file.with_suffix('.key')}",
        )

    def _wait_for_nodes(self) -> None:
        def all_ready() -> bool:
            self.check()
            nodes = self.client().get("/api/v1/nodes").raise_for_status().json()["items"]
            # The taint of a new node goes when the controller-manager has seen it Ready.
            return all(_is_ready(node) and not node["spec"].get("taints") for node in nodes)

        wait_until(all_ready, 60.0, what="the nodes")
        wait_until(lambda: port_open(self._ports[3]), what="kwok's server")

    # -- what tests do -----------------------------------------------------------------------------

    def create(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object as admin by POST to the collection's path, and returns it."""
        answer = self.client().post(path, json=manifest)
        if not answer.is_success:
            raise RuntimeError(f"POST {path}: {answer.status_code} {answer.text}")
        created: dict[str, Any] = answer.json()
        if created.get("kind") == "ResourceQuota":
            return self._counted(f"{path}/{created['metadata']['name']}")
        return created

    def _counted(self, path: str) -> dict[str, Any]:
        """Until its controller has written status.hard, admission passes by a quota, and pods are made that it should refuse."""

        def counted() -> dict[str, Any]:
            quota: dict[str, Any] = self.client().get(path).raise_for_status().json()
            status = quota.get("status") or {}
            return quota if status.get("hard") and status.get("used") else {}

        return wait_until(counted, 120, what=f"{path} to be counted")

    def create_namespace(self, prefix: str = "test") -> str:
        """Creates a namespace of a new name and returns the name."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        return name

    def grant(self, user: str, rules: Sequence[Mapping[str, Any]], namespace: str | None = None) -> str:
        """Lets the user do what the RBAC rules say, in a namespace or everywhere; returns the role's name."""
        group = "rbac.authorization.k8s.io"
        scope = "" if namespace else "Cluster"
        name = f"{user}-{secrets.token_hex(3)}"
        base = f"/apis/{group}/v1" + (f"/namespaces/{namespace}" if namespace else "")
        common = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
        self.create(f"{base}/{scope.lower()}roles", {**common, "kind": f"{scope}Role", "rules": list(rules)})
        binding = {
            **common,
            "kind": f"{scope}RoleBinding",
            "roleRef": {"apiGroup": group, "kind": f"{scope}Role", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
        self.create(f"{base}/{scope.lower()}rolebindings", binding)
        return name

    def set_logs(
        self, namespace: str, target: str, container: str, lines: Sequence[Line], *, previous: bool = False
    ) -> list[str]:
        """Sets what a container has logged, of one pod by name or of all pods that a label selector matches."""
        return self._logs.set(self.client(), (namespace, target, container), lines, previous=previous)

    def audit_events(self) -> list[dict[str, Any]]:
        """All audit events up to now, including those of requests that were answered just now."""
        mark = str(uuid.uuid4())
        # The log is written after the answer is sent: wait for a request of our own to show up in it.
        self.client().get("/version", headers={"Audit-ID": mark}).raise_for_status()

        def marked() -> list[dict[str, Any]]:
            events = self._audit.events()
            return events if any(event["auditID"] == mark for event in reversed(events)) else []

        events = wait_until(marked, what="the audit log", interval=0.01)
        return [event for event in events if event.get("requestURI") != "/version"]

    def mutations(
        self,
        *,
        user: str | None = None,
        namespace: str | None = None,
        include_dry_run: bool = False,
        include_unanswered: bool = False,
    ) -> list[audit.Mutation]:
        """The accepted write requests, without those of the cluster's own parts."""
        return audit.find_mutations(
            self.audit_events(),
            user=user,
            namespace=namespace,
            include_dry_run=include_dry_run,
            include_unanswered=include_unanswered,
        )


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
