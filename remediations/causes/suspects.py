"""Which parts of a release can have brought a cause: what it changed that the older template would not show as well, and what of that
the error's own words name. Pure; the differences come from `app.kube.manifest`, the tests of a template from `demands`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.accusing import Sign
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.text import bounded
from app.kube.lineage import template_written_at
from app.kube.manifest import Difference, differences
from remediations.causes.model import Cause, Demand, Snapshot, Sureness
from remediations.causes.sizes import everywhere, less_promised, room
from remediations.evidence.error_lines import short_of_both
from remediations.evidence.logs import ErrorLog
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.usage import count, joined, span

_DIRECTED = re.compile(
    r"(?:^|\.)(?:resources\.(?:limits|requests)\.(?:cpu|memory|ephemeral-storage|hugepages-\S+)|(?:startup|liveness|readiness)Probe|ports)$"
)
"""Parts that no other part stands for: a change of them can be the repair, so that only a demand says in which direction it harms."""


_RELOADED = re.compile(r"\.env\[STAKATER_\w+_(?:CONFIGMAP|SECRET)\]")
"""A variable that a reloader sets to have pods made anew once their configuration changed: no program reads it, and it is no release."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """What of a release can have brought the cause: `changed`, of which any change can, and `worse`, which the older template did not
    have (so much of). `acquits` says why not, where a test of the older template does; empty otherwise."""

    changed: tuple[Difference, ...]
    worse: tuple[Difference, ...]
    acquits: str

    @property
    def all(self) -> tuple[Difference, ...]:
        """All of them, what proves most first."""
        return (*self.worse, *self.changed)

    def adds(self, container: str) -> bool:
        """Whether the release brought this container, which has no past in which it did well."""
        places = (f"containers[{container}]", f"initContainers[{container}]")
        return any(d.path in places and d.before is None and d.after is not None for d in self.all)


def suspects(cause: Cause, before: Obj, after: Obj) -> Suspects:
    """Hold the older and the newer template against what the cause says of its origin."""
    found = [d for d in differences(before, after) if not _RELOADED.search(d.path)]
    worse = _worse(cause.demands, (before, after), found)
    shown = [d.acquits for d in cause.demands if any(amount > 0 for amount in d.of(before).values())]
    changed = [d for d in touching(found, cause.fields) if d not in worse]
    return Suspects(tuple(changed), tuple(worse), shown[0] if shown else "")


def worsened(demands: Iterable[Demand], before: Obj, after: Obj) -> list[Difference]:
    """What the newer template has more of than the older one, by these tests."""
    return _worse(demands, (before, after), list(differences(before, after)))


def _worse(
    demands: Iterable[Demand], templates: tuple[Obj, Obj], found: Iterable[Difference]
) -> list[Difference]:
    worse = list[Difference]()
    for demand in demands:
        if _more(demand, *templates):
            worse += [d for d in touching(found, demand.fields, directed=True) if d not in worse]
    return worse


def _more(demand: Demand, before: Obj, after: Obj) -> bool:
    """Does the newer template have more of something?"""
    had, has = demand.of(before), demand.of(after)
    return any(has.get(name, 0) > had.get(name, 0) for name in {*had, *has})


def touching(
    found: Iterable[Difference], fields: Iterable[str], *, directed: bool = False
) -> list[Difference]:
    """Those differences that one of these fields speaks of. In fields `[*]` is any container and `*` any change. What counts in one
    direction only is left out, unless `directed`."""
    wanted = tuple(fields)
    if "*" in wanted:
        return list(found)
    seen = [d for d in found if directed or not _DIRECTED.search(d.path)]
    return [d for d in seen if any(_within(d.path, field) for field in wanted)]


def _within(path: str, field: str) -> bool:
    """`path` lies inside of `field`, or holds it, as a container that was added holds its image."""
    if "[*]" in field:
        head, _, tail = field.partition("[*]")
        if not path.startswith(f"{head}["):
            return False
        rest = path.partition("]")[2]
        return not rest or not tail or rest == tail or rest.startswith((f"{tail}.", f"{tail}["))
    return path == field or path.startswith((f"{field}.", f"{field}[")) or field.startswith(f"{path}.")


_SLIGHT = re.compile(
    r"\.imagePullPolicy$|\.env\[(?i:\w*LOG(?:GING)?_?(?:LEVEL|FORMAT)\w*|LOG_\w+|RUST_LOG|VERBOSE|DEBUG)\]$|\.resources\.(?:limits|requests)\.[\w-]+$"
)
"""Parts of which a change hardly makes a program fail by itself."""


def is_slight(difference: Difference) -> bool:
    """Is that a change which hardly makes a program fail?"""
    return _SLIGHT.search(difference.path) is not None


def slight_only(last: Deployment) -> str:
    """That a release changed nothing else; empty when it did, or changed nothing."""
    found = differences(last.previous.template, last.revision.template) if last.previous is not None else []
    if not found or not all(map(is_slight, found)):
        return ""
    what = ", ".join(d.path for d in found[:3])
    return f"revision {last.revision.number} changed {what} only, which hardly makes a program fail"


_SIZE = re.compile(r"(?:^|\.)resources\.(?:limits|requests)\.(?:cpu|memory|ephemeral-storage)$")
"""What brings errors in one direction only."""


def brings_no_errors(last: Deployment) -> str:
    """That a release changed nothing by which pods that run can fail; empty when it did."""
    if last.previous is None:
        return ""
    found = differences(last.previous.template, last.revision.template)
    paths = [d.path for d in found]
    if any(not p.startswith("metadata.") and not p.endswith(".ports") and not _SIZE.search(p) for p in paths):
        return ""
    after = last.revision.template
    if worsened(everywhere(room, after, "cpu", "memory", "ephemeral-storage"), last.previous.template, after):
        return ""
    what = joined(paths) or "nothing that a pod has"
    return f"revision {last.revision.number} changed {what} only, which does not bring errors"


def in_untouched(last: Deployment, have: frozenset[str]) -> str:
    """These containers, which have the errors, when the release changed nothing of them and nothing of the pod as a whole; empty otherwise."""
    if last.previous is None or not have:
        return ""
    paths = [d.path for d in differences(last.previous.template, last.revision.template)]
    of_others = [p for p in paths if p.startswith(("containers[", "initContainers[", "metadata."))]
    own = any(f"ontainers[{name}]" in p for p in paths for name in have)
    return "" if own or len(of_others) < len(paths) else f"container {' and '.join(sorted(have))}"


def below(words: str, mounts: Iterable[str]) -> str:
    """The first of these places whose files an error's words name; empty when they name none."""
    return next((m for m in mounts if m and re.search(rf"(?<![\w./-]){re.escape(m)}(?![\w.-])", words)), "")


