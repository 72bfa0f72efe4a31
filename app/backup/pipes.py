"""The three pipes between the containers of a backup's pod, and the dialogue over them.

Called by `app.backup.upload`. The database's image runs `SCRIPT`, a shell that carries out one word at a time and tells how it ended;
a dump goes through `data` and is never a file. Each side sees the other die by the end of its pipe. Nothing that the
script runs comes from outside: words and arguments are this module's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from app.backup.failure import BackupFailed
from app.backup.order import Form
from app.backup.over import OVER, TOLD_TO_END, WORK
from app.backup.words import LIMIT, without_rows
from app.domain.database import LIMITED, NO_ROOM

_TURNS = 9_000
"""Looks, ten a second, for the other container: it may wait for its image all that time."""
_TURN = 0.1  # seconds
_GONE = "gone"
"""The file that says that the script has ended, maybe before it opened the pipes."""
_AT_ONCE = 60
"""Seconds within which it opens what it has made."""
SCRIPT = f"""
set -u
cd "${WORK}" || exit 1
trap ': >{_GONE}' EXIT
trap 'exit {TOLD_TO_END}' TERM
with() {{
  of="${{PGSERVICEFILE%/*}}/$1"; shift
  password="$(cat "$of.password" && echo .)" && name="$(cat "$of.dbname" && echo .)" || return 1
  PGPASSWORD="${{password%.}}" PGDATABASE="${{name%.}}" "$@"
}}
waited=0
until [ -p told ] && [ -p todo ]; do
  [ -e {OVER} ] || [ "$waited" -ge {_TURNS} ] && exit 1
  waited=$((waited + 1)); sleep 0.1 || sleep 1
done
[ -e {OVER} ] && exit 1
(sleep {_AT_ONCE}; kill -TERM $$) >/dev/null 2>&1 & watch=$!
exec 9>told; [ -e {OVER} ] && exit 1
exec 8<todo; kill "$watch"
printf 'client %s\\n' "$(pg_dump --version 2>/dev/null)" >&9
while read -r word first second <&8; do
  case "$word" in
    dump-custom) with backup pg_dump --dbname=service=backup --role=none --no-password --format=custom --compress=0 --snapshot="$first" >data 2>words ;;
    dump-plain) with backup pg_dump --dbname=service=backup --role=none --no-password --format=plain --compress=1 --snapshot="$first" >data 2>words ;;
    list) pg_restore --list --file=listed <data 2>words ;;
    check) pg_restore --file=/dev/null <data 2>words ;;
    restore) with scratch pg_restore --dbname=service=scratch --role=none --no-password --exit-on-error --no-owner --no-privileges --no-subscriptions <data 2>words ;;
    restore-all) with scratch pg_restore --dbname=service=scratch --role=none --no-password --exit-on-error --no-owner <data 2>words ;;
    *) exit 1 ;;
  esac
  printf '%s %s\\n' "$word" "$?" >&9
done
"""
"""What the container with the database's image runs. A custom archive is packed on our side, so that two processors work at it. It waits for
the other container as long as that may take to begin, and ends when it is told to. `with` gives one process the password and the name of the
database of a service; the full stop saves line breaks at their ends. Both programs work as the login, whatever role its settings
(ALTER ROLE ... SET role) would give its sessions."""
OF_THEIR_OWN = ("password", "dbname")
"""What of a login stands in files of its own, by libpq's words."""
_BLOCK = 1 << 20


