"""A front for an S3 server that refuses what stores of other makers refuse: checksum trailers, chunked signatures, conditions.

A plain HTTP server that answers 501 to such a request, and keeps the small part of the API in memory that a backup uses. It checks no
signature: what is sent is looked at, not who sends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.doubles.loopback import LoopbackServer

_REFUSED = ("x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-", "if-none-match", "if-match")

_WRITTEN, _LISTED = "Wed, 04 Mar 2026 05:06:07 GMT", "2026-03-04T05:06:07.000Z"


class StrictStore(LoopbackServer):
    """Use it as a context. `refused` are the headers that were refused; `spoil` alters what is read, `copied` what the store itself copies.
    `tagged`: its tags are digests. `then` is what is read under a key from the second time on; `read` are the keys that were read;
    `written` is when one was written, for those that were not on one day."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.refused: list[str] = []
        self.spoil = False
        self.copied: Callable[[bytes], bytes | None] = bytes
        self.tagged = True
        self.then: dict[str, bytes] = {}
        self.read: list[str] = []
        self.written: dict[str, str] = {}
        store = self

        class Handler(_Handler):
            owner = store

        super().__init__(Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: StrictStore

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self) -> tuple[str, dict[str, str], bytes] | None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bad = [h for h in self.headers if any(h.lower().startswith(r) for r in _REFUSED)]
        if "STREAMING" in (self.headers.get("x-amz-content-sha256") or "") or bad:
            self.owner.refused += bad or ["aws-chunked"]
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return None
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).partition("/")[2].partition("/")[2], query, body

    def do_PUT(self) -> None:
        if (found := self._begin()) is None:
            return
        key, query, body = found
        if source := self.headers.get("x-amz-copy-source"):
            body = self.owner.objects[unquote(source).lstrip("/").partition("/")[2]]
            if (copied := self.owner.copied(body)) is not None:
                self.owner.objects[key] = copied
            tag = f"<CopyObjectResult><ETag>{_tag(body)}</ETag></CopyObjectResult>"
            self._answer(200, tag.encode(), Content_Type="application/xml")
        elif "uploadId" in query:
            self.owner.parts[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, ETag=_tag(body))
        else:
            self.owner.objects[key] = body
            self._answer(200, ETag=_tag(body))

    def do_POST(self) -> None:
        if (found := self._begin()) is None:
            return
        key, query, _ = found
        if "uploads" in query:
            name = f"u{len(self.owner.parts)}"
            self.owner.parts[name] = {}
            text = (
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            parts = self.owner.parts.pop(query["uploadId"])
            self.owner.objects[key] = b"".join(parts[n] for n in sorted(parts))
            text = f"<CompleteMultipartUploadResult><ETag>{_tag(b'')}</ETag></CompleteMultipartUploadResult>"
        self._answer(200, text.encode(), Content_Type="application/xml")

    def do_GET(self) -> None:
        if (found := self._begin()) is None:
            return
        key, query, _ = found
        if "list-type" in query:
            names = sorted(k for k in self.owner.objects if k.startswith(query.get("prefix", "")))
            item = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified><ETag>x</ETag></Contents>"
            listed = "".join(
                item.format(n, len(self.owner.objects[n]), self.owner.written.get(n, _LISTED)) for n in names
            )
            text = f"<ListBucketResult>{listed}</ListBucketResult>"
            self._answer(200, text.encode(), Content_Type="application/xml")
        elif key in self.owner.objects:
            body = self.owner.objects[key]
            if self.command == "GET":
                body = self.owner.then.get(key, body) if key in self.owner.read else body
                self.owner.read.append(key)
            if self.owner.spoil and "/incomplete/" in key:
                body = bytes([body[0], *(b ^ 1 for b in body[1:2]), *body[2:]])
            headers = {"ETag": _tag(body) if self.owner.tagged else '"1"', "Last_Modified": _WRITTEN}
            if (asked := self.headers.get("Range")) and self.command == "GET":
                first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
                part = body[first : last + 1]
                headers["Content_Range"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
                self._answer(206, part, **headers)
            else:
                self._answer(200, body, **headers)
        else:
            self._answer(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        if (found := self._begin()) is None:
            return
        self.owner.objects.pop(found[0], None)
        self.owner.parts.pop(found[1].get("uploadId", ""), None)
        self._answer(204)


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
