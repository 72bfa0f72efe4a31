"""Names under which secrets are kept, and words that say something about a secret without being one.

Used by `app.domain.redact`. Pure; looks at one name or word at a time.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(
    r"passwords?|passwd|passphrase|secret|token|credential|authorization|cookie|signature|\bpin\b"
    r"|(?:^|[_.-])(?:pwd|pass|psk|otp|jwt|pat|auth|dsn)(?:$|[_.-])|(?-i:[a-z](?:Pwd|Pass)$)|pwd$|accesscode"
    r"|(?:api|access|private|signing|routing|encryption|decryption|master|fernet|account|shared|session|service|storage"
    r"|license|licence|app|application|client|webhook|hmac|aes|rsa|ssh|root|admin|cipher|data|functions|host|deploy|auth"
    r"|sharedaccess|integration|subscription)[_.-]?key(?!s?[_.-]?(?:name|ref|file|path|id)\b)|session[_.-]?id|sessid|\bsid\b",
    re.IGNORECASE,
)
_ENVIRONMENT_KEY = re.compile(r"[A-Z0-9_]+_KEY")
_HARMLESS = re.compile(
    r"secret[_.-]?(?:key[_.-]?)?(?:names?|refs?|class|type|version|count|namespace)$|secrets$"
    r"|token[_.-]?(?:review|izer|ize|ization|type|count|limit|bucket|s?[_.-]?(?:used|left|per))"
    r"|(?:password|passwd|secret|token|credentials?)[_.-]?(?:file|path|dir|policy|length|min|max|age|ttl|expiry|expires\w*|url|uri|endpoint|hint)$"
    r"|(?:^|_)(?:PUBLIC|PRIMARY|FOREIGN|PARTITION|SORT|CACHE|GROUP|IDEMPOTENCY|DEDUP|UNIQUE|SHARD|INDEX|LOOKUP|TRANSLATION|OBJECT)_KEY$",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"(?:required|invalid|wrong|incorrect|correct|missing|not|empty|too|being|set|unset|valid|null|none|unknown|bad|weak"
    r"|strong|long|short|still|already|in|for|from|of|the|a|an|your|you|no|only|never|always|about|ok|okay|fine|old|new"
    r"|different|same|equal|null|nil|true|false|absent|unavailable|out|on|by|at|as|and|or|but|now|also|when|if|safe"
    r"|be|kubernetes\S*|stale|here|there|good|one|all|used|text|read|sent|kept|built|lost|found|connect|log|use|access"
    r"|make|get|authenticate|request|continue|mounted|redacted|\[redacted\]?)"
    r"|[a-z]+(?:ed|ing|able|ible|ly|ent|ory|less|ful)",
)


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Whether a value under this name is to be taken for a secret: `DB_PASSWORD`, `apiKey`, `x-api-key`, `MASTER_KEY`."""
    if len(name) > 256 or _HARMLESS.search(name):
        return bool(len(name) > 256)
    return bool(_WORDS.search(name) or _ENVIRONMENT_KEY.fullmatch(name))


def harmless_word(word: str) -> bool:
    """Whether `word`, said of a password ("the password is …"), tells its state and not the password."""
    return _STATE.fullmatch(word) is not None
