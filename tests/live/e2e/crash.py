"""Owns stories with deaths in them: one workload, one alert, a service that is killed again and again until it is let live.

A story is tended from outside, a little at each call, so that several run side by side: the sender repeats what was not
accepted, the alert resolves once the change is in place, and whoever died is started again on what it left behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx

from tests.live.e2e.service import Place, Service, body_of
from tests.live.e2e.shop import Shop
from tests.live.e2e.slack import SlackServer

ACCEPTED = "accepted"
VERIFYING = "verifying"
"""Deaths dealt from outside: at once after the 202, and when the run is said to verify."""


class Story:
    """One alert whose service dies once for each of `deaths`, and then is `remediator serve` without a death."""

    def __init__(self, place: Place, shop: Shop, deaths: Sequence[str]) -> None:
        self.place, self.shop, self.slack = place, shop, place.channel
        self.deaths = list(deaths)
        self.died: list[str] = []
        self.service = Service(place)
        self._labels = {"alertname": "HighLatency", **shop.labels}
        self._started: datetime | None = None
        self._accepted = self._resolved = False
        self._live()

    @property
    def name(self) -> str:
        """For messages of a test."""
        return f"killed at {self.deaths}, so far {self.died}; log: {self.service.log}"

    def tend(self) -> bool:
        """Does what is to be done now; True when the story is over."""
        if self.service.dead:
            self._bury()
        elif not self.service.serves():
            return False
        else:
            return self._feed()
        return False

    def _live(self) -> None:
        death = self._next
        if death in (ACCEPTED, VERIFYING):
            self.service.start()
        else:
            env = {"VICTIM_DEATH": death or "never", "VICTIM_ARMED": "1" if self._accepted else "0"}
            self.service.fork(("tests.live.e2e.victim",), env)

    @property
    def _next(self) -> str | None:
        return self.deaths[len(self.died)] if len(self.died) < len(self.deaths) else None

    def _bury(self) -> None:
        process = self.service.process
        assert process is not None
        assert process.exit_code == -signal.SIGKILL, f"{self.name}\n{process.log_tail()}"
        self.died.append(str(self._next))
        self._live()

    def _feed(self) -> bool:
        try:
            if not self._accepted:
                self._fire()
            elif self._may_resolve and self.shop.get()["spec"]["replicas"] == 8:
                self._resolved = self._post(resolved=True)
            if self._next == VERIFYING and self._state == VERIFYING:
                self.service.kill_and_leave()
            return self._next is None and self._state == "contained"
        except httpx.TransportError:
            return False  # it died while we spoke to it

    @property
    def _may_resolve(self) -> bool:
        # A death in the verification needs the verification: the alert fires on until it has happened, because how many
        # looks fit between the resolution and the end of the run is a matter of the machine's speed.
        left = self.deaths[len(self.died) :]
        return not self._resolved and not any(d == VERIFYING or d.startswith("read-after") for d in left)

    @property
    def _state(self) -> str:
        found = self.service.incidents(self.shop.namespace)
        return str(found[0]["state"]) if found else ""

    def _fire(self) -> None:
        if self._next not in (None, ACCEPTED, VERIFYING):
            assert self.service.process is not None
            os.kill(self.service.process.pid, signal.SIGUSR1)
        # The workload is there: what was done to it before is no hand on it since the alert fired.
        self._started = self._started or datetime.now(UTC)
        self._accepted = self._post(resolved=False)
        if self._accepted and self._next == ACCEPTED:
            self.service.kill_and_leave()

    def _post(self, *, resolved: bool) -> bool:
        assert self._started is not None
        answer = self.service.post(body_of(self._labels, self._started, resolved=resolved))
        assert answer.status_code == 202, answer.text
        return True


def told(story: Story, slack: SlackServer) -> Callable[[], bool]:
    """Whether the end of the story stands in its thread."""
    return lambda: "".join(slack.entries(story.place.channel)[-1:]).startswith("*Checked*")


def check(story: Story, slack: SlackServer) -> None:
    """What has to hold however often the service died."""
    shop, channel = story.shop, story.place.channel
    (incident,) = story.service.incidents(shop.namespace)
    (run,) = story.service.get("runs", incident=str(incident["id"]))["items"]
    assert (incident["state"], run["state"]) == ("contained", "contained"), story.name
    (written,) = shop.written
    assert (written.verb, written.target, written.name) == ("patch", "deployments", "web")
    assert shop.get()["spec"]["replicas"] == 8
    assert shop.dry_run_result, story.name
    told = [entry.split(maxsplit=1)[0] for entry in slack.entries(channel)]
    assert told == ["*Fired*:", "*Evidence*:", "*Allowed", "*Done*:", "*Checked*:"], story.name
    tags = slack.tags(channel)
    assert len(tags) == len(set(tags)) == 6
    assert slack.parent(channel).startswith("*CONTAINED"), story.name
