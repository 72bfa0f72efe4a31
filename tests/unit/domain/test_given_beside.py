"""A value that an expression gives in quotes beside a reference is a secret, wherever it stands; what belongs to something else stays."""

from __future__ import annotations

import pytest

from app.domain.redact import redact

_VALUE = "hunterPw2x9"


@pytest.mark.parametrize(
    "line",
    [
        "process.env.A || process.env.B || '%s'",
        "process.env.DB_PASSWORD ?? `%s`",
        "os.environ['DB'] or f'%s'",
        'process.env.A || ("%s")',
        "os.environ['X'] if x else '%s'",
        "var.p != '' ? var.p : '%s'",
        'var.use_default ? "%s" : var.p',
        "ENV.fetch('X') { '%s' }",
        "lookup('env','X') | default('%s', true)",
        "$_ENV['X'] ?? '%s'",
        "$_ENV['X'] ?: '%s'",
        "process.env.P?.trim() || '%s'",
        "process.env.A   ||\n   '%s'",
    ],
)
def test_a_value_beside_a_reference_is_hidden(line: str) -> None:
    assert _VALUE not in redact(f"password = {line % _VALUE}")


@pytest.mark.parametrize(
    "line",
    [
        '{"password": "$DB_PASSWORD", "user": "kim"}',
        'password: ${DB_PASSWORD} user="kim"',
        'password=$DB_PASSWORD, other="kim"',
        "password: '{{ vault_db_password }}' | quote",
    ],
)
def test_what_belongs_to_something_else_stays(line: str) -> None:
    assert redact(line) == line
