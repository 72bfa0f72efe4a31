"""The Job controller: one pod at a time until one has succeeded, or too many have failed. Called by the world.

Not modelled: parallelism, completions, suspension, pod failure policies, and the removal of ended Jobs after their time to live.
"""

from __future__ import annotations

from app.domain.json import Obj
from app.sim.controllers.pods import PodMaker, is_terminating
from app.sim.kinds import seconds_of, stamp
from app.sim.objects import Key
from app.sim.world import World, condition

_UID, _NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"


class Jobs:
    """Reconciles Jobs."""

    def __init__(self, world: World, maker: PodMaker) -> None:
        self._world = world
        self._maker = maker

    def reconcile(self, key: Key) -> None:
        """Make the pod, count how it ended, and end the Job."""
        job = self._world.store.find(key)
        if job is None or any(c["status"] == "True" for c in job.get("status", {}).get("conditions", [])):
            return
        pods = self._maker.pods_of(job)
        phases = [str(p.get("status", {}).get("phase")) for p in pods]
        failed, succeeded = phases.count("Failed"), phases.count("Succeeded")
        started = job.get("status", {}).get("startTime", stamp(self._world.time))
        late = seconds_of(started) + job["spec"].get("activeDeadlineSeconds", float("inf"))
        over: tuple[str, str, str] | None = None
        if succeeded:
            over = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif failed > job["spec"]["backoffLimit"]:
            over = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif self._world.time >= late:
            over = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif len(pods) == failed:
            self._create(job)
        if over is None and late != float("inf"):
            self._world.later(key, late)
        self._write(key, (started, failed, succeeded), over)

    def _create(self, job: Obj) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        labels = {_UID: uid, _NAME: name, "controller-uid": uid, "job-name": name}
        self._maker.create(job, job["spec"]["template"], labels)

    def _write(self, key: Key, counts: tuple[str, int, int], over: tuple[str, str, str] | None) -> None:
        job = self._world.store.get(key)
        started, failed, succeeded = counts
        active = [p for p in self._maker.pods_of(job) if p["status"].get("phase") in ("Pending", "Running")]
        status: Obj = {"startTime": started, "active": len(active), "failed": failed, "succeeded": succeeded}
        if over is not None:
            for pod in (p for p in active if not is_terminating(p)):
                self._maker.delete(job, pod)
            found, _ = condition([], over[0], True, over[1], over[2], self._world.time)
            status |= {"conditions": [found], "active": 0}
            status |= {"completionTime": stamp(self._world.time)} if over[0] == "Complete" else {}
        self._world.set_status(job, {k: v for k, v in status.items() if v not in (0, "")})
