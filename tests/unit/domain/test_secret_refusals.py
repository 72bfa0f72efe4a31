"""What a program says of a value that it refuses: whatever the verb and in either order the value goes, and what else is quoted stays."""

from __future__ import annotations

from itertools import product

import pytest

from app.domain.redact import redact, redact_lines

SECRETS = ("Vq8mK2xPz7Lw", "Tr0ub4dor&3xQz", "plum-kettle-rain7")
NAMES = (
    "db.password",
    "DB_PASSWORD",
    "--api-key",
    "ssl.keystore.password",
    "clientSecret",
    "spring.datasource.password",
)
VERBS = (
    "must be a number, got", "cannot be", "should not be", "expected a URL, received", "could not be read from", "failed to parse", "rejects", "is malformed:",
    "does not accept", "refuses to take", "needs a reference, not", "has the invalid value", "violates its pattern with", "was not converted from",
)  # fmt: skip
BEFORE = (
    "{s} is no valid value of {n}", "invalid value {s} for {n}", "cannot use {s} as {n}", "could not set {n}: {s}", "value {s} was refused for option {n}",
    "Failed to parse value {s} for setting {n}", "unexpected {s} at {n}", "illegal content {s} in property {n}",
)  # fmt: skip
QUOTED = ('"{}"', "'{}'", "`{}`")


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_value_behind_its_name_is_hidden_whatever_the_verb(name: str) -> None:
    lines = [
        f"{lead}{mark.format(name)} {verb} {quote.format(secret)}"
        for lead, mark, verb, quote, secret in product(
            ("", "Error: option "), ("{}", "'{}'"), VERBS, QUOTED, SECRETS
        )
    ]
    assert [line for line in lines if any(secret in redact(line) for secret in SECRETS)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_value_before_its_name_is_hidden_whatever_the_verb(name: str) -> None:
    lines = [
        said.format(s=quote.format(secret), n=mark.format(name))
        for said, mark, quote, secret in product(BEFORE, ("{}", "'{}'"), QUOTED, SECRETS)
    ]
    assert [line for line in lines if any(secret in redact(line) for secret in SECRETS)] == []


NOUNS = (
    "password", "passphrase", "PIN", "API key", "api_key", "access token", "client secret", "webhook secret", "signing key", "DB_PASSWORD", "clientSecret", "--api-key", "token",
)  # fmt: skip
MADE = ("Xq7#vLp2mZ", "sunflower-4412", "tulip77")
BEHIND_A_NOUN = (
    '{n} "{s}" is invalid', 'cannot parse {n} "{s}"', "bad {n} '{s}'", 'invalid {n} "{s}"', "{n} [{s}] refused", "unknown {n}: `{s}`", "{n} \u201c{s}\u201d is wrong",
    "rejected {n} value {s}", "{n}: got {s}", "{n} got {s}", "Incorrect {n} provided: {s}.", "failed to verify {n} {s}", "{n} {s} is not valid", "no such {n}: {s}",
    "received {n} {s} but expected another", "{n} was rejected: {s}", "{n} does not match: {s}", 'duplicate {n} "{s}"', "the {n} you entered ({s}) is wrong", "no {n} matches {s}",
    "{n} {s} has expired", '{n} must not be "{s}"', "{n} is too weak: {s}", "{n} verification failed: {s}", 'compromised {n} "{s}"', "{n} {s}: not accepted",
)  # fmt: skip
"""The noun, then the value: in quotes, in brackets and bare."""
BEFORE_A_NOUN = (
    '"{s}" is not a valid {n}', "{s} is not a valid {n}", "'{s}' was rejected as {n}", "{s} rejected as {n}", "cannot use {s} as {n}", 'value "{s}" for {n} is invalid',
)  # fmt: skip


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("around", ["{}", "2026-11-27T10:00:00Z ERROR app: {}", '{{"msg":"{}"}}'])
def test_a_refused_value_right_beside_its_noun_is_hidden_whatever_the_verb_the_order_and_the_quotes(
    noun: str, around: str
) -> None:
    said = [told.format(n=noun, s=each) for told in (*BEHIND_A_NOUN, *BEFORE_A_NOUN) for each in MADE]
    lines = [around.format(each.replace('"', '\\"') if around.startswith("{{") else each) for each in said]
    assert [line for line in lines if any(each in redact(line) for each in MADE)] == []


FURTHER_AWAY = (
    '{n} for app shop was rejected: "{s}"', '{n} for user bob rejected (got "{s}")', "wrong {n} for user bob, got {s}", 'failed to parse {n} from env: "{s}"',
    '{n} of client web rejected: value "{s}"', 'rejected value "{s}": not the {n}', "value {s} rejected: {n} mismatch", 'got "{s}" instead of the {n}',
    '{n} rejected by upstream with 401: "{s}"', "the {n} that was sent for bob is wrong: '{s}'",
)  # fmt: skip
"""With other words between the noun and the value."""


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if noun != "token"])
def test_a_refused_value_further_away_from_its_noun_is_hidden_where_the_sentence_tells_it(noun: str) -> None:
    lines = [told.format(n=noun, s=each) for told in FURTHER_AWAY for each in MADE]
    assert [line for line in lines if any(each in redact(line) for each in MADE)] == []


