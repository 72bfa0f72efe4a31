"""The commands that read a configuration backup: what cannot be read is told, and no key is quoted."""

from __future__ import annotations

from pathlib import Path

from app.backup.configuration.lines import head, packed, tail
from app.backup.configuration.sealed import fresh, seal
from tests.unit.cli.shell import Shell


def backup(folder: Path, recipient: str) -> Path:
    """An encrypted backup of a namespace without objects."""
    file = folder / "x.jsonl.gz.age"
    with file.open("wb") as opened:
        seal(packed([head("rag7", "today"), tail(0)]), opened, [recipient])
    return file


def test_another_identity_and_a_cut_file_are_refused_before_anything_is_asked(
    shell: Shell, tmp_path: Path
) -> None:
    identity, recipient = fresh()
    file, key = backup(tmp_path, recipient), tmp_path / "identity.txt"
    key.write_text(f"{fresh()[0]}\n")
    ended = shell("configuration", "diff", str(file), "--identity", str(key))
    assert (ended.code, ended.out) == (1, "")
    assert "another identity" in ended.err
    key.write_text(f"{identity}\n")
    file.write_bytes(file.read_bytes()[:-10])
    ended = shell("configuration", "restore", str(file), "--identity", str(key), "--yes")
    assert ended.code == 1
    assert "cannot be decrypted" in ended.err
    assert str(identity) not in ended.err
    assert "can be read by others" in ended.err


def test_a_file_or_an_identity_that_is_not_there_is_said_so(shell: Shell, tmp_path: Path) -> None:
    identity, recipient = fresh()
    missing = shell("configuration", "diff", "no.age", "--identity", str(tmp_path / "no.txt"))
    assert missing.code == 1
    assert "no identity could be read" in missing.err
    (tmp_path / "identity.txt").write_text(f"{identity}\n")
    missing = shell("configuration", "diff", "no.age", "--identity", str(tmp_path / "identity.txt"))
    assert (missing.code, "no.age cannot be read" in missing.err) == (1, True)
    assert backup(tmp_path, recipient).exists()
