"""Finding C: which revision is known to be good, why, and when a template became the present one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.remediation import PastAlert
from app.domain.workload import Revision, Workload
from app.kube.actions import Impossible, roll_back
from app.kube.known_good import Records, Word
from app.kube.lineage import Life, left_by_return, lives, put_back, release_after, released_again
from app.kube.parse import fingerprint, parse_replica_set
from tests.unit.kube import manifests as m
from tests.unit.kube.test_actions import built, refused

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0


def template(version: int) -> dict[str, Any]:
    return m.template(m.container(image=f"registry.test/langgraph:v{version}"))


def revision(
    number: int, version: int, age: float, *, earlier: tuple[int, ...] = (), current: bool = False
) -> Revision:
    """`age` is how many seconds ago its ReplicaSet was made."""
    made = template(version)
    image = (f"registry.test/langgraph:v{version}",)
    at = NOW - timedelta(seconds=age)
    return Revision(number, f"rs{version}", at, image, made, fingerprint(made), current, earlier=earlier)


def fired(name: str, opened: float, closed: float | None = None) -> PastAlert:
    ended = None if closed is None else NOW - timedelta(seconds=closed)
    return PastAlert(name, NOW - timedelta(seconds=opened), ended)


def records(revisions: list[Revision], *alerts: PastAlert, written: float | None = None) -> Records:
    at = None if written is None else NOW - timedelta(seconds=written)
    return Records(lives(revisions, at), alerts, 1_800)


V3_BAD = [revision(3, 3, 5 * MINUTE, current=True), revision(2, 2, 15 * MINUTE), revision(1, 1, 3 * DAY)]


@pytest.mark.parametrize(
    ("revisions", "alerts", "standings"),
    [
        (  # two bad deployments in a row: the one before ran ten minutes only
            V3_BAD,
            [],
            [
                (2, "unknown", "revision 2 ran only 10 min, and 30 min prove that it works"),
                (1, "good", "revision 1 ran 2 d without an alert"),
            ],
        ),
        (
            V3_BAD,
            [fired("HighErrorRate", 14 * MINUTE, 6 * MINUTE)],
            [
                (2, "bad", "HighErrorRate fired while revision 2 ran"),
                (1, "good", "revision 1 ran 2 d without an alert"),
            ],
        ),
        (  # an alert on the day before says nothing about the two days after it
            [revision(2, 2, MINUTE, current=True), revision(1, 1, 3 * DAY)],
            [fired("HighLatency", 2.5 * DAY, 2.4 * DAY)],
            [(1, "good", "revision 1 ran 2 d, its last 2 d without an alert")],
        ),
        (  # still firing when it was replaced
            [revision(2, 2, MINUTE, current=True), revision(1, 1, 3 * DAY)],
            [fired("HighLatency", 2 * HOUR)],
            [(1, "unknown", "HighLatency fired while revision 1 ran, 2 d after it came")],
        ),
        (  # an hour of quiet says little after an alert: what made it fire may come back
            [revision(3, 3, MINUTE, current=True), revision(2, 2, 2 * HOUR), revision(1, 1, 3 * DAY)],
            [fired("HighErrorRate", 90 * MINUTE, 61 * MINUTE)],
            [
                (
                    2,
                    "unknown",
                    "HighErrorRate fired while revision 2 ran, 30 min after it came and 1 h before its end",
                ),
                (1, "good", "revision 1 ran 2 d without an alert"),
            ],
        ),
        (  # it began before, and this version was no cure for it
            [revision(3, 3, MINUTE, current=True), revision(2, 2, 2 * HOUR), revision(1, 1, 3 * DAY)],
            [fired("HighErrorRate", 3 * HOUR, 61 * MINUTE)],
            [
                (2, "unknown", "HighErrorRate fired while revision 2 ran, 1 h before its end"),
                (1, "unknown", "HighErrorRate fired while revision 1 ran, 2 d after it came"),
            ],
        ),
        (  # it began before, and this version was what ended it
            [revision(3, 3, MINUTE, current=True), revision(2, 2, 2 * HOUR), revision(1, 1, 3 * DAY)],
            [fired("HighErrorRate", 3 * HOUR, 115 * MINUTE)],
            [
                (2, "good", "revision 2 ran 1 h without an alert"),
                (1, "unknown", "HighErrorRate fired while revision 1 ran, 2 d after it came"),
            ],
        ),
        (  # the alert that is looked at now opened on the present revision
            [revision(2, 2, 10 * MINUTE, current=True), revision(1, 1, 3 * DAY)],
            [fired("HighErrorRate", MINUTE)],
            [(1, "good", "revision 1 ran 2 d without an alert")],
        ),
        (  # numbers in between are gone: nobody knows what ran in that time
            [revision(7, 3, HOUR, current=True), revision(2, 1, 3 * DAY)],
            [],
            [(2, "unknown", "how long revision 2 ran is not known, as revisions after it are gone")],
        ),
    ],
    ids=[
        "two bad ones",
        "an alert",
        "long ago",
        "still firing",
        "hours ago",
        "no cure",
        "cure",
        "now",
        "pruned",
    ],
)
def test_c_a_revision_is_known_good_when_it_ran_without_an_alert(
    revisions: list[Revision], alerts: list[PastAlert], standings: list[tuple[int, str, str]]
) -> None:
    known = records(revisions, *alerts)
    found = [(r.number, known.standing(r)) for r in revisions if not r.current]
    assert [(n, s.word.value, s.why) for n, s in found] == standings


def test_c_two_bad_deployments_in_a_row_go_back_to_the_one_that_worked() -> None:
    workload = m.workload(m.deployment(template(3)))
    action = built(roll_back(workload, V3_BAD, records=records(V3_BAD)))
    assert (action.params["to_revision"], action.changes[0].after) == (1, template(1))


def test_c_without_a_good_one_the_newest_of_which_nothing_bad_is_known_is_the_goal() -> None:
    short = [revision(3, 3, MINUTE, current=True), revision(2, 2, 5 * MINUTE), revision(1, 1, 10 * MINUTE)]
    workload = m.workload(m.deployment(template(3)))
    assert built(roll_back(workload, short, records=records(short))).params["to_revision"] == 2
    bad = records(short, fired("HighErrorRate", 4 * MINUTE, 2 * MINUTE))
    assert built(roll_back(workload, short, records=bad)).params["to_revision"] == 1


def test_c_a_revision_limit_of_one_that_keeps_only_a_bad_one_is_refused_with_the_reason() -> None:
    kept = V3_BAD[:2]
    workload = m.workload(m.deployment(template(3), revisionHistoryLimit=1))
    known = records(kept, fired("HighErrorRate", 14 * MINUTE, 6 * MINUTE))
    assert refused(roll_back(workload, kept, records=known)) == snapshot(
        "no older revision of rag7/Deployment/langgraph is known to be good: HighErrorRate fired while revision 2 ran"
    )


def test_c_revision_numbers_are_compared_as_numbers() -> None:
    """Ten comes after nine; what is no number sorts first and breaks nothing."""
    sets = [m.replica_set(9, template(9)), m.replica_set(10, template(10)), m.replica_set(11, template(11))]
    numbers = [parse_replica_set(s).number for s in sets]
    assert numbers == [9, 10, 11]
    sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "nine"
    assert parse_replica_set(sets[0]).number == 0


def test_c_a_revision_that_came_back_has_several_lives() -> None:
    """v1, v2, v1 again since ten minutes: v1's first life ended when v2 was made."""
    found = [revision(3, 1, 3 * DAY, earlier=(1,), current=True), revision(2, 2, DAY)]
    spans = lives(found, NOW - timedelta(minutes=10))
    assert [(s.revision.images[0][-2:], s.start, s.end) for s in spans] == [
        ("v1", NOW - timedelta(days=3), NOW - timedelta(days=1)),
        ("v2", NOW - timedelta(days=1), NOW - timedelta(minutes=10)),
        ("v1", NOW - timedelta(minutes=10), None),
    ]
    assert (put_back(found), left_by_return(found)) == (False, frozenset({found[1].fingerprint}))


