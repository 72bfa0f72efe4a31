"""All fuzz targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import answers, bodies, connections, limits, login, records, shelves, words
from tests.fuzz.target import FuzzTarget

TARGETS: Mapping[str, FuzzTarget] = {
    target.name: target
    for module in (bodies, words, answers, connections, records, limits, shelves, login)
    for target in module.TARGETS
}
