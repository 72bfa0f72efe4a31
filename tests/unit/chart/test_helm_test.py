"""The script of `helm test`, run against a real service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.chart.generate import CHART
from tests.unit.served import TOKEN, TOKENS, served

SCRIPT = CHART / "files" / "helm_test.py"


def _run(url: str, token: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SERVICE_URL": url, "INGEST_TOKEN": token, "NAMESPACE": "ops"}
    return subprocess.run([sys.executable, SCRIPT], env=env, capture_output=True, text=True, check=False)


def test_it_tells_a_service_that_takes_alerts_from_one_that_does_not(tmp_path: Path) -> None:
    with served(tmp_path, tokens=TOKENS) as service:
        good = _run(service.url, TOKEN)
        assert good.returncode == 0, good.stdout + good.stderr
        assert good.stdout.count("ok   ") == 4
        wrong = _run(service.url, "somebody-elses-token")
        assert wrong.returncode == 1
        assert "FAIL an alert with the token is stored: expected 202, got 401" in wrong.stdout
        assert "SKIP no alert was sent" in _run(service.url, "").stdout
    gone = _run(service.url, TOKEN)
    assert gone.returncode == 1
    assert "FAIL ready to take alerts: expected 200, got 0" in gone.stdout
