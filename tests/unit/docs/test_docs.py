"""The documents are true: every command in them is run, every YAML is loaded, every request is sent to a service."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.cli.queries import explanation
from app.doctor import local
from app.doctor.patient import Patient
from app.intake.auth import Scope, parse_tokens
from app.observe.system import SystemClock
from app.policy.load import load_policy
from app.settings import Settings
from app.store import incidents
from remediations import CATALOGUE
from tests.scenario.rig import Rig
from tests.unit.chart.generate import values as chart_defaults
from tests.unit.chart.test_values import faults as chart_faults
from tests.unit.chart.test_values import merged as chart_merged
from tests.unit.cli.shell import Shell
from tests.unit.docs.conftest import ORCHESTRATION, token_without
from tests.unit.docs.example import worked_example
from tests.unit.docs.fences import Block, blocks, commands, http_example, table_under
from tests.unit.docs.tables import ROOT
from tests.unit.served import TOKEN, Served

LANGUAGES = {
    "sh",
    "yaml",
    "http",
    "json",
    "text",
    "python",
    "sql",
    "",
}  # sql: tests/contract/test_store_roles.py
# Approving, rejecting, keeping and acknowledging need a run in the right state, which the tests of these orders have. Here the run is over:
# the service understood the order and says why it does not hold for this run.
_REFUSED = {
    "approve": "[not_waiting]",
    "reject": "[not_waiting]",
    "keep": "[no_temporary_change]",
    "acknowledge": "[incident_closed]",
}
NEW_TOKEN = re.compile(r"^python3 -c ")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """Commands with a state folder of their own."""
    shell = Shell(capsys, monkeypatch)
    monkeypatch.chdir(ROOT)
    shell.set(REMEDIATOR_STATE_DIR=str(tmp_path / "state"))
    return shell


def test_every_block_has_a_language_that_is_checked_here() -> None:
    everything = {b.language for b in blocks(*LANGUAGES)}
    text = "\n".join((ROOT / b.document).read_text(encoding="utf-8") for b in blocks(*everything))
    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) <= LANGUAGES


def _kind(line: str) -> str:
    return shlex.split(line, comments=True)[0].rpartition("/")[2]


@pytest.mark.parametrize(("block", "line"), commands(), ids=[f"{b} {c[:50]}" for b, c in commands()])
def test_every_command_runs(block: Block, line: str, service: Served, shell: Shell) -> None:
    words = shlex.split(line, comments=True)
    runners: dict[str, Callable[[list[str]], None]] = {
        "make": _make,
        "python": _python,
        "python3": _new_token,
        "export": _export,
        "docker": _docker,
        "helm": _helm,
        "kind": _kind_cluster,
        "kubectl": lambda words: _kubectl(block, words),
        "remediator": lambda words: _remediator(words, service, shell),
    }
    runners[_kind(line)](words)


def _make(words: list[str]) -> None:
    """The target exists and all of what it needs can be made: make itself says so."""
    ended = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def _python(words: list[str]) -> None:
    module = words[2]
    assert words[1] == "-m"
    if module == "pytest":
        assert (ROOT / words[3]).exists()
    else:
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()


def _new_token(words: list[str]) -> None:
    """A new token with its digest, or a new key of hidden values: 32 bytes that the service takes."""
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    if len(ended.stdout.split()) == 1:
        assert len(base64.urlsafe_b64decode(ended.stdout)) == 32
        return
    token, digest = ended.stdout.split()
    found = parse_tokens(f"alertmanager:ingest:{digest}").find(token)
    assert found is not None
    assert found.scopes == {Scope.INGEST}


def _export(words: list[str]) -> None:
    """Names are checked against the settings elsewhere; here: one assignment, nothing left to expand but paths."""
    name, _, value = words[1].partition("=")
    assert re.fullmatch(r"PATH|REMEDIATOR_[A-Z_]+", name)
    assert value


def _helm(words: list[str]) -> None:
    """The chart is there and takes the values; what it makes of them the live tier shows with the real helm."""
    if words[1] == "test":
        return
    assert words[1] == "install"
    assert (ROOT / words[3] / "Chart.yaml").is_file()
    said: dict[str, Any] = {}
    for option, value in pairwise(words):
        if option in ("--set", "--set-file"):
            key, _, text = value.partition("=")
            first, *rest = re.split(r"(?<!\\)\.", key)
            place = said.setdefault(first, {})
            for word in rest[:-1]:
                place = place.setdefault(word, {})
            file = ROOT / text
            shown = file.read_text("utf-8") if option == "--set-file" and file.is_file() else text
            place[rest[-1].replace("\\", "")] = shown
    assert chart_faults(chart_merged(chart_defaults(), said)) == ""
    pushed = {"repository": "registry.example.org/alert-remediator"}
    assert said.get("image", pushed) == pushed  # the tag is that of `make image`


def _kind_cluster(words: list[str]) -> None:
    """No container engine is at hand: only that it is one cluster, and the image that `make image` tags."""
    assert words[-2:] == ["--name", "remediator"]
    if words[1:3] == ["load", "docker-image"]:
        assert words[3] == _image()


def _image() -> str:
    """What `make image` tags, and what the chart asks for when it is told nothing."""
    assert '-t "alert-remediator:$(VERSION)" .' in (ROOT / "Makefile").read_text("utf-8")
    chart = yaml.safe_load((ROOT / "charts/alert-remediator/Chart.yaml").read_text("utf-8"))
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    return f"{chart_defaults()['image']['repository']}:{chart['appVersion']}"


def _docker(words: list[str]) -> None:
    """No container engine is at hand: only that the image that `make image` tags goes to the registry that helm is told."""
    ours, theirs = _image(), f"registry.example.org/{_image()}"
    assert words[1:] in (["tag", ours, theirs], ["push", theirs])


def _kubectl(block: Block, words: list[str]) -> None:
    """What is applied, and named by other commands, stands in the document or is made by the chart's command in it."""
    shown = blocks("yaml", documents=(block.document,))
    match words[1:]:
        case ["apply", "-f", file]:
            assert file in [b.title for b in shown]
        case ["create", "namespace", name] | ["create", "secret", "generic", _, "-n", name, *_]:
            assert name == "alert-remediator"
        case ["rollout", "status", place, "-n", namespace, *_] | ["set", "image", place, "-n", namespace, _]:
            if namespace != "alert-remediator":
                objects = [o for b in shown if b.title == "shop.yaml" for o in yaml.safe_load_all(b.text)]
                kind, name = place.split("/")
                found = [o["metadata"] for o in objects if o["kind"].lower() == kind]
                assert found == [{"name": name, "namespace": namespace}]
        case ["port-forward", "-n", "alert-remediator", "service/alert-remediator", "8080:8080"]:
            pass
        case _:
            pytest.fail(f"nothing checks {words}")


