"""What an API server says of itself: version and clock. Called by `app.kube.client`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Self

from app.domain.json import decoded


@dataclass(frozen=True, slots=True)
class Server:
    """The API server: `v1.37.2`, and what its clock shows in whole seconds, None when it does not say."""

    version: str
    date: datetime | None

    @classmethod
    def read(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """From the answer of GET /version. Raises ValueError, TypeError or KeyError when it is none."""
        try:
            date = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            date = None
        return cls(str(decoded(body)["gitVersion"]), date)
