"""Calling the command as a shell does: arguments in; exit code, standard output and standard error out."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from app.cli import main
from tests.unit.served import TOKEN


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


class Shell:
    """Runs `remediator` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        for name in [n for n in os.environ if n.startswith("REMEDIATOR_")]:
            monkeypatch.delenv(name)

    def set(self, **variables: str) -> None:
        """Environment variables."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def at(self, url: str, token: str = TOKEN) -> Shell:
        """Point the commands at a service."""
        self.set(REMEDIATOR_URL=url, REMEDIATOR_TOKEN=token)
        return self

    def __call__(self, *arguments: str) -> Ended:
        self._capsys.readouterr()
        theirs = structlog.is_configured()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        if not theirs:
            structlog.reset_defaults()  # a command says where its process logs to; this one goes on
        out, err = self._capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, out, err)

    def good(self, *arguments: str) -> Ended:
        """A command that must succeed."""
        ended = self(*arguments)
        assert ended.code == 0, ended
        return ended
