"""Which deployment is the last one: restarts are looked through, a repair after the alert is not blamed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from app.domain.evidence import Certainty
from app.domain.image_names import from_to, tag
from app.domain.remediation import Scene
from app.domain.workload import Revision
from app.kube.lineage import template_written_at
from app.sim import SimCluster, VirtualClock
from remediations.evidence.rollouts import RollbackParams, last_deployment, rollout_finding
from tests.unit.remediations.snapshots import NOW, ago, revision, workload
from tests.unit.remediations.stage import Services

PARAMS = RollbackParams()
V1, V2 = "registry/app:v1", "registry/app:v2"


def scene(fired_at: datetime = NOW) -> Scene:
    cluster = SimCluster(VirtualClock())
    return Scene(cluster, workload(), "HighErrorRate", {}, fired_at, NOW, Services({}))


def spec(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "app", "image": V1, **container}]}}


HISTORY = [
    revision(8, V2, current=True, created_at=ago(minutes=14)),
    revision(7, V1, created_at=ago(days=3)),
]


def test_the_newest_template_is_the_last_deployment() -> None:
    last = last_deployment(HISTORY, NOW)

    assert last is not None
    assert (last.revision.number, last.previous and last.previous.number) == (8, 7)
    assert (last.age, last.change) == (840, "v1 -> v2")


def test_a_restart_is_looked_through_to_the_deployment_before_it() -> None:
    restarted = revision(9, V2, current=True, created_at=ago(minutes=2))
    last = last_deployment([restarted, revision(8, V2, created_at=ago(days=2)), HISTORY[1]], NOW)

    assert last is not None
    assert (last.revision.number, last.age) == (8, 2 * 86_400)


def test_a_rolled_back_workload_is_dated_by_its_return_and_never_blamed() -> None:
    # The ReplicaSet of a restored revision keeps its old creation time and gets a new number.
    back = revision(9, V1, current=True, created_at=ago(days=3), earlier=(7,))
    found = [back, revision(8, V2, created_at=ago(minutes=14))]
    last = last_deployment(found, NOW, ago(minutes=1))

    assert last is not None
    assert (last.revision.number, last.change, last.age) == (9, "v2 -> v1", 60)
    now = last_deployment(found, NOW)
    assert now is not None
    assert now.age == 0
    finding = rollout_finding(found, scene(ago(seconds=10)), PARAMS)
    assert (finding.data["restored"], finding.data["after_alert"]) == (True, True)
    assert (
        finding.text
        == "Revision 9 (v2 -> v1) was restored 0 s ago, after another version: a return and no deployment"
    )


@pytest.mark.parametrize(
    ("manifest", "at"),
    [
        ({"metadata": {}}, None),
        (
            {
                "metadata": {},
                "status": {
                    "conditions": [{"type": "Progressing", "lastUpdateTime": ago(minutes=3).isoformat()}]
                },
            },
            ago(minutes=3),
        ),
        (
            {
                "metadata": {
                    "managedFields": [
                        {"manager": "helm", "time": ago(days=1).isoformat(), "fieldsV1": {"f:spec": {}}},
                        {
                            "manager": "kubectl-rollout",
                            "time": ago(minutes=2).isoformat(),
                            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}},
                        },
                    ]
                }
            },
            ago(minutes=2),
        ),
    ],
)
def test_the_template_was_written_when_its_fields_or_its_rollout_say(
    manifest: dict[str, Any], at: datetime | None
) -> None:
    assert template_written_at(workload(manifest=manifest)) == at


def test_a_workload_that_keeps_no_history_says_so() -> None:
    kept = workload(manifest={"metadata": {}, "spec": {"revisionHistoryLimit": 0}})
    looked = Scene(SimCluster(VirtualClock()), kept, "HighErrorRate", {}, NOW, NOW, Services({}))
    finding = rollout_finding([revision(2, V2, current=True)], looked, PARAMS)
    assert finding.text == (
        "Revision 2 (v2) was deployed 14 min ago; no older revision is kept (revisionHistoryLimit is 0)"
    )
    assert finding.data["nothing_older"] is True


@pytest.mark.parametrize("found", [[], [revision(1)]])
def test_without_a_current_revision_nothing_is_claimed(found: list[Revision]) -> None:
    assert last_deployment(found, NOW) is None
    assert rollout_finding(found, scene(), PARAMS).certainty is Certainty.UNKNOWN


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ((V1,), (V2,), "v1 -> v2"),
        ((V1, "x/proxy:3"), (V1, "x/proxy:4"), "3 -> 4"),
        ((V1,), (V2, "x/proxy:4"), "v1 -> v2, 4"),
    ],
)
def test_the_change_names_the_images_that_differ(
    before: tuple[str, ...], after: tuple[str, ...], change: str
) -> None:
    found = [
        revision(2, current=True, images=after, fingerprint="b"),
        revision(1, images=before, fingerprint="a"),
    ]
    last = last_deployment(found, NOW)
    assert last is not None
    assert last.change == change


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (spec(), spec(env=[{"name": "A"}]), "same image v1, changed env"),
        (spec(), {"spec": {**spec()["spec"], "volumes": []}}, "same image v1, changed volumes"),
        (
            spec(),
            {**spec(), "metadata": {"labels": {"a": "b"}}},
            "same image v1, changed labels or annotations",
        ),
    ],
)
def test_a_change_without_a_new_image_names_the_fields(
    before: dict[str, Any], after: dict[str, Any], change: str
) -> None:
    found = [
        revision(2, current=True, template=after, fingerprint="b"),
        revision(1, template=before, fingerprint="a"),
    ]
    last = last_deployment(found, NOW)
    assert last is not None
    assert last.change == change


@pytest.mark.parametrize(
    ("found", "fired_at", "window", "recent", "after_alert", "text"),
    [
        (HISTORY, ago(minutes=10), 3600, True, False, "Revision 8 (v1 -> v2) was deployed 14 min ago"),
        (
            HISTORY,
            ago(minutes=20),
            3600,
            True,
            True,
            "Revision 8 (v1 -> v2) was deployed 14 min ago, after the alert fired",
        ),
        (
            HISTORY,
            NOW,
            600,
            False,
            False,
            "Revision 8 (v1 -> v2) was deployed 14 min ago, outside of the window of 10 min",
        ),
        (
            [revision(1, V1, current=True)],
            NOW,
            3600,
            False,
            False,
            "Revision 1 (first revision, v1) was deployed 14 min ago; there is no revision before it",
        ),
    ],
)
def test_a_deployment_is_recent_inside_of_the_window_and_blamed_only_before_the_alert(
    found: list[Revision], fired_at: datetime, window: float, recent: bool, after_alert: bool, text: str
) -> None:
    finding = rollout_finding(found, scene(fired_at), RollbackParams(recent_deployment=window))

    assert finding.text == text
    assert (finding.data["recent"], finding.data["after_alert"]) == (recent, after_alert)


def test_the_edge_of_the_window_still_counts() -> None:
    assert rollout_finding(HISTORY, scene(), RollbackParams(recent_deployment=840)).data["recent"] is True
    assert rollout_finding(HISTORY, scene(), RollbackParams(recent_deployment=839.9)).data["recent"] is False


def test_an_unreadable_history_is_unknown_with_the_reason() -> None:
    finding = rollout_finding("cannot list replicasets", scene(), PARAMS)
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.text == "The rollout history could not be read: cannot list replicasets"


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("ghcr.io/stacey77/rag7:v1.5.0", "v1.5.0"),
        ("localhost:5000/app", "app"),
        ("localhost:5000/app:2", "2"),
        ("app@sha256:0123456789abcdef0123", "sha256:0123456789ab"),
        ("app:v2@sha256:0123456789abcdef", "v2"),
    ],
)
def test_an_image_is_told_by_its_tag(image: str, text: str) -> None:
    assert tag(image) == text


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("web:v1", "web:v2", "v1 -> v2"),
        ("web:v1@sha256:aaaaaaaaaaaa11", "web:v2@sha256:bbbbbbbbbbbb22", "v1 -> v2"),
        ("web:main@sha256:aaaaaaaaaaaa11", "web:main@sha256:bbbbbbbbbbbb22", "sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb"),
        ("web:main", "mirror.test/web:main", "web:main -> mirror.test/web:main"),
        ("web:main", "web:main@sha256:bbbb", "web:main -> web:main@sha256:bbbb"),
    ],
    ids=["tags", "tags that tell it", "one tag, two digests", "another repository", "a digest added"],
)  # fmt: skip
def test_two_images_are_told_by_what_differs(old: str, new: str, text: str) -> None:
    assert from_to(old, new) == text