class Pipes:
    """Our end. Waits until the other container is there, a quarter of an hour at most; a Job's deadline bounds every other wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("data", "told", "todo"):
            os.mkfifo(folder / name, 0o600)
        self._told: TextIO
        self._todo: TextIO
        self._known: Collection[str] = ()

    def __enter__(self) -> Self:
        """Raises BackupFailed when the other container does not come, or ends before it has opened its ends."""
        told = os.open(self._folder / "told", os.O_RDONLY | os.O_NONBLOCK)
        try:
            todo = self._opened("todo")
        except BackupFailed:
            os.close(told)
            raise
        os.set_blocking(told, True)
        os.set_blocking(todo, True)
        self._told = os.fdopen(told, encoding="utf-8", errors="replace")
        self._todo = os.fdopen(todo, "w", encoding="utf-8")
        return self

    def _opened(self, name: str) -> int:
        """The pipe, once somebody reads it."""
        pause = threading.Event()
        for _ in range(_TURNS):
            try:
                return os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            if (self._folder / _GONE).exists():
                raise _gone()
            pause.wait(_TURN)
        raise BackupFailed("the container with the database's image did not begin", code="dump_ended")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the other side may be gone
            self._todo.close()
        self._told.close()

    def client(self) -> str:
        """`pg_dump (PostgreSQL) 16.4`, as it says itself; empty when there is none in the image. Asked once, and first."""
        return self._told.readline().partition(" ")[2].strip()

    def dump(self, form: Form, snapshot: str) -> Iterator[bytes]:
        """The dump, block by block. Raises BackupFailed at its end when pg_dump did not end well."""
        word = f"dump-{form.value}"
        self._tell(f"{word} {snapshot}")
        with (self._folder / "data").open("rb", buffering=0) as data:
            _widen(data.fileno())
            while block := data.read(_BLOCK):
                yield block
        self._expect(word, "pg_dump")

    def listing(self, blocks: Iterable[bytes]) -> str:
        """The table of contents of a custom archive, of whose blocks only the first are taken. Raises BackupFailed."""
        self._feed("list", blocks, whole=False)
        return (self._folder / "listed").read_text(encoding="utf-8", errors="replace")

    def check(self, blocks: Iterable[bytes]) -> None:
        """Let pg_restore read all of a custom archive. Raises BackupFailed when it is not whole."""
        self._feed("check", blocks)

    def restore(
        self, blocks: Iterable[bytes], *, privileges: bool = False, known: Collection[str] = ()
    ) -> None:
        """Let pg_restore put all of a custom archive into the database of the service `scratch`, with its grants or without. An error may name
        what is `known`. Raises BackupFailed."""
        self._known = known
        self._feed("restore-all" if privileges else "restore", blocks)

    def _feed(self, word: str, blocks: Iterable[bytes], *, whole: bool = True) -> None:
        self._tell(word)
        with (self._folder / "data").open("wb", buffering=0) as data:
            _widen(data.fileno())
            for block in blocks:  # all of them: whoever makes them counts and digests them
                try:
                    _write(data.fileno(), block)
                except BrokenPipeError:  # the other side ends early when it has seen enough; its code tells
                    if not whole:
                        break
        self._expect(word, "pg_restore")

    def _tell(self, line: str) -> None:
        try:
            self._todo.write(f"{line}\n")
            self._todo.flush()
        except OSError:
            raise _gone() from None

    def _expect(self, word: str, program: str) -> None:
        told, _, code = self._told.readline().strip().partition(" ")
        if told != word:
            raise _gone()
        if code != "0":
            words = self._words()
            kind = "disk_full" if words.startswith(f": {NO_ROOM}") else f"{program}_failed"
            kind = LIMITED if words.endswith(LIMIT) else kind
            raise BackupFailed(f"{program} ended with exit code {code}{words}", code=kind)

    def _words(self) -> str:
        """Of its standard error what names tables and hosts, and holds no login and no row."""
        with suppress(OSError):
            with (self._folder / "words").open(encoding="utf-8", errors="replace") as file:
                text = without_rows(file.read(8_000), self._known)
            return f": {text}" if text else ""
        return ""


def _widen(pipe: int) -> None:
    """So that neither side waits for the other at each of its 64 KiB; as it is where the kernel has no more."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _BLOCK)


def _write(pipe: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(pipe, left) :]


def _gone() -> BackupFailed:
    return BackupFailed("the container with the database's image ended", code="dump_ended")
