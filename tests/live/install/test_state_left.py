"""What names the state is compared with what is there: no upgrade and no installation leaves it behind unnoticed."""

from __future__ import annotations

import subprocess

import pytest

from tests.live.chart.helm import CHART
from tests.live.install.test_installed import NAME, Release, release

__all__ = ["release"]
pytestmark = pytest.mark.live
SQLITE = ("--set", "store.kind=sqlite")
POSTGRES = ("--set", "store.kind=postgres,secret.keys.DATABASE_URL=url")
CLAIM, SECRET = f"claim/{NAME}-state", "secret/s/url"


def _run(release: Release, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    policy = f"version: 1\nscope: {{namespaces: [{release.scope}]}}"
    base = (str(CHART), "--set", "secret.name=s", "--set-string", f"policy.files.policy\\.yaml={policy}")
    return release(verb, *base, *arguments)


def _good(release: Release, verb: str, *arguments: str) -> None:
    ended = _run(release, verb, *arguments)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("first", "other", "left", "used"),
    [
        (SQLITE, POSTGRES, CLAIM, SECRET),
        (POSTGRES, SQLITE, SECRET, CLAIM),
        (SQLITE, ("--set", "fullnameOverride=other"), CLAIM, "claim/other-state"),
        (SQLITE, ("--set", "nameOverride=other"), CLAIM, "claim/second-other-state"),
        (SQLITE, ("--set", "store.existingClaim=mine"), CLAIM, "claim/mine"),
        (("--set", "store.existingClaim=mine"), SQLITE, "claim/mine", CLAIM),
        (POSTGRES, (*POSTGRES, "--set", "secret.name=t"), SECRET, "secret/t/url"),
        (POSTGRES, (*POSTGRES, "--set", "secret.keys.DATABASE_URL=new"), SECRET, "secret/s/new"),
        ((*POSTGRES, "--set", "secret.asEnv=true"), SQLITE, SECRET, CLAIM),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v[1::2]),
)
def test_an_upgrade_that_leaves_the_state_behind_is_refused_until_somebody_says_so(
    release: Release, first: tuple[str, ...], other: tuple[str, ...], left: str, used: str
) -> None:
    _good(release, "install", *first)
    _good(release, "upgrade", *first, "--set", "image.tag=0.1.1")
    wrong = ("--set", f"store.leave={{claim/none,{used}}}")
    for said in ((), wrong):
        refused = _run(release, "upgrade", *other, *said)
        assert refused.returncode != 0
        assert f"this release keeps its state in {left}, and {used} would be used instead" in refused.stderr
        assert f"--set 'store.leave={{{left}}}'" in refused.stderr
    _good(release, "upgrade", *other, "--set", f"store.leave={{{left}}}")
    _good(release, "upgrade", *other)


def test_another_name_with_the_same_state_is_taken(release: Release) -> None:
    _good(release, "install", *SQLITE)
    claim = ("--set", f"store.existingClaim={NAME}-state")
    _good(release, "upgrade", "--set", "fullnameOverride=other", *claim)
    there = release.get(f"/api/v1/namespaces/{release.namespace}/persistentvolumeclaims/{NAME}-state")
    assert "deletionTimestamp" not in there["metadata"]


def test_another_way_to_give_the_same_secret_is_taken(release: Release) -> None:
    _good(release, "install", *POSTGRES)
    _good(release, "upgrade", *POSTGRES, "--set", "secret.asEnv=true,replicas=2")


def test_a_claim_that_helm_would_delete_is_not_taken_as_an_existing_one(release: Release) -> None:
    _good(release, "install", "--set", "store.keep=false")
    refused = _run(release, "upgrade", "--set", f"store.existingClaim={NAME}-state")
    assert refused.returncode != 0
    assert (
        "would delete it now, as it is no longer of the chart; before that: kubectl annotate"
        in refused.stderr
    )
    _good(release, "upgrade", "--set", "store.keep=true")
    _good(release, "upgrade", "--set", f"store.existingClaim={NAME}-state")


@pytest.mark.parametrize("other", [POSTGRES, ("--set", "fullnameOverride=other")], ids=lambda v: v[1])
def test_an_installation_beside_a_claim_that_was_kept_is_refused_until_somebody_says_so(
    release: Release, other: tuple[str, ...]
) -> None:
    _good(release, "install", *SQLITE)
    assert release("uninstall", "--wait").returncode == 0
    refused = _run(release, "install", *other)
    assert refused.returncode != 0
    assert f"an earlier installation left its state in {CLAIM}, and " in refused.stderr
    assert f"store.existingClaim={NAME}-state" in refused.stderr
    _good(release, "install", *SQLITE)
    assert release("uninstall", "--wait").returncode == 0
    _good(release, "install", *other, "--set", f"store.leave={{{CLAIM}}}")
    _good(release, "upgrade", *other)


def test_a_second_release_beside_one_that_runs_leaves_nothing_behind(release: Release) -> None:
    _good(release, "install", *SQLITE)
    release.name = "third"
    _good(release, "install", *SQLITE)
    assert release("uninstall").returncode == 0
    release.name = "second"
