"""Pod Security: what the levels baseline and restricted refuse, for the fields that simulated workloads have. Pure.

Called by admission. Not all controls: host namespaces, privileged containers, host paths, privilege escalation, capabilities,
running as root and seccomp, with the API server's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.domain.json import Obj

_LABEL = "pod-security.kubernetes.io/enforce"


def violation(labels: Mapping[str, str], spec: Obj) -> str:
    """What the namespace's level refuses in this pod, as the API server says it; empty when nothing."""
    level = labels.get(_LABEL, "privileged")
    if level == "privileged":
        return ""
    found = list(_baseline(spec)) + (list(_restricted(spec)) if level == "restricted" else [])
    return f'"{level}:latest": {", ".join(found)}' if found else ""


def _containers(spec: Obj) -> list[Obj]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def _quoted(containers: list[Obj]) -> str:
    names = ", ".join(f'"{c["name"]}"' for c in containers)
    return f"container{'s' if len(containers) > 1 else ''} {names}"


def _with(spec: Obj, field: str, *bad: object) -> list[Obj]:
    return [c for c in _containers(spec) if c.get("securityContext", {}).get(field) in bad]


def _baseline(spec: Obj) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"host namespaces ({field}=true)"
    if privileged := _with(spec, "privileged", True):
        yield f"privileged ({_quoted(privileged)} must not set securityContext.privileged=true)"
    paths = [v["name"] for v in spec.get("volumes", []) if "hostPath" in v]
    if paths:
        names = ", ".join(f'"{p}"' for p in paths)
        yield f"hostPath volumes (volume {names})"


def _restricted(spec: Obj) -> Iterator[str]:
    if escalating := _with(spec, "allowPrivilegeEscalation", True, None):
        yield (
            f"allowPrivilegeEscalation != false ({_quoted(escalating)} must set "
            "securityContext.allowPrivilegeEscalation=false)"
        )
    drops = [
        c
        for c in _containers(spec)
        if "ALL" not in c.get("securityContext", {}).get("capabilities", {}).get("drop", [])
    ]
    if drops:
        yield f'unrestricted capabilities ({_quoted(drops)} must set securityContext.capabilities.drop=["ALL"])'
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot") and (rooted := _with(spec, "runAsNonRoot", False, None)):
        yield f"runAsNonRoot != true (pod or {_quoted(rooted)} must set securityContext.runAsNonRoot=true)"
    if not pod.get("seccompProfile") and (unconfined := _with(spec, "seccompProfile", None)):
        yield (
            f"seccompProfile (pod or {_quoted(unconfined)} must set securityContext.seccompProfile.type to "
            '"RuntimeDefault" or "Localhost")'
        )
