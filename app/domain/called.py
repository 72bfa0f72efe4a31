"""What labels call a Service, an app or a backend, which may stand in front of a workload of another name.

Those of Istio name what requests go to, as a workload is named. Others are as good as whoever wrote them: many a scrape puts the name of the Service
in front of the pods there, so that the cluster has to be asked whose it is. Used to find targets. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app.domain.subject import (
    ABOUT,
    NONE,
    SCRAPED_BY,
    UNKNOWN,
    LabelNames,
    could_name,
    host_of,
    is_exporter,
    words_of,
)


def served_by(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Label and name of each service, app or scaler that the labels say the requests go to. A workload behind it is often called alike,
    and not always the same."""
    found = [(label, host_of(value).partition(".")[0]) for label, value in labels.items() if _serves(label)]
    return [(label, name) for label, name in found if name not in ("", NONE, UNKNOWN)]


@lru_cache(maxsize=4096)
def _serves(label: str) -> bool:
    words = [word for word in words_of(label) if word != "name"]
    to = words[:1] in (["destination"], ["dst"]) and words[-1:] in (["app"], ["service"])
    return to or "".join(words) == "scaledobject"


_CALLED = frozenset(["service", "svc", "app", "application", "microservice", "backend", "upstream"])
_GROUPS = frozenset(["job", "release"])
"""Last words of labels that tell a whole scrape or chart, which is a workload's name only where there is such a workload."""
_OF_THE_SCRAPE = frozenset(
    [
        "service",
        "app",
        "job",
        "k8s_app",
        "kubernetes_name",
        "app_kubernetes_io_name",
        "kubernetes_service_name",
    ]
)
"""Labels that targets of a scrape get from the Service in front of them, or from its own labels."""


@dataclass(frozen=True, slots=True)
class Called:
    """What a label calls a Service, an app or a backend; `group`: or a whole scrape or chart; `service`: by its name a Service and nothing
    else."""

    label: str
    name: str
    group: bool
    service: bool


def called(names: LabelNames, labels: Mapping[str, str]) -> list[Called]:
    """What the labels tell by which app, service, job or release it was measured, but for exporters. Where a series has `exported_*`, the plain
    labels are those of the exporter."""
    own = any(label.startswith("exported_") for label in labels)
    told = [(k, v) for k, v in labels.items() if v != UNKNOWN and _calls(k) and could_name(k, v)]
    found = [
        Called(label, host_of(value).partition(".")[0], words_of(label)[-1] in _GROUPS, _of_a_service(label))
        for label, value in told
        if not (own and label in _OF_THE_SCRAPE)
    ]
    scrapers = (*names.exporters, *SCRAPED_BY, "*exporter*")
    return [one for one in found if not is_exporter(scrapers, one.name)]


def _of_a_service(label: str) -> bool:
    return [word for word in words_of(label) if word != "name"][-1:] in (["service"], ["svc"])


@lru_cache(maxsize=4096)
def _calls(label: str) -> bool:
    words = [word for word in words_of(label) if word != "name"]
    if words[:1] == ["upstream"] and words[1:]:
        return False  # beside a workload it is what that calls
    if words in (["kubernetes"], ["app", "kubernetes", "io"]):
        return True
    last = words[-1] if words else ""
    return last in _CALLED | _GROUPS and ABOUT.issuperset(words[:-1]) and not _serves(label)