def test_c_a_version_deployed_again_after_it_was_rolled_back_is_no_rollback() -> None:
    """v1, v2, v1, v2: what the last step left is the good one."""
    found = [
        revision(4, 2, DAY, earlier=(2,), current=True),
        revision(3, 1, 3 * DAY, earlier=(1,)),
    ]
    assert put_back(found)
    assert left_by_return(found, before=True) == {found[0].fingerprint}
    workload = m.workload(m.deployment(template(2)))
    known = records(found, written=10 * MINUTE)
    assert "was restored by a rollback already" in refused(roll_back(workload, found, records=known))
    again = built(roll_back(workload, found, records=known, redeployed=True))
    assert again.params["to_revision"] == 3
    assert known.standing(found[1]).word is Word.GOOD


def test_c_who_goes_back_from_what_was_released_again_goes_back_to_the_good_one() -> None:
    """v1, v2, v1, v2, v1: the present one is no release. v3 after it goes back to v1, and never to v2."""
    found = [
        revision(5, 1, 3 * DAY, earlier=(1, 3), current=True),
        revision(4, 2, DAY, earlier=(2,)),
    ]
    assert not put_back(found)
    assert left_by_return(found) == {found[1].fingerprint}
    assert released_again(found) == frozenset()
    at_last = [revision(6, 3, MINUTE, current=True), *(replace(r, current=False) for r in found)]
    assert left_by_return(at_last) == {found[1].fingerprint}