# Whether the words of errors in the logs accuse a release.


def unaccused(seen: Snapshot, last: Deployment, log: ErrorLog, *, new_image: bool) -> str:
    """That the errors' words do not accuse the release: an outage that began before it is as old as its pods in what logs still hold. A `new_image`
    of a container that has them can bring any."""
    if log.top is None or (log.accuse is not Sign.OWN and named_by(last, log)):
        return ""
    said = short_of_both(log.top.said, 160)
    if log.accuse is Sign.OTHERS:
        foreign = next((g for g in log.groups if g.sign is Sign.OTHERS), None)
        which = (
            "they"
            if foreign is log.top
            else f"{log.errors - log.unclear - log.own:,} of {count(log.errors, 'line')}"
        )
        about = f': "{short_of_both(foreign.said, 160)}"' if foreign is not None else ""
        return f"{which} speak of something else{about}"
    if log.accuse is Sign.NONE:
        return f'they name neither a fault of the program nor what changed: "{said}"'
    mounts = [m for c in log.top.containers for m in seen.mounts(c)]
    if mounts and (place := below(log.top.said, mounts)) and not named_by(last, log):
        return f'they are about {place}, which is a volume of their own: "{said}"'
    return "" if new_image or named_by(last, log) else slight_only(last)


def named_by(last: Deployment, log: ErrorLog) -> str:
    """The part of the template that the release changed and the most frequent error names."""
    if log.top is None or last.previous is None:
        return ""
    found = named_in(log.top.said, differences(last.previous.template, last.revision.template))
    return found.path if found else ""


