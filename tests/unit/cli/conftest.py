"""Fixtures of the commands' tests: a running service, and calling a command as a shell would."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.unit.cli.shell import Shell
from tests.unit.served import POLICIES, TOKENS, Served, served

ASKED = ("slow answers", "killed for memory", "crash loop")
"""Rules that ask here, so that there is something to approve and reject."""
EARNS = "crash loop"
"""The one of them that asks because it has not earned more."""

NIGHTLY = """\
version: 1
rules:
  - name: nightly size
    remediation: scale
    target: {kind: Deployment, name: {default: langgraph}, namespace: {default: rag7}}
    params: {replicas: 3}
    mode: observe
    schedule: {cron: "30 2 29 2 *", timezone: Europe/Berlin}
"""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with tokens over the four stories; three of its rules ask before they act."""
    folder = tmp_path_factory.mktemp("policies")
    for path in POLICIES.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for name in ASKED:
            head, found, rest = text.partition(f"- name: {name}\n")
            mode = "mode: earned\n    trust: {start: approve}" if name == EARNS else "mode: approve"
            # The service lives as long as the tests of a worker, and its hours are minutes.
            text = head + found + rest.replace("mode: auto", f"{mode}\n    approval: {{expires: 24h}}", 1)
        # The three that wait must not keep the fourth from being acted upon, whichever comes first.
        text = text.replace("targets_in_flight: 3", "targets_in_flight: 4")
        (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "nightly.yaml").write_text(NIGHTLY, encoding="utf-8")
    with served(tmp_path_factory.mktemp("state"), policies=folder, tokens=TOKENS) as running:
        yield running


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Commands run in this process, with their output apart; a service in another thread logs elsewhere."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    yield Shell(capsys, monkeypatch)
    structlog.reset_defaults()


@pytest.fixture
def client(shell: Shell, service: Served) -> Shell:
    """The same with the running service's address and token in the environment."""
    return shell.at(service.url)


@pytest.fixture
def state(shell: Shell, tmp_path: Path) -> Path:
    """An empty state folder that the commands use."""
    folder = tmp_path / "state"
    shell.set(REMEDIATOR_STATE_DIR=str(folder))
    return folder