def test_c_what_this_service_rolled_back_from_is_not_left_again_when_somebody_put_it_back() -> None:
    found = [revision(4, 2, DAY, earlier=(2,), current=True), revision(3, 1, 3 * DAY, earlier=(1,))]
    manifest = m.deployment(template(2))
    manifest["metadata"]["managedFields"] = [
        {"manager": "helm", "time": "2026-03-04T02:50:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}
    ]
    left = frozenset({found[0].fingerprint})
    no = roll_back(m.workload(manifest), found, left, records(found), redeployed=True)
    assert refused(no) == snapshot(
        "this service rolled rag7/Deployment/langgraph back from the present template before, and somebody put it in place again (helm at 2026-03-04 02:50:00 UTC): that is not repeated"
    )


@pytest.mark.parametrize(
    ("partition", "runs", "why"),
    [
        (0, "rs9", ""),
        (2, "rs1", ""),  # the lower pods run the goal already: all are equal afterwards
        (
            2,
            "rs9",
            (
                "the pods of rag7/StatefulSet/postgres below 2 stay at rs9 (partition), and revision 1 is rs1: two "
                "versions would run"
            ),
        ),
        (
            3,
            "rs1",
            "partition 3 of rag7/StatefulSet/postgres holds all 3 pods back, so a rollback would not roll out",
        ),
    ],
)
def test_c_a_partition_is_rolled_back_to_what_its_lower_pods_run_or_refused(
    partition: int, runs: str, why: str
) -> None:
    workload = _stateful(template(2), partition, runs)
    found = [revision(2, 2, MINUTE, current=True), revision(1, 1, DAY)]
    action = roll_back(workload, found, records=records(found))
    assert (action.why if isinstance(action, Impossible) else "") == why


def _stateful(now: dict[str, Any], partition: int, runs: str) -> Workload:
    update = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    manifest = m.stateful_set(now, updateStrategy=update, replicas=3)
    manifest["status"]["currentRevision"] = runs
    return m.workload(manifest)


def test_c_a_controller_revision_that_came_back_is_known_by_its_age() -> None:
    """It keeps no earlier number: it is newest and older than what it replaced."""
    found = [revision(3, 1, 3 * DAY, current=True), revision(2, 2, DAY)]
    assert [s.revision.images[0][-2:] for s in lives(found)] == ["v1", "v2", "v1"]


def test_c_a_release_may_begin_an_hour_before_its_pods() -> None:
    found = [revision(2, 2, MINUTE, current=True), revision(1, 1, DAY)]
    spans = lives(found)
    assert release_after(spans, found[1]) == NOW - timedelta(minutes=61)
    young = [revision(2, 2, MINUTE, current=True), revision(1, 1, 10 * MINUTE)]
    assert release_after(lives(young), young[1]) == NOW - timedelta(minutes=10)
    assert release_after([Life(found[1], None, None)], found[1]) is None


BRIEF = [
    revision(3, 3, 5 * MINUTE, current=True),
    revision(2, 2, HOUR),
    revision(1, 1, 10 * DAY),
]


@pytest.mark.parametrize(
    ("watched", "second", "first"),
    [
        (None, ("good", "revision 2 ran 55 min without an alert"), ("good", "revision 1 ran 9 d without an alert")),
        (  # just installed: nobody watched either, and the first stayed in place for days
            (),
            ("unknown", "revision 2 ran 55 min, and nobody watched for alerts for 55 min of it"),
            ("good", "revision 1 stayed in place for 9 d"),
        ),
        (  # installed 20 minutes ago: 15 minutes are less than it takes
            ((20 * MINUTE, 0),),
            ("unknown", "revision 2 ran 55 min, and nobody watched for alerts for 40 min of it"),
            ("good", "revision 1 stayed in place for 9 d"),
        ),
        (  # this service was away for 20 minutes
            ((DAY, 50 * MINUTE), (30 * MINUTE, 0)),
            ("good", "revision 2 ran 55 min, of which 35 min were watched, without an alert"),
            ("good", "revision 1 ran 9 d, of which 23 h were watched, without an alert"),
        ),
        (((11 * DAY, 0),), ("good", "revision 2 ran 55 min without an alert"), ("good", "revision 1 ran 9 d without an alert")),
    ],
)  # fmt: skip
def test_only_time_in_which_an_alert_would_have_been_heard_says_that_none_fired(
    watched: tuple[tuple[float, float], ...] | None, second: tuple[str, str], first: tuple[str, str]
) -> None:
    spans = None if watched is None else [tuple(NOW - timedelta(seconds=s) for s in span) for span in watched]
    known = Records(lives(BRIEF), (), 1_800, spans)  # type: ignore[arg-type]
    standings = [known.standing(r) for r in BRIEF[1:]]
    assert [(s.word.value, s.why) for s in standings] == [second, first]


def test_two_bad_deployments_before_anybody_watched_go_back_to_the_one_that_stayed() -> None:
    workload = m.workload(m.deployment(template(3)))
    known = Records(lives(BRIEF), (), 1_800, ())
    assert built(roll_back(workload, BRIEF, records=known)).params["to_revision"] == 1


@pytest.mark.parametrize(("least", "word"), [(59, Word.GOOD), (60, Word.UNKNOWN)])
def test_who_asks_for_less_than_is_noted_asks_for_no_watched_time(least: float, word: Word) -> None:
    """Watching is noted once a minute: a shorter `known_good` says that the time in place is enough."""
    assert Records(lives(BRIEF), (), least, ()).standing(BRIEF[1]).word is word
