"""Secrets in the settings: an empty one never means that none is asked for, and no error shows a part of one."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.domain.errors import BadInput
from app.domain.urls import fault_in
from app.setting_texts import IN_HEADERS
from app.settings import SECRETS, Settings, load_settings

BLANKS = ["", " ", "\n\n", ",", " , ", "\ufeff", "\u00a0", "\u200b\t"]
UNSEEN = ["\u3164", "\u2800", "\ufe0f", "\u034f", "\u00ad", "\U000e0041", "\x01"]
LEFT = [
    '""',
    "''",
    "<no value>",
    "${SECRET}",
    "{{ .Values.secret }}",
    "$(SECRET)",
    "$SECRET",
    "null",
    "None",
    "changeme",
    "****",
    "xxxx",
    "vault:secret/data/x#y",
    "op://vault/item/field",
    "TODO-set-me",
    "aaaaaaaaaaaa",
    "a" * 40,
    "password123456",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:remediator-Ab3dE5",
]
SHORT = ["a", "seven77", "#"]
NO_SECRETS = (*BLANKS, *UNSEEN, *LEFT, *SHORT)
DIGEST = hashlib.sha256(b"a-token-of-this-test").hexdigest()
CANARY = "CANARYsecret"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("REMEDIATOR_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", SECRETS)
def test_an_empty_secret_refuses_to_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for blank in NO_SECRETS:
        monkeypatch.setenv(f"REMEDIATOR_{name.upper()}", blank)
        with pytest.raises(BadInput) as caught:
            load_settings()
        assert caught.value.where.startswith(f"REMEDIATOR_{name.upper()}"), blank


@pytest.mark.parametrize("name", SECRETS)
def test_an_empty_file_of_a_secret_refuses_to_start(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"REMEDIATOR_{name.upper()}_FILE", str(tmp_path / "secret"))
    for blank in NO_SECRETS:
        (tmp_path / "secret").write_text(blank)
        with pytest.raises(BadInput) as caught:
            load_settings()
        assert caught.value.where.startswith(f"REMEDIATOR_{name.upper()}"), blank


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_not_utf8_is_refused_unseen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"REMEDIATOR_{name.upper()}", f"{CANARY}{os.fsdecode(bytes([255]))}" * 4)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert caught.value.where == f"REMEDIATOR_{name.upper()}"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", IN_HEADERS)
@pytest.mark.parametrize("within", ["\n", "\r\n", "\t", " ", "\u00fc", "\ufeff", "\u2019"])
def test_a_secret_that_no_header_can_carry_is_refused_unseen(name: str, within: str) -> None:
    """Two lines in a file, a byte order mark, a quote of a word processor: the first night would show it."""
    with pytest.raises(BadInput) as caught:
        load_settings(**{name: f"{CANARY}{within}{CANARY}"})
    assert caught.value.where == f"REMEDIATOR_{name.upper()}"
    assert CANARY not in str(caught.value)


def test_no_dependencies_are_no_empty_secret() -> None:
    assert load_settings(dependencies="{}").dsns == {}


def test_a_file_of_comments_is_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokens").write_text("# nobody yet\n")
    monkeypatch.setenv("REMEDIATOR_TOKENS_FILE", str(tmp_path / "tokens"))
    with pytest.raises(BadInput, match="no token in it"):
        load_settings()


@pytest.mark.parametrize("tokens", [None, f"alice:read:{DIGEST}"])
def test_the_settings_and_the_routes_agree_on_whether_the_api_is_open(tokens: str | None) -> None:
    found = load_settings(tokens=tokens)
    assert found.open is found.access.open is (tokens is None)


NOTHING = [
    "",
    "\n",
    " ",
    "\t",
    "\r\n",
    "  ",
    "\0",
    "\ufeff",
    "\u200b",
    "\u3164",
    "a",
    "null",
    "None",
    '""',
    "<no value>",
]


@pytest.mark.parametrize("nothing", [text.encode() for text in NOTHING])
def test_the_digest_of_an_empty_token_is_refused(nothing: bytes) -> None:
    with pytest.raises(BadInput, match="empty token"):
        load_settings(tokens=f"alice:read:{hashlib.sha256(nothing).hexdigest()}")


@pytest.mark.parametrize(
    "tokens",
    [
        f"alice:{CANARY}:read",
        f"{CANARY}:read:alice",
        f"alice:read:{CANARY}",
        f"{CANARY}:{DIGEST}",
        f"alice:read+{CANARY}:{DIGEST}",
        f"{CANARY} {CANARY}:read:{DIGEST}",
    ],
)
def test_an_error_about_tokens_shows_nothing_of_them(tokens: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(tokens=tokens)
    assert CANARY not in str(caught.value) + repr(caught.value)
    assert caught.value.where.startswith("REMEDIATOR_TOKENS")


UNENCODED = [
    f"postgresql://u:{CANARY}@x@db/shop",
    f"postgresql://u:{CANARY}/x@db/shop",
    f"postgresql://u:1/{CANARY}@db/shop",
    f"postgresql://u:1?{CANARY}@db/shop",
    f"postgresql://u:1#{CANARY}@db/shop",
    f"postgresql://u:{CANARY}[@db/shop",
    f"postgresql://u:{CANARY}%@db/shop",
    f"postgresql://u:{CANARY} @db/shop",
    "postgresql://u:@db/shop",
]


@pytest.mark.parametrize("dsn", UNENCODED)
def test_a_password_that_is_not_percent_encoded_is_refused_by_setting_and_name(dsn: str) -> None:
    import json

    for setting, value in (("dependencies", json.dumps({"orders": dsn})), ("database_url", dsn)):
        with pytest.raises(BadInput) as caught:
            load_settings(**{setting: value})
        assert caught.value.where == f"REMEDIATOR_{setting.upper()}"
        assert CANARY not in str(caught.value)
        assert ("orders" in caught.value.message) is (setting == "dependencies")


@pytest.mark.parametrize("value", ["{" + CANARY, f'["{CANARY}"]', f'{{"a": {{"b": "{CANARY}"}}}}'])
def test_dependencies_that_cannot_be_read_are_refused_unseen(value: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(dependencies=value)
    assert caught.value.where == "REMEDIATOR_DEPENDENCIES"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/shop",
        "postgresql:///shop?host=/var/run",
        "postgresql://u@db/shop",
        "postgresql://u:p%40ss%2Fw%23rd@db:5432/shop?sslmode=require",
        "postgresql://u:a:b@[::1]:5432/shop",
        "postgresql://u:p@one:5432,two:5432/shop",
        "redis://:secret@cache:6379/0",
        "https://prometheus.example:9090/base",
    ],
)
def test_an_encoded_url_is_accepted(url: str) -> None:
    assert fault_in(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://prometheus:99999",
        "postgresql://u:p@one:5432,two:65536/shop",
        "http://[fd00::1]:70000/x",
        "http://p:0",
        "https://p:00/x",
    ],
)
def test_a_port_that_there_is_none_of_is_refused(url: str) -> None:
    assert fault_in(url) == "there is no port 0, and none above 65535"


def test_a_byte_order_mark_before_a_secret_is_not_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("\ufeffxoxb-123456789\n", encoding="utf-8")
    monkeypatch.setenv("REMEDIATOR_SLACK_BOT_TOKEN_FILE", str(tmp_path / "secret"))
    found = load_settings().slack_bot_token
    assert found is not None
    assert found.get_secret_value() == "xoxb-123456789"


def test_a_password_that_a_template_left_is_refused() -> None:
    with pytest.raises(BadInput, match="placeholder"):
        load_settings(database_url="postgresql://app:$DB_PASSWORD@db/x")


@pytest.mark.parametrize("name", ["status_page_url", "prometheus_url", "alertmanager_url"])
def test_a_url_that_bears_a_login_may_stand_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "url").write_text(f"https://kim:{CANARY}@there.test/\n")
    monkeypatch.setenv(f"REMEDIATOR_{name.upper()}_FILE", str(tmp_path / "url"))
    found = load_settings()
    assert getattr(found, name) == f"https://kim:{CANARY}@there.test/"
    assert CANARY not in repr(found)


def test_l5_every_numeric_setting_has_bounds_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {name: f for name, f in Settings.model_fields.items() if f.annotation in (int, float)}
    assert {"port", "retention_days"} <= set(numbers)
    for name in numbers:
        for value in ("99999999999", "1" * 400, "-99999999999", "1e9", "nan", "0x10"):
            with monkeypatch.context() as patch:
                patch.setenv(f"REMEDIATOR_{name.upper()}", value)
                with pytest.raises(BadInput) as refused:
                    load_settings()
                assert refused.value.where == f"REMEDIATOR_{name.upper()}"


@pytest.mark.parametrize("blank", ["", " ", "${STATUS_PAGE_URL}", "<no value>"])
def test_an_empty_webhook_of_the_status_page_refuses_to_start(
    blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMEDIATOR_STATUS_PAGE_URL", blank)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert caught.value.where == "REMEDIATOR_STATUS_PAGE_URL"


def test_a_file_of_a_secret_is_read_to_a_bound_and_devices_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_text("a" * (1024 * 1024 + 1))
    for path, why in (
        ("/dev/zero", "neither a file nor a pipe"),
        (str(tmp_path / "big"), "more than 1 MiB"),
        (str(tmp_path), "Is a directory"),
    ):
        monkeypatch.setenv("REMEDIATOR_SLACK_BOT_TOKEN_FILE", path)
        with pytest.raises(BadInput, match=why) as caught:
            load_settings()
        assert caught.value.where == "REMEDIATOR_SLACK_BOT_TOKEN_FILE"


def test_a_secret_may_stand_behind_links_as_volumes_mount_it_and_in_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("xoxb-123456789")
    (tmp_path / "token").symlink_to("..data/token")
    monkeypatch.setenv("REMEDIATOR_SLACK_BOT_TOKEN_FILE", str(tmp_path / "token"))
    read, write = os.pipe()
    os.write(write, b"xapp-123456789\n")
    os.close(write)
    monkeypatch.setenv("REMEDIATOR_SLACK_APP_TOKEN_FILE", f"/dev/fd/{read}")
    found = load_settings()
    os.close(read)
    assert (found.slack_bot_token, found.slack_app_token) == (
        SecretStr("xoxb-123456789"),
        SecretStr("xapp-123456789"),
    )


@pytest.mark.parametrize("open_for_writing", [False, True])
def test_a_pipe_into_which_nobody_writes_holds_up_no_start(
    open_for_writing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.setting_texts._PATIENCE", 0.0)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "token").symlink_to("pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR) if open_for_writing else -1
    monkeypatch.setenv("REMEDIATOR_SLACK_BOT_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(BadInput, match="the pipe") as caught:
        load_settings()
    if open_for_writing:
        os.close(held)
    assert caught.value.where == "REMEDIATOR_SLACK_BOT_TOKEN_FILE"


TOKENS_OF_OTHERS = (
    "xoxb-123456789012-123456789012-abcdefABCDEF123456789012",
    "xapp-1-A0123-456-0123456789abcdef",
    "postgresql://bob:Kr8vTq2ZmX4w@db/x",
    "a:operate:Kr8vTq2ZmX4w",
    "0123456789abcdef0123456789abcdef",
    "Kr8vTq2ZmX4w",
    "https://hooks.slack.com/services/T0001/B0002/Kr8vTq2ZmX4wKr8v",
    "api=Kr8vTq2ZmX4w,x-key",
)


@pytest.mark.parametrize("token", TOKENS_OF_OTHERS)
@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_no_error_of_a_setting_shows_the_secret_of_another_that_stands_there(
    name: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"REMEDIATOR_{name.upper()}", token)
    shown = ""
    try:
        settings = load_settings()
        _ = (settings.access, settings.login, settings.persons, settings.dsns, settings.trace_headers)
    except BadInput as error:
        shown = f"{error} {error.where} {error!r}"
    parts = [part for part in re.split(r"[:@/,=]", token) if len(part) > 8 and "slack" not in part]
    assert [part for part in [token, *parts] if part in shown] == []
