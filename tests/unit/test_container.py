"""The container image, by reading its recipe: two stages, a fixed non-root user, a health check, no secrets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from app.settings import PREFIX, SECRETS, Settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its stage, counted from 0."""

    stage: int
    word: str
    rest: str


def _parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[Instruction] = []
    stage = -1
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        stage += word == "FROM"
        if word:
            found.append(Instruction(stage, word, rest.strip()))
    return found


RECIPE = _parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
LAST = max(i.stage for i in RECIPE)


def _all(word: str, stage: int | None = None) -> list[str]:
    return [i.rest for i in RECIPE if i.word == word and stage in (None, i.stage)]


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in _all("ENV", LAST) for pair in shlex.split(rest))


def test_the_image_is_built_in_one_stage_and_run_in_another() -> None:
    assert LAST >= 1
    assert any(rest.startswith("--from=build ") for rest in _all("COPY", LAST))
    assert not any("pip install" in rest or "uv sync" in rest for rest in _all("RUN", LAST))


def test_the_last_user_is_a_number_and_not_root() -> None:
    user = _all("USER", LAST)[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # Kubernetes can check runAsNonRoot for numbers only
    assert f"--uid {user.partition(':')[0]} " in " ".join(_all("RUN", LAST))


def test_the_base_has_a_version_that_the_project_supports() -> None:
    default = dict(rest.split("=", 1) for rest in _all("ARG"))["PYTHON_BASE"]
    for base in (rest.replace("${PYTHON_BASE}", default) for rest in _all("FROM")):
        found = re.match(r"python:3\.(\d+)", base)
        assert found, base
        assert int(found[1]) >= 11


def test_it_is_checked_at_a_route_that_exists() -> None:
    (check,) = _all("HEALTHCHECK", LAST)
    options, _, command = check.partition("CMD ")
    words = json.loads(command)
    assert "http://127.0.0.1:8080/healthz" in words[-1]
    compile(words[-1], "healthcheck", "exec")
    assert re.search(r"--timeout=(\d+)s", options)
    assert Settings.model_fields["port"].default == 8080
    assert _all("EXPOSE", LAST) == ["8080"]


def test_the_entry_point_exists_and_serves() -> None:
    (command,) = json.loads(_all("ENTRYPOINT", LAST)[-1])
    assert command in entry_points(group="console_scripts").names
    assert shutil.which(command, path=str(Path(sys.executable).parent))
    assert json.loads(_all("CMD", LAST)[-1]) == ["serve"]


def test_settings_in_it_exist_and_none_is_a_secret() -> None:
    names = {name.removeprefix(PREFIX).lower() for name in _environment() if name.startswith(PREFIX)}
    assert names <= set(Settings.model_fields)
    assert not names & set(SECRETS)
    words = " ".join([*_all("ARG"), *_all("ENV")])
    assert not re.search(r"token|secret|password|key", words, re.IGNORECASE)


def test_state_and_policies_are_where_the_settings_say() -> None:
    environment = _environment()
    assert environment["REMEDIATOR_STATE_DIR"] in _all("VOLUME", LAST)
    assert f"policies {environment['REMEDIATOR_POLICY_DIR']}" in _all("COPY", LAST)


@pytest.mark.parametrize("rest", [r for r in _all("COPY") if not r.startswith("--from=")])
def test_what_is_copied_exists_and_is_not_everything(rest: str) -> None:
    *sources, _target = shlex.split(rest)
    for source in sources:
        assert source not in (".", "./"), "copy what is needed, by name"
        assert (ROOT / source).exists(), source


def test_what_must_not_be_sent_to_the_builder_is_left_out() -> None:
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "state"} <= set(left_out)


def test_the_lock_file_is_obeyed() -> None:
    syncs = [r for r in _all("RUN") if "uv sync" in r]
    assert syncs
    assert all("--frozen" in r and "--no-default-groups" in r for r in syncs)
