"""Lines that tell of a limit, as providers and their client libraries write them; and lines that only look like it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from remediations.evidence.limit_lines import OURS, Limited, limit_in
from remediations.evidence.limit_providers import NAMES, PROVIDERS, Whose, by_host

AT = "2026-03-04T03:00:00Z"


class Case(NamedTuple):
    """A line without its time, and what it tells."""

    line: str
    provider: str
    whose: Whose
    wait: float | None = None
    model: str = ""
    limit: str = ""
    endpoint: str = ""


ACCOUNT, ADDRESS, KEY, BROKEN, UNKNOWN = (
    Whose.ACCOUNT, Whose.ADDRESS, Whose.KEY, Whose.PROVIDER, Whose.UNKNOWN
)  # fmt: skip

ANSWERS = [
    # OpenAI
    Case(
        "ERROR openai.RateLimitError: Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in organization org-Ab1 on"
        " tokens per min (TPM): Limit 30000, Used 29412, Requested 1290. Please try again in 1.404s. Visit"
        " https://platform.openai.com/account/rate-limits to learn more.', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}",
        "openai", ACCOUNT, 1.404, "gpt-4o", "tokens per min (TPM): Limit 30000",
    ),
    Case(
        "ERROR openai.RateLimitError: Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check your plan and"
        " billing details.', 'type': 'insufficient_quota', 'param': None, 'code': 'insufficient_quota'}}",
        "openai", Whose.CREDIT,
    ),
    Case(
        "ERROR anthropic.BadRequestError: Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error', 'message': 'Your credit"
        " balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.'}}",
        "anthropic", Whose.CREDIT,
    ),
    Case(
        "ERROR google.genai.errors.ClientError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'You exceeded your current quota, please"
        " check your plan and billing details. For more information head to: https://ai.google.dev/gemini-api/docs/rate-limits.'}}",
        "google-gemini", ACCOUNT,
    ),
    Case(
        'INFO httpx HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 429 Too Many Requests"',
        "openai", ACCOUNT, endpoint="/v1/chat/completions",
    ),
    Case(
        "WARNING Retrying langchain_openai.chat_models.base.ChatOpenAI in 4.0 seconds as it raised RateLimitError: Rate limit reached for"
        " gpt-4o-mini in organization org-x on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
        "openai", ACCOUNT, 432.0, "gpt-4o-mini", "requests per day (RPD): Limit 200",
    ),
    Case(
        "ERROR upstream said 429: status=429 url=https://api.openai.com/v1/embeddings retry-after-ms: 850 x-ratelimit-reset-tokens: 6m0s",
        "openai", ACCOUNT, 0.85, endpoint="/v1/embeddings",
    ),
    Case(
        "WARN status=429 host=api.openai.com x-ratelimit-remaining-tokens: 0 x-ratelimit-reset-requests: 1s x-ratelimit-reset-tokens: 6m0s",
        "openai", ACCOUNT, 360.0,
    ),
    Case(
        "ERROR openai.InternalServerError: Error code: 503 - {'error': {'message': 'The engine is currently overloaded, please try again later'}}",
        "openai", BROKEN,
    ),
    Case("ERROR POST https://api.openai.com/v1/responses failed: HTTP 502 Bad Gateway", "openai", BROKEN, endpoint="/v1/responses"),
    # Anthropic
    Case(
        'ERROR anthropic.RateLimitError: Error code: 429 - {"type":"error","error":{"type":"rate_limit_error","message":"This request would'
        " exceed your organization's rate limit of 50,000 input tokens per minute (org: 0a1b, model: claude-sonnet-4-20250514). For details,"
        ' refer to: https://docs.anthropic.com/en/api/rate-limits."}}',
        "anthropic", ACCOUNT, None, "claude-sonnet-4-20250514", "50,000 input tokens per minute",
    ),
    Case(
        "WARN status 429 from https://api.anthropic.com/v1/messages retry-after: 17 anthropic-ratelimit-requests-reset: 2026-03-04T03:01:00Z",
        "anthropic", ACCOUNT, 17.0, endpoint="/v1/messages",
    ),
    Case(
        "WARN status 429 from https://api.anthropic.com/v1/messages anthropic-ratelimit-tokens-reset: 2026-03-04T03:00:42Z",
        "anthropic", ACCOUNT, 42.0, endpoint="/v1/messages",
    ),
    Case(
        "ERROR anthropic.APIStatusError: Error code: 529 - {'type': 'error', 'error': {'type': 'overloaded_error', 'message': 'Overloaded'}}",
        "anthropic", BROKEN,
    ),
    # Azure OpenAI
    Case(
        "ERROR openai.RateLimitError: Error code: 429 - {'error': {'code': '429', 'message': 'Requests to the ChatCompletions_Create Operation"
        " under Azure OpenAI API version 2024-02-01 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after"
        " 26 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.'}}",
        "azure-openai", ACCOUNT, 26.0, "", "token rate limit of your current OpenAI S0 pricing tier", "ChatCompletions_Create",
    ),
    Case(
        'INFO httpx HTTP Request: POST https://acme.openai.azure.com/openai/deployments/gpt4/chat/completions?api-version=2024-02-01 "HTTP/1.1'
        ' 429 Too Many Requests"',
        "azure-openai", ACCOUNT, endpoint="/openai/deployments/gpt4/chat/completions",
    ),
    # Google
    Case(
        "ERROR google.genai.errors.ClientError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'You exceeded your current quota.',"
        " 'status': 'RESOURCE_EXHAUSTED', 'details': [{'quotaMetric': 'generativelanguage.googleapis.com/generate_content_requests', 'quotaId':"
        " 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier', 'quotaDimensions': {'model': 'gemini-1.5-pro'}}, {'@type':"
        " 'type.googleapis.com/google.rpc.RetryInfo', 'retryDelay': '38s'}]}}",
        "google-gemini", ACCOUNT, 38.0, "gemini-1.5-pro", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    ),
    Case(
        "ERROR google.api_core.exceptions.ResourceExhausted: 429 Quota exceeded for"
        " aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model: gemini-1.5-pro. Please"
        " submit a quota increase request.",
        "google-vertex", ACCOUNT, None, "gemini-1.5-pro",
        "aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model",
    ),
    Case(
        "ERROR vertexai: 429 Resource exhausted. Please try again later. Please refer to"
        " https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        "google-vertex", BROKEN,
    ),
    Case(
        'INFO httpx HTTP Request: POST https://us-central1-aiplatform.googleapis.com/v1/projects/p:predict "HTTP/2 429 Too Many Requests"',
        "google-vertex", ACCOUNT, endpoint="/v1/projects/p:predict",
    ),
    # AWS
    Case(
        "ERROR botocore.errorfactory.ThrottlingException: An error occurred (ThrottlingException) when calling the InvokeModel operation"
        " (reached max retries: 4): Too many requests, please wait before trying again.",
        "aws-bedrock", ACCOUNT, endpoint="InvokeModel",
    ),
    Case(
        "ERROR An error occurred (ThrottlingException) when calling the Converse operation: Too many tokens, please wait before trying again.",
        "aws-bedrock", ACCOUNT, endpoint="Converse",
    ),
    # GitHub
    Case(
        'ERROR github.GithubException.RateLimitExceededException: 403 {"message": "API rate limit exceeded for user ID 583231.",'
        ' "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"} x-ratelimit-reset: 1772593260',
        "github", ACCOUNT, 60.0,
    ),
    Case("WARN API rate limit exceeded for 203.0.113.7. (But here's the good news: ...)", "github", ADDRESS),
    Case(
        "WARN You have exceeded a secondary rate limit. Please wait a few minutes before you try again. retry-after: 60",
        "github", ACCOUNT, 60.0,
    ),
    # Cloudflare
    Case("ERROR request to https://shop.example.com/api failed: status 429, body: error code: 1015", "cloudflare", ADDRESS, endpoint="/api"),
    Case(
        'ERROR https://api.cloudflare.com/client/v4/zones: status=429 {"errors":[{"code":971,"message":"Please wait and consider throttling'
        ' your request speed"}]}',
        "cloudflare", ACCOUNT, endpoint="/client/v4/zones",
    ),
    # Stripe
    Case(
        "ERROR stripe.error.RateLimitError: Request req_Zx1: Too many requests hit the API too quickly. We recommend an exponential backoff of"
        " your requests.",
        "stripe", ACCOUNT,
    ),
    # Mistral's client names no host
    Case('ERROR mistralai.models.sdkerror.SDKError: API error occurred: Status 429. Body: {"message":"Requests rate limit exceeded"}', "mistral", ACCOUNT),
    Case('ERROR agent API error occurred: Status 429 Body: {"object":"error","message":"Service tier capacity exceeded for this model."}', "mistral", ACCOUNT),
    # Known by host alone, and unknown ones
    Case("WARN status_code=429 url=https://api.mistral.ai/v1/chat/completions", "mistral", ACCOUNT, endpoint="/v1/chat/completions"),
    Case(
        "ERROR requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://geo.example.net/v1/geocode?key=abc",
        "geo.example.net", UNKNOWN,
    ),
    Case(
        "ERROR GET https://scores.example.org/x: HTTP/1.1 429 <html><head><title>429 Too Many Requests</title></head><center>nginx</center>",
        "scores.example.org", UNKNOWN,
    ),
    Case(
        "WARN https://geo.example.net/v1 answered status: 429 your API key has exceeded its limit, Retry-After: Wed, 04 Mar 2026 03:05:00 GMT",
        "geo.example.net", KEY, 300.0,
    ),
    Case("ERROR TooManyRequestsException: slow down", "unknown", UNKNOWN),
]  # fmt: skip

OWN = [
    '{"status":429,"method":"POST","path":"/chat","host":"api.openai.com"}',
    "ERROR status=429 remote=1.2.3.4 url=https://api.openai.com/v1",
    '10.2.3.4 - - [04/Mar/2026:03:00:00 +0000] "POST /v1/answers HTTP/1.1" 429 162 "https://app.example.com/" "python-httpx/0.27"',
    'INFO:     10.244.1.9:51422 - "POST /chat HTTP/1.1" 429 Too Many Requests',
    '2026/03/04 03:00:00 [error] 31#31: *871 limiting requests, excess: 5.320 by zone "api", client: 10.0.0.7, server: _, request: "GET / HTTP/1.1"',
    '2026/03/04 03:00:00 [error] 31#31: *9 limiting connections by zone "addr", client: 10.0.0.7, server: _',
    '{"time":"2026-03-04T03:00:00Z","remote_addr":"10.0.0.7","request_uri":"/v1/answers","status":429,"http_referrer":"https://app.example.com/"}',
    "WARNING slowapi ratelimit 5 per 1 minute (127.0.0.1) exceeded at endpoint: /chat",
    '[2026-03-04T03:00:00.000Z] "GET /x HTTP/2" 429 RL local_rate_limited 0 18 0 - "10.0.0.7"',
]

ALIKE = [
    'INFO chat request text="why openai.RateLimitError: Error code: 429 with my api key?" answered 200',
    "WARN 429 Too Many Requests GET /login?next=https://api.openai.com/",
    "INFO config rate_limit=100 rate_limit_window=60 retry_after=5",
    "DEBUG settings: {'rate_limit': {'rpm': 429, 'burst': 50}, 'openai_base': 'https://api.openai.com/v1'}",
    'INFO {"rate_limit_enabled": true, "rate_limit_exceeded_total": 12}',
    "INFO Rate limiter initialised with 60 requests per minute for https://api.openai.com",
    'rate_limit_exceeded_total{provider="openai"} 12',
    "INFO processed 429 documents in 12 s",
    'INFO httpx HTTP Request: GET https://api.example.com/items/429 "HTTP/1.1 200 OK"',
    'INFO httpx HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 200 OK" x-ratelimit-reset-tokens: 6m0s',
    "DEBUG retry policy: retry_on=[RateLimitError, APITimeoutError] https://api.openai.com/v1",
    "DEBUG codes to retry: [429, 500, 502, 503]",
    "    raise RateLimitError(response.json())",
    "ERROR took 429 ms",
    "ERROR the disk quota of the volume is exceeded",
    'INFO:     10.244.1.9:51422 - "POST /chat HTTP/1.1" 503 Service Unavailable',
    "ERROR HTTP 503 from the queue",
    "",
]


@pytest.mark.parametrize("case", ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_of_a_provider_is_read(case: Case) -> None:
    found = limit_in(f"{AT} {case.line}")
    assert isinstance(found, Limited), case.line
    told = (found.provider, found.whose, found.wait, found.model, found.limit, found.endpoint)
    assert told == case[1:]
    assert found.at == datetime(2026, 3, 4, 3, tzinfo=UTC)
    assert (found.until is None) is (case.wait is None)


def test_whoever_answered_is_the_provider_whichever_client_library_said_so() -> None:
    found = limit_in(
        f"{AT} ERROR openai.RateLimitError: Error code: 429 - http://vllm.rag7.svc:8000/v1 is busy"
    )
    assert isinstance(found, Limited)
    assert (found.provider, found.whose) == ("vllm.rag7.svc", Whose.UNKNOWN)


def test_what_a_record_says_to_be_set_is_no_answer() -> None:
    assert limit_in('{"base_url":"https://api.openai.com/v1","retry":{"status_code":429}}') is None


def test_a_quota_is_the_accounts_although_the_line_speaks_of_a_key() -> None:
    text = "You exceeded your current quota; manage your API key in the console"
    found = limit_in(f"{AT} ERROR openai.RateLimitError: Error code: 429 - {text}")
    assert isinstance(found, Limited)
    assert found.whose is Whose.ACCOUNT


def test_the_record_of_a_structured_log_is_read_as_its_fields() -> None:
    found = limit_in(
        '{"time":"2026-03-04T03:00:00Z","level":"warning","url":"https://api.openai.com/v1/responses","status_code":429,"headers":{"retry-after":"20"}}'
    )
    assert isinstance(found, Limited)
    assert (found.provider, found.wait, found.endpoint) == ("openai", 20.0, "/v1/responses")


@pytest.mark.parametrize("line", OWN)
def test_a_limit_that_we_hold_our_clients_to_is_ours(line: str) -> None:
    assert limit_in(line) == OURS


@pytest.mark.parametrize("line", ALIKE)
def test_what_only_looks_alike_is_nothing(line: str) -> None:
    assert limit_in(line if line.startswith(" ") else f"{AT} {line}".rstrip() if line else "") is None


@pytest.mark.parametrize(
    "text",
    [
        "Retry-After: " + "9" * 400,
        "try again in " + "9" * 300 + "s",
        "https://" + "a." * 5_000,
        "x-ratelimit-reset: 19999999999999",
        "{" * 5_000,
    ],
)
def test_a_hostile_line_ends(text: str) -> None:
    found = limit_in(f"{AT} ERROR status 429 https://api.openai.com/ {text}")
    assert isinstance(found, Limited)
    assert found.wait is None or 0 <= found.wait < 3e6


def test_every_provider_is_named_once_and_found_by_its_hosts() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for provider in PROVIDERS:
        for host in provider.hosts:
            assert by_host(f"api{host}" if host.startswith(".") else host) is provider
    assert by_host("notopenai.com") is None
    assert by_host("api.openai.com.evil.example") is None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("KeyError: 'rate_limit' in https://api.openai.com/v1/models", False),
        ("ValidationError: type: rate_limit_error is not one of ['a','b']", False),
        ("NoClassDefFoundError: ThrottlingException: com/acme", False),
        ("ERROR line (429) of file https://data.acme.test/x.csv is broken", False),
        ("ERROR unknown status code 429 for https://api.openai.com/v1", False),
        ("INFO status: 429 items at https://api.acme.test", False),
        ('INFO 10.0.0.1 - - "GET /x HTTP/1.1" 503 12 "https://api.openai.com/"', False),
        ('[GIN] 2026/03/04 - 03:00:00 | 429 | 1ms | 10.0.0.1 | GET "/v1"', True),
        ("Request finished HTTP/1.1 GET http://10.0.0.7:8080/v1 - 429 - - 1.2ms", True),
    ],
)
def test_names_of_the_code_and_our_own_access_log_are_no_providers_answer(line: str, ours: bool) -> None:
    assert limit_in(f"{AT} {line}") == (OURS if ours else None)
