"""Commands that need no running service: policy check, the audit trail, the schema."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from app.domain.events import EventKind
from app.main import open_store
from app.settings import load_settings
from app.store.tx import Tx
from tests.unit.cli.shell import Shell
from tests.unit.served import POLICIES


def test_the_shipped_policy_is_good(shell: Shell) -> None:
    assert shell.good("policy", "check", str(POLICIES)).out.startswith("ok: 14 rules, version ")
    found = shell.good("policy", "check", str(POLICIES), "--json").json
    assert found["ok"] is True
    modes = {r["name"]: r["mode"] for r in found["rules"]}
    assert len(modes) == 14
    assert {n for n, mode in modes.items() if mode == "auto"} == {
        "errors after a deployment",
        "slow answers",
        "killed for memory",
        "crash loop",
        "pods not ready",
    }


def test_the_policy_folder_can_come_from_the_environment(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that judges a policy takes the one that is in force here, and no other that lies where it is called."""
    (alerts := tmp_path / "alerts.jsonl").write_text("")
    (tmp_path / "policies").mkdir()
    monkeypatch.chdir(tmp_path)
    shell.set(REMEDIATOR_POLICY_DIR=str(POLICIES))
    shell.good("policy", "check")
    played = shell.good("policy", "backtest", "--alerts", str(alerts), "--json").json
    assert played["policy"]["version"] == shell.good("policy", "check", "--json").json["version"]


def test_a_file_of_which_no_line_is_an_alert_is_refused(shell: Shell, tmp_path: Path) -> None:
    """A pipeline that was given another file would pass for ever."""
    (alerts := tmp_path / "alerts.jsonl").write_text("name,value\n1,2\n")
    ended = shell("policy", "backtest", "--policy", str(POLICIES), "--alerts", str(alerts))
    assert (ended.code, "none of 2 lines can be read" in ended.err) == (2, True)
    assert "[bad_alerts]" in ended.err


def test_every_fault_of_a_policy_is_told_with_its_place(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nscope: {namespaces: [rag7]}\ncolldown: 5m\nstrom: {}\n")
    ended = shell("policy", "check", str(tmp_path))
    assert ended.code == 1
    assert [line.split(" ")[0] for line in ended.out.splitlines() if line.startswith("a.yaml")] == [
        "a.yaml:3:1:",
        "a.yaml:4:1:",
    ]
    assert ended.err == "2 faults\n"
    faults = shell("policy", "check", str(tmp_path), "--json").json["faults"]
    assert [(f["file"], f["line"], f["column"]) for f in faults] == [("a.yaml", 3, 1), ("a.yaml", 4, 1)]


def test_a_folder_without_a_policy_is_a_usage_error(shell: Shell, tmp_path: Path) -> None:
    ended = shell("policy", "check", str(tmp_path / "none"))
    assert (ended.code, ended.out) == (2, "")
    assert "[bad_policy]" in ended.err


def _record(version: str, tx: Tx) -> None:
    tx.audit(EventKind.POLICY_LOADED, data={"version": version})


async def _trail() -> None:
    store = open_store(load_settings())
    try:
        for version in ("a", "b", "c"):
            await store.write(partial(_record, version))
    finally:
        store.close()


@pytest.fixture
async def trail(state: Path) -> Path:
    """A database with three audit records."""
    await _trail()
    return state / "remediator.sqlite"


def test_an_intact_trail_verifies(shell: Shell, trail: Path) -> None:
    assert shell.good("audit", "verify").out == "ok: 3 records, 1 to 3\n"
    assert shell.good("audit", "verify", "--json").json["ok"] is True


def test_a_changed_record_is_found(shell: Shell, trail: Path) -> None:
    with sqlite3.connect(trail) as db:
        db.execute("DROP TRIGGER audit_no_update")
        changed = db.execute("UPDATE audit SET actor = 'somebody' WHERE seq = 2").rowcount
    db.close()
    assert changed == 1
    ended = shell("audit", "verify")
    assert ended.code == 1
    assert ended.out.startswith("broken at record 2: ")
    assert shell("audit", "verify", "--json").json["at_seq"] == 2


def test_a_head_kept_elsewhere_finds_a_trail_that_was_cut_with_its_head(shell: Shell, trail: Path) -> None:
    head = shell.good("audit", "head").out.strip()
    assert shell.good("audit", "head", "--json").json == {"seq": 3, "hash": head.removeprefix("3:")}
    assert shell.good("audit", "verify", "--head", head).err.count("\n") == 1  # only that there is no key
    with sqlite3.connect(trail) as db:
        (guard,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_no_delete'").fetchone()
        db.executescript(
            "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq = 3;"
            "UPDATE audit_chain SET seq = 2, hash = (SELECT hash FROM audit WHERE seq = 2);"
        )
        db.execute(guard)
    db.close()
    without = shell.good("audit", "verify")
    assert "without --head" in without.err
    ended = shell("audit", "verify", "--head", head)
    assert (ended.code, ended.out) == (
        1,
        "broken at record 3: the trail ends at record 2, before the given head, record 3\n",
    )
    assert shell("audit", "verify", "--head", "nonsense").code == 2


@pytest.fixture
async def keyed(shell: Shell, state: Path) -> None:
    """A database with three audit records made with a key, which is set."""
    del state
    shell.set(REMEDIATOR_AUDIT_KEY="the-key-0123456789-0123456789-01")
    await _trail()


@pytest.mark.usefixtures("keyed")
def test_a_keyed_trail_verifies_with_its_key_only(shell: Shell) -> None:
    assert "without a key" not in shell.good("audit", "verify").err
    shell.set(REMEDIATOR_AUDIT_KEY="another-key-0123456789-012345678")
    ended = shell("audit", "verify")
    assert ended.out == "broken at record 1: record 1 was made with a key that is not given\n"


def test_an_export_is_one_json_object_a_line_oldest_first(shell: Shell, trail: Path) -> None:
    rows = [json.loads(line) for line in shell.good("audit", "export").out.splitlines()]
    assert [r["seq"] for r in rows] == [1, 2, 3]
    assert {r["kind"] for r in rows} == {"policy.loaded"}
    assert shell.good("audit", "export", "--json").out == shell.good("audit", "export").out


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_database_without_a_schema_is_a_failure_that_says_what_to_do(
    shell: Shell, state: Path, command: str
) -> None:
    ended = shell("audit", command)
    assert (ended.code, ended.out) == (1, "")
    assert "run `remediator db upgrade`" in ended.err
    assert "[schema_old]" in ended.err


def test_the_schema_is_made_once_and_upgrading_again_changes_nothing(shell: Shell, state: Path) -> None:
    first = shell.good("db", "upgrade", "--json")
    assert first.err == "the schema is up to date\n"
    assert shell.good("db", "upgrade").out == first.json["revision"] + "\n"
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_bad_setting_is_a_usage_error_that_names_it(shell: Shell, state: Path) -> None:
    shell.set(REMEDIATOR_PORT="many")
    for command in (("audit", "verify"), ("db", "upgrade"), ("serve",)):
        ended = shell(*command)
        assert (ended.code, ended.out) == (2, ""), command
        assert "REMEDIATOR_PORT" in ended.err


def test_serving_to_the_world_without_tokens_is_refused(shell: Shell, state: Path) -> None:
    shell.set(REMEDIATOR_HOST="0.0.0.0")
    ended = shell("serve")
    assert (ended.code, ended.out) == (2, "")
    assert "REMEDIATOR_TOKENS" in ended.err
