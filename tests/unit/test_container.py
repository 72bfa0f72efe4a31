"""The container image, by reading its recipe: two stages, a fixed non-root user, a health check, no secrets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from app.setting_texts import PREFIX
from app.settings import SECRETS, Settings
from tests.image.recipe import LAST, ROOT, all_of, environment


def test_the_image_is_built_in_one_stage_and_run_in_another() -> None:
    assert LAST >= 1
    assert any(rest.startswith("--from=build ") for rest in all_of("COPY", LAST))
    assert not any("pip install" in rest or "uv sync" in rest for rest in all_of("RUN", LAST))


def test_the_last_user_is_a_number_and_not_root() -> None:
    user = all_of("USER", LAST)[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # Kubernetes can check runAsNonRoot for numbers only
    assert f"--uid {user.partition(':')[0]} " in " ".join(all_of("RUN", LAST))


def test_the_base_has_a_version_that_the_project_supports() -> None:
    default = dict(rest.split("=", 1) for rest in all_of("ARG"))["PYTHON_BASE"]
    for base in (rest.replace("${PYTHON_BASE}", default) for rest in all_of("FROM")):
        found = re.match(r"python:3\.(\d+)", base)
        assert found, base
        assert int(found[1]) >= 11


def test_it_is_checked_at_a_route_that_exists() -> None:
    (check,) = all_of("HEALTHCHECK", LAST)
    options, _, command = check.partition("CMD ")
    words = json.loads(command)
    assert "http://127.0.0.1:8080/healthz" in words[-1]
    compile(words[-1], "healthcheck", "exec")
    assert re.search(r"--timeout=(\d+)s", options)
    assert Settings.model_fields["port"].default == 8080
    assert all_of("EXPOSE", LAST) == ["8080"]


def test_the_entry_point_exists_and_serves() -> None:
    (command,) = json.loads(all_of("ENTRYPOINT", LAST)[-1])
    assert command in entry_points(group="console_scripts").names
    assert shutil.which(command, path=str(Path(sys.executable).parent))
    assert json.loads(all_of("CMD", LAST)[-1]) == ["serve"]


def test_settings_in_it_exist_and_none_is_a_secret() -> None:
    names = {name.removeprefix(PREFIX).lower() for name in environment() if name.startswith(PREFIX)}
    assert names <= set(Settings.model_fields)
    assert not names & set(SECRETS)
    words = " ".join([*all_of("ARG"), *all_of("ENV")])
    assert not re.search(r"token|secret|password|key", words, re.IGNORECASE)


def test_state_and_policies_are_where_the_settings_say() -> None:
    said = environment()
    assert said["REMEDIATOR_STATE_DIR"] in all_of("VOLUME", LAST)
    assert f"policies {said['REMEDIATOR_POLICY_DIR']}" in all_of("COPY", LAST)


@pytest.mark.parametrize("rest", [r for r in all_of("COPY") if not r.startswith("--from=")])
def test_what_is_copied_exists_and_is_not_everything(rest: str) -> None:
    *sources, _target = shlex.split(rest)
    for source in sources:
        assert source not in (".", "./"), "copy what is needed, by name"
        assert (ROOT / source).exists(), source


def test_what_must_not_be_sent_to_the_builder_is_left_out() -> None:
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "state"} <= set(left_out)


def test_the_lock_file_is_obeyed() -> None:
    syncs = [r for r in all_of("RUN") if "uv sync" in r]
    assert syncs
    assert all("--frozen" in r and "--no-default-groups" in r for r in syncs)
