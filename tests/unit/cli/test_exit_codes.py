"""Exit codes are 0 done, 1 failed, 2 usage; an error is one line on standard error, never a traceback."""

from __future__ import annotations

import gc
import importlib
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest
import typer
import typer.main

from app import cli
from app.cli import app
from app.cli.output import table, visible
from tests.unit.cli.shell import Shell
from tests.unit.served import Served

COMMANDS: Any = typer.main.get_command(app)
GONE = "http://127.0.0.1:9"  # the discard port: nobody listens there


def test_a_service_that_does_not_answer_is_a_failure(shell: Shell) -> None:
    ended = shell("incidents", "--url", GONE)
    assert (ended.code, ended.out) == (1, "")
    assert (
        ended.err
        == f"error: {GONE}: no answer (ConnectError: nothing listens on that port); is the service running there? [service_unreachable]\n"
    )


def test_no_password_of_an_address_is_told(shell: Shell) -> None:
    ended = shell("incidents", "--json", "--url", "http://ann:hush@127.0.0.1:9")
    assert ended.code == 1
    assert ended.json["error"]["where"] == GONE
    assert "hush" not in ended.out + ended.err


def test_where_json_was_asked_for_an_error_is_json_on_standard_output_too(shell: Shell) -> None:
    ended = shell("incidents", "--json", "--url", GONE)
    assert ended.code == 1
    assert ended.json == {
        "error": {
            "code": "service_unreachable",
            "message": "no answer (ConnectError: nothing listens on that port); is the service running there?",
            "where": GONE,
        }
    }
    assert ended.err.startswith("error: ")


def test_a_usage_error_found_by_us_is_json_as_well(shell: Shell) -> None:
    ended = shell("runs", "--json", "--url", "ftp://127.0.0.1")
    assert (ended.code, ended.json["error"]["code"], ended.json["error"]["where"]) == (2, "bad_url", "--url")


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    assert shell.good("--version").out == f"{version('alert-remediator')}\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "127.0.0.1:8080", "http://", "ftp://127.0.0.1", ""])
def test_a_url_that_is_none_is_a_usage_error(shell: Shell, url: str) -> None:
    ended = shell("incidents", "--url", url)
    assert (ended.code, ended.out) == (2, "")
    assert "[bad_url]" in ended.err


@pytest.mark.parametrize("token", ["tökén", "two\nlines"])
def test_a_token_that_no_header_can_carry_is_a_usage_error_that_does_not_show_it(
    shell: Shell, token: str
) -> None:
    ended = shell("incidents", "--url", GONE, "--token", token)
    assert (ended.code, ended.out) == (2, "")
    assert token not in ended.err
    assert "[bad_token]" in ended.err


def test_a_wrong_token_is_refused_and_not_shown(client: Shell) -> None:
    ended = client("incidents", "--token", "wrong-one")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: Authorization: the token is not known [not_authenticated]\n"


def test_something_else_at_the_address_is_told_apart(shell: Shell, service: Served) -> None:
    # /metrics answers 200 with text: whatever runs there, it is not the API.
    ended = shell("explain", "x", "--url", f"{service.url}/metrics?")
    assert (ended.code, ended.out) == (1, "")
    assert "[service_unreachable]" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("trigger",),
        ("trigger", "high-error-rate"),
        ("incidents", "--limit", "0"),
        ("incidents", "--limit", "many"),
        ("pause",),
        ("audit", "fly"),
        ("demo", "--speed", "0"),
        ("explain",),
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_standard_error(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


def test_an_unknown_state_is_a_usage_error(client: Shell) -> None:
    ended = client("incidents", "--state", "sleeping")
    assert (ended.code, ended.out) == (2, "")


@pytest.mark.parametrize("command", COMMANDS.list_commands(typer.Context(COMMANDS)))
def test_every_command_explains_itself(shell: Shell, command: str) -> None:
    ended = shell.good(command, "--help")
    assert "Usage" in ended.out


def test_a_table_shows_foreign_text_without_obeying_it(capsys: pytest.CaptureFixture[str]) -> None:
    table(
        ("id", "alertname"),
        [{"id": "inc_1", "alertname": "[/red]\x1b[2J\nnext"}, {"id": "inc_22", "alertname": None}],
    )
    assert capsys.readouterr().out == "id      alertname\ninc_1   [/red]\\x1b[2J next\ninc_22\n"


def test_a_table_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table(("id", "target"), [{"id": "x" * 300, "target": "y" * 300}])
    assert capsys.readouterr().out.splitlines()[1] == f"{'x' * 300}  {'y' * 300}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ä·€", "ä·€"), ("a\tb\nc", "a\tb\nc"), ("\x9b31m", "\\x9b31m"), ("a\u202eb", "a\\u202eb")],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--limit", "x", "--json"),
        ("explain", "--json"),
        ("nosuch", "--json"),
        ("--json",),
        ("serve", "--json"),
        ("serve", "--port", "99999", "--json"),
        ("audit", "head", "--nope", "--json"),
        ("policy", "nosuch", "--json"),
        ("doctor", "--json", "--without", "nope"),
        ("trigger", "scale", "--json"),
    ],
    ids=" ".join,
)
def test_a_usage_error_found_by_the_parser_is_json_as_well(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.json["error"]["code"]) == (2, "usage")
    assert ended.json["error"]["message"]
    assert ended.err, "and a text for people"
    without = shell(*(a for a in arguments if a != "--json"), "--nope-at-all")
    assert (without.code, without.out) == (2, "")


def test_the_schema_takes_json_as_every_command_does(shell: Shell) -> None:
    assert shell.good("policy", "schema", "--json").json == shell.good("policy", "schema").json


def test_the_collector_rests_while_a_command_is_imported_and_works_again_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_work: list[bool] = []

    def importing(name: str) -> ModuleType:
        at_work.append(gc.isenabled())
        if name.endswith("broken"):
            raise ImportError(name)
        return ModuleType(name)

    monkeypatch.setattr(importlib, "import_module", importing)
    cli._imported("app.cli.any")
    with pytest.raises(ImportError):
        cli._imported("app.cli.broken")
    assert (at_work, gc.isenabled()) == ([False, False], True)
