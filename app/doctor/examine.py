"""Examine: all checks of a set-up, side by side, each area for itself. Called by `remediator doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack

from app.doctor import cluster, local, login, people, sources
from app.doctor.findings import Area, Finding, Voice
from app.doctor.patient import Patient
from app.domain.errors import BadInput
from app.domain.ports import Clock
from app.kube.client import KubeCluster
from app.observe.http_json import bounded_client
from app.outside import connect
from app.policy.faults import PolicyInvalid
from app.policy.load import load_dir
from app.policy.model import Policy
from app.setting_texts import SettingsInvalid
from app.settings import Settings, load_settings
from remediations import CATALOGUE

_SETTINGS = Voice(Area.SETTINGS)
PATIENCE = 60.0
"""Seconds for all that one check asks."""
Check = Callable[[Patient], Awaitable[list[Finding]]]

CHECKS: dict[Area, Check] = {
    Area.STORE: local.store,
    Area.CLUSTER: cluster.cluster,
    Area.RIGHTS: cluster.rights,
    Area.SLACK: people.slack,
    Area.PAGERDUTY: people.pagerduty,
    Area.PROMETHEUS: sources.prometheus,
    Area.ALERTMANAGER: sources.alertmanager,
    Area.DEPENDENCIES: sources.dependencies,
    Area.LOGIN: login.provider,
    Area.TRACES: sources.traces,
    Area.STATUS_PAGE: sources.status_page,
}
"""What has to ask somebody; settings and policy are looked at first, as everything follows from them."""


async def examine(clock: Clock, without: Collection[Area] = ()) -> list[Finding]:
    """All findings, in the order of the areas. Settings that cannot be read are the only findings."""
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        return [_SETTINGS.fail("settings_bad", str(f), f"correct {f.where or 'it'}") for f in error.faults]
    policy, faults = _policy(settings)
    async with AsyncExitStack() as closing:
        http = await closing.enter_async_context(bounded_client())
        kube, away = await _cluster(settings)
        if kube is not None:
            closing.push_async_callback(kube.close)
        found = await look(Patient(settings, policy, clock, http, kube), without)
    return sorted((f for f in (*found, *faults, *away) if f.area not in without), key=_order)


async def look(patient: Patient, without: Collection[Area] = ()) -> list[Finding]:
    """All findings about what could be read."""
    asked = [(area, check) for area, check in CHECKS.items() if area not in without]
    answers = await asyncio.gather(*(_in_time(area, check, patient) for area, check in asked))
    found = [*local.settings(patient), *local.policy(patient), *(f for answer in answers for f in answer)]
    return sorted((f for f in found if f.area not in without), key=_order)


async def _in_time(area: Area, check: Check, patient: Patient) -> list[Finding]:
    """What the check finds; one that does not end holds none of the others up."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await check(patient)
    except TimeoutError:
        text = f"it was not through after {PATIENCE:g} s: what is asked here answers slowly, or not at all"
        return [
            Voice(area).fail("check_too_slow", text, "look at it, at its URL and the network policy's egress")
        ]


def _order(finding: Finding) -> int:
    return list(Area).index(finding.area)


def _policy(settings: Settings) -> tuple[Policy | None, list[Finding]]:
    say = Voice(Area.POLICY)
    try:
        return load_dir(settings.policy_dir, CATALOGUE), []
    except PolicyInvalid as error:
        fix = "correct it; remediator policy check shows it again"
        return None, [say.fail("policy_invalid", str(fault), fix) for fault in error.faults]
    except BadInput as error:
        return None, [
            say.fail("policy_missing", str(error), "set REMEDIATOR_POLICY_DIR to the folder with the files")
        ]


async def _cluster(settings: Settings) -> tuple[KubeCluster | None, list[Finding]]:
    say = Voice(Area.CLUSTER)
    if settings.cluster == "simulated":
        return None, [say.skip("cluster_simulated", "the cluster is simulated")]
    try:
        return await connect(settings), []
    except BadInput as error:
        fix = "run it in a pod with a service account, or set KUBECONFIG and REMEDIATOR_KUBE_CONTEXT"
        return None, [say.fail("cluster_unknown", str(error), fix)]
