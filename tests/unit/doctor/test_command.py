"""The commands `doctor` and `config`: exit codes, forms, and what keeps the doctor from looking."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.shell import Shell
from tests.unit.served import POLICIES


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """A set-up that has nothing but a policy."""
    shell = Shell(capsys, monkeypatch)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    shell.set(REMEDIATOR_STATE_DIR=str(tmp_path / "state"), REMEDIATOR_POLICY_DIR=str(POLICIES))
    return shell


def test_with_warnings_alone_it_ends_with_0(shell: Shell) -> None:
    shell.set(REMEDIATOR_CLUSTER="simulated")
    ended = shell.good("doctor")
    assert "WARN  slack         without a Slack token" in ended.out
    assert "-> set REMEDIATOR_PROMETHEUS_URL  [prometheus_missing]" in ended.out
    assert ended.err.startswith("0 fail, ")


def test_what_does_not_work_ends_with_1(shell: Shell) -> None:
    ended = shell("doctor", "--json")
    assert ended.code == 1
    assert ended.json["ok"] is False
    failed = [f for f in ended.json["findings"] if f["level"] == "fail"]
    assert [f["code"] for f in failed] == ["cluster_unknown"]
    assert set(failed[0]) == {"area", "code", "level", "text", "fix"}
    assert failed[0]["text"].startswith("no usable kubeconfig: there is no file /")


PLAIN = """
import logging, sys
from app.cli import _imported, main
import structlog
_imported("app.cli.doctor")
logging.getLogger("a.library").warning("bare text of a library")
structlog.get_logger().error("a_line_of_ours")
main(sys.argv[1:])
"""


def test_what_is_logged_is_in_no_output_of_a_script(shell: Shell, tmp_path: Path) -> None:
    """In a process of its own: pytest catches what is logged."""
    command = [sys.executable, "-c", PLAIN, "doctor", "--json", "--without", "store"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, json.loads(ended.stdout)["ok"]) == (1, False)
    assert "a_line_of_ours" in ended.stderr
    assert "bare text" not in ended.stderr
    assert "Config not found" not in ended.stderr


def test_all_settings_that_are_wrong_are_told_at_once_and_in_our_words(shell: Shell, tmp_path: Path) -> None:
    shell.set(
        REMEDIATOR_PORT="many",
        REMEDIATOR_MODE="brave",
        REMEDIATOR_AUDIT_KEY="changeme",
        REMEDIATOR_COLOUR="red",
        REMEDIATOR_TOKENS_FILE=str(tmp_path / "none"),
        REMEDIATOR_STATUS_PAGE_URL="",
    )
    found = shell("doctor", "--json").json["findings"]
    wrong = {"PORT", "MODE", "AUDIT_KEY", "COLOUR", "TOKENS_FILE", "STATUS_PAGE_URL"}
    assert {f["code"] for f in found} == {"settings_bad"}
    assert sorted(f["fix"] for f in found) == sorted(f"correct REMEDIATOR_{name}" for name in wrong)
    ended = shell("config", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (2, "bad_setting")
    told = " ".join([ended.err, ended.json["error"]["message"], *(f["text"] for f in found)])
    assert ended.err.count("\n") == 1
    assert all(f"REMEDIATOR_{name}: " in ended.err for name in wrong)
    assert "Value error" not in told
    assert "Input should" not in told


def test_a_secret_that_cannot_be_read_is_not_told_as_one_that_is_not_set(
    shell: Shell, tmp_path: Path
) -> None:
    shell.set(REMEDIATOR_HOST="0.0.0.0", REMEDIATOR_TOKENS_FILE=str(tmp_path / "none"))
    (found,) = shell("doctor", "--json").json["findings"]
    assert found["fix"] == "correct REMEDIATOR_TOKENS_FILE"


def test_a_kubeconfig_that_is_there_and_broken_is_told_as_that(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a: [")
    (failed,) = [f for f in shell("doctor", "--json").json["findings"] if f["level"] == "fail"]
    assert "there is no file" not in failed["text"]


@pytest.mark.parametrize("text", ["", " \n", "\ufeff"])
def test_a_file_of_a_secret_that_is_blank_is_the_finding(shell: Shell, tmp_path: Path, text: str) -> None:
    (tmp_path / "blank").write_text(text)
    shell.set(REMEDIATOR_TOKENS_FILE=str(tmp_path / "blank"))
    (found,) = shell("doctor", "--json").json["findings"]
    assert (found["code"], found["fix"]) == ("settings_bad", "correct REMEDIATOR_TOKENS_FILE")
    assert "the file is empty" in found["text"]


def test_an_area_can_be_left_out(shell: Shell) -> None:
    found = shell.good("doctor", "--without", "cluster", "--without", "slack", "--json").json["findings"]
    assert not {f["area"] for f in found} & {"cluster", "slack"}


def test_settings_that_cannot_be_read_are_the_finding(shell: Shell) -> None:
    shell.set(REMEDIATOR_PORT="many")
    (found,) = shell("doctor", "--json").json["findings"]
    assert (found["code"], found["level"]) == ("settings_bad", "fail")
    assert "REMEDIATOR_PORT" in found["fix"]


@pytest.mark.parametrize(
    ("text", "code"), [("version: 1\nscpe: {}\n", "policy_invalid"), (None, "policy_missing")]
)
def test_a_policy_that_is_not_in_force_is_named(
    shell: Shell, tmp_path: Path, text: str | None, code: str
) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    if text:
        (folder / "a.yaml").write_text(text)
    shell.set(REMEDIATOR_POLICY_DIR=str(folder), REMEDIATOR_CLUSTER="simulated")
    ended = shell("doctor", "--json")
    assert ended.code == 1
    assert {f["code"] for f in ended.json["findings"] if f["level"] == "fail"} == {code}


def test_config_shows_every_setting_with_its_origin_and_no_secret(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-very-4Kq9vT2m")
    shell.set(
        REMEDIATOR_SLACK_BOT_TOKEN_FILE=str(tmp_path / "token"),
        REMEDIATOR_AUDIT_KEY="key-of-this-command-012345678901234",
        REMEDIATOR_RETENTION_DAYS="7",
        REMEDIATOR_STATUS_PAGE_URL="https://hooks.test:8443/services/very-secret?key=very-secret",
        REMEDIATOR_PROMETHEUS_URL="http://very-secret@prometheus.test",
    )
    rows = {r["setting"]: (r["value"], r["origin"]) for r in shell.good("config", "--json").json}
    assert rows["REMEDIATOR_RETENTION_DAYS"] == (7, "environment")
    assert rows["REMEDIATOR_PORT"] == (8080, "default")
    assert rows["REMEDIATOR_SLACK_BOT_TOKEN"] == ("set", f"file {tmp_path / 'token'}")
    assert rows["REMEDIATOR_AUDIT_KEY"] == ("set", "environment")
    assert rows["REMEDIATOR_STATUS_PAGE_URL"] == ("https://hooks.test:8443/…", "environment")
    assert rows["REMEDIATOR_PROMETHEUS_URL"] == ("http://prometheus.test", "environment")
    assert rows["REMEDIATOR_TOKENS"] == ("not set", "default")
    shown = shell.good("config")
    assert "very-secret" not in shown.out
    assert "kkkk" not in shown.out


def test_config_ends_with_2_when_a_setting_cannot_be_read(shell: Shell) -> None:
    shell.set(REMEDIATOR_PORT="many")
    ended = shell("config")
    assert (ended.code, ended.out) == (2, "")
    assert "REMEDIATOR_PORT" in ended.err