# What the words of an error name of a release: a value that it set, a variable that it took away, or a part that such words are about.

_LONG = 4_000
_HOST = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9][\w.-]{0,252}(?<=\w):\d{2,5}\b")
_WORD = re.compile(r"[A-Za-z0-9_](?:[\w./-]*\w)?")
_PLAIN = frozenset(
    {"true", "false", "none", "null", "info", "warn", "warning", "error", "debug", "trace", "fatal", "http", "https", "localhost", "test",
     "prod", "production", "staging", "default", "json", "text", "user", "host", "hosts", "name", "port", "password", "database", "server",
     "service", "client", "connection", "failed", "timeout", "refused", "main", "image", "python", "java", "node", "index", "config", "value", "file"}
)  # fmt: skip
"""Words that any error may have, whatever was set."""
_ABOUT: tuple[tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]], ...] = (
    (re.compile(r"read-only file ?system|\berofs\b", re.IGNORECASE),
     re.compile(r"\.readOnlyRootFilesystem$|\.volumeMounts\["), re.compile(r"-> .{0,500}true")),
    (re.compile(r"permission denied(?! (?:for|to)\b| ?\()|operation not permitted|\be(?:acces|perm)\b|access ?denied ?exception", re.IGNORECASE),
     re.compile(r"(?:^|\.)securityContext\.(?:runAsUser|runAsGroup|runAsNonRoot|fsGroup\w*|supplementalGroups|capabilities|allowPrivilegeEscalation|privileged|seLinuxOptions|seccompProfile|appArmorProfile)|(?:^|\.)securityContext$"),
     re.compile(r"")),
    (re.compile(r"unknown authority|unable to (?:get (?:local )?issuer|verify)|self[- ]signed|certificate verify failed|pkix path", re.IGNORECASE),
     re.compile(r"(?:^|\.)(?:volumes|volumeMounts|env)\[|\.(?:args|command)$"),
     re.compile(r"(?<![a-z])(?:cas?|certs?|certificates?|ssl|tls|trust\w*|pki)(?![a-z])|\.(?:crt|pem|jks)\b", re.IGNORECASE)),
    (re.compile(r"no such host|name or service not known|name resolution|could not (?:resolve|translate)|gaierror|enotfound|unknown ?host", re.IGNORECASE),
     re.compile(r"^(?:dnsPolicy|dnsConfig|hostAliases|hostNetwork)$"), re.compile(r"")),
    (re.compile(r"no space left|enospc|disk quota", re.IGNORECASE),
     re.compile(r"^volumes\[|\.volumeMounts\["), re.compile(r"emptyDir|sizeLimit|mountPath")),
)  # fmt: skip
"""What an error is about, where in a template that is set, and what such an entry says when it is meant."""


def named_in(words: str, found: Iterable[Difference], *, by_server: bool = False) -> Difference | None:
    """The first of these differences that an error's words name; None when they name none. Of a value nothing is told further.
    `by_server`: the API server or a webhook says them, which speak of fields by their names."""
    seen = bounded(words, _LONG)
    if not seen:
        return None
    return next((d for d in found if _says(seen, d, by_server=by_server) or _is_about(seen, d)), None)


_IMAGE_FIELD = re.compile(r"spec[./](?:init)?[cC]ontainers(?:/\d+/|\[\d+\]\.)image\b")
"""As admission policies name it: `/spec/containers/0/image/`, `spec.containers[0].image`."""


