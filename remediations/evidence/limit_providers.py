"""Providers of APIs and how each words that it limits us: by host, by the shape of its errors, and whose limit it is.

Used by `remediations.evidence.limit_lines`. A provider that is not here is named by its host. Whose limit it is, is the provider's own
documentation's word where a line does not say it: none of these limits a single key. Pure tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Whose(StrEnum):
    """What a limit is counted against. PROVIDER: it limits everybody, because it is overloaded or broken. CREDIT: what the account has paid
    for, or may spend, is used up, which no waiting ends."""

    KEY = "key"
    ACCOUNT = "account"
    CREDIT = "credit"
    ADDRESS = "address"
    PROVIDER = "provider"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `name` is how rules and people call it; `hosts` are ends of host names; `shape` is found in its errors alone."""

    name: str
    title: str
    hosts: tuple[str, ...]
    shape: re.Pattern[str] | None
    whose: Whose
    contact: str


def _shape(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


PROVIDERS: Final = (
    Provider(
        "azure-openai",
        "Azure OpenAI",
        (".openai.azure.com", ".cognitiveservices.azure.com"),
        _shape(r"under Azure OpenAI API version|of your current (?:Azure )?OpenAI \w+ pricing tier"),
        Whose.ACCOUNT,
        "ask for more quota of the deployment (Azure AI Foundry, Quotas)",
    ),
    Provider(
        "anthropic",
        "Anthropic",
        (".anthropic.com",),
        _shape(
            r"\brate_limit_error\b|\boverloaded_error\b|\banthropic\.(?:RateLimit|InternalServer|APIStatus|Overloaded)Error\b|anthropic-ratelimit-|exceed your organization's rate limit|access the Anthropic API\b"
        ),
        Whose.ACCOUNT,
        "ask for a higher tier (Claude Console, Limits)",
    ),
    Provider(
        "google-vertex",
        "Google Vertex AI",
        ("aiplatform.googleapis.com",),
        _shape(r"aiplatform\.googleapis\.com|\bvertex ?ai\b|error-code-429\b"),
        Whose.ACCOUNT,
        "ask for more quota of the project (IAM, Quotas), or for provisioned throughput",
    ),
    Provider(
        "google-gemini",
        "Google Gemini",
        ("generativelanguage.googleapis.com",),
        _shape(r"generativelanguage\.googleapis\.com|\bgoogle\.genai\b|\bgemini-[\w.-]+|\bgemini-api\b"),
        Whose.ACCOUNT,
        "ask for a higher tier of the project (Google AI Studio, Plans)",
    ),
    Provider(
        "aws-bedrock",
        "AWS Bedrock",
        (".bedrock.amazonaws.com",),
        _shape(r"\bbedrock(?:-runtime)?\b|calling the (?:InvokeModel\w*|Converse\w*) operation"),
        Whose.ACCOUNT,
        "ask for more quota of the account in this region (Service Quotas, Amazon Bedrock)",
    ),
    Provider(
        "openai",
        "OpenAI",
        (".openai.com",),
        _shape(
            r"\bRate limit reached for [\w.:-]+ (?:in|on|for)\b|\binsufficient_quota\b|You exceeded your current quota, please check your plan|\bopenai\.(?:RateLimit|InternalServer)Error\b"
        ),
        Whose.ACCOUNT,
        "ask for a higher usage tier (Limits of the organisation)",
    ),
    Provider(
        "github",
        "GitHub",
        (".github.com",),
        _shape(
            r"API rate limit exceeded for (?:user|installation|\d{1,3}\.)|exceeded a secondary rate limit"
        ),
        Whose.ACCOUNT,
        "use a GitHub App, whose limit grows with its installations",
    ),
    Provider(
        "stripe",
        "Stripe",
        (".stripe.com",),
        _shape(
            r"\bstripe\.(?:error\.)?RateLimitError\b|Too many requests hit the API too quickly|lock_timeout.{0,500}stripe"
        ),
        Whose.ACCOUNT,
        "ask Stripe's support to raise the limit of the account",
    ),
    Provider(
        "cloudflare",
        "Cloudflare",
        ("api.cloudflare.com",),
        _shape(
            r"error code: 1015\b|You are being rate limited|Please wait and consider throttling your request speed"
        ),
        Whose.ACCOUNT,
        "ask for a higher limit of the account, or of the site's owner whose rule it is",
    ),
    Provider(
        "mistral",
        "Mistral",
        (".mistral.ai",),
        _shape(r"\bAPI error occurred: Status \d{3}\b|\bmistralai\."),
        Whose.ACCOUNT,
        "ask for a higher tier of the workspace",
    ),
    Provider(
        "cohere", "Cohere", (".cohere.com", ".cohere.ai"), None, Whose.UNKNOWN, "ask for a production key"
    ),
    Provider(
        "groq", "Groq", (".groq.com",), None, Whose.ACCOUNT, "ask for a higher tier of the organisation"
    ),
)
"""In the order in which a line is held against them: the narrower shape first."""

NAMES: Final = tuple(p.name for p in PROVIDERS)


def by_host(host: str) -> Provider | None:
    """The provider that this host belongs to."""
    dotted = f".{host}"
    bedrock = host.startswith("bedrock") and host.endswith(".amazonaws.com")
    for provider in PROVIDERS:
        ends = tuple(h if h.startswith(".") else f".{h}" for h in provider.hosts)
        regional = any(
            host.endswith(f"-{h}") for h in provider.hosts
        )  # us-central1-aiplatform.googleapis.com
        if dotted.endswith(ends) or regional or (bedrock and provider.name == "aws-bedrock"):
            return provider
    return None


def by_shape(text: str) -> Provider | None:
    """The provider whose errors alone look like this."""
    return next((p for p in PROVIDERS if p.shape is not None and p.shape.search(text)), None)
