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
        'std::env::var("X").unwrap_or_else(|_| "%s".to_string())',
        'env::var("X").ok().unwrap_or_else(|| String::from("%s"));',
        'Optional.ofNullable(System.getenv("X")).orElseGet(() -> "%s")',
    ],
)
def test_a_value_beside_a_reference_is_hidden(line: str) -> None:
    assert _VALUE not in redact(f"password = {line % _VALUE}")


@pytest.mark.parametrize(
    "line",
    [
        "password: each.dog.cat",
        "https://u:each.dog.cat@h/",
        "https://u:var.hunter@h/",
        "https://u:${hunter}@h/",
        "https://u:((hunter_password))@h/",
        "redis://:${hunter}@h:6379",
        "curl -u a:local.hunter h",
        "ALTER USER a PASSWORD '$BATMAN_PASS'",
        "ALTER USER a PASSWORD 'var.hunter'",
        "password 'local.hunter' is wrong",
        "invalid password: $BATMAN_PASS",
        "FATAL: wrong password: var.hunter",
    ],
)
def test_where_nothing_is_referred_to_a_password_in_the_form_of_a_reference_is_hidden(line: str) -> None:
    told = redact(line)
    assert "[redacted]" in told
    assert not [word for word in ("dog", "hunter", "BATMAN") if word in told]


@pytest.mark.parametrize(
    "line",
    [
        "password: each.value.password",
        "password: var.db_password",
        "https://u:$DB_PASSWORD@h/",
        "https://u:${DB_PASSWORD}@h/",
        "postgresql://u:${var.db_password}@h/db",
        "postgresql://u:%(DB_PASSWORD)s@h/db",
        "https://x:${{secrets.GITHUB_TOKEN}}@github.com/a/b",
        "https://u:***@h/",
        "curl -u admin:$ADMIN_PASSWORD h",
        "mysql -u root -p${MYSQL_ROOT_PASSWORD}",
        "redis-cli -a $REDIS_PASSWORD ping",
        "ALTER USER a PASSWORD '***'",
        "invalid password: ***",
        "ALTER USER a PASSWORD '${APP_DB_PASSWORD}'",
        'wrong password: "$DB_PASSWORD"',
        "the variable is invalid, password: $DB_PASSWORD",
    ],
)
def test_a_reference_stays_where_one_is_followed(line: str) -> None:
    assert redact(line) == line


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
