"""The cache of the live stack's parts: what an entry is named by, and what is missing of one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.live import build


def test_the_entry_of_a_part_is_named_by_its_pinned_versions_and_by_a_main_package_of_our_own() -> None:
    for tool in build.TOOLS:
        own = [path.name for path in tool.module.glob("*.go")]
        assert own == (["main.go"] if tool.name == build.CERT_MANAGER else [])
        content = b"".join((tool.module / name).read_bytes() for name in ("go.mod", "go.sum", *own))
        assert tool.key == hashlib.sha256(content).hexdigest()[:16]


def test_a_part_without_its_folders_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_REMEDIATOR_LIVE_CACHE", str(tmp_path))
    (tool,) = (tool for tool in build.TOOLS if tool.name == build.CERT_MANAGER)
    assert build.missing([tool.name]) == ["cert-manager", "crds"]
    tool.folder.mkdir()
    (tool.folder / "cert-manager").touch(mode=0o755)
    assert build.missing([tool.name]) == ["crds"]
    with pytest.raises(build.LiveStackError, match="cert-manager is not built"):
        build.resources(tool.name, "crds")
    (tool.folder / "crds").mkdir()
    assert build.missing([tool.name]) == []
    assert build.resources(tool.name, "crds") == tool.folder / "crds"
