"""A pod that a Job runs: the Job and its CronJob are named, with what failed and its last words."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.cluster import LogQuery
from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.jobs import job_story, pod_story
from app.kube.owners import resolve
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.newpods import named

FAILED = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
}


class Logging(FakeCluster):
    """One whose containers said something."""

    said = ""

    async def logs(self, query: LogQuery) -> str:
        self.asked = query
        return self.said


def _job(*conditions: Obj, cron: str = "", **status: Any) -> Obj:
    job = named("Job", "backup-29", status={"conditions": list(conditions), **status})
    if cron:
        job["metadata"]["ownerReferences"] = [m.owned_by("CronJob", cron, "cron-uid")]
    return job


def _pod(code: int, *, reason: str = "Error", message: str = "") -> Obj:
    ended = {"exitCode": code, "reason": reason, "message": message}
    statuses = [{"name": "main", "state": {"terminated": ended}}]
    pod = m.pod("backup-29-abcde", owner=m.owned_by("Job", "backup-29", "u"), containerStatuses=statuses)
    pod["metadata"]["labels"] = {"job-name": "backup-29"}
    return pod


WHY = "failed (BackoffLimitExceeded: Job has reached the specified backoff limit)"
ROWS: list[tuple[list[Obj], str, str]] = [
    (
        [_job(FAILED, cron="backup"), _pod(1)],
        "connecting\npassword=hunter2 was not accepted\n\n",
        f"Job backup-29 of CronJob backup {WHY}; its container main ended with exit code 1: password=[redacted] was not accepted",
    ),
    (
        [_job(FAILED), _pod(1)],
        "config:\n  password: |\n    Vq8mK2xPz7Lw\n",
        f"Job backup-29 {WHY}; its container main ended with exit code 1: [redacted]",
    ),
    (
        [_job(FAILED), _pod(137, reason="OOMKilled", message="out of room")],
        "not asked for",
        f"Job backup-29 {WHY}; its container main ended with exit code 137 (OOMKilled): out of room",
    ),
    ([_job({"type": "Complete", "status": "True"}), _pod(0)], "", "Job backup-29 is complete"),
    ([_job(failed=2)], "", "Job backup-29 had 2 failed pods and goes on"),
    ([_job(failed=1)], "", "Job backup-29 had 1 failed pod and goes on"),
    ([], "", "Job backup-29 is gone"),
]


@pytest.mark.parametrize(("there", "said", "told"), ROWS, ids=[r[2][-40:] for r in ROWS])
async def test_a_job_is_told_with_what_failed_and_its_last_words(
    there: list[Obj], said: str, told: str
) -> None:
    cluster = Logging(*there)
    cluster.said = said
    assert await job_story(cluster, m.NAMESPACE, "backup-29") == told


async def test_what_may_not_be_read_is_left_out() -> None:
    cluster = Logging(_job(FAILED), _pod(1))
    cluster.denied |= {("get", Kind.JOB), ("list", Kind.POD)}
    assert await job_story(cluster, m.NAMESPACE, "backup-29") == "Job backup-29"


async def test_the_alert_of_such_a_pod_finds_no_workload_and_says_what_became_of_the_job() -> None:
    cluster = Logging(_job(FAILED, cron="backup"), _pod(2))
    cluster.said = "disk full"
    with pytest.raises(ObjectMissing) as raised:
        await resolve(cluster, m.NAMESPACE, "Pod", "backup-29-abcde")
    assert "belongs to a Job: Job backup-29 of CronJob backup failed" in raised.value.message
    assert "exit code 2: disk full. A run to completion is not restarted" in raised.value.message


WAITS: list[tuple[Obj, Obj, str]] = [
    (
        {},
        {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.test/report:9"'}},
        'its container main waits: ImagePullBackOff: Back-off pulling image "registry.test/report:9"',
    ),
    (
        {},
        {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "report-key" not found'}},
        'its container main waits: CreateContainerConfigError: secret "report-key" not found',
    ),
    (
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
        {},
        "no node takes it (Unschedulable: 0/3 nodes are available)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "state", "told"), WAITS, ids=["image", "key", "node"])
async def test_why_its_pod_waits_is_told_in_the_words_of_the_kubelet_and_the_scheduler(
    condition: Obj, state: Obj, told: str
) -> None:
    statuses = [{"name": "main", "state": state}] if state else []
    pod = m.pod(
        "backup-29-abcde", owner=m.owned_by("Job", "backup-29", "u"), ready=False, containerStatuses=statuses
    )
    pod["status"]["conditions"] = [condition] if condition else []
    pod["metadata"]["labels"] = {"job-name": "backup-29"}
    cluster = Logging(_job(), pod)
    assert await job_story(cluster, m.NAMESPACE, "backup-29") == f"Job backup-29; of its pod {told}"
    said, _ = await pod_story(cluster, m.NAMESPACE, "backup-29-abcde")
    assert said.startswith(told)
