"""A way to Postgres that can be cut around the next COMMIT: before the server hears it, or after it has done it and before anybody is told."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Literal, Self

Cut = Literal["before", "after"]


class CuttingProxy:
    """Listens on loopback and passes everything on, until `cut` is set: then the next COMMIT ends its connection."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.cut: Cut | None = None
        self.cuts = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server, suppress(OSError):
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data or (ready is client and self._is_cut(server, data)):
                        return
                    (server if ready is client else client).sendall(data)

    def _is_cut(self, server: socket.socket, data: bytes) -> bool:
        if self.cut is None or b"COMMIT" not in data:
            return False
        where, self.cut = self.cut, None
        self.cuts += 1
        if where == "after":
            server.sendall(data)
            server.recv(65536)
        return True
