"""Owns a real S3 server: SeaweedFS from its wheel, with one login and one bucket."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import obstore
from obstore.store import S3Store

from tests.live.process import Process, free_ports, wait_until

PART = "weed"


def program() -> Path | None:
    """The server's binary; None when the group `live` is not installed."""
    found = shutil.which(PART, path=str(Path(sys.executable).parent)) or shutil.which(PART)
    return Path(found) if found else None


class ObjectStore:
    """Use it as a context. `access` and `secret` are the login that may do everything with the bucket."""

    bucket = "backups"

    def __init__(self, folder: Path) -> None:
        found = program()
        assert found is not None, "make install brings it"
        self._folder = folder
        self.access, self.secret = f"AKIA{secrets.token_hex(6).upper()}", secrets.token_hex(20)
        self._ports = free_ports(4)
        (folder / "data").mkdir()
        actions = [f"{verb}:{self.bucket}" for verb in ("Read", "Write", "List", "Tagging", "Admin")]
        login = {"accessKey": self.access, "secretKey": self.secret}
        identity = {"name": "backup", "credentials": [login], "actions": actions}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), "utf-8")
        names = ("master", "volume", "filer", "s3")
        # Each of its servers has a second port, which would be 10,000 higher and perhaps no port at all.
        grpc = free_ports(8)[4:]
        ports = [f"-{name}.port={port}" for name, port in zip(names, self._ports, strict=True)]
        ports += [f"-{name}.port.grpc={port}" for name, port in zip(names, grpc, strict=True)]
        flags = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer=true", "-s3=true", "-volume.max=20"]
        more = [
            "-master.volumeSizeLimitMB=256",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={folder}/s3.json",
        ]
        argv: list[str | Path] = [found, "server", f"-dir={folder}/data", *flags, *ports, *more]
        self._process = Process(argv, folder / "log")

    @property
    def endpoint(self) -> str:
        """The address of its S3 API."""
        return f"http://127.0.0.1:{self._ports[3]}"

    @property
    def store(self) -> S3Store:
        """The bucket, for a test."""
        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access,
            secret_access_key=self.secret,
            client_options={"allow_http": True},
        )

    def __enter__(self) -> Self:
        self._process.start()

        def answers() -> bool:
            self._process.check()
            try:
                return httpx.get(f"{self.endpoint}/healthz").is_success
            except httpx.HTTPError:
                return False

        wait_until(answers, 60, what="the S3 API")
        made = httpx.put(obstore.sign(self.store, "PUT", "", timedelta(minutes=1)))
        assert made.is_success, made.text
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()
