"""`remediator doctor` as a process, against the real API server and a real Alertmanager, with exactly the printed rights."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.policy.load import load_policy
from app.policytools.rbac import grants
from remediations import CATALOGUE
from tests.live.e2e.service import COMMAND
from tests.live.stack import AlertmanagerFactory, ControlPlane, Timing

pytestmark = pytest.mark.live
USER = "outsider"


def _policy(namespace: str) -> str:
    target = {"kind": "Deployment", "name": {"default": "web"}, "on_default": "act"}
    rule = {
        "name": "slow",
        "when": 'alertname="A"',
        "target": target,
        "remediation": "high-latency",
        "mode": "auto",
    }
    return json.dumps({"version": 1, "scope": {"namespaces": [namespace]}, "rules": [rule]})


def _findings(plane: ControlPlane, folder: Path, alertmanager: str) -> tuple[int, dict[str, dict[str, str]]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("REMEDIATOR_")}
    env |= {
        "KUBECONFIG": str(plane.kubeconfig(USER)),
        "REMEDIATOR_CLUSTER": "kubeconfig",
        "REMEDIATOR_STATE_DIR": str(folder / "state"),
        "REMEDIATOR_POLICY_DIR": str(folder),
        "REMEDIATOR_ALERTMANAGER_URL": alertmanager,
        "REMEDIATOR_TOKENS": f"alertmanager:ingest+operate:{hashlib.sha256(b'a-token-of-the-tests-0123456789').hexdigest()}",
    }
    # Beside other tests a small machine may take its time.
    ended = subprocess.run(
        [COMMAND, "doctor", "--json"], env=env, capture_output=True, text=True, check=False, timeout=240
    )
    found: Any = json.loads(ended.stdout)
    return ended.returncode, {f["code"]: f for f in found["findings"]}


def test_exactly_the_printed_rights_satisfy_the_doctor_and_one_less_does_not(
    control_plane: ControlPlane, alertmanager: AlertmanagerFactory, tmp_path: Path
) -> None:
    namespace = control_plane.create_namespace("doctor")
    (tmp_path / "policy.yaml").write_text(_policy(namespace), "utf-8")
    rules = [
        g.rule() for g in grants(load_policy({"p.yaml": _policy(namespace)}, CATALOGUE), CATALOGUE, namespace)
    ]
    fewer = [r for r in rules if r["verbs"] != ["patch"] or r["resources"] != ["deployments"]]
    fewer = [r for r in fewer if r["resources"] != ["configmaps"]]
    assert len(fewer) == len(rules) - 2
    control_plane.grant(USER, fewer, namespace)
    quick = alertmanager("http://127.0.0.1:9/webhooks/alertmanager", timing=Timing(repeat_interval="5m"))
    code, found = _findings(control_plane, tmp_path, quick.url)
    assert code == 1
    told = f"high-latency is disabled: it may not patch deployments in namespace {namespace}"
    assert found["remediation_disabled"]["text"] == told
    assert f"high-latency may not get configmaps in namespace {namespace}" in found["less_is_known"]["text"]
    control_plane.grant(USER, rules, namespace)
    code, found = _findings(control_plane, tmp_path, quick.url)
    assert {c for c, f in found.items() if f["level"] == "fail"} == set()
    assert code == 0
    assert "less_is_known" not in found
    assert found["cluster_answers"]["text"].endswith("v1.37.2")
    assert {"clock", "remediation_enabled", "alertmanager_answers"} <= set(found)
    assert found["repeat_interval"]["level"] == "ok"
    slow = alertmanager("http://127.0.0.1:9/webhooks/alertmanager", timing=Timing(repeat_interval="1h"))
    code, found = _findings(control_plane, tmp_path, slow.url)
    assert (code, found["repeat_interval"]["level"]) == (1, "fail")
    assert "stale" in found["repeat_interval"]["text"]
