"""The label mapping of a policy: which labels of an alert name its namespace, pod and workload.

Its defaults are those of `app.domain.subject`, which has the rules of reading. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import Field

from app.domain.subject import DEFAULT_EXPORTERS, DEFAULT_SOURCES, NAMES, LabelNames
from app.policy.block import Block

Sources = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1)]


class LabelMapping(Block):
    """For each name the labels that are read for it, the first that is there wins; `exported_*` is what Prometheus keeps of a
    series when the scraped exporter has the label itself. What matches `exporters` (patterns with `*`) only measured the
    alert: it is never the target."""

    namespace: Sources = DEFAULT_SOURCES["namespace"]
    pod: Sources = DEFAULT_SOURCES["pod"]
    container: Sources = DEFAULT_SOURCES["container"]
    deployment: Sources = DEFAULT_SOURCES["deployment"]
    statefulset: Sources = DEFAULT_SOURCES["statefulset"]
    daemonset: Sources = DEFAULT_SOURCES["daemonset"]
    replicaset: Sources = DEFAULT_SOURCES["replicaset"]
    horizontalpodautoscaler: Sources = DEFAULT_SOURCES["horizontalpodautoscaler"]
    exporters: tuple[str, ...] = DEFAULT_EXPORTERS

    @property
    def names(self) -> LabelNames:
        """As the domain reads labels."""
        return _names(self)


@lru_cache(maxsize=64)
def _names(mapping: LabelMapping) -> LabelNames:
    own = {name: getattr(mapping, name) for name in LabelMapping.model_fields if name != "exporters"}
    if {**DEFAULT_SOURCES, **own} == DEFAULT_SOURCES and mapping.exporters == DEFAULT_EXPORTERS:
        return NAMES
    return LabelNames({**DEFAULT_SOURCES, **own}, mapping.exporters)
