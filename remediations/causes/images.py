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
from app.kube.manifest import name_of
from remediations.causes.demands import dropped, needs
from remediations.causes.demands import image as image_part
from remediations.causes.model import Cause, CauseCode, Demand, Snapshot, Sureness
from remediations.evidence.error_lines import short_of_both

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
    r"i/o timeout|no such host|connection refused|connection reset|tls handshake|unexpected eof|network is unreachable|no route to host|service unavailable|\b50[0234]\b|server misbehaving|registry is unavailable",
    re.IGNORECASE,
)
_UNTRUSTED = re.compile(
    r"x509|certificate (?:has expired|is not valid|signed by)|tls: failed to verify", re.IGNORECASE
)
_LONGEST_SAID = 4_000
_DENIED = re.compile(
    r"unauthori[sz]ed|authentication required|access denied|\bdenied\b|no basic auth|insufficient_scope|forbidden|\b40[13]\b|authorization failed",
    re.IGNORECASE,
)
_MISSING = re.compile(r"not ?found|manifest unknown|name unknown|no such image|does not exist", re.IGNORECASE)
_DISK = re.compile(
    r"no space left on device|disk quota exceeded|read-only file system|input/output error|ephemeral.storage",
    re.IGNORECASE,
)
_QPS = re.compile(r"pull QPS exceeded", re.IGNORECASE)
_PLAIN = re.compile(r"server gave HTTP response to HTTPS client", re.IGNORECASE)
_SIGNED = re.compile(
    r"signature (?:validation|verification) failed|signature was required|no signature exists|SignatureValidationFailed|image rejected",
    re.IGNORECASE,
)
_SLOW = re.compile(r"context canceled|operation was canceled|context deadline exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pull:
    """One container that waits for its image, and what was said about it, as a whole."""

    pod: Pod
    state: ContainerState
    image: str
    said: str

    @property
    def shown(self) -> str:
        """The same for people: its beginning and its end, where the registry's own word stands."""
        return short_of_both(self.said, 400)


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
    return Pull(pod, state, image, " ".join(redact(max(texts, key=len), longest=_LONGEST_SAID).split()))


def image_cause(seen: Snapshot, pull: Pull) -> Cause:
    """What keeps this container from its image."""
    missing = missing_pull_secrets(seen, pull.pod)
    where = (
        f"containers[{pull.state.name}].image"
        if not pull.state.init
        else f"initContainers[{pull.state.name}].image"
    )
    meaning = _found(pull)
    why, advice, fields = _worded(meaning, pull, where)
    code = meaning.code
    if missing and code in (CauseCode.IMAGE_DENIED, CauseCode.IMAGE_MISSING, CauseCode.IMAGE_PULL):
        return _secret(seen, pull, missing)
    said = f": {pull.shown}" if pull.said else ""
    node = meaning.of_node and pull.pod.node
    return Cause(
        code=code,
        object=f"Node {pull.pod.node}" if node else f"image {pull.image}",
        sureness=meaning.sureness,
        text=f"container {pull.state.name} cannot get image {pull.image} ({pull.state.waiting}), {why}{_login(seen, pull, code)}{_rewritten(seen, pull)}{said}",
        advice=advice,
        pods=(pull.pod.name,),
        fields=fields,
        demands=_parts(meaning, where.removesuffix(".image")),
        objects=tuple((Kind.SECRET, n) for n in pull_secrets(seen, pull.pod))
        if code is CauseCode.IMAGE_DENIED
        else (),
        container=pull.state.name,
    )


def _rewritten(seen: Snapshot, pull: Pull) -> str:
    """That the pod has another image than its template, which no rollback of that changes; empty where it has not, or is of an older one."""
    containers = (*(seen.spec.get("containers") or ()), *(seen.spec.get("initContainers") or ()))
    meant = next((str(c.get("image")) for c in containers if c.get("name") == pull.state.name), pull.image)
    if meant == pull.image or not seen.newest(pull.pod):
        return ""
    return f" (the pod template has {meant}: what changes pods as they are made wrote the other one)"


def _login(seen: Snapshot, pull: Pull, code: CauseCode) -> str:
    """Whom the registry denied, where it denied somebody: nobody, or a login in Secrets of which it is not known whether they exist."""
    if code is not CauseCode.IMAGE_DENIED:
        return ""
    named = pull_secrets(seen, pull.pod)
    unseen = [name for name in named if (Kind.SECRET, name) not in seen.kept]
    if not named:
        return " (the pods name no imagePullSecret)"
    return f" (whether imagePullSecret {', '.join(unseen)} exists was not read)" if unseen else ""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the registry's words mean. In its texts `{image}`, `{host}` and `{said}` are filled in; `fields` follow the path of
    the image, `part` is that of its name which has to be another one. `of_node`: the node is what has to be repaired."""

    words: re.Pattern[str]
    code: CauseCode
    why: str
    advice: str
    fields: tuple[str, ...]
    more: tuple[str, ...] = ()
    sureness: Sureness = Sureness.CERTAIN
    of_node: bool = False
    part: str = ""


_MEANINGS = (
    _Meaning(_DISK, CauseCode.NODE, "because its node has no room or no sound disk for it", "free or repair the disk of node {node}", (), of_node=True),
    _Meaning(_QPS, CauseCode.REGISTRY, "because the kubelet of its node limits its own pulls (registryPullQPS)",
             "wait: the kubelet pulls it later; raise registryPullQPS where that happens often", ()),
    _Meaning(_PLAIN, CauseCode.REGISTRY, "because registry {host} answers without TLS",
             "give registry {host} a certificate, or name it as insecure in the node's runtime", (), part="registry"),
    _Meaning(_SIGNED, CauseCode.IMAGE_PULL, "because the signature policy of its node turns it down",
             "sign image {image} as the nodes' signature policy asks, or correct that policy", ("",), sureness=Sureness.POSSIBLE),
    _Meaning(_ARCHITECTURE, CauseCode.ARCHITECTURE, "because it is not built for the node's architecture",
             "build {image} for the node's architecture, or choose nodes of another one", ("",), ("nodeSelector", "affinity")),
    _Meaning(_LIMITED, CauseCode.REGISTRY, "because registry {host} limits our pulls",
             "wait, or pull from {host} with an account or through a mirror", (), part="registry"),
    _Meaning(_DENIED, CauseCode.IMAGE_DENIED, "because registry {host} denies it",
             "give the pods a valid imagePullSecret for {host}, or the account the right to pull {image}", (),
             ("serviceAccountName",), part="repository"),
    _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because it does not exist", "push image {image} or set one that exists ({said})", ("",)),
    _Meaning(_UNTRUSTED, CauseCode.REGISTRY, "because the certificate of registry {host} is not trusted by its node ({said})",
             "renew the certificate of registry {host}, or give the nodes the authority that signed it", (), part="registry"),
    _Meaning(_AWAY, CauseCode.REGISTRY, "because registry {host} cannot be reached", "restore the way to registry {host}", (), part="registry"),
)  # fmt: skip
_BY_REASON = {
    "InvalidImageName": _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because that is no valid name", "correct the image name {image}", ("",)),
    "ErrImageNeverPull": _Meaning(_MISSING, CauseCode.IMAGE_MISSING, "because imagePullPolicy is Never and the node does not have it",
                                  "put image {image} on the nodes, or let it be pulled", ("", "PullPolicy")),
}  # fmt: skip
_SLOWLY = _Meaning(_SLOW, CauseCode.REGISTRY, "because the pull did not end in time", "look at the way to registry {host} and at the load of node {node}",
                   (), sureness=Sureness.LIKELY, part="registry")  # fmt: skip
_UNSAID = _Meaning(
    _MISSING,
    CauseCode.IMAGE_PULL,
    "and nobody said why",
    "kubectl describe the pod once it has tried again, and try to pull {image} by hand",
    ("",),
    sureness=Sureness.POSSIBLE,
)
_UNKNOWN = _Meaning(
    _MISSING,
    CauseCode.IMAGE_PULL,
    "for a reason that is not known here",
    "read what the node says ({said}) and try to pull {image} by hand",
    ("",),
    sureness=Sureness.POSSIBLE,
)
_SAYS_NOTHING = re.compile(
    r'^(?:Back-off pulling image "[^"]*"|rpc error: code = \w+|ErrImagePull|ImagePullBackOff)?[\s:.]*$',
    re.IGNORECASE,
)


def _found(pull: Pull) -> _Meaning:
    """What keeps the image away; words that are not known stay possible, so that nothing is done for them unasked."""
    said = _without_names(pull)
    known = _BY_REASON.get(pull.state.waiting) or next((m for m in _MEANINGS if m.words.search(said)), None)
    if known is not None:
        return known
    if pull.state.waiting == "SignatureValidationFailed":
        return next(m for m in _MEANINGS if m.words is _SIGNED)
    if pull.state.waiting == "RegistryUnavailable":
        return next(m for m in _MEANINGS if m.words is _AWAY)
    if _SLOW.search(said):
        return _SLOWLY
    return _UNSAID if _SAYS_NOTHING.match(pull.said) else _UNKNOWN


def _without_names(pull: Pull) -> str:
    """What was said without the image's own name: a tag `429` is no status, and a repository `rate-limit` no limit."""
    name = pull.image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    repository = f"{folder}{slash}{last.partition(':')[0]}"
    if not repository:
        return pull.said
    _, _, path = repository.partition("/") if "." in folder.partition("/")[0] else ("", "", repository)
    return re.sub(rf"\S*(?<![\w-]){re.escape(path or repository)}(?=[:@/\s\"',]|$)\S*", "<image>", pull.said)


def _worded(found: _Meaning, pull: Pull, where: str) -> tuple[str, str, tuple[str, ...]]:
    words = {
        "{image}": pull.image,
        "{host}": registry_of(pull.image),
        "{node}": pull.pod.node or "of the pod",
        "{said}": pull.shown,
    }
    why, advice = found.why, found.advice
    for name, value in words.items():
        why, advice = why.replace(name, value), advice.replace(name, value)
    return why, advice, (*(f"{where}{part}" for part in found.fields), *found.more)


def _parts(found: _Meaning, where: str) -> tuple[Demand, ...]:
    """The part of the image's name that decides; who is denied may lack a pull Secret that the older template had."""
    if not found.part:
        return ()
    own = image_part(where, registry_of if found.part == "registry" else repository_of, found.part)
    return (own, dropped("imagePullSecrets")) if found.code is CauseCode.IMAGE_DENIED else (own,)


def _secret(seen: Snapshot, pull: Pull, missing: list[str]) -> Cause:
    namespace, names = seen.workload.target.namespace, ", ".join(missing)
    word = "imagePullSecret" if len(missing) == 1 else "imagePullSecrets"
    said = f" ({pull.shown})" if pull.said else ""
    return Cause(
        code=CauseCode.PULL_SECRET,
        object=f"Secret {missing[0]}",
        sureness=Sureness.CERTAIN,
        text=f"{word} {names} does not exist, so container {pull.state.name} cannot get image {pull.image}{said}",
        advice=f"create Secret {names} (type kubernetes.io/dockerconfigjson) in namespace {namespace}; the pods start by themselves then",
        pods=(pull.pod.name,),
        fields=("serviceAccountName",),
        demands=tuple(needs(ConfigRef(Kind.SECRET, n)) for n in missing),
        objects=tuple((Kind.SECRET, n) for n in missing),
        needs=tuple(ConfigRef(Kind.SECRET, n) for n in missing),
        container=pull.state.name,
    )


def pull_secrets(seen: Snapshot, pod: Pod) -> list[str]:
    """Names of the pull Secrets of a pod; admission has put those of its ServiceAccount into its spec already."""
    own = (seen.specs.get(pod.name) or seen.spec).get("imagePullSecrets") or ()
    accounts = (seen.service_account or {}).get("imagePullSecrets") or ()
    return list(dict.fromkeys(name_of(s["name"]) for s in (*own, *accounts) if s.get("name")))


_NOT_RETRIEVED = re.compile(r"Unable to retrieve some image pull secrets \(([^)]{0,1000})\)")


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
