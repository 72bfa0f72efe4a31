"""Forms with files: the bytes of a `multipart/form-data` body, taken apart into fields and files.

Called by `app.page.requests`, which has bounded the body. Pure. Takes what browsers send and refuses the rest: no nested parts, no transfer
encodings, no charsets but UTF-8. Time grows with the length alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.errors import BadInput
from app.domain.text import visible

_PARTS: Final = 40
_HEADERS: Final = 1_000
_TYPE = re.compile(
    r'multipart/form-data;\s*boundary="?([A-Za-z0-9\'()+_,./:=?-]{1,70})"?\s*', re.ASCII | re.IGNORECASE
)
_NAMED = re.compile(
    r'content-disposition:\s*form-data;\s*name="([^"]{1,100})"(?:;\s*filename="([^"]{0,300})")?\s*',
    re.IGNORECASE,
)
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Upload:
    """A form: its fields, the first of a name, and the files that were chosen by their names."""

    fields: Mapping[str, str]
    files: Mapping[str, str]


def parse(content_type: str, body: bytes) -> Upload:
    """Take a body apart. Raises BadInput (`bad_form`, `media_type_refused`; `same_name` for two files of one name, of which one would be lost)."""
    said = _TYPE.fullmatch(content_type.strip())
    if said is None:
        raise BadInput("send a form", code="media_type_refused", where="Content-Type")
    fields: dict[str, str] = {}
    files: dict[str, str] = {}
    for name, file, content in _parts(body, said[1].encode("ascii")):
        text = _text(content, file or name)
        if file is None:
            fields.setdefault(name, text)
        elif file or text:
            chosen = _file_name(file)
            if chosen in files:
                raise BadInput(
                    f"two files are called {chosen}: rename one of them", code="same_name", where="files"
                )
            files[chosen] = text
    return Upload(fields, files)


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str | None, bytes]]:
    """Name, name of the file (None where it is a field) and content of each part."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, _PARTS + 1)
    if len(pieces) < 2 or pieces[0] or len(pieces) > _PARTS + 1 or pieces[-1].rstrip(b"\r\n") != b"--":
        raise _bad()
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n") if len(head) <= _HEADERS else []
        named = [found for line in lines if (found := _NAMED.fullmatch(line))]
        if not blank or len(named) != 1:
            raise _bad()
        yield named[0][1], named[0][2], content


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("not a text in UTF-8", code="bad_form", where=where[:100]) from error


def _file_name(given: str) -> str:
    """The last part of a path, as some browsers send one, as it is written; what nobody sees stands as its escape, so that no two names become one."""
    name = visible(unicodedata.normalize("NFC", re.split(r"[/\\]", given)[-1]))
    if not name.strip() or len(name) > _LONGEST_NAME:
        text = f"a file's name has 1 to {_LONGEST_NAME} characters: {name[:_LONGEST_NAME]}"
        raise BadInput(text, code="bad_file_name", where="files")
    return name


def _bad() -> BadInput:
    return BadInput("not a form of this page", code="bad_form", where="body")
