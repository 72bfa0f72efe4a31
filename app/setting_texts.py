"""Texts of settings: lists, JSON objects and files that hold a secret, and what is wrong with them. Pure but for reading those files; `app.settings` says what is a setting."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from app.domain.errors import BadInput
from app.domain.json import decoded
from app.domain.text import file_fault

PREFIX: Final = "REMEDIATOR_"
_LONGEST = 1024 * 1024
"""Bytes of a file of settings."""
_PATIENCE = 5.0
"""Seconds in which whoever writes into a pipe has to be done; nobody may do so at all."""
BARE = (
    "slack_bot_token",
    "slack_app_token",
    "slack_signing_secret",
    "pagerduty_webhook_secrets",
    "pagerduty_api_token",
    "pagerduty_routing_key",
    "status_page_token",
    "orchestration_secret",
    "oidc_client_secret",
)
"""Secrets that are one text, or several with commas between."""
IN_HEADERS = (
    "slack_bot_token",
    "slack_app_token",
    "pagerduty_api_token",
    "pagerduty_routing_key",
    "status_page_token",
    "orchestration_secret",
)
"""Those that are sent as they are, where a line break or a letter of another script cannot be."""
OF_A_HEADER = re.compile(r"[\x21-\x7e]*")


class SettingsInvalid(BadInput):
    """The settings cannot be used; `faults` has all that is wrong with them."""

    code = "bad_setting"

    def __init__(self, faults: Sequence[BadInput]) -> None:
        first, *others = faults
        super().__init__("; ".join([first.message, *map(str, others)]), where=first.where)
        self.faults = tuple(faults)


def fault_of(setting: str, said: str) -> BadInput:
    """The fault of a setting by what its check said, without the words that pydantic puts before ours."""
    text = said.removeprefix("Value error, ").replace("Input should be", "expected")
    return BadInput(text, code="bad_setting", where=f"{PREFIX}{setting.upper()}")


def listed(text: str) -> list[str]:
    """The parts of a comma-separated text, without blanks and empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def revealed(secret: SecretStr | None) -> str:
    """The text of a secret; empty for none."""
    return "" if secret is None else secret.get_secret_value()


def dsns_in(secret: SecretStr | None) -> dict[str, str]:
    """DSNs by name. Raises ValueError for anything but a JSON object of texts."""
    try:
        found = decoded(revealed(secret) or "{}")
    except ValueError:  # its text would show a part of the value
        found = None
    if not isinstance(found, dict) or not all(isinstance(dsn, str) for dsn in found.values()):
        raise ValueError("must be a JSON object of name to DSN")
    return found


def in_files(
    names: Sequence[str], prefix: str, environ: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, str], list[BadInput]]:
    """What the files say that the variables `..._FILE` name, and the fault (`bad_setting`) of each that cannot be read, is empty, or
    stands beside the variable itself."""
    found: dict[str, str] = {}
    faults: list[BadInput] = []
    for name in names:
        variable = f"{prefix}{name.upper()}"
        path = environ.get(f"{variable}_FILE")
        if path is None:
            continue
        if given.get(name) is not None or variable in environ:
            text = f"set {variable} or {variable}_FILE, not both"
            faults.append(BadInput(text, code="bad_setting", where=variable))
            continue
        try:
            text = _read(path).decode("utf-8-sig").strip()
            reason = "" if text else "the file is empty"
        except (OSError, UnicodeDecodeError) as error:
            reason = f"cannot read the file: {file_fault(error)}"
        if reason:
            faults.append(BadInput(reason, code="bad_setting", where=f"{variable}_FILE"))
        else:
            found[name] = text
    return found, faults


def _read(path: str) -> bytes:
    """A file of settings, of any links to it (as a volume mounts them) the last. Raises OSError for what is neither a file nor a pipe, which
    may have no end, for one beyond all that settings need, and for a pipe into which nobody writes: it is opened without waiting."""
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a pipe")
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = _all_of(opened)
    finally:
        os.close(opened)
    if not found and stat.S_ISFIFO(mode):
        raise OSError(errno.ENODATA, "nobody writes into the pipe")
    if len(found) > _LONGEST:
        raise OSError(errno.EFBIG, "it has more than 1 MiB")
    return found


def _all_of(opened: int) -> bytes:
    """What is in an open file, one byte more than a file may have at most."""
    found, until = b"", time.monotonic() + _PATIENCE
    while len(found) <= _LONGEST:
        try:
            more = os.read(opened, _LONGEST + 1 - len(found))
        except BlockingIOError:
            left = until - time.monotonic()
            if left <= 0 or not select.select([opened], [], [], left)[0]:
                raise OSError(errno.ETIMEDOUT, "nothing came out of the pipe in time") from None
            continue
        if not more:
            break
        found += more
    return found


def open_to_others(path: str) -> str:
    """What others than its owner and group may do with a file, as words behind "everybody on this machine may"; empty for nothing, and
    where it cannot be looked at."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return ""
    if not stat.S_ISREG(mode):
        return ""
    may = [word for bit, word in ((stat.S_IROTH, "read"), (stat.S_IWOTH, "write")) if mode & bit]
    return " and ".join(may)
