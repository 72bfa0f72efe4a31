"""The commands that read a configuration backup: what cannot be read is told, and no key is quoted."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import httpx
import pytest

from app.backup.configuration.lines import head, line_of, packed, tail
from app.backup.configuration.sealed import fresh, seal
from app.cli import configuration
from app.cli.remote import incident_path, run_path
from app.domain.errors import AccessDenied, ObjectInvalid
from tests.unit.cli.shell import Shell
from tests.unit.test_configuration_restore import Api, config_map


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


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Api, list[str]]:
    """A cluster, and the arguments that name a backup of three ConfigMaps."""
    identity, recipient = fresh()
    file, key, api = tmp_path / "x.age", tmp_path / "identity.txt", Api()
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    objects = [config_map("a", x="new\nsame    forged"), config_map("b"), config_map("c")]
    api.held["a"] = config_map("a", x="old").object
    with file.open("wb") as opened:
        seal(packed([head("rag7", "today"), *map(line_of, objects), tail(3)]), opened, [recipient])

    async def connected(context: str) -> Api:
        return api

    monkeypatch.setattr(configuration, "_connected", connected)
    return api, [str(file), "--identity", str(key)]


def test_the_command_goes_on_says_what_was_done_and_exits_with_1(
    shell: Shell, files: tuple[Api, list[str]]
) -> None:
    api, named = files
    api.at["b", "write"] = ObjectInvalid("exceeded quota\nsame    forged")
    ended = shell("configuration", "restore", *named, "--yes")
    assert ended.code == 1
    assert "2 objects were put back into rag7, 1 were refused, 0 failed" in ended.err
    assert "refused: configmaps b: exceeded quota" in ended.err
    api.at["c", "read"] = AccessDenied("get is not granted")
    ended = shell("configuration", "diff", *named)
    assert ended.code == 1
    assert "refused configmaps c: get is not granted" in ended.out


def test_no_value_and_no_answer_begins_a_line_of_its_own(shell: Shell, files: tuple[Api, list[str]]) -> None:
    api, named = files
    api.at["b", "try"] = ObjectInvalid("no\nsame    forged")
    ended = shell("configuration", "diff", *named)
    assert "forged" in ended.out
    assert not any(line.startswith("same") for line in ended.out.splitlines())


def test_json_shows_what_would_change_before_it_asks(
    shell: Shell, files: tuple[Api, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, named = files
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    ended = shell("configuration", "restore", *named, "--json")
    assert ended.code != 0
    assert "change  configmaps a" in ended.err
    assert ended.err.index("change  configmaps a") < ended.err.index("Put 3 objects back")
    assert api.written == []


def test_what_is_typed_as_an_id_stays_one_part_of_the_path() -> None:
    assert run_path("..", "approve") == "/api/v1/runs/%2E%2E/approve"
    assert incident_path(".", "take") == "/api/v1/incidents/%2E/take"
    assert (
        httpx.URL("http://h.test").join(run_path("..", "approve")).raw_path == b"/api/v1/runs/%2E%2E/approve"
    )
    assert run_path("a/b.c") == "/api/v1/runs/a%2Fb.c"
