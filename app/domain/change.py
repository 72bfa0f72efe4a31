"""One field change, and what of it may be shown.

Owns the split between a value that can be read by anybody (numbers, images, quantities, names of objects) and one that may
hold a secret (environment, arguments, annotations, whole templates). The latter is shown as its path with `[hidden]` and a
keyed digest: equal values can be told to be equal, and nobody without the installation's key can try out guesses. Called by
`app.domain.plan` and by whoever words a change. Pure; never decides what is written to the cluster.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from app.domain.errors import BadInput
from app.domain.json import canonical
from app.domain.redact import in_one_line

HIDDEN = "[hidden]"
_HIDDEN = re.compile(r"\[hidden( [0-9a-f]{32})?\]", re.ASCII)
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._/-]*(:\d+/[a-z0-9._/-]+)?(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?", re.ASCII
)
_LONGEST_IMAGE = 600
"""A name has 255 characters at most, a tag 128, a digest 71."""
_QUANTITY = re.compile(r"[0-9.]{1,20}([EPTGMKk]i?|m|u|n|e[0-9]{1,2})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_NAMES = frozenset({"imagePullPolicy", "restartPolicy", "serviceAccountName", "secretName"})
_REFERENCES = frozenset({"configMapRef", "secretRef", "configMapKeyRef", "secretKeyRef", "configMap"})
_MEASURES = (("spec", "metrics"), ("spec", "triggers"))
_OF_MEASURES = frozenset({"averageValue", "value", "type", "metricType", "name"})
_MEASURE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?", re.ASCII)
"""What an autoscaler or a trigger of KEDA's measures, in which way, and the number at which it scales."""
_FREE = frozenset({"annotations", "labels", "env", "args", "command"})
"""What stands below these is free text, whatever it looks like."""
_CONTENTS = frozenset({"data", "stringData", "binaryData"})
"""Where a Secret or ConfigMap holds its values: none of them is shown, whatever its key is called."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field. `path` is a JSON pointer (RFC 6901) into the object, except that a list element may be chosen by
    name as `[name=app]`, e.g. `/spec/template/spec/containers/[name=app]/resources/limits/memory`.
    None for `before` or `after` means the field is absent."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class DigestKey:
    """The key of this installation; never shown, not even in its own repr."""

    secret: bytes = field(repr=False)

    def digest(self, value: Any) -> str:
        """HMAC-SHA256 of the canonical form, 128 bits of it as 32 hex digits."""
        return hmac.new(
            self.secret, canonical(value).encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Digested:
    """A set of values of which only the keyed digests were kept."""

    key: DigestKey
    digests: frozenset[str]

    def __contains__(self, value: object) -> bool:
        return self.key.digest(value) in self.digests


def tokens(path: str) -> tuple[str, ...]:
    """The unescaped steps of a path. Raises BadInput unless it starts with a slash."""
    if not path.startswith("/"):
        raise BadInput("a path starts with /", code="bad_path", where=path)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))


def escape(name: str) -> str:
    """A field name as one step of a path."""
    return name.replace("~", "~0").replace("/", "~1")


def may_show(path: str, value: Any) -> bool:
    """Can this value at this path be read by anybody? What is not known to be harmless cannot."""
    if value is None:
        return True
    steps = tokens(path)
    if steps[0] in _CONTENTS:
        return False
    if steps[-1] == _RESTARTED_AT:
        return isinstance(value, str) and _TIME.fullmatch(value) is not None
    if not _FREE.isdisjoint(steps):
        return _reference(steps) and _matches(_NAME, value)
    if isinstance(value, bool | int | float):
        return True
    if steps[-1] == "image":
        return isinstance(value, str) and _is_image(value)
    if steps[:2] in _MEASURES and steps[-1] in _OF_MEASURES:
        return _matches(_MEASURE, value)
    if "limits" in steps or "requests" in steps:
        return _matches(_QUANTITY, value)
    return (steps[-1] in _NAMES or _reference(steps)) and _matches(_NAME, value)


def image_told(image: str) -> str:
    """An image as it may be shown. The API server takes any text of any length for one: what no registry would is cut and redacted."""
    return image if _is_image(image) else in_one_line(image, _LONGEST_IMAGE)


def _is_image(text: str) -> bool:
    return len(text) <= _LONGEST_IMAGE and _IMAGE.fullmatch(text) is not None


def _reference(steps: Sequence[str]) -> bool:
    """The name of a Secret or ConfigMap, never what is in it."""
    return len(steps) > 1 and steps[-1] == "name" and steps[-2] in _REFERENCES


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def hidden(path: str, value: Any, key: DigestKey | None = None) -> Any:
    """The value as it may be shown; without a key there is no digest to compare."""
    if may_show(path, value):
        return value
    return HIDDEN if key is None else f"[hidden {key.digest([path, value])}]"


@dataclass(frozen=True, slots=True)
class Replaced:
    """When hidden values were last replaced by others; of the values only what records show in their place is known."""

    key: DigestKey
    times: Mapping[str, datetime] = field(default_factory=dict)

    def at(self, path: str, value: Any) -> datetime | None:
        """When this value at this path was replaced; None when it is not known to have been."""
        return self.times.get(hidden(path, value, self.key))


def is_hidden(value: Any) -> bool:
    """Is it what `hidden` shows in the place of a value?"""
    return isinstance(value, str) and _HIDDEN.fullmatch(value) is not None


MAX_FIELDS: Final = 100
"""Fields of a whole object that are told one by one: eight hundred containers have thousands, and each record holds all that are told."""


def shown(
    changes: Iterable[FieldChange], key: DigestKey | None = None
) -> tuple[tuple[FieldChange, ...], int]:
    """The changes as they may be shown, and how many fields were left out. A whole object, such as a pod template, is one entry with the
    digest of all of it, followed by the fields in it that differ, the first MAX_FIELDS of them."""
    found, left_out = list[FieldChange](), 0
    for change in changes:
        found.append(_one(change, key))
        if isinstance(change.before, Mapping) or isinstance(change.after, Mapping):
            differing = (
                d for d in _differences(change.path, change.before, change.after) if d.path != change.path
            )
            found += [_one(each, key) for each in islice(differing, MAX_FIELDS)]
            left_out += sum(1 for _ in differing)
    return tuple(found), left_out


def _one(change: FieldChange, key: DigestKey | None) -> FieldChange:
    path = change.path
    return FieldChange(path, hidden(path, change.before, key), hidden(path, change.after, key))


def _differences(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    """The fields below `path` that differ, each as small as it can be named."""
    one, other = _fields(before), _fields(after)
    if one is None or other is None or not (one or other):
        if before != after:
            yield FieldChange(path, before, after)
        return
    for name in sorted({*one, *other}):
        yield from _differences(f"{path}/{name}", one.get(name), other.get(name))


def _fields(value: Any) -> Mapping[str, Any] | None:
    """What is in it, by step of a path; None when it cannot be told apart any further."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {escape(str(name)): each for name, each in value.items()}
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    names = [each.get("name") if isinstance(each, Mapping) else None for each in value]
    if not all(isinstance(name, str) and _NAME.fullmatch(name.replace("_", "-")) for name in names):
        return None
    return (
        {f"[name={n}]": e for n, e in zip(names, value, strict=True)}
        if len(set(names)) == len(names)
        else None
    )
