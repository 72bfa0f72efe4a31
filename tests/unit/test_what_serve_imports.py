"""The process that serves holds neither the simulator nor the offline policy tools: what is not imported cannot be reached."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import sys
from app.cli import app, serve
{more}
print(*sorted(m for m in sys.modules if m.startswith("app.")))
"""


def imported(more: str = "") -> set[str]:
    """Modules of ours in a fresh process that has everything the command `serve` needs."""
    ended = subprocess.run(
        [sys.executable, "-c", ASK.format(more=more)], capture_output=True, text=True, check=True, timeout=120
    )
    return set(ended.stdout.split())


def offline(modules: set[str]) -> set[str]:
    return {m for m in modules if m.split(".")[1] in ("sim", "policytools", "demo")}


def test_serve_imports_neither_the_simulator_nor_the_offline_policy_tools() -> None:
    modules = imported()
    assert {"app.main", "app.serving", "app.flow.running.advance", "app.policy.load"} <= modules
    assert offline(modules) == set()
    asked_for = {
        "app.observe.tracing",
        "app.observe.identity_provider",
        "app.intake.id_token",
        "app.page.oidc",
    }
    assert asked_for & modules == set(), "off unless configured, and then their libraries cost nothing"


def test_what_asks_for_them_imports_them() -> None:
    """So the test above looks for the right names."""
    assert "app.sim.cluster" in imported("serve._simulated()")
    assert "app.policytools.backtest" in imported("app.info.cls(name='x').get_command(None, 'policy')")


def test_who_looks_at_incidents_does_not_wait_for_the_whole_service() -> None:
    asked = "import sys; from app.cli import app; app.info.cls(name='x').get_command(None, 'incidents')"
    ended = subprocess.run(
        [sys.executable, "-c", f"{asked}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert {"app.main", "app.kube.client", "dbos", "fastapi", "sqlalchemy"} & set(
        ended.stdout.split()
    ) == set()
