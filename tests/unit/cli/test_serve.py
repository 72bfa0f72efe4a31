"""The commands that run the service, as processes of their own: started, asked, and stopped by a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.domain.errors import BadInput
from app.serving import bind
from tests.unit.served import POLICIES, TIMELINES

COMMAND = (sys.executable, "-c", "from app.cli import main; main()")
PATIENCE = 240.0  # seconds on the wall; the demo itself gives up after 150


def _environment(**variables: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("REMEDIATOR_")}
    return {**kept, "PYTHONPATH": str(POLICIES.parent), "COLUMNS": "80", **variables}


@contextmanager
def _running(folder: Path, *options: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = _environment(
        REMEDIATOR_STATE_DIR=str(folder),
        REMEDIATOR_POLICY_DIR=str(POLICIES),
        REMEDIATOR_CLUSTER="simulated",
        **{"REMEDIATOR_PORT": "0", **variables},
    )
    with subprocess.Popen(
        (*COMMAND, "serve", *options),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            yield process, _address(process.stderr)
        finally:
            process.kill()


def _address(lines: Iterator[str]) -> str:
    seen = []
    for line in lines:
        seen.append(line)
        if found := re.search(r'"url": "(http://[^"]+)"', line):
            return found[1]
    raise AssertionError("".join(seen))


def test_the_address_on_the_command_line_wins_over_the_settings(tmp_path: Path) -> None:
    taken = {"REMEDIATOR_HOST": "192.0.2.1", "REMEDIATOR_PORT": "1"}  # nothing here can be bound to it
    with _running(tmp_path, "--host", "127.0.0.1", "--port", "0", **taken) as (_, url):
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/healthz", timeout=30).json() == {"status": "alive"}


def test_an_address_on_the_command_line_opens_no_api_to_the_world(tmp_path: Path) -> None:
    environment = _environment(REMEDIATOR_STATE_DIR=str(tmp_path), REMEDIATOR_CLUSTER="simulated")
    ended = subprocess.run(
        (*COMMAND, "serve", "--host", "0.0.0.0"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "REMEDIATOR_HOST: without REMEDIATOR_TOKENS only a loopback address" in ended.stderr


def test_an_address_in_brackets_is_the_address(tmp_path: Path) -> None:
    with _running(tmp_path, "--host", "[::1]", "--port", "0") as (_, url):
        assert url.startswith("http://[::1]:")


def test_an_address_that_this_machine_does_not_have_is_told_as_the_host_setting() -> None:
    with pytest.raises(BadInput, match=r"cannot bind 192\.0\.2\.1:0: ") as refused:
        bind("192.0.2.1", 0)
    assert refused.value.where == "REMEDIATOR_HOST"


def test_a_port_that_is_taken_is_told_as_the_port_setting() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(BadInput) as refused:
        bind("127.0.0.1", first.getsockname()[1])
    assert refused.value.where == "REMEDIATOR_PORT"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_until_a_signal_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with _running(tmp_path) as (process, url):
        assert httpx.get(f"{url}/healthz", timeout=30).json() == {"status": "alive"}
        assert httpx.get(f"{url}/readyz", timeout=30).json() == {
            "ready": True,
            "problems": {},
            "degraded": {},
        }
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out == ""
    assert "stopping" in [json.loads(line)["event"] for line in err.splitlines()]
    assert (tmp_path / "remediator.sqlite").is_file()


def test_a_second_process_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    """And what the first one writes is its user's only."""
    with _running(tmp_path) as (process, _):
        second = subprocess.run(
            (*COMMAND, "serve"),
            env=_environment(
                REMEDIATOR_STATE_DIR=str(tmp_path),
                REMEDIATOR_POLICY_DIR=str(POLICIES),
                REMEDIATOR_CLUSTER="simulated",
                REMEDIATOR_PORT="0",
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert (second.returncode, second.stdout) == (2, "")
    assert f"another process (pid {process.pid}) serves" in second.stderr
    assert "[already_running]" in second.stderr
    assert "remediator-engine.sqlite" in modes
    assert set(modes.values()) == {0o600}
    with _running(tmp_path) as (process, url):  # the dead one's lock is gone
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def test_a_port_in_use_is_a_usage_error_that_names_the_setting(tmp_path: Path) -> None:
    with _running(tmp_path / "one") as (_, url):
        environment = _environment(
            REMEDIATOR_STATE_DIR=str(tmp_path / "two"),
            REMEDIATOR_POLICY_DIR=str(POLICIES),
            REMEDIATOR_CLUSTER="simulated",
            REMEDIATOR_PORT=url.rpartition(":")[2],
        )
        second = subprocess.run(
            (*COMMAND, "serve"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert second.returncode == 2
    assert second.stderr.startswith("error: REMEDIATOR_PORT: cannot bind 127.0.0.1:")


def test_the_demo_ends_all_four_stories_well_and_cuts_nothing_on_a_narrow_terminal() -> None:
    ended = subprocess.run(
        (*COMMAND, "demo", "--once", "--port", "0", "--speed", "30"),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    head, *rows = _summary(ended.stdout)
    assert head.split() == ["incident", "run", "ended", "as", "step", "alert", "target"]
    assert len(rows) == len(TIMELINES)
    relief = {
        "scale-out": "contained"
    }  # more pods carry the load; why there is more of it is a person's question
    for row in rows:
        incident, run, state, step, _alert, target = row.split()
        assert state == relief.get(step, "fixed")
        assert run.startswith(incident.replace("inc_", "run_"))
        assert target.startswith("rag7/Deployment/")
    # A card is wrapped inside its frame; joined again it is whole.
    told = " ".join(line.strip("│╭╮╰╯─ ") for line in ended.stdout.splitlines())
    assert "…" not in told
    assert "17 of 17 gates" in told
    assert re.search(
        r"Checked: fixed: healthy for \S+: 3 of 3 pods are available; the alert has resolved", told
    )
    assert "Traceback" not in ended.stderr


def _summary(text: str) -> list[str]:
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if " summary " in line)
    return [line for line in lines[at + 1 :] if line.strip()]


def test_a_story_is_ordered_approved_by_two_people_and_told_to_its_end() -> None:
    ended = subprocess.run(
        (*COMMAND, "demo", "--once", "--port", "0", "--speed", "90", "--story", "database-restore"),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    _, row = _summary(ended.stdout)
    assert row.split()[2:4] == ["fixed", "restore"]
    assert "stand-ins inside of this process" in ended.stdout
    assert [line for line in ended.stdout.splitlines() if line.endswith("approves)")] == [
        "(ben approves)",
        "(carol approves)",
    ]


def test_a_story_that_does_not_exist_is_refused_with_those_that_do() -> None:
    ended = subprocess.run(
        (*COMMAND, "demo", "--once", "--story", "no-such"),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "[unknown_story]" in ended.stderr
    assert "database-backup" in ended.stderr
