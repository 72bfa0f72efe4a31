"""Errors of pods that started later, of one template with others that have none: their image, or what they read, tells them apart."""

from __future__ import annotations

from datetime import timedelta

from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.test_restarted_since import Restarted
from tests.unit.causes.world import V2


class Erring(Restarted):
    """The pod of the restart is up, and is the only one that answers with errors."""

    def __init__(self, error: str, *, new: str = "b") -> None:
        super().__init__()
        for name in [n for n in self.pods if n.startswith("again")]:
            del self.pods[name]
        self.pod("again-1", revision=3, made=5)
        for name, pod in self.pods.items():
            again = name.startswith("again")
            pod["status"]["containerStatuses"][0]["imageID"] = (
                f"registry.test/web@sha256:{(new if again else 'a') * 64}"
            )
            said = f"ERROR {error}" if again else "INFO served"
            self.cluster.timed[name] = [(NOW - timedelta(seconds=s), said) for s in range(290, 0, -2)]
        self.metrics = Requests(280)


CODE = "TypeError: connect() got an unexpected keyword argument 'pool_size'"


async def test_errors_of_an_image_that_was_pushed_over_are_told_with_what_to_put_back() -> None:
    """A restart fetches what the tag stands for by then. No size and no revision helps: both templates name the same tag."""
    diagnosis, steps = await Erring(CODE).look(HighErrorRate())
    told = f"{V2} stood for another image when they started (sha256:bbbbbbbbbbbb; before sha256:aaaaaaaaaaaa)"
    assert told in diagnosis.summary
    assert [step.applies for step in steps.values()] == [False, False]
    assert told in steps["scale-up"].why
    assert f"Put {V2} back to sha256:aaaaaaaaaaaa" in steps["scale-up"].advice


async def test_errors_of_pods_from_after_a_restart_alone_are_told_with_what_they_read() -> None:
    diagnosis, steps = await Erring(CODE, new="a").look(HighErrorRate())
    assert "Only 1 pod made later has the most frequent error" in diagnosis.finding("errors.since_start").text  # type: ignore[union-attr]
    assert "(ConfigMap web-config) may have changed since" in steps["scale-up"].why + steps["scale-up"].advice
    assert not steps["scale-up"].applies


async def test_late_answers_of_another_image_only_ask_before_more_pods() -> None:
    """Those who start later may be slow for another reason than their image: a person says."""
    world = Erring("upstream request timeout after 5s")
    finding = (await world.look(HighErrorRate()))[0].finding("errors.since_start")
    assert finding is not None
    assert (finding.data["ill"], "stood for another image" in finding.text) == (False, True)


async def test_errors_that_pods_from_before_have_too_are_not_told_of_the_image() -> None:
    world = Erring(CODE)
    for name in world.pods:
        world.cluster.timed[name] = [(NOW - timedelta(seconds=s), f"ERROR {CODE}") for s in range(290, 0, -2)]
    assert (await world.look(HighErrorRate()))[0].finding("errors.since_start") is None