def _says(words: str, difference: Difference, *, by_server: bool) -> bool:
    """Do the words have a value that is new with this difference, or the name of a variable, label or field that it set or took away?"""
    before, after = difference.before, difference.after
    tokens = frozenset(_tokens(after)) - frozenset(_tokens(before))
    if difference.path.endswith(".image"):
        # Programs print their own version whatever fails. Who refuses a pod for the field and names what is new in it means it.
        of_field = by_server and _IMAGE_FIELD.search(words) is not None
        return of_field and any(_has(words, token) for token in tokens)
    if before is None or after is None or difference.path == "metadata.labels":
        tokens |= frozenset(_keys(before)) ^ frozenset(_keys(after))
        tokens |= {difference.path.rpartition("[")[2].rstrip("]")} if after is None else frozenset()
    field = difference.path.rpartition(".")[2]
    if by_server and not difference.path.startswith("metadata.") and _has(words, field, after=r"[\w-]"):
        return True
    return any(_has(words, token) for token in tokens)


def _keys(value: Any) -> Iterator[str]:
    yield from value if isinstance(value, dict) else ()


def _has(words: str, token: str, *, after: str = r"[\w.-]") -> bool:
    """As a whole word: of four characters and more, a host with its port, or in quotes. It may not come `after` these."""
    if token.lower() in _PLAIN:
        return False
    text = re.escape(token)
    if len(token) >= 4 or _HOST.fullmatch(token):
        return re.search(rf"(?<!{after}){text}(?![\w-])", words) is not None
    return len(token) >= 2 and re.search(rf"(?P<q>['\"`]){text}(?P=q)", words) is not None


def _tokens(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("name", "image"):
                yield from _tokens(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tokens(inner)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        text = bounded(str(value), _LONG)
        yield text
        yield from _HOST.findall(text)
        yield from _WORD.findall(text)


def _is_about(words: str, difference: Difference) -> bool:
    before, after = (json.dumps(v, default=str) for v in (difference.before, difference.after))
    text = f"{before} -> {after}"
    return any(
        said.search(words) and path.search(difference.path) and entry.search(f"{difference.path}: {text}")
        for said, path, entry in _ABOUT
    )


# Does a release make its pods slower? Asked where requests are slow and nothing fails.

SLOWER = "rollout.slower"
SOON = timedelta(hours=1)
"""How long before the alert a release may have been for that (runbook, High Error Rate: a recent deployment)."""


def slower_finding(seen: Snapshot) -> Finding | None:
    """The finding `rollout.slower`: the last release before the alert took CPU or memory from its containers. None when it did not."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None or last.restored:
        return None
    deployed = seen.now - timedelta(seconds=last.age)
    if not seen.fired_at - SOON <= deployed <= seen.fired_at:
        return None
    before, after = last.previous.template, last.revision.template
    tests = (*everywhere(room, after, "cpu", "memory"), *everywhere(less_promised, after, "cpu"))
    taken = worsened(tests, before, after)
    if not taken:
        return None
    text = "; ".join(
        f"{d.path} {f'from {d.before} ' if d.before else ''}to {d.after or 'nothing'}" for d in taken
    )
    return Finding(
        SLOWER, f"Revision {last.revision.number} ({last.change}), deployed {span(last.age)} ago, set {text}"
    )


# The word on the last rollout where it can have brought the cause. Pure.


def broken_beside(seen: Snapshot, causes: Iterable[Cause]) -> str:
    """That a pod of an older revision is broken as well, though of something else: what both have in common may be the cause."""
    older = {p.name for p in seen.alive if not p.ready and not seen.newest(p)}
    broken = (n for c in causes if c.sureness is not Sureness.POSSIBLE for n in c.pods if n in older)
    name = next(broken, "")
    return f"pod {name} of an older revision is broken as well, of something else" if name else ""


def why_it(last: Deployment, own: Suspects, named: Difference | None, *, alone: bool) -> str:
    """What the rollout changed, and what of that the error names. `alone`: no pod of an older revision is broken."""
    first = [named] if named else []
    paths = ", ".join(list(dict.fromkeys(d.path for d in (*first, *own.all)))[:3])
    says = f", and the error names {named.path}" if named else ""
    return f"{'only pods' if alone else 'pods'} of revision {last.revision.number} show it, which changed {paths}{says}"
