"""Quantities: the API server's forms, exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInput
from app.domain.units import say_memory
from app.kube.manifest import format_memory, parse_cpu, parse_memory, parse_quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("256Mi", 268435456),
        ("1G", 1_000_000_000),
        ("1Gi", 1 << 30),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("123456m", 124),
        ("0.5Gi", 1 << 29),
        (".5Ki", 512),
        ("5.", 5),
        ("+1k", 1000),
        ("-1Ki", -1024),
        ("1n", 1),
        (1024, 1024),
        ("1.5", 2),
    ],
)
def test_memory_is_read_as_the_api_server_reads_it(text: str | int, amount: int) -> None:
    assert parse_memory(text) == amount


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("250m", 250), ("1", 1000), ("0.1", 100), ("12345n", 1), ("1500000n", 2), ("2k", 2_000_000), (2, 2000)],
)
def test_cpu_is_read_in_millicores(text: str | int, millicores: int) -> None:
    assert parse_cpu(text) == millicores


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mi",
        "1 Gi",
        "1KiB",
        "1K",
        "one",
        "1e",
        "1e999999999",
        "0x10",
        "--1",
        "1" * 100,
        "\u0661Mi",
        "nan",
        "1Gim",
    ],
)
def test_what_the_api_server_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a quantity"):
        parse_memory(text)


@given(st.integers(min_value=0, max_value=1 << 62))
def test_memory_survives_being_written_and_read(amount: int) -> None:
    assert parse_memory(format_memory(amount)) == amount


@given(st.integers(0, 10**6), st.sampled_from(["m", "", "k", "M", "Ki", "Mi", "Gi"]))
def test_reading_never_loses_and_rounds_up_by_less_than_one(number: int, suffix: str) -> None:
    exact = parse_quantity(f"{number}{suffix}")
    assert 0 <= parse_memory(f"{number}{suffix}") - exact < 1
    assert isinstance(exact, Decimal)


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_a_clear_refusal(text: str) -> None:
    try:
        known: Decimal | str = parse_quantity(text)
    except BadInput as error:
        known = error.code
    assert known == "bad_quantity" or isinstance(known, Decimal)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (512 * 1024**2, "512Mi"),
        (1024**3, "1Gi"),
        (3 * 1024**3 // 2, "1536Mi"),
        (1_000_000_000, "1000000000"),
    ],
)
def test_memory_is_written_in_the_servers_canonical_form(amount: int, text: str) -> None:
    assert format_memory(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (900, "900 B"),
        (512 * 1024**2, "512 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (1024**3 - 1, "1024 MiB"),
        (1536, "1.5 KiB"),
        (1024**4, "1 TiB"),
    ],
)
def test_memory_is_shown_with_a_unit_and_at_most_one_decimal(amount: int, text: str) -> None:
    assert say_memory(amount) == text


@pytest.mark.parametrize("text", ["1e88", "9223372036854775808", "8Ei", "99999999999999E"])
def test_a_quantity_beyond_what_the_api_server_holds_is_capped_as_it_does(text: str) -> None:
    assert parse_memory(text) == 2**63 - 1
    assert parse_memory(f"-{text}") == -(2**63 - 1)
    assert parse_memory(format_memory(parse_memory(text))) == parse_memory(text)
