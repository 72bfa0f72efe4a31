"""The whole service with a Slack on loopback: messages with buttons out, clicks in by HTTP and by Socket Mode."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain.errors import BadInput
from app.engine.context import Engine, Workflow
from app.engine.memory import JournalEngine
from app.main import Parts
from app.notify.buttons import Click
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import Settings, load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from tests.doubles import slack_socket
from tests.doubles.slack import TOKEN, SlackDouble
from tests.doubles.slack import serving as slack_serving
from tests.doubles.slack_click import SECRET, labels_of, payload

ROOT = Path(__file__).resolve().parents[2]
SPEED = 60.0
ANA = "U0ANA"


def policies(folder: Path) -> Path:
    """The shipped policy with a ceiling of approve."""
    where = folder / "policies"
    where.mkdir()
    for name in ("00-default.yaml", "rag7.yaml"):
        text = (ROOT / "policies" / name).read_text("utf-8").replace("\nmode: auto\n", "\nmode: approve\n")
        (where / name).write_text(text, "utf-8")
    return where


def parts() -> Parts:
    clock = AcceleratedClock(SystemClock(), SPEED)
    cluster = SimCluster(clock, load_scenario("high-error-rate"))

    def engine(timeline: Workflow) -> Engine:
        return JournalEngine(timeline, clock)

    return Parts(
        clock=clock,
        cluster=cluster,
        metric_source=cluster.metrics,
        alert_sources=cluster.alertmanager,
        dependencies=cluster.dependencies,
        make_engine=engine,
        speed=SPEED,
    )


def settings(folder: Path, api_url: str, **more: Any) -> Settings:
    return load_settings(
        state_dir=folder / "state",
        policy_dir=policies(folder),
        cluster="simulated",
        port=0,
        replica="tests",
        slack_bot_token=TOKEN,
        slack_api_url=api_url,
        slack_operators=ANA,
        **more,
    )


async def question(slack: SlackDouble, cluster: Any, url: str) -> None:
    """Feed the alert and wait until the channel shows the question."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while not (slack.roots() and "Approve" in labels_of(slack.roots()[-1])):
            for body in cluster.alertmanager.poll():
                (await http.post("/webhooks/alertmanager", json=body)).raise_for_status()
            await asyncio.sleep(0.05)


async def approved(slack: SlackDouble) -> None:
    """Wait until the message says so."""
    while f"Approved by <@{ANA}>" not in slack.roots()[-1].readable():  # noqa: ASYNC110 - Slack sends no event
        await asyncio.sleep(0.05)


async def test_a_click_over_http_is_taken_and_its_loser_is_told(tmp_path: Path) -> None:
    made = parts()
    slack = SlackDouble(made.clock.now)
    async with asyncio.timeout(60), slack_serving(slack) as api:
        configured = settings(tmp_path, api, slack_signing_secret=SECRET)
        async with serving(configured, made) as (_, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
            await question(slack, made.cluster, url)
            for user in ("U0EVE", ANA):
                request = slack.click(slack.roots()[-1], Click.APPROVE.value, user)
                answer = await http.post(
                    "/webhooks/slack/interactions", content=request.body, headers=request.headers
                )
                assert answer.status_code == 200
            await approved(slack)
    assert [user for user, _ in slack.whispers] == ["U0EVE"]
    assert "not among REMEDIATOR_SLACK_OPERATORS" in slack.whispers[0][1]
    assert len(slack.hooks.got) == 1


async def test_a_click_over_socket_mode_is_taken(tmp_path: Path) -> None:
    made = parts()
    slack, socket = SlackDouble(made.clock.now), slack_socket.SocketDouble()
    async with asyncio.timeout(60), slack_serving(slack, socket) as api:
        configured = settings(tmp_path, api, slack_app_token=slack_socket.APP_TOKEN)
        async with serving(configured, made) as (service, url):
            await socket.connected()
            await question(slack, made.cluster, url)
            await socket.send(payload(slack.roots()[-1], Click.APPROVE.value, ANA, now=made.clock.now()))
            await approved(slack)
        assert service.socket is not None
        assert not service.socket.connected


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"slack_operators": "ana"}, "REMEDIATOR_SLACK_OPERATORS"),
        ({"people": "alice:U0ANA"}, "REMEDIATOR_PEOPLE"),
        ({"people": "alice+slack:ana"}, "REMEDIATOR_PEOPLE"),
        ({"people": "alice+laptop,bob+laptop"}, "REMEDIATOR_PEOPLE"),
        ({"people": "alice+slack:U0ANA,bob+slack:U0ANA"}, "REMEDIATOR_PEOPLE"),
    ],
)
def test_a_bad_list_of_people_refuses_to_start(given: dict[str, str], name: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(**given)
    assert caught.value.where == name


def test_people_and_operators_are_read_from_lists() -> None:
    found = load_settings(slack_operators=" U0ANA, S0ONCALL ", people="alice + laptop+slack:U0ANA, bob")
    assert found.operators == {"U0ANA", "S0ONCALL"}
    assert found.persons == {"alice": "alice", "laptop": "alice", "slack:U0ANA": "alice", "bob": "bob"}
    assert not found.interactive
