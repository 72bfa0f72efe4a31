"""What only a person can see to is told by name and asked about: a heap that is full, an autoscaler that sees nothing, a volume and its claim."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remediations.causes.report import FirstCause
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.test_everyday import decided, scaling, writes
from tests.unit.causes.test_more_pods import BUSY, scaled_by
from tests.unit.causes.world import SPACE, World, at

Handler = HighErrorRate | HighLatency
HANDLERS = [HighErrorRate(), HighLatency()]
PARALLEL = "2026-03-04T02:58:11.123+0000: 812.1: [Full GC (Ergonomics) [PSYoungGen: 1024K->0K(2048K)] 2097K->2096K(4096K), 2.345 secs]"
G1 = "[812.123s][info][gc] GC(431) Pause Full (G1 Compaction Pause) 4094M->4090M(4096M) 2345.678ms"
OVERHEAD = "java.lang.OutOfMemoryError: GC overhead limit exceeded"


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("line", [PARALLEL, G1, f"WARN {OVERHEAD}"], ids=["parallel", "G1", "overhead"])
async def test_a_heap_that_is_full_is_no_matter_of_more_pods(line: str, handler: Handler) -> None:
    _, steps = await writes(BUSY(), line, every=10, since=8).look(handler)
    step = steps[scaling(handler)]
    assert step.applies
    assert "the pods' own memory is full" in step.asks
    assert "more heap may" in step.asks


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
async def test_a_heap_that_is_tidied_up_as_every_day_is_a_question(handler: Handler) -> None:
    assert await decided(writes(BUSY(), G1, every=200), handler) == (True, True)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("pods", [1, 3])
async def test_a_heap_that_is_tidied_up_once_in_each_pod_is_no_full_memory(
    pods: int, handler: Handler
) -> None:
    """As one call of System.gc() does: three pods do so three times."""
    once = writes(BUSY())
    for name in list(once.pods)[:pods]:
        rows = once.cluster.timed[name]
        rows.append((rows[-1][0], PARALLEL))
    assert await decided(once, handler) == (True, False)


def scaled(*conditions: tuple[str, str, str, str], since: str = "") -> World:
    world = scaled_by(BUSY(), "web")
    hpa = world.cluster.objects["HorizontalPodAutoscaler", SPACE, "web"]
    hpa["status"]["conditions"] = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": said,
            "lastTransitionTime": since or at(days=2),
        }
        for kind, status, reason, said in conditions
    ]
    return world


SAID = "the HPA was unable to compute the replica count: failed to get cpu utilization"


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
async def test_a_higher_minimum_of_an_autoscaler_that_is_blind_is_asked_for(handler: Handler) -> None:
    blind = scaled(("ScalingActive", "False", "FailedGetResourceMetric", SAID))
    _, steps = await blind.look(handler)
    step = steps[scaling(handler)]
    assert step.applies
    assert (
        "HorizontalPodAutoscaler web does not scale (FailedGetResourceMetric: the HPA was unable" in step.asks
    )
    sees = scaled(("ScalingActive", "True", "ValidMetricFound", "it works"))
    assert await decided(sees, handler) == (True, False)
    new = scaled(("ScalingActive", "False", "FailedGetResourceMetric", SAID), since=at(minutes=2))
    assert await decided(new, handler) == (True, False)


UNABLE = "the HPA controller was unable to get the target's current scale: no matches for kind"


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
async def test_one_that_cannot_scale_at_all_is_asked_about_for_a_higher_minimum_does_nothing(
    handler: Handler,
) -> None:
    _, steps = await scaled(("AbleToScale", "False", "FailedGetScale", UNABLE)).look(handler)
    step = steps[scaling(handler)]
    assert (step.applies, "a higher minReplicas does nothing until then" in step.asks) == (True, True), (
        step.asks
    )
    for kind, status, reason in (
        ("AbleToScale", "False", "BackoffBoth"),
        ("AbleToScale", "True", "ReadyForNewScale"),
    ):
        assert await decided(scaled((kind, status, reason, "")), handler) == (True, False)
    moment = scaled(("AbleToScale", "False", "FailedGetScale", UNABLE), since=at(minutes=2))
    assert await decided(moment, handler) == (True, False)


CONFLICT = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had volume node affinity conflict."
ATTACHED = 'Multi-Attach error for volume "pvc-7f3a" Volume is already used by pod(s) web-old'


def mounted(world: World) -> World:
    """Pods with a claim that is bound to a volume."""
    world.both(lambda s: s.update(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]))
    spec = {"volumeName": "pvc-7f3a", "accessModes": ["ReadWriteOnce"]}
    return world.put("PersistentVolumeClaim", "data", spec=spec, status={"phase": "Bound"})


def conflict() -> World:
    world = mounted(World().rolling())
    return world.unscheduled("new-0", CONFLICT)


def attached() -> World:
    world = mounted(World().rolling())
    return world.event("FailedAttachVolume", ATTACHED, "Pod/new-0", first=at(minutes=4))


@pytest.mark.parametrize("happens", [conflict, attached], ids=["node affinity", "multi-attach"])
async def test_the_claim_and_its_volume_are_named(happens: Callable[[], World]) -> None:
    diagnosis, _ = await happens().look()
    advice = FirstCause(diagnosis).advice
    assert "PersistentVolumeClaim data (PersistentVolume pvc-7f3a)" in advice
