"""A leak needs enough samples, enough time, real growth and a good line; anything less is steady or unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.ports import Sample
from app.domain.remediation import History, Scene
from app.sim import SimCluster, VirtualClock
from remediations.evidence.growth import Verdict, fit_line, judge
from remediations.evidence.leaks import LeakParams, leak_finding
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from tests.unit.remediations.snapshots import MIB, NOW, workload
from tests.unit.remediations.stage import Metrics, Services

LIMITS = LeakParams().thresholds


def samples(value: Callable[[int], float], count: int = 60, step: float = 60) -> list[Sample]:
    start = NOW - timedelta(seconds=step * count)
    return [Sample(start + timedelta(seconds=step * i), value(i)) for i in range(count)]


def scene(metrics: Metrics | None, history: History | None = None) -> Scene:
    return Scene(
        SimCluster(VirtualClock()),
        workload(),
        "HighLatency",
        {},
        NOW,
        NOW,
        Services({}),
        metrics,
        history or History(),
    )


GROWING = samples(lambda i: (300 + i) * MIB)
NOISY = samples(lambda i: (300 + i + (20 if i % 2 else -20)) * MIB)
FLAT = samples(lambda i: (300 + i % 3) * MIB)
WARMED = samples(lambda i: (300 + 150 * (1 - 0.95**i)) * MIB)
JUMPY = samples(lambda i: (300 + (200 if i % 7 == 0 else 0)) * MIB)


@pytest.mark.parametrize(
    ("series", "verdict"),
    [
        (GROWING, Verdict.LEAK),
        (FLAT, Verdict.STEADY),
        (JUMPY, Verdict.STEADY),
        (WARMED, Verdict.FLATTENS),
        (samples(lambda i: (300 + (150 * (1 - 0.9 ** (i - 30)) if i > 30 else 0)) * MIB), Verdict.FLATTENS),
        (
            samples(lambda i: (300 + (10 * (i - 20) if i > 20 else 0)) * MIB),
            Verdict.LEAK,
        ),  # since it began on the way
        (samples(lambda i: (300 + 5 * i + (20 if i % 2 else -20)) * MIB), Verdict.LEAK),
        (NOISY, Verdict.STEADY),  # a poor line: R squared 0.4
        (samples(lambda i: (400 - i) * MIB), Verdict.STEADY),
        (samples(lambda i: (300 + i * 0.4) * MIB), Verdict.STEADY),  # grows by 8 % only
        (samples(lambda _: 0.0), Verdict.STEADY),
        (samples(lambda i: (300 + 10 * i) * MIB, count=9), Verdict.UNKNOWN),
        (samples(lambda i: (300 + 10 * i) * MIB, count=60, step=10), Verdict.UNKNOWN),
        ([], Verdict.UNKNOWN),
        (GROWING[:1], Verdict.UNKNOWN),
        ([GROWING[0]] * 20, Verdict.UNKNOWN),
    ],
)
def test_the_verdict_on_one_pod(series: Sequence[Sample], verdict: Verdict) -> None:
    assert judge(series, LIMITS)[0] is verdict


def test_the_order_of_the_samples_does_not_matter() -> None:
    assert judge(list(reversed(GROWING)), LIMITS) == judge(GROWING, LIMITS)


def test_a_saw_tooth_of_kills_is_a_leak_when_one_life_is_long_enough() -> None:
    # 20 minutes from 300 MiB to 680 MiB, then killed and begun anew.
    assert judge(samples(lambda i: (300 + 20 * (i % 20)) * MIB), LIMITS)[0] is Verdict.LEAK


def test_lives_that_are_too_short_are_not_joined_into_one() -> None:
    assert judge(samples(lambda i: (300 + 60 * (i % 8)) * MIB), LIMITS)[0] is Verdict.UNKNOWN


def test_the_line_has_its_slope_and_its_fit() -> None:
    line = fit_line(GROWING)
    assert line is not None
    assert line.slope * 60 == pytest.approx(MIB)
    assert line.fit == pytest.approx(1)
    assert (line.span, line.samples) == (59 * 60, 60)
    assert line.growth == pytest.approx(59 / 300)


async def test_a_leak_is_told_with_its_rate() -> None:
    finding = await leak_finding(scene(Metrics(series={"app-a": GROWING, "app-b": FLAT})), LeakParams())

    assert finding.text == (
        "Memory of 1 of 2 pods grows steadily: app-a +60 MiB an hour over 59 min (100 % of the variation on a line)"
    )
    assert finding.data["leak"] is True
    assert finding.data["bytes_per_hour"] == 60 * MIB


async def test_steady_memory_is_told_too() -> None:
    finding = await leak_finding(scene(Metrics(series={"app-b": FLAT})), LeakParams())

    assert finding.text.startswith("Memory does not grow steadily on 1 pod: app-b +")
    assert finding.data["leak"] is False


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        (None, "no Prometheus is configured"),
        (Metrics(series=None), "Prometheus could not be reached"),
        (Metrics(series={}), "Prometheus has no memory series of these pods"),
        (Metrics(series={"a": GROWING[:5]}), "Prometheus"),
    ],
)
async def test_too_little_to_go_by_is_unknown_and_never_no_leak(metrics: Metrics | None, reason: str) -> None:
    finding = await leak_finding(scene(metrics), LeakParams())

    assert finding.certainty is Certainty.UNKNOWN
    assert "leak" not in finding.data
    assert finding.text == (
        f"Whether memory leaks is not known: {reason}; "
        "10 samples over 15 min of one container's life are needed"
    )


async def test_without_prometheus_the_services_own_samples_serve() -> None:
    finding = await leak_finding(scene(None, History(memory={"app-a": GROWING})), LeakParams())
    assert finding.data["leak"] is True


async def test_a_few_own_samples_are_counted_in_the_reason() -> None:
    finding = await leak_finding(scene(None, History(memory={"app-a": GROWING[:4]})), LeakParams())
    assert "no Prometheus is configured, and this service has 4 samples of its own" in finding.text


async def test_an_empty_query_is_not_asked() -> None:
    metrics = Metrics(series={"app-a": GROWING})
    finding = await leak_finding(scene(metrics), LeakParams(memory_query=""))
    assert (finding.certainty, metrics.asked) == (Certainty.UNKNOWN, [])


def test_thresholds_come_from_the_params() -> None:
    eager = LeakParams.model_validate({"leak_samples": 3, "leak_span": "1m", "leak_growth": "1%"}).thresholds
    short = samples(lambda i: (300 + 10 * i) * MIB, count=4)
    assert judge(short, eager)[0] is Verdict.LEAK
    assert judge(short, replace(eager, samples=5))[0] is Verdict.UNKNOWN


class ByMetric(Metrics):
    """A Prometheus that has some metrics only, each with series of its own."""

    def __init__(self, **of: Sequence[Sample]) -> None:
        super().__init__()
        self.of = of

    async def window(self, query: str, *_: object) -> Sequence[tuple[dict[str, str], Sequence[Sample]]]:
        self.asked.append(query)
        return next(([({"pod": "app-a"}, s)] for name, s in self.of.items() if name in query), [])


async def test_e_page_cache_that_grows_is_no_leak() -> None:
    """The working set grows with the cache of files that are read; what cannot be taken back does not."""
    metrics = ByMetric(container_memory_rss=FLAT, container_memory_working_set_bytes=GROWING)
    finding = await leak_finding(scene(metrics), LeakParams())
    assert (finding.data["leak"], finding.data["sure"]) == (False, True)
    assert len(metrics.asked) == 1


async def test_e_a_leak_by_working_set_alone_is_told_as_less_sure() -> None:
    finding = await leak_finding(scene(ByMetric(container_memory_working_set_bytes=GROWING)), LeakParams())
    assert (finding.data["leak"], finding.data["sure"]) == (True, False)
    assert "less sure, as this is the working set" in finding.text


async def test_e_the_services_own_samples_are_working_sets() -> None:
    finding = await leak_finding(scene(None, History(memory={"app-a": GROWING})), LeakParams())
    assert (finding.data["leak"], finding.data["sure"]) == (True, False)


def used(share: float) -> Finding:
    return Finding("usage.pods", "measured", data={"memory_share": share, "cpu_share": 0.96, "pods": 3})


@pytest.mark.parametrize("sure", [True, False], ids=["by rss", "by working set"])
async def test_e_a_leak_that_is_less_sure_asks_before_a_restart(sure: bool) -> None:
    name = "container_memory_rss" if sure else "container_memory_working_set_bytes"
    metrics = ByMetric(**{name: GROWING}, http_requests_total=FLAT)
    looked = replace(scene(metrics), history=History(tried=("scale-out",)))
    handler = HighLatency()
    finding = await leak_finding(looked, LeakParams())
    steps = await handler.ladder(looked, handler.params(), Diagnosis("", (used(0.9), finding)))
    restart = next(s for s in steps if s.name == "restart")
    assert (restart.applies, bool(restart.asks)) == (True, not sure)
    assert sure or "working set" in restart.asks


@pytest.mark.parametrize(
    ("share", "sure", "out"),
    [(0.9, True, "refuses"), (0.9, False, "asks"), (0.6, True, "acts"), (0.6, False, "acts")],
)
async def test_e_a_leak_that_is_less_sure_is_a_question_of_more_pods_at_their_limit_as_well(
    *, share: float, sure: bool, out: str
) -> None:
    """Their CPU is measured, and both steps weigh what is not known alike."""
    name = "container_memory_rss" if sure else "container_memory_working_set_bytes"
    looked, handler = scene(ByMetric(**{name: GROWING}, http_requests_total=FLAT)), HighLatency()
    finding = await leak_finding(looked, LeakParams())
    steps = await handler.ladder(looked, handler.params(), Diagnosis("", (used(share), finding)))
    step = next(s for s in steps if s.name == "scale-out")
    assert ("asks" if step.asks else "acts" if step.applies else "refuses") == out, step
    assert ("whether memory leaks is less sure" in step.asks) is (out == "asks")


@pytest.mark.parametrize("sure", [True, False], ids=["by rss", "by working set"])
async def test_e_memory_is_raised_for_a_leak_that_is_less_sure_only_with_a_question(sure: bool) -> None:
    name = "container_memory_rss" if sure else "container_memory_working_set_bytes"
    looked, handler = scene(ByMetric(**{name: GROWING}, http_requests_total=FLAT)), OutOfMemory()
    killed = Finding("memory.killed", "app was killed", data={"containers": ["app"]})
    finding = await leak_finding(looked, LeakParams())
    steps = await handler.ladder(looked, handler.params(), Diagnosis("", (killed, finding)))
    first = steps[0]
    assert (first.applies, bool(first.asks)) == (not sure, not sure)


DOUBLED = samples(lambda i: (200 + 4 * i) * MIB)
NOT_KNOWN = "its requests are not known"
LOADS: list[tuple[str, Sequence[Sample] | None, bool, str, str]] = [
    ("requests grew as much", samples(lambda i: 20 + 0.7 * i), False, "", "grows with its requests"),
    ("requests from nothing", samples(lambda i: 0.1 * i), False, "", "grows with its requests"),
    ("requests scatter and grow", samples(lambda i: 20 + 0.7 * i + (i % 3 - 1) * 9), False, "", "grows with its requests"),
    ("requests grew by a half", samples(lambda i: 20 + 0.2 * i), True, "its requests grew as well", "grows steadily"),
    ("requests hardly grew", samples(lambda i: 20 + 0.04 * i), True, "", "grows steadily"),
    ("requests became fewer", samples(lambda i: 60 - 0.5 * i), True, "", "grows steadily"),
    ("no requests at all", samples(lambda _: 0.0), True, "", "grows steadily"),
    ("requests of the last minutes alone", samples(lambda i: 20 + 0.7 * i)[-15:], True, NOT_KNOWN, "grows steadily"),
    ("requests that nobody counts", None, True, NOT_KNOWN, "grows steadily"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "leak", "unsure", "told"), [r[1:] for r in LOADS], ids=[r[0] for r in LOADS]
)
async def test_memory_that_grows_with_its_requests_is_no_leak(
    requests: Sequence[Sample] | None, leak: bool, unsure: str, told: str
) -> None:
    """A restart in the peak would take pods away where more of them, with less to do each, are what helps; and a higher limit holds the load."""
    counted = {"http_requests_total": requests} if requests is not None else {}
    looked = replace(scene(ByMetric(container_memory_rss=DOUBLED, **counted)))
    finding = await leak_finding(looked, LeakParams())
    assert (finding.data["leak"], told in finding.text) == (leak, True)
    assert unsure in str(finding.data["unsure"])
    assert bool(finding.data["unsure"]) is bool(unsure)

    killed = Finding("memory.killed", "app was killed", data={"containers": ["app"]})
    memory, latency = OutOfMemory(), HighLatency()
    first = (await memory.ladder(looked, memory.params(), Diagnosis("", (killed, finding))))[0]
    assert (first.applies, bool(first.asks)) == (not leak or bool(unsure), bool(unsure))
    out, again = await latency.ladder(looked, latency.params(), Diagnosis("", (used(0.94), finding)))
    assert (out.applies, bool(out.asks)) == (not leak or bool(unsure), bool(unsure))
    assert (again.applies, bool(again.asks)) == (leak, bool(unsure))


@pytest.mark.parametrize(("share", "restarts"), [(0.94, True), (0.55, False), (None, None)])
async def test_a_leak_is_restarted_for_latency_only_where_memory_is_near_its_limit(
    share: float | None, restarts: bool | None
) -> None:
    looked, handler = scene(ByMetric(container_memory_rss=GROWING, http_requests_total=FLAT)), HighLatency()
    finding = await leak_finding(looked, LeakParams())
    known = (finding,) if share is None else (used(share), finding)
    again = (await handler.ladder(looked, handler.params(), Diagnosis("", known)))[1]
    assert again.applies is (restarts is not False)
    assert ("near its limit" in again.asks) is (restarts is None)
    if restarts is False:
        assert "has used 55 % of its limit, which slows nothing down" in again.why


async def test_a_cache_that_fills_gets_its_memory_and_is_not_restarted() -> None:
    looked = scene(ByMetric(container_memory_rss=WARMED))
    finding = await leak_finding(looked, LeakParams())
    assert "grows ever slower, as a cache that fills" in finding.text
    killed = Finding("memory.killed", "app was killed", data={"containers": ["app"]})
    memory, latency = OutOfMemory(), HighLatency()
    more, out = await memory.ladder(looked, memory.params(), Diagnosis("", (killed, finding)))
    assert (more.applies, more.asks, bool(out.asks)) == (
        True,
        "",
        True,
    )  # each further pod fills one of its own
    steps = await latency.ladder(looked, latency.params(), Diagnosis("", (used(0.94), finding)))
    assert not steps[1].applies
