"""Owns the bench of abuse: how late /healthz is answered while somebody tries to make the service stall.

For each attack a probe of its own process asks /healthz all the time. The slowest answer is held against the slowest of the
same service when nothing else asks it anything. Everybody shares one machine, so an attack takes processor time from the
probe too: the numbers are upper limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import health, servers
from tests.bench.abuse_world import policy
from tests.bench.attacks import ATTACKS, Victim
from tests.bench.report import Measure, Scale, below, percentile

BENCH = "abuse"
FACTOR = 5.0
"""How many times later than the slowest answer at rest the slowest under attack may be."""
_SETTLED = 3.0  # seconds until the simulated pods run, and for what an attack leaves behind


def measure(scale: Scale) -> list[Measure]:
    """The slowest answer at rest and under each attack, and the ratios."""
    seconds = scale.of(10, 5, 1) * (0.3 if scale.tiny else 1.0)
    with TemporaryDirectory(prefix="bench-abuse-") as folder:
        policies = Path(folder) / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(policy(), "utf-8")
        command = [sys.executable, "-m", "tests.bench.abuse_world"]
        env = {
            "REMEDIATOR_POLICY_DIR": str(policies),
            # With it a body is read whole before anybody knows who sent it.
            "REMEDIATOR_PAGERDUTY_WEBHOOK_SECRETS": secrets.token_hex(16),
        }
        with servers.service(env, folder=Path(folder), command=command) as server:
            return asyncio.run(_attacked(_victim(server, policies), server.url, seconds, scale))


def _victim(server: servers.Server, policies: Path) -> Victim:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return Victim(host, int(port), server.token, policies)


async def _attacked(victim: Victim, url: str, seconds: float, scale: Scale) -> list[Measure]:
    rest = 0.0 if scale.tiny else _SETTLED
    await asyncio.sleep(rest)
    idle = await _probe(url, seconds * (1 if scale.tiny else 2))
    slowest = max(idle)
    found = [Measure(BENCH, "at rest: slowest", slowest * 1000, "ms", note=_spread(idle))]
    for name, attack in ATTACKS.items():
        latencies = await _under(attack, victim, url, seconds)
        await asyncio.sleep(rest)
        ratio = Measure(
            BENCH,
            f"{name}: slowest, times that",
            max(latencies) / slowest,
            "",
            note=f"{max(latencies) * 1000:.0f} ms; {_spread(latencies)}",
        )
        found.append(below(ratio, FACTOR, scale))
    return found


async def _under(
    attack: Callable[[Victim], Awaitable[None]], victim: Victim, url: str, seconds: float
) -> list[float]:
    attacking = asyncio.ensure_future(attack(victim))
    try:
        latencies = await _probe(url, seconds)
        if attacking.done():
            raise RuntimeError(f"the attack ended by itself: {attacking.exception()!r}")
        return latencies
    finally:
        attacking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attacking


async def _probe(url: str, seconds: float) -> list[float]:
    probe = health.start(url, seconds)
    return await asyncio.to_thread(probe.latencies)


def _spread(latencies: list[float]) -> str:
    p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(latencies)}"
