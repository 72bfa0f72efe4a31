"""An alert that began once a revision had proved itself: its trouble came from elsewhere, and does not make the revision bad."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.remediation import PastAlert
from app.domain.workload import Revision
from app.kube.actions import roll_back
from app.kube.actions.roll_back import passed_over
from app.kube.known_good import Records, Word
from app.kube.lineage import lives
from tests.unit.kube import manifests as m
from tests.unit.kube.test_actions import built
from tests.unit.kube.test_known_good import DAY, HOUR, MINUTE, NOW, fired, records, revision, template

LONG = [revision(3, 3, 6 * MINUTE, current=True), revision(2, 2, 2 * DAY), revision(1, 1, 6 * DAY)]
SHORT = [revision(3, 3, 6 * MINUTE, current=True), revision(2, 2, 40 * MINUTE), revision(1, 1, 6 * DAY)]


@pytest.mark.parametrize(
    ("found", "alerts", "standing"),
    [
        (  # a node was drained for three minutes
            LONG,
            [fired("KubePodNotReady", 20 * MINUTE, 17 * MINUTE)],
            ("unknown", "KubePodNotReady fired while revision 2 ran, 1 d after it came", True, True),
        ),
        (
            LONG,
            [fired("KubePodNotReady", 5 * HOUR, 297 * MINUTE)],
            ("good", "revision 2 ran 1 d before KubePodNotReady fired, and its last 4 h without an alert", False, False),
        ),
        (  # open as it was replaced
            LONG,
            [fired("HighErrorRate", 20 * MINUTE)],
            ("unknown", "HighErrorRate fired while revision 2 ran, 1 d after it came", True, True),
        ),
        (  # soon after it came, and quiet for most of its short life
            SHORT,
            [fired("KubePodNotReady", 20 * MINUTE, 17 * MINUTE)],
            ("unknown", "KubePodNotReady fired while revision 2 ran", True, False),
        ),
        (  # soon after it came, and never quiet for long
            SHORT,
            [fired("HighErrorRate", 38 * MINUTE, 8 * MINUTE)],
            ("bad", "HighErrorRate fired while revision 2 ran", False, False),
        ),
        (  # over and over, from its beginning on
            SHORT,
            [fired("HighErrorRate", 38 * MINUTE, 25 * MINUTE), fired("HighLatency", 24 * MINUTE, 7 * MINUTE)],
            ("bad", "HighErrorRate, HighLatency fired while revision 2 ran", False, False),
        ),
    ],
    ids=["drain", "hours ago", "open", "short", "brought", "again"],
)  # fmt: skip
def test_an_alert_that_began_once_a_revision_had_proved_itself_does_not_make_it_bad(
    found: list[Revision], alerts: list[PastAlert], standing: tuple[str, str, bool, bool]
) -> None:
    known = records(found, *alerts).standing(found[1])
    assert (known.word.value, known.why, known.alerted, known.proved) == standing


@pytest.mark.parametrize(
    "alerts",
    [
        [fired("KubePodNotReady", 20 * MINUTE, 17 * MINUTE)],
        [fired("KubePodNotReady", 5 * HOUR, 297 * MINUTE)],
        [fired("HighErrorRate", 20 * MINUTE)],
    ],
)
def test_what_had_proved_itself_is_the_goal_whatever_fired_on_it_later(alerts: list[PastAlert]) -> None:
    workload = m.workload(m.deployment(template(3)))
    action = built(roll_back(workload, LONG, records=records(LONG, *alerts)))
    assert action.params["to_revision"] == 2


@pytest.mark.parametrize(
    ("least", "opened", "word"),
    [(30, 5 * MINUTE, Word.BAD), (30, 25 * MINUTE, Word.UNKNOWN), (1_800, 5 * MINUTE, Word.BAD)],
)
def test_who_asks_for_little_proof_still_takes_a_soon_alert_for_one_that_the_revision_brought(
    least: float, opened: float, word: Word
) -> None:
    """`opened`: how long after the revision came; it was open as it was replaced."""
    alert = fired("HighErrorRate", 40 * MINUTE - opened)
    assert Records(lives(SHORT), [alert], least).standing(SHORT[1]).word is word


def test_a_time_that_nobody_watched_before_an_alert_proves_nothing_below_a_day() -> None:
    alert = fired("KubePodNotReady", 20 * MINUTE)
    found = [revision(3, 3, 6 * MINUTE, current=True), revision(2, 2, 5 * HOUR), revision(1, 1, 6 * DAY)]
    watched = [(NOW - timedelta(minutes=25), NOW)]
    assert not Records(lives(found), [alert], 1_800, watched).standing(found[1]).proved
    assert Records(lives(found), [alert], 1_800).standing(found[1]).proved
    assert Records(lives(LONG), [alert], 1_800, watched).standing(LONG[1]).proved


def test_a_bad_one_that_is_passed_over_is_told_and_one_that_was_quiet_for_most_of_its_life_is_asked() -> None:
    bad = records(SHORT, fired("HighErrorRate", 38 * MINUTE, 8 * MINUTE))
    over = passed_over(SHORT[2], SHORT, frozenset(), bad)
    why = "revision 2, which is newer than 1, is passed over: HighErrorRate fired while revision 2 ran"
    assert (over.asks, over.told) == ((), (why,))
    perhaps = records(SHORT, fired("HighErrorRate", 20 * MINUTE, 17 * MINUTE))
    over = passed_over(SHORT[2], SHORT, frozenset(), perhaps)
    assert (over.asks, over.told) == ((why,), ())
    left = passed_over(SHORT[2], SHORT, frozenset({SHORT[1].fingerprint}), perhaps)
    assert left.asks == ()
    assert left.told == ("revision 2, which is newer than 1, is passed over: it was rolled back from before",)
