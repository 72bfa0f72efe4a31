"""What is no secret, however it is written, and that nothing which was made by chance is taken for one of these."""

from __future__ import annotations

import base64
import random
import string

import pytest

from app.domain.no_secret import fault_in_secret


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


NONE = (
    *("\u201cchangeme\u201d", "\u00abchangeme\u00bb", "(changeme)", "[changeme]", "((token))", "[your token]", "\u300cchangeme\u300d", "`changeme`"),
    *("abcdabcdabcd", "abababababab", "changemechangeme", "changeme changeme", "secretsecretsecret", "tokentokentoken", "0123456789abcdef0123456789abcdef"),
    *(_base64("changeme"), _base64("changeme\n"), _base64(_base64("changeme")), _base64("admin123"), _base64("<no value>"), "Y2hhbmdlbWU", b"changeme".hex(), b"password\n".hex()),
    *("\uff43\uff48\uff41\uff4e\uff47\uff45\uff4d\uff45", "ch\u0430ngeme", "pa$$word", "s3cret-key", "p@ssw0rd123", "s3cr3tp4ssw0rd"),
    *("your-secret-token", "your_secret_goes_here", "api-key-goes-here", "access-token-here", "replace-with-secret", "put your token here", "INSERT_TOKEN_HERE"),
    *("not-a-secret", "notasecret", "this is not a secret", "thisisasecret", "some-random-string", "to-be-replaced", "set-by-ci", "from-vault", "placeholder-value"),
    *("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "[object Object]", "undefined undefined", "System.String[]", "#{TOKEN}#"),
    *("/run/secrets/token", "file:///run/secrets/x", "secret/data/app#token", "https://v.vault.azure.net/secrets/x"),
    *("xoxb-your-bot-token", "xoxb-changeme", "xapp-1-xxx", "u+changeme", "slack-signing-secret", "pagerduty-api-token", "alert-remediator-token"),
    *("replace_me_with_a_strong_secret", "must-be-changed", "will-be-replaced", "to be done", "needs-to-be-set", "generated-at-install", "overridden-in-prod", "stored-in-1password"),
    *("***REDACTED***", "## token ##", "--- your token ---", "sk_test_XXXXXXXX", "ghp_xxxxxxxxxxxxxxxx", "deadbeefcafebabe", "c0ffeebadf00d", "123e4567-e89b-12d3-a456-426614174000"),
    *("$env:TOKEN", "env(TOKEN)", "process.env.TOKEN", "os.environ['TOKEN']", "secrets.API_TOKEN", "lookup('env', 'TOKEN')", "&lt;token&gt;", "november2026", "wachtwoord1"),
    *(base64.b32encode(b"changeme").decode(), base64.b32encode(b"your-secret-here").decode().rstrip("="), "%63%68%61%6e%67%65%6d%65", "change%2Dme%2Dplease"),
    *("export TOKEN=changeme", "TOKEN=changeme", "TOKEN=${TOKEN}", "token: changeme", "TOKEN=********", '{"token":"changeMe123"}', "set TOKEN=<your token>", "TOKEN='letmein123'"),
    *("1234567890abcdef", "geheim123", "\u043f\u0430\u0440\u043e\u043b\u044c123", "Winter2026!", "zaq12wsx"),
)  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_secret_is_known_however_it_is_written(text: str) -> None:
    assert "placeholder" in fault_in_secret(text)


def _made_by_chance() -> list[str]:
    """Of each form in which people and tools make secrets, several."""
    chance = random.Random(8)
    signs = string.ascii_letters + string.digits
    found = []
    for _ in range(100):
        raw = chance.randbytes(32)
        found += [
            raw.hex(),
            raw[:8].hex(),
            raw[:16].hex(),
            base64.b32encode(raw[:15]).decode(),
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw[:16]).decode().rstrip("="),
            "".join(chance.choices(signs, k=20)),
            "".join(chance.choices(string.ascii_lowercase, k=16)),
            "".join(chance.choices(signs + string.punctuation, k=14)),
            f"xoxb-{chance.randrange(10**12)}-{chance.randrange(10**13)}-{''.join(chance.choices(signs, k=24))}",
        ]
    return found


def test_of_many_secrets_made_by_chance_none_is_taken_for_a_placeholder() -> None:
    assert [secret for secret in _made_by_chance() if fault_in_secret(secret)] == []


@pytest.mark.parametrize(
    "secret",
    [
        "correct-Horse7battery-x",
        "tundra-velvet-copper-anvil",
        "qT7-password-kLm3",
        "the-lazy-otter-eats-7-plums",
        "84a7b306f474480f",
        "ddac36232b2e2b7b",
        "Rx0KTqW=_vr<[}",
        "TOKEN=qT7kLm3Zx9",
    ],
)
def test_a_secret_that_was_made_by_chance_is_one(secret: str) -> None:
    assert fault_in_secret(secret) == ""
