"""Commands that run the service: `serve` for real, `demo` on a simulated cluster."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer
import uvicorn

from app.domain.decision import Decision
from app.domain.ports import Clock
from app.domain.target import Target
from app.main import Parts
from app.page.requests import Tools
from app.policy.facts import Facts
from app.policy.model import Policy, Rule
from app.serving import run_service
from app.settings import load_settings
from app.store.records import Heard
from remediations import CATALOGUE


def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to bind, instead of REMEDIATOR_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="Port to bind, instead of REMEDIATOR_PORT; 0 takes a free one."
        ),
    ] = None,
) -> None:
    """Serve until interrupted; everything else is configured by REMEDIATOR_* variables (see the README)."""
    given = {"host": host, "port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    parts = _simulated() if settings.cluster == "simulated" else Parts()
    parts = replace(parts, doctor=examine, backtest=backtest, what_if=what_if)
    # uvloop where there is one: it takes a third off the cost of an accepted alert.
    factory = uvicorn.Config("", loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run_service(settings, parts))


async def examine(clock: Clock) -> list[Mapping[str, str]]:
    """What `remediator doctor --json` finds, for the page; the doctor is imported, in a thread, when somebody asks for it."""
    doctor = await asyncio.to_thread(importlib.import_module, "app.doctor.examine")
    return [finding.to_json() for finding in await doctor.examine(clock)]


async def backtest(
    texts: Mapping[str, str], in_force: Policy, heard: Sequence[Heard], over: Callable[[], bool]
) -> Mapping[str, Any]:
    """What `remediator policy backtest` tells, for the page; the replay is imported and runs in a thread until it is `over`. Raises PolicyInvalid,
    TimeoutError."""
    stored = await asyncio.to_thread(importlib.import_module, "app.policytools.backtest_stored")
    found: Mapping[str, Any] = await asyncio.to_thread(
        stored.compare, texts, in_force, heard, CATALOGUE, over
    )
    return found


def what_if(
    policy: Policy, labels: Mapping[str, str], now: datetime, known: Callable[[Rule, Target], Facts]
) -> tuple[Decision, str, Sequence[str]]:
    """What `remediator policy explain` tells, for the page, by what the service knows; imported, in the store's thread, when somebody asks."""
    judged = importlib.import_module("app.policytools.hypothetical").explain_known(
        policy, CATALOGUE, labels, now, known
    )
    return judged.decision, judged.target, judged.also


def _simulated() -> Parts:
    """The simulator is imported only where it is asked for."""
    from app.demo import simulated

    return simulated()


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End with a summary instead of leaving the service running.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 takes a free one.")
    ] = 8080,
    speed: Annotated[
        float, typer.Option("--speed", min=1, max=100, help="Simulated seconds per second.")
    ] = 20.0,
    story: Annotated[
        str,
        typer.Option(
            "--story",
            metavar="NAME",
            help="One remediation or procedure by its name, with its order and approvals.",
        ),
    ] = "",
) -> None:
    """Show the four alerts of the runbook, or one story, on a simulated cluster, with real requests over HTTP."""
    from app.demo import run_demo  # with it comes the simulator, which `serve` does without

    tools = Tools(backtest=backtest, what_if=what_if)
    code = asyncio.run(run_demo(once=once, port=port, speed=speed, story=story, tools=tools))
    if code:
        raise typer.Exit(code)
