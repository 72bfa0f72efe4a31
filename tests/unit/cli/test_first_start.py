"""What a first start gets wrong is one line with the setting, and no command ends in a traceback for where it writes to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.domain.errors import BadInput
from app.settings import load_settings
from app.store.exclusive import only_process
from tests.unit.cli.shell import Shell
from tests.unit.observe.servers import FakePostgres, beside
from tests.unit.served import POLICIES

COMMAND = (sys.executable, "-c", "from app.cli import main; main()")
LONG = ("remediations", "--help")


def _run(output: int | None, *arguments: str, **variables: str) -> tuple[int, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("REMEDIATOR_")}
    before = (lambda: os.close(1)) if output is None else None
    found = subprocess.run(
        (*COMMAND, *arguments),
        env={**kept, "PYTHONPATH": str(POLICIES.parent), **variables},
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=240,
        check=False,
        preexec_fn=before,
    )
    return found.returncode, found.stderr.decode()


def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        code, told = _run(full.fileno(), *LONG)
    assert (code, told) == (
        1,
        "error: standard output could not be written: No space left on device [output_lost]\n",
    )


def test_a_closed_output_is_one_line_also_for_an_error_in_json() -> None:
    code, told = _run(None, "audit", "head", "--json", REMEDIATOR_STATE_DIR="/proc/none")
    assert code == 1
    assert "Traceback" not in told
    assert "[output_lost]" in told


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert _run(writer, "--version") == (1, "")
    finally:
        os.close(writer)


def test_a_name_beyond_the_terminal_s_encoding_is_shown_as_its_number(tmp_path: Path) -> None:
    code, told = _run(
        subprocess.DEVNULL,
        "audit",
        "head",
        PYTHONIOENCODING="ascii",
        REMEDIATOR_STATE_DIR=str(tmp_path / "größe"),
    )
    assert code == 1
    assert "gr\\xf6\\xdfe" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("below", ["file/state", "state"], ids=["no folder", "its lock is none"])
def test_a_state_folder_that_cannot_be_used_names_the_setting(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "state" / "remediator.sqlite.lock").mkdir(parents=True)
    url = f"sqlite:///{tmp_path / below / 'remediator.sqlite'}"
    with pytest.raises(BadInput, match="the store cannot be kept in ") as refused, only_process(url, "pod-0"):
        raise AssertionError("nothing can be kept there")
    assert (refused.value.code, refused.value.where) == ("bad_setting", "REMEDIATOR_STATE_DIR")


def test_a_database_that_refuses_the_login_is_named_without_the_password() -> None:
    said = 'password authentication failed for user "app" (password was "hush-hush")'
    with beside(FakePostgres(refuse=("28P01", said)).talk) as port:
        url = f"postgresql://app:hush-hush@127.0.0.1:{port}/alerts?gssencmode=disable"
        with pytest.raises(BadInput) as refused, only_process(url, "pod-0"):
            raise AssertionError("nobody is let in")
    told = refused.value.message
    start = f"the database alerts at 127.0.0.1:{port} could not be opened as app: the store refused the login"
    assert (refused.value.code, refused.value.where) == ("bad_setting", "REMEDIATOR_DATABASE_URL")
    assert told.startswith(start)
    assert "password authentication failed" in told
    assert "hush" not in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("prometheus_url", "http://", "names no host"),
        ("alertmanager_url", "https://:9093", "names no host"),
        ("slack_api_url", "https:///api/", "names no host"),
        ("external_url", "https://?x", "names no host"),
        ("alertmanager_url", "http://a.test:9093/api/v2/alerts", "without the path of its API"),
        ("alertmanager_url", "http://a.test:9093/am/api/v2", "without the path of its API"),
        ("prometheus_url", "http://p.test/api/v1/", "without the path of its API"),
        ("alertmanager_url", "http://a.test:9093/?token=hush-hush", "no place for a query"),
        ("prometheus_url", "http://p.test/?", "no place for a query"),
        ("slack_channel", "", "is empty"),
        ("slack_channel", " ", "is empty"),
    ],
)
def test_a_setting_that_could_never_work_is_refused_at_the_start(setting: str, value: str, told: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_settings(**{setting: value})
    assert (refused.value.code, refused.value.where) == ("bad_setting", f"REMEDIATOR_{setting.upper()}")
    assert told in refused.value.message
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://a.test:9093/alertmanager", "https://u:p4ss@[::1]:9093/", "http://a"])
def test_a_server_below_a_path_of_its_own_is_one(url: str) -> None:
    assert load_settings(alertmanager_url=url, prometheus_url=url).alertmanager_url == url


def test_the_trail_is_read_without_a_write(shell: Shell, tmp_path: Path) -> None:
    shell.set(REMEDIATOR_STATE_DIR=str(tmp_path))
    shell.good("db", "upgrade")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    file = tmp_path / "remediator.sqlite"
    file.chmod(0o444)
    for command in ("verify", "head", "export"):
        shell.good("audit", command)
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}.items()
    assert file.stat().st_mode & 0o777 == 0o444


def test_no_store_is_made_to_look_at_its_trail(shell: Shell, tmp_path: Path) -> None:
    shell.set(REMEDIATOR_STATE_DIR=str(tmp_path / "none"))
    for command in ("verify", "head", "export"):
        ended = shell("audit", command)
        assert (ended.code, "there is no store at" in ended.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("runs", "--url", "http://a", "--url", "http://b"), "--url"),
        (("undo", "run_1", "--reason", "a", "--url=http://127.0.0.1:9", "--reason", "b"), "--reason"),
        (("audit", "verify", "--head", "1:aa", "--head", "2:bb"), "--head"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(
    shell: Shell, arguments: tuple[str, ...], option: str
) -> None:
    ended = shell(*arguments)
    assert ended.code == 2
    assert f"{option} is given twice" in ended.err