def _remediator(words: list[str], service: Served, shell: Shell) -> None:
    """Against the running service, with real ids; what does not end has its own tests and only explains itself here."""
    shell.at(service.url)
    if words[1] == "serve" or "--follow" in words:
        shell.good(*words[1:], "--help")
        return
    incident = service.incident(
        "HighErrorRate", "fixed", "resolved"
    ).id  # the command that undoes is one of them
    run = service.run(incident, "fixed", "undone", "undoing").id
    arguments = [{"INCIDENT": incident, "RUN": run}.get(w, w) for w in words[1:]]
    if words[1] == "resume":
        scope = arguments[arguments.index("--scope") + 1]
        shell.good("pause", "--scope", scope, "--reason", "so that there is something to lift")
    if words[1] == "audit":
        shell.good("db", "upgrade")
    if words[1] == "doctor":
        shell.set(REMEDIATOR_CLUSTER="simulated")
    ended = shell(*arguments)
    if words[1:3] in (["trust", "promote"], ["trust", "demote"]):
        # No shipped rule has mode earned; moving a trust level has tests of its own.
        assert (ended.code, "no_trust_level" in ended.err) == (2, True), ended
        return
    refusal = _REFUSED.get(words[1], "")
    assert (ended.code, refusal in ended.err) == (int(bool(refusal)), True), ended


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if b.title.startswith("policies/")], ids=str)
def test_policies_load(block: Block) -> None:
    example = "add-replicas" in block.text  # the worked example of CONTRIBUTING has a test of its own
    catalogue: dict[str, Any] = dict(CATALOGUE)
    if example:
        catalogue["add-replicas"] = worked_example()
    texts = {block.title: block.text}
    if "scope:" not in block.text:  # one file of several
        texts["policies/scope.yaml"] = "version: 1\nscope: {namespaces: [rag7]}\n"
    policy = load_policy(texts, catalogue)
    assert policy.rules or policy.escalation


@pytest.mark.parametrize(
    "block",
    [b for b in blocks("yaml") if b.document.startswith("docs/") and b.title.startswith("policies/")],
    ids=str,
)
def test_a_guides_policy_loads_beside_the_shipped_head(block: Block) -> None:
    head = "policies/00-default.yaml"
    texts = {block.title: block.text}
    if "scope:" not in block.text:  # else it is a whole policy
        texts[head] = (ROOT / head).read_text(encoding="utf-8")
    policy = load_policy(texts, CATALOGUE)
    assert policy.rules or policy.escalation


