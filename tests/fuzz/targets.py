"""All fuzz targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import answers, bodies, doors, limits, records, words
from tests.fuzz.target import FuzzTarget

TARGETS: Mapping[str, FuzzTarget] = {
    target.name: target
    for module in (bodies, words, answers, doors, records, limits)
    for target in module.TARGETS
}
