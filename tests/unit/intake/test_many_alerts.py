"""Groups of thousands of alerts and alerts of thousands of names, as whoever may send events to PagerDuty can make them: the work is in
proportion to their number, bounded, and what was not looked at is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus, Delivery, Source
from app.domain.redact import TooDear, work_bounded
from app.domain.subject import NAMES, UNREAD
from app.intake import labels, orchestration, pagerduty
from app.intake.labels import Reading
from tests.unit.intake.test_pagerduty import NOW, WANTED, alerts_json

BARE = Alert(Source.PAGERDUTY, "Q1", AlertStatus.FIRING, NOW, {"alertname": "x"})


def sent(**told: Any) -> Delivery:
    return orchestration.parse(json.dumps({"alertname": "X", **told}).encode(), received_at=NOW)


def text(count: int) -> str:
    return "".join(f"Labels:\n - a{n}=1\n" for n in range(count))


def listed(count: int) -> list[Any]:
    return [{"labels": {f"a{n}": "1"}} for n in range(count)]


GROWING: dict[str, Callable[[int], object]] = {
    "a list": lambda n: sent(alerts=listed(n)),
    "a text": lambda n: sent(details={"firing": text(n)}),
    "one name": lambda n: sent(alerts=[{"labels": {"namespace": f"n{k}"}} for k in range(n)]),
    "within another": lambda n: sent(alerts=[{"labels": {"alerts": listed(n)}}]),
    "tags": lambda n: sent(tags=[f"a{k}:1" for k in range(n)]),
    "tags of one name": lambda n: sent(tags=[f"namespace:{k}" for k in range(n)]),
    "names": lambda n: sent(details={f"a{k}": "1" for k in range(n)}),
    "names of nothing": lambda n: sent(details={f"a{k}": [] for k in range(n)}),
    "lost names": lambda n: sent(details={f"a{k}": {"x": 1} for k in range(n)}),
    "PagerDuty's text": lambda n: pagerduty.enriched(BARE, alerts_json({"firing": text(n)})),
    "PagerDuty's alerts": lambda n: pagerduty.enriched(BARE, alerts_json(*({f"a{k}": "1"} for k in range(n)))),
}  # fmt: skip


def operations(work: Callable[[], object]) -> int:
    """Calls of functions, of Python's and of C's."""
    count = 0

    def counted(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("kind", GROWING)
def test_the_operations_grow_with_the_number_of_alerts_and_names_and_not_with_its_square(
    kind: str, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the limits of their number did not exist, by which it would be bounded anyway."""
    if not limited:
        for name in ("MAX_ALERTS", "MAX_NAMES"):
            monkeypatch.setattr(labels, name, 10**9)
        monkeypatch.setattr(pagerduty, "MAX_ALERTS", 10**9)
        monkeypatch.setattr(pagerduty, "_WORK", 10**9)
    made = GROWING[kind]
    made(2)  # what is made once, and kept
    few, many = operations(lambda: made(500)), operations(lambda: made(8_000))
    assert many < 3 * 16 * few  # the square would be 256 times as many


@pytest.mark.parametrize("kind", ["a list", "a text", "one name", "tags", "names"])
def test_a_short_body_of_many_of_them_leaves_the_event_loop(kind: str) -> None:
    """It is counted before it is compared: nothing of it was looked at for secrets by then."""
    with pytest.raises(TooDear), work_bounded(60, hides=False):
        GROWING[kind](500)


def test_of_what_is_beyond_the_work_of_a_body_nothing_is_taken_and_that_is_said() -> None:
    one = Reading()
    with work_bounded(10, hides=True):
        one.entries({"alerts": [{"labels": WANTED}] * 50})
    assert one.labels.keys() == {UNREAD}
    again = Reading()
    with work_bounded(10, hides=True):
        again.entries({f"a{n}": "1" for n in range(500)})
    assert again.labels.keys() == {UNREAD}
    tags = Reading()
    with work_bounded(10, hides=True):
        tags.entries({"tags": [f"a{n}:1" for n in range(500)]})
    assert tags.labels.keys() == {UNREAD}


@pytest.mark.parametrize("form", ["list", "text", "api"])
def test_of_more_alerts_than_are_compared_nothing_is_taken(form: str) -> None:
    """The last of them may tell something else."""
    limit = labels.MAX_ALERTS

    def told(count: int) -> dict[str, str]:
        if form == "api":
            return dict(pagerduty.enriched(BARE, alerts_json(*[WANTED] * count)).labels)
        block = "".join(f" - {k} = {v}\n" for k, v in WANTED.items())
        one = Reading()
        one.firing([{"labels": WANTED}] * count if form == "list" else f"Labels:\n{block}" * count)
        return one.labels

    within, beyond = told(limit), told(limit + 1)
    assert WANTED.items() <= within.items()
    assert UNREAD not in within
    assert not WANTED.keys() & beyond.keys()
    assert "more alerts than are compared" in beyond[UNREAD]


def test_what_an_alert_is_about_is_kept_behind_any_number_of_names() -> None:
    one = Reading()
    one.entries({f"k{n}": "v" for n in range(labels.MAX_NAMES)} | {"last": "v"} | WANTED)
    assert WANTED.items() <= one.labels.items()
    assert len(one.found) <= labels.MAX_NAMES + len(NAMES.places) + 2
    assert "last" in one.labels[UNREAD]


def test_the_names_of_what_was_lost_are_kept_up_to_a_number_and_the_rest_is_counted() -> None:
    one, whole = Reading(), Reading()
    one.entries({f"k{n}": {"x": 1} for n in range(labels.MAX_LOST + 50)})
    assert (len(one.lost), one.uncounted) == (labels.MAX_LOST, 50)
    whole.shared([one, one])
    assert (len(whole.lost), whole.uncounted) == (labels.MAX_LOST, 100)
    assert whole.labels[UNREAD].endswith(f"and {labels.MAX_LOST - 5} more")


def test_alerts_within_alerts_within_alerts_are_not_read() -> None:
    block: list[Any] = [{"labels": WANTED}]
    for _ in range(3):
        block = [{"labels": {"alerts": block}}]
    one = Reading()
    one.firing(block)
    assert one.labels.keys() == {UNREAD}
