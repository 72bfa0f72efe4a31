"""The threat model names the test of each claim; each of these tests exists."""

from __future__ import annotations

import re

from tests.unit.docs.tables import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`((?:unit|scenario|contract|fuzz)/[\w/]+\.py)(?:::(test_\w+))?`", TEXT)
    assert len(named) >= 9
    for path, name in named:
        source = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert f"def {name}(" in source if name else "def test_" in source, f"{path}::{name}"
