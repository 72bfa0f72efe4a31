"""Errors that name no fault of the program and speak of another side: pods at their CPU limit are no reason to add others by themselves."""

from __future__ import annotations

import pytest

from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.test_more_pods import BUSY, judged, saying

OTHER_SIDE = """
requests.exceptions.HTTPError: 402 Client Error: Payment Required for url: https://api.openai.com/v1/chat
anthropic.BadRequestError: Your credit balance is too low to access the Anthropic API
twilio.base.exceptions.TwilioException: Account balance insufficient
Maximum credits exceeded
number of licensed users exceeded
feign.FeignException: [500] during [POST] to [http://payments/charge]
requests.exceptions.HTTPError: 404 Client Error: Not Found for url: http://payments/v2/charge
feign.RetryableException: Read timed out executing POST http://payments/charge
ESOCKETTIMEDOUT http://payments/charge
CircuitBreaker 'payments' is OPEN and does not permit further calls
Bulkhead 'payments' is full and does not permit further calls
database is not accepting commands to avoid wraparound data loss in database "shop"
org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition.
NOT_FOUND - no queue 'orders' in vhost '/'
psycopg2.errors.UniqueViolation: duplicate key value violates unique constraint "orders_pkey"
rpc error: code = Unimplemented desc = unknown service payments.v2.Charge
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
openai.NotFoundError: Error code: 404 - {'error': {'message': 'The model does not exist'}}
""".strip().split("\n")
NOBODY = (
    "EOF",
    "context canceled",
    "asyncio.exceptions.CancelledError",
    "upstream request timeout",
    "GET http://127.0.0.1:9000/ gave up",
    "order failed",
)


@pytest.mark.parametrize(
    ("error", "right"), [*((e, "asks") for e in OTHER_SIDE), *((e, "acts") for e in NOBODY)]
)
async def test_what_names_no_fault_and_another_side_is_a_word_against_more_pods(
    error: str, right: str
) -> None:
    """High CPU is what retries bring, and each new pod asks the other side once more. What accuses nobody says nothing against it."""
    steps = {**(await saying(BUSY(), error).look(HighErrorRate()))[1], **(await saying(BUSY(), error).look(HighLatency()))[1]}  # fmt: skip
    for name in ("scale-up", "scale-out"):
        told = judged(steps[name])
        assert told in (right, "refuses") if right == "asks" else told == right, (name, steps[name].asks)