@pytest.mark.parametrize("name", [name for name in (*NOUNS, "passcode", "REDIS_PASSWORD") if name != "token"])
def test_what_was_not_expected_under_the_name_of_a_secret_is_its_value(name: str) -> None:
    lines = [f"{lead}{name}: {each}" for lead in ("unexpected ", "error: unexpected ") for each in MADE]
    assert [line for line in lines if any(each in redact(line) for each in MADE)] == []


def test_a_value_in_one_of_many_sentences_of_a_long_line_is_hidden() -> None:
    for number in range(0, 60, 3):
        line = (
            "the api key is not set; " * number
            + 'client secret "sunflower-4412" was rejected'
            + " and so on" * 80
        )
        assert "sunflower-4412" not in redact(line)


@pytest.mark.parametrize(
    "written",
    [
        "'{}' is not of type 'integer'\n\nFailed validating 'type' in schema['properties']['password']:",
        "On instance['password']:\n    '{}' is not valid",
        "Value '{}' of type 'str' could not be converted to Integer\n    full_key: db.password",
        "Key 'password' error:\n'{}' should be instance of 'int'",
        '  # Expected number, got "{}" (type string)\n  password => "x"',
        "2026-11-27 10:00:00 ERROR [main] c.e.X - Setting: api_key\n2026-11-27 10:00:00 ERROR [main] c.e.X - Type: int\n2026-11-27 10:00:00 ERROR [main] c.e.X - Given: {}",
        "12:00:00 INFO  Property: db.password\n12:00:00 INFO  Kind: Integer\n12:00:00 INFO  Value: {}",
    ],
)
def test_a_refused_value_on_a_line_beside_its_name_is_hidden(written: str) -> None:
    for secret in (*SECRETS, "sunflowerlantern"):
        lines = written.format(secret).split("\n")
        assert secret not in redact("\n".join(lines))
        assert secret not in "\n".join(redact_lines(lines))


@pytest.mark.parametrize(
    "line",
    [
        'could not read DB_PASSWORD from secret "shop-db2" in namespace "shop-1"',
        'DB_PASSWORD must be set in environment "prod-eu1"',
        'error: auth.password is missing in file "values-prod2.yaml" at line 3',
        "invalid DB_PASSWORD in pod shop-7c9f6d5b8c-2kxvw",
        "error retrieving DB_PASSWORD from vault, got HTTP/1.1 403 Forbidden",
        "[req-67a701] auth.password must be set",
        "expected DB_PASSWORD to be 'string', got 'undefined'",
        'error parsing "config.yaml": secret "db-credentials" not found',
        "unable to get API_KEY from vault-0.vault:8200",
    ],
)
def test_what_else_is_quoted_beside_a_secrets_name_stays(line: str) -> None:
    assert redact(line) == line


@pytest.mark.parametrize("secret", SECRETS)
def test_lists_as_go_prints_them_are_read_as_lists_of_json(secret: str) -> None:
    lists = (
        'exec: ["app" "--token" "{}"]: executable not found',
        'failed to start: ["redis-cli" "-a" "{}" "ping"]',
        'exec: ["mysql" "-uroot" "-p{}"]: not found',
        "Exec lifecycle hook ([redis-cli -a {} ping]) failed",
        '{{"msg":"exec: [\\"app\\" \\"--token\\" \\"{}\\"]"}}',
    )
    assert [text for text in lists if secret in redact(text.format(secret))] == []
