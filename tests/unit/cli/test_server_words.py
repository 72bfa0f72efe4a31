"""What servers say, in the output of commands: on one line, bounded, without control characters, and without what is secret."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.store import answering
from tests.unit.cli.shell import Ended, Shell
from tests.unit.observe.servers import Answer, FakePostgres, beside
from tests.unit.served import POLICIES

PASSWORD = "Zk9#wQv2rT"
WORD = "marigold-8831"
SAID = (
    f'password authentication failed for user "app" (password was "{PASSWORD}")',
    f"role app with {PASSWORD} is none of ours",
    f"DSN postgresql://app:{PASSWORD}@db/x refused",
    f"Authorization: Bearer {PASSWORD} refused",
    f"url https://x/?api_key={WORD}",
    f"invalid password {WORD!r} given",
)
COMMANDS = (
    ("doctor", "--json"),
    ("doctor",),
    ("db", "upgrade"),
    ("audit", "verify"),
    ("audit", "verify", "--json"),
    ("audit", "head"),
    ("audit", "export"),
)


def _run(shell: Shell, server: FakePostgres, command: tuple[str, ...]) -> Ended:
    with beside(server.talk) as port:
        secret = PASSWORD.replace("#", "%23")
        shell.set(
            REMEDIATOR_CLUSTER="simulated",
            REMEDIATOR_POLICY_DIR=str(POLICIES),
            REMEDIATOR_DATABASE_URL=f"postgresql://app:{secret}@127.0.0.1:{port}/x?gssencmode=disable",
        )
        return shell(*command)


def _told(ended: Ended) -> str:
    """All that was printed, as a person reads it."""
    told = ended.out + ended.err
    assert ended.code != 0, told
    if ended.out.startswith("{"):
        told += str(json.loads(ended.out))
    return told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("said", SAID)
def test_no_command_shows_a_secret_that_the_server_of_the_store_says_at_the_login(
    shell: Shell, command: tuple[str, ...], said: str
) -> None:
    told = _told(_run(shell, FakePostgres(refuse=("28P01", said)), command))
    assert PASSWORD not in told
    assert WORD not in told
    assert "FATAL" in told, "what it says beside is told"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "answer",
    [("XX000", SAID[2]), [[f"token={WORD}\nREMEDIATOR\x1b[31m" + "x" * 5_000]]],
    ids=["an error", "a value"],
)
def test_no_command_shows_it_of_a_statement_either(
    shell: Shell, command: tuple[str, ...], answer: Answer
) -> None:
    told = _told(_run(shell, FakePostgres({"server_encoding": answer}), command))
    assert PASSWORD not in told
    assert WORD not in told
    assert "\x1b" not in told
    assert "\nREMEDIATOR" not in told
    assert "x" * 1_000 not in told


@pytest.mark.parametrize(
    "command", [("doctor", "--json"), ("db", "upgrade"), ("audit", "head")], ids=" ".join
)
def test_a_server_that_takes_the_login_and_then_says_nothing_holds_no_command(
    shell: Shell, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ANSWER", 0.2)
    told = _told(_run(shell, Mute(), command))
    assert "the server takes the login, and gave no answer within 0.2 s" in told


class Mute(FakePostgres):
    """Takes the login and answers no statement."""

    def _ready(self) -> bytes:
        ready = super()._ready()
        self._message = self._never  # type: ignore[method-assign]
        return ready

    async def _never(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        await reader.read()
        raise asyncio.IncompleteReadError(b"", 5)
