"""Why a container does not get its image: the registry's words, told apart. Pure.

What stands in the way decides who can repair it: a tag that does not exist came with a template, a registry that is away or
limits us did not, and a denied pull mostly lacks a pull Secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.domain.redact import redact
from app.domain.target import Kind
from app.domain.workload import ConfigRef, ContainerState, Pod
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness
from remediations.evidence.units import short

WAITING = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_ARCHITECTURE = re.compile(
    r"no match(?:ing manifest)? for (?:platform|linux|windows)|no matching manifest|does not match the (?:specified|detected) (?:platform|host)",
    re.IGNORECASE,
)
_LIMITED = re.compile(r"toomanyrequests|too many requests|rate.?limit|\b429\b", re.IGNORECASE)
_AWAY = re.compile(
    r"i/o timeout|no such host|connection refused|connection reset|tls handshake|x509|deadline exceeded|unexpected eof|network is unreachable|no route to host|service unavailable|\b50[0234]\b|server misbehaving|registry is unavailable",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"unauthori[sz]ed|authentication required|access denied|\bdenied\b|no basic auth|insufficient_scope|forbidden|\b40[13]\b|authorization failed",
    re.IGNORECASE,
)
_MISSING = re.compile(r"not ?found|manifest unknown|name unknown|no such image|does not exist", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pull:
    """One container that waits for its image, and what was said about it."""

    pod: Pod
    state: ContainerState
    image: str
    said: str


def pull_of(seen: Snapshot, pod: Pod, state: ContainerState) -> Pull:
    """Put together what the state and the events say; the longest is the registry's."""
    image = next((s.image for s in pod.specs if s.name == state.name), "")
    told = [
        e.message
        for e in seen.about("Pod", pod.name, "Failed", "InspectFailed")
        if e.container in ("", state.name)
    ]
    texts = [t for t in (state.waiting_message, *told) if image in t or "pull" in t.lower()] or [
        state.waiting_message
    ]
    return Pull(pod, state, image, short(redact(max(texts, key=len)), 400))


