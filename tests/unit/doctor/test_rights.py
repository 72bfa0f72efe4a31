"""Each right of the roles that are printed: without it the doctor names it, and whoever needs it; and an API server that tells nothing."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from app.doctor.cluster import cluster, rights
from app.doctor.findings import Finding, Level
from app.flow.readiness.rights import EVERY
from app.kube.faults import Answer, Request, refusal
from app.policy.load import load_policy
from app.policytools.rbac import Grant, grants
from remediations import CATALOGUE
from tests.unit.doctor.clinic import Clinic, admitted

ADDED = {"argoproj.io", "autoscaling.k8s.io", "keda.sh", "cert-manager.io", "acme.cert-manager.io"}
SCOPE = {"namespaces": ["rag7"], "secrets": ["web"]}
RULES = [
    {
        "name": name,
        "remediation": name,
        "mode": "approve",
        **({} if handler.procedure else {"when": f'alertname="{name}"'}),
        **({} if handler.procedure else {"target": {"kind": "Deployment", "name": {"label": "deployment"}}}),
    }
    for name, handler in CATALOGUE.items()
]
FEW = [rule for rule in RULES if rule["remediation"] in ("high-latency", "scale", "certificate-renewal")]
POLICIES = {"all": RULES, "few": FEW}
CASES = [
    (which, verb, grant)
    for which, rules in POLICIES.items()
    for grant in grants(
        load_policy({"p.yaml": yaml.safe_dump({"version": 1, "scope": SCOPE, "rules": rules})}, CATALOGUE),
        CATALOGUE,
        "rag7",
    )
    for verb in grant.verbs
]


async def found_by(clinic: Clinic) -> list[Finding]:
    async with admitted(clinic) as patient:
        found = await rights(patient)
    return [f for f in found if f.level in (Level.FAIL, Level.WARN)]


def clinic_of(folder: Path, which: str = "all") -> Clinic:
    clinic = Clinic(folder, policy={"scope": SCOPE, "rules": POLICIES[which]})
    clinic.kube.groups |= ADDED
    return clinic


@pytest.mark.parametrize("which", POLICIES)
async def test_with_all_that_is_printed_nothing_is_missing(tmp_path: Path, which: str) -> None:
    assert await found_by(clinic_of(tmp_path, which)) == []


@pytest.mark.parametrize(
    ("which", "verb", "grant"), CASES, ids=lambda c: c.resource if isinstance(c, Grant) else c
)
async def test_a_right_that_is_taken_away_is_named_with_whoever_needs_it(
    tmp_path: Path, which: str, verb: str, grant: Grant
) -> None:
    clinic = clinic_of(tmp_path, which)
    clinic.kube.refused = {(verb, grant.group, grant.resource)}
    clinic.kube.refused_names = set(grant.names) if grant.resource == "secrets" else set()
    told = [f.text for f in await found_by(clinic)]
    assert all(re.search(rf"\b{verb} {grant.resource}\b", text) for text in told)
    named = [name for name in CATALOGUE if name in re.split("[ ,:]+", " ".join(told))]
    every = [str(rule["remediation"]) for rule in POLICIES[which]]
    if any(text.startswith("every remediation") for text in told):
        named = every
    wanted = set(every) if EVERY in grant.needed_by else set(grant.needed_by) & set(CATALOGUE)
    assert told
    assert set(named) == wanted if wanted else grant.resource in ("events", "namespaces")


async def test_a_secret_that_is_named_is_asked_for_by_its_name_and_not_kept_from_those_who_need_none(
    tmp_path: Path,
) -> None:
    clinic = clinic_of(tmp_path, "few")
    clinic.kube.refused = {("get", "", "secrets")}
    (text,) = [f.text for f in await found_by(clinic)]
    readers = sorted(str(r["remediation"]) for r in FEW if CATALOGUE[str(r["remediation"])].reads_config)
    assert text.startswith(f"{', '.join(readers)} may not get secrets web in namespace rag7: ")


@pytest.mark.parametrize("group", sorted({"batch", "networking.k8s.io", *ADDED}))
async def test_what_the_cluster_does_not_serve_nobody_misses(tmp_path: Path, group: str) -> None:
    clinic = clinic_of(tmp_path, "few")
    clinic.kube.groups.discard(group)
    clinic.kube.refused = {(verb, group, r) for verb in ("get",) for r in ("cronjobs", "rollouts")}
    clinic.kube.refused |= {("list", group, r) for r in ("networkpolicies", "verticalpodautoscalers")}
    assert await found_by(clinic) == []


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        (401, "the API server does not accept our credentials", "renew the token"),
        (400, "perhaps it wants https", "it begins with https://"),
        (404, "is no API server", "the proxy before it"),
        (403, "keeps its version to itself", "the proxy before it"),
        (503, "the API server does not answer: HTTP 503", "network policy"),
    ],
)
async def test_an_api_server_that_refuses_to_tell_of_itself_is_told_by_why(
    tmp_path: Path, status: int, words: str, fix: str
) -> None:
    clinic = clinic_of(tmp_path)
    clinic.kube.refusal = refusal(Request("get", "/version", "", mutates=False), Answer(status, {}))
    async with admitted(clinic) as patient:
        (failed,) = await cluster(patient)
    assert (failed.code, failed.level) == ("cluster_away", Level.FAIL)
    assert words in failed.text
    assert fix in failed.fix


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
async def test_an_api_server_behind_a_proxy_that_does_not_answer_is_told_with_the_proxy(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://user:canary@127.0.0.1:1")
    clinic = clinic_of(tmp_path)
    clinic.kube.away = True
    async with admitted(clinic) as patient:
        (failed,) = await cluster(patient)
        assert f"through the proxy that {name} names" in failed.text
        assert "NO_PROXY" in failed.fix
        assert "canary" not in failed.text + failed.fix
        monkeypatch.setenv("NO_PROXY", urlsplit(clinic.kube.address).hostname or "")
        (failed,) = await cluster(patient)
    assert "proxy" not in failed.text


async def test_a_namespace_in_which_nothing_is_granted_is_told_as_one_that_may_not_be_there(
    tmp_path: Path,
) -> None:
    clinic = clinic_of(tmp_path, "few")
    every = {
        (verb, grant.group, grant.resource)
        for grant in grants(
            load_policy({"p.yaml": yaml.safe_dump({"version": 1, "scope": SCOPE, "rules": FEW})}, CATALOGUE),
            CATALOGUE,
            "rag7",
        )
        for verb in grant.verbs
    }
    clinic.kube.refused = every
    found = await found_by(clinic)
    assert {f.code for f in found} == {"reads_missing", "remediation_disabled"}
    assert "nothing may be read in rag7" in found[0].text
    assert "there is no such namespace" in found[0].text
    assert {f.fix.partition(",")[0] for f in found} == {"create the namespace if it is not there"}
