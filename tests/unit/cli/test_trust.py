"""Trust levels at a running service: listed with their numbers, raised and lowered with a reason."""

from __future__ import annotations

from sqlalchemy import Connection

from app.cli.queries import explanation
from app.store import trust_levels
from tests.unit.cli.shell import Shell
from tests.unit.served import Served

KEY = "PodRestarting/pod-restarting/rag7/Deployment"


def test_the_list_shows_level_numbers_and_what_comes_next(client: Shell, service: Served) -> None:
    service.until(_listed)
    out = client.good("trust").out.splitlines()
    assert out[0].split() == ["key", "level", "numbers", "next"]
    assert any(line.startswith(f"{KEY}  ") for line in out[1:])
    (row,) = [r for r in client.good("trust", "--json", "--limit", "5").json if r["key"] == KEY]
    assert (row["rule"], row["class"], row["in_use"]) == ("crash loop", "rag7/Deployment", True)


def _listed(conn: Connection) -> bool:
    return any(s.key == KEY for s in trust_levels.listed(conn))


def test_a_trust_level_is_lowered_and_raised_with_a_reason(client: Shell, service: Served) -> None:
    service.until(_listed)
    assert client.good("trust", "promote", KEY, "--reason", "drill").out == f"{KEY} stands at level auto\n"
    again = client("trust", "promote", KEY, "--reason", "drill")
    assert (again.code, again.err) == (1, f"error: {KEY}: it acts by itself already [at_the_top]\n")
    lowered = client.good("trust", "demote", KEY, "--reason", "drill over", "--json").json
    assert (lowered["level"], lowered["by"]) == ("approve", "tests")


def test_an_explanation_tells_what_the_run_did_to_the_trust_level() -> None:
    told = {
        "state": "fixed",
        "alertname": "PodRestarting",
        "events": [],
        "trust_levels": [{"change": "promoted", "key": KEY, "why": "3 of 3 fixed"}],
    }
    assert f"  promoted: {KEY}: 3 of 3 fixed" in explanation(told)


def test_what_makes_no_sense_is_a_usage_error(client: Shell) -> None:
    unknown = client("trust", "promote", "Nothing/restart/rag7", "--reason", "drill")
    assert (unknown.code, "no_trust_level" in unknown.err) == (2, True)
    blank = client("trust", "demote", KEY, "--reason", " ")
    assert (blank.code, "invalid_field" in blank.err) == (2, True)