def image_cause(seen: Snapshot, pull: Pull) -> Cause:
    """What keeps this container from its image."""
    missing = missing_pull_secrets(seen, pull.pod)
    where = (
        f"containers[{pull.state.name}].image"
        if not pull.state.init
        else f"initContainers[{pull.state.name}].image"
    )
    code, why, advice, fields = _meaning(pull, where)
    if missing and code in (CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING):
        return _secret(seen, pull, missing)
    said = f": {pull.said}" if pull.said else ""
    return Cause(
        code=code,
        object=f"image {pull.image}",
        sureness=Sureness.CERTAIN,
        text=f"container {pull.state.name} cannot get image {pull.image} ({pull.state.waiting}), {why}{said}",
        advice=advice,
        pods=(pull.pod.name,),
        fields=fields,
        objects=tuple((Kind.SECRET, n) for n in pull_secrets(seen, pull.pod))
        if code is CauseCode.IMAGE_DENIED
        else (),
        container=pull.state.name,
    )


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the registry's words mean. In its texts `{image}`, `{host}` and `{said}` are filled in; `fields` follow the path of
    the image, `#registry` and `#repository` count only a change of that part."""

    words: re.Pattern[str]
    code: CauseCode
    why: str
    advice: str
    fields: tuple[str, ...]
    more: tuple[str, ...] = ()


_MEANINGS = (
    _Meaning(_ARCHITECTURE, CauseCode.ARCHITECTURE, "because it is not built for the node's architecture",
             "build {image} for the node's architecture, or choose nodes of another one", ("",), ("nodeSelector", "affinity")),
    _Meaning(_LIMITED, CauseCode.REGISTRY, "because registry {host} limits our pulls",
             "wait, or pull from {host} with an account or through a mirror", ("#registry",)),
    _Meaning(_DENIED, CauseCode.IMAGE_DENIED, "because registry {host} denies it",
             "give the pods a valid imagePullSecret for {host}, or the account the right to pull {image}", ("#repository",),
             ("imagePullSecrets", "serviceAccountName")),
    _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because it does not exist", "push image {image} or set one that exists ({said})", ("",)),
    _Meaning(_AWAY, CauseCode.REGISTRY, "because registry {host} cannot be reached", "restore the way to registry {host}", ("#registry",)),
)  # fmt: skip
_BY_REASON = {
    "InvalidImageName": _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because that is no valid name", "correct the image name {image}", ("",)),
    "ErrImageNeverPull": _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because imagePullPolicy is Never and the node does not have it",
                                  "put image {image} on the nodes, or let it be pulled", ("", "PullPolicy")),
}  # fmt: skip
_UNSAID = _Meaning(
    _MISSING,
    CauseCode.IMAGE_MISSING,
    "and the registry did not say why",
    "push image {image} or set one that exists (no words from the registry)",
    ("",),
)


def _meaning(pull: Pull, where: str) -> tuple[CauseCode, str, str, tuple[str, ...]]:
    found = _BY_REASON.get(pull.state.waiting) or next(
        (m for m in _MEANINGS if m.words.search(pull.said)), _UNSAID
    )
    words = {"{image}": pull.image, "{host}": registry_of(pull.image), "{said}": pull.said}
    why, advice = found.why, found.advice
    for name, value in words.items():
        why, advice = why.replace(name, value), advice.replace(name, value)
    return found.code, why, advice, (*(f"{where}{part}" for part in found.fields), *found.more)


def _secret(seen: Snapshot, pull: Pull, missing: list[str]) -> Cause:
    namespace, names = seen.workload.target.namespace, ", ".join(missing)
    word = "imagePullSecret" if len(missing) == 1 else "imagePullSecrets"
    said = f" ({pull.said})" if pull.said else ""
    return Cause(
        code=CauseCode.PULL_SECRET,
        object=f"Secret {missing[0]}",
        sureness=Sureness.CERTAIN,
        text=f"{word} {names} does not exist, so container {pull.state.name} cannot get image {pull.image}{said}",
        advice=f"create Secret {names} (type kubernetes.io/dockerconfigjson) in namespace {namespace}; the pods start by themselves then",
        pods=(pull.pod.name,),
        fields=("imagePullSecrets", "serviceAccountName"),
        objects=tuple((Kind.SECRET, n) for n in missing),
        needs=tuple(ConfigRef(Kind.SECRET, n) for n in missing),
        container=pull.state.name,
    )


def pull_secrets(seen: Snapshot, pod: Pod) -> list[str]:
    """Names of the pull Secrets of a pod; admission has put those of its ServiceAccount into its spec already."""
    own = (seen.specs.get(pod.name) or seen.spec).get("imagePullSecrets") or ()
    accounts = (seen.service_account or {}).get("imagePullSecrets") or ()
    return list(dict.fromkeys(s["name"] for s in (*own, *accounts) if s.get("name")))


_NOT_RETRIEVED = re.compile(r"Unable to retrieve some image pull secrets \(([^)]*)\)")


def missing_pull_secrets(seen: Snapshot, pod: Pod) -> list[str]:
    """Those that do not exist, as far as it can be known: by a look at them, or from the kubelet's own words."""
    named = pull_secrets(seen, pod)
    known = [n for n in named if (k := seen.kept.get((Kind.SECRET, n))) is not None and k.keys is None]
    for event in seen.about("Pod", pod.name, "FailedToRetrieveImagePullSecret"):
        if found := _NOT_RETRIEVED.search(event.message):
            told = [n.strip() for n in found[1].split(",") if n.strip()]
            known += [n for n in told if (k := seen.kept.get((Kind.SECRET, n))) is None or k.keys is None]
    return list(dict.fromkeys(known))


def registry_of(image: str) -> str:
    """The host that an image is pulled from."""
    first = image.partition("/")[0]
    return first if "/" in image and ("." in first or ":" in first or first == "localhost") else "docker.io"


def repository_of(image: str) -> str:
    """An image without its tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
