"""What `helm test` runs inside the cluster: is it ready, and does it take an alert that no rule names? Exit 1 when not."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

BASE = os.environ["SERVICE_URL"]
TOKEN = os.environ.get("INGEST_TOKEN", "")
START = datetime.now(UTC).isoformat()


def ask(path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """Status and body of the answer; 0 when there is none."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(BASE + path, data=body and json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def alert(status: str) -> dict[str, Any]:
    """An Alertmanager message with one alert; no rule names it, so nothing is done about it."""
    labels = {"alertname": "AlertRemediatorHelmTest", "namespace": os.environ["NAMESPACE"]}
    ends = datetime.now(UTC).isoformat() if status == "resolved" else "0001-01-01T00:00:00Z"
    one = {
        "status": status,
        "labels": labels,
        "annotations": {},
        "startsAt": START,
        "endsAt": ends,
        "generatorURL": "",
        "fingerprint": "a1e27fe5d7e57000",
    }
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "helm-test",
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [one],
    }


def check(what: str, wanted: int, answer: tuple[int, Any]) -> bool:
    """Say whether it is as wanted."""
    good = answer[0] == wanted
    print(f"ok   {what}" if good else f"FAIL {what}: expected {wanted}, got {answer[0]}: {answer[1]}")
    return good


def main() -> int:
    """All checks; how many went wrong."""
    ready = ask("/readyz")
    results = [check("ready to take alerts", 200, ready)]
    degraded = ready[1].get("degraded", {}) if isinstance(ready[1], dict) else {}
    for part, why in degraded.items():
        print(f"note {part}: {why}")
    hook = "/webhooks/alertmanager"
    if TOKEN:
        results += [
            check("an alert without a token is refused", 401, ask(hook, alert("firing"))),
            check("an alert with the token is stored", 202, ask(hook, alert("firing"), TOKEN)),
            check("and so is its end", 202, ask(hook, alert("resolved"), TOKEN)),
        ]
    else:
        print("SKIP no alert was sent: tests.tokenSecret names no token")
    return results.count(False)


sys.exit(1 if main() else 0)