def test_every_yaml_block_says_what_it_is() -> None:
    for block in blocks("yaml"):
        known = ("rbac.yaml", "shop.yaml", "alertmanager.yml", "configuration-reader.yaml", "values.yaml")
        assert block.title in known or block.title.startswith("policies/"), block


def test_the_alertmanager_example_posts_to_a_route_that_takes_it(service: Served) -> None:
    (block,) = [b for b in blocks("yaml") if b.title == "alertmanager.yml"]
    written = yaml.safe_load(block.text)
    receivers = {r["name"]: r for r in written["receivers"]}
    route = written["route"]["routes"][0]
    (hook,) = receivers[route["receiver"]]["webhook_configs"]
    assert hook["send_resolved"] is True  # without it a run could only end as inconclusive
    assert route["continue"] is True
    assert hook["http_config"]["authorization"]["type"] == "Bearer"
    body = {"version": "4", "groupKey": "{}", "alerts": []}
    headers = {"authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(service.url + httpx.URL(hook["url"]).path, json=body, headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("block", blocks("http"), ids=str)
def test_requests_are_taken_and_answered_as_shown(block: Block, service: Served) -> None:
    example = http_example(block)
    secrets = {"Bearer TOKEN": f"Bearer {TOKEN}", "ORCHESTRATION-SECRET": ORCHESTRATION}
    headers = {name: secrets.get(value, value) for name, value in example.headers.items()}
    answer = httpx.request(
        example.method, service.url + example.path, headers=headers, json=example.body, timeout=30
    )
    assert answer.status_code == 202, answer.text
    shown = [b for b in blocks("json", documents=(block.document,)) if 0 < b.line - block.line < 20]
    if shown:
        assert set(answer.json()) == set(json.loads(shown[0].text))


@pytest.mark.parametrize("row", table_under("README.md", "HTTP API"), ids=lambda row: row[0].strip("`"))
def test_routes_ask_for_the_documented_scope(row: list[str], service: Served) -> None:
    method, path = row[0].strip("`").split()
    url = service.url + re.sub(r"\{\w+\}", "x", path)
    scope = row[1].strip("`")
    if scope not in list(Scope):
        answer = httpx.request(method, url, timeout=30)
        assert answer.status_code == (200 if scope == "none" else 401), answer.text
        return
    assert httpx.request(method, url, timeout=30).status_code == 401
    headers = {"authorization": f"Bearer {token_without(Scope(scope))}"}
    answer = httpx.request(method, url, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), answer.text
    assert answer.json()["detail"].endswith(f"lacks the scope {scope}")


async def test_the_sample_explanation_has_only_lines_that_a_real_one_has(tmp_path: Path) -> None:
    """Numbers aside: pods log at their own pace."""
    (sample,) = [b for b in blocks("text", documents=("README.md",)) if b.text.startswith("FIXED")]
    rig = await Rig(tmp_path / "store.sqlite").born()
    await rig.run(600)
    (incident,) = await rig.store.read(lambda conn: incidents.page(conn, None, 10))
    real = {_without_numbers(line) for line in explanation(await rig.operations.explain(incident.id))}
    await rig.close()
    for line in sample.text.splitlines():
        assert _without_numbers(line) in real, line


def _without_numbers(line: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\d+", "#", line))


def test_the_install_block_makes_a_token_that_sends_and_one_that_opens_the_page() -> None:
    """Each secret that the README makes is taken by the settings, and the doctor has nothing to say of who calls."""
    text = (ROOT / "README.md").read_text("utf-8")
    (given,) = re.findall(r"--from-literal=tokens=(\S+)", text)
    digests = iter("0123456789")
    tokens = re.sub(r":[A-Z_]*DIGEST\b", lambda _: f":{next(digests) * 64}", given)
    settings = Settings(tokens=tokens)
    table = settings.access.tokens
    assert table is not None
    by_name = {p.name: {s.value for s in p.scopes} for _, p in table.entries}
    assert by_name == {"alertmanager": {"ingest"}, "me": {"read", "trigger", "operate"}}
    patient = Patient(settings, None, SystemClock(), httpx.AsyncClient(), None)
    assert {"nobody_sends", "nobody_reads", "nobody_operates"}.isdisjoint(
        f.code for f in local.settings(patient)
    )
