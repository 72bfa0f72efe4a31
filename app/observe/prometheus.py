"""Prometheus (or what speaks its HTTP API: Thanos, Mimir, VictoriaMetrics) as the MetricSource port.

Built by the composition root when a URL is set; handlers ask it through the port. Values that are not finite are left
out: 0/0 is how PromQL says that nothing was measured, and nothing measured is not a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from app.domain.ports import Clock, Sample
from app.observe.http_json import JsonSource

Labels = Mapping[str, str]


class Prometheus:
    """Instant and range queries over `/api/v1`. Raises ProbeUnavailable for everything that is not an answer."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._source = JsonSource(client, url, clock, name="Prometheus")

    async def instant(self, query: str) -> Sequence[tuple[Labels, float]]:
        """Evaluate now. A scalar comes as one value without labels."""
        data = await self._data("/api/v1/query", [("query", query)])
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            result = [{"metric": {}, "value": result}]
        elif kind != "vector":
            raise self._source.fault(f"answered with a {kind} where one value per series was expected")
        rows = ((self._labels(row), self._sample(row.get("value"))) for row in result)
        return [(labels, sample.value) for labels, sample in rows if sample is not None]

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Labels, Sequence[Sample]]]:
        """Evaluate from `start` to `end` every `step` seconds; series without a finite value are left out."""
        params = [
            ("query", query),
            ("start", f"{start.timestamp():.3f}"),
            ("end", f"{end.timestamp():.3f}"),
            ("step", f"{step:g}"),
        ]
        data = await self._data("/api/v1/query_range", params)
        if data["resultType"] != "matrix":
            raise self._source.fault(f"answered with a {data['resultType']} where a window was expected")
        found = []
        for row in data["result"]:
            labels, pairs = self._labels(row), row.get("values")
            if not isinstance(pairs, list):
                raise self._source.fault("gave a series without values")
            if samples := [s for pair in pairs if (s := self._sample(pair)) is not None]:
                found.append((labels, samples))
        return found

    async def _data(self, path: str, params: list[tuple[str, str]]) -> dict[str, Any]:
        body = await self._source.get(path, params)
        data = body.get("data") if isinstance(body, dict) and body.get("status") == "success" else None
        if not (
            isinstance(data, dict)
            and isinstance(data.get("resultType"), str)
            and isinstance(data.get("result"), list)
        ):
            raise self._source.fault("gave an answer that is not a query result")
        return data

    def _labels(self, row: Any) -> Labels:
        labels = row.get("metric") if isinstance(row, dict) else None
        if not isinstance(labels, dict):
            raise self._source.fault("gave a series without labels")
        return {str(k): str(v) for k, v in labels.items()}

    def _sample(self, pair: Any) -> Sample | None:
        try:
            at, text = pair
            value = float(text)
            return Sample(datetime.fromtimestamp(float(at), UTC), value) if math.isfinite(value) else None
        except (TypeError, ValueError, OverflowError, OSError) as e:
            raise self._source.fault("gave a value that is not a number") from e
