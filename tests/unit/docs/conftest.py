"""A running service for the examples of the documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from app.intake.auth import Scope
from tests.unit.served import TOKENS, Served, served

ORCHESTRATION = "orchestration-secret"


def token_without(scope: Scope) -> str:
    """The token of the caller that has every scope but this."""
    return f"all-but-{scope}"


def _entry(scope: Scope) -> str:
    scopes = "+".join(s for s in Scope if s is not scope)
    return f"{token_without(scope)}:{scopes}:{hashlib.sha256(token_without(scope).encode()).hexdigest()}"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with tokens for one caller with all scopes, and one each that lacks a scope."""
    tokens = ",".join([TOKENS, *map(_entry, Scope)])
    folder = tmp_path_factory.mktemp("state")
    with served(folder, tokens=tokens, orchestration_secret=ORCHESTRATION) as running:
        yield running
