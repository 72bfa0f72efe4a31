"""Pods that the kubelet turned down although the scheduler gave it them, and what of a template can bring that. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.domain.workload import Pod
from app.kube.quoted import told_by
from remediations.causes import demands, sizes
from remediations.causes.model import RECENT, Cause, CauseCode, Demand, Snapshot, Sureness, earliest
from remediations.causes.outgrown import PUT_OUT, ended_at
from remediations.evidence.usage import count


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Why the kubelet turns down a pod that the scheduler gave it: what a person does, and what of the template can bring it."""

    reasons: re.Pattern[str]
    advice: str
    fields: tuple[str, ...] = ()
    demands: tuple[Demand, ...] = ()


_SIZES = ("nodeName",), tuple(sizes.asked(name) for name in ("cpu", "memory", "ephemeral-storage"))
_REJECTIONS = (
    _Rejection(re.compile(r"OutOf.+|InsufficientResource.*"), "free room on node {node}, or ask for less; a pod with nodeName is not scheduled", *_SIZES),
    _Rejection(re.compile(r"UnexpectedAdmissionError"), "repair the device or its plugin on node {node}, or cordon the node", ("nodeName", *sizes.RESOURCES)),
    _Rejection(re.compile(r"\w*AffinityError|SMTAlignmentError"), "let node {node} align it (topology manager), or ask for other amounts", ("nodeName", *sizes.RESOURCES), _SIZES[1]),
    _Rejection(re.compile(r"NodeAffinity|NodeName|TaintToleration|PodOS.*"), "label node {node} as the pod wants it, or change what the pod wants",
               ("nodeName", "os"), (demands.selected_nodes(), demands.dropped("tolerations"))),
    _Rejection(re.compile(r"NodePorts|HostPortConflict"), "free the host port on node {node}, or do without it", (), (demands.host_ports(),)),
    _Rejection(re.compile(r"Sysctl.*|AppArmor|.*Unsupported|.*NotSupported|Forbidden.*"), "allow it on node {node}, or do without it",
               ("securityContext", "containers[*].securityContext", "annotations")),
    _Rejection(re.compile(r"VolumeAttachmentLimit.*"), "free a volume on node {node}", ()),
    _Rejection(re.compile(r"DeadlineExceeded"), "take activeDeadlineSeconds out of the pod template", ("activeDeadlineSeconds",)),
)  # fmt: skip
_OTHER = _Rejection(re.compile(""), "look at the kubelet of node {node}", ("*",))


def rejections(seen: Snapshot) -> Iterator[Cause]:
    """Pods that the kubelet has turned down lately; one cause a reason."""
    by_reason: dict[str, list[Pod]] = {}
    for pod in seen.pods:
        told = pod.message.startswith("Pod was rejected") or any(
            r.reasons.fullmatch(pod.reason) for r in _REJECTIONS
        )
        if (
            pod.phase == "Failed"
            and told
            and pod.reason not in PUT_OUT
            and _failed_at(pod) >= seen.now - RECENT
        ):
            by_reason.setdefault(pod.reason, []).append(pod)
    for reason, pods in by_reason.items():
        meaning = next((r for r in _REJECTIONS if r.reasons.fullmatch(reason)), _OTHER)
        first = pods[0]
        said = told_by(first.message.removeprefix("Pod was rejected: "), 250)
        node = f"node {first.node}" if first.node else "its node"
        does = "ended" if reason == "DeadlineExceeded" else "rejected"
        yield Cause(
            code=CauseCode.REJECTED,
            object=f"Pod {first.name}" if does == "ended" or not first.node else f"Node {first.node}",
            sureness=Sureness.CERTAIN,
            text=f"the kubelet of {node} {does} {count(len(pods), 'pod')} ({reason}): {said}",
            advice=meaning.advice.replace("{node}", first.node or "of the pod"),
            pods=tuple(p.name for p in pods),
            fields=meaning.fields,
            demands=_named(reason, meaning.demands),
            since=earliest([_failed_at(p) for p in pods]),
        )


def _named(reason: str, tests: tuple[Demand, ...]) -> tuple[Demand, ...]:
    """Of several resources the one that the reason names, as `OutOfcpu` does."""
    name = reason.removeprefix("OutOf")
    return (sizes.asked(name),) if name != reason else tests


def _failed_at(pod: Pod) -> datetime:
    """When a pod failed: of one that the kubelet never took, when it was made."""
    ended: datetime | None = ended_at(pod)
    return ended or pod.created_at
