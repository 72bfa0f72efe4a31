"""The image's own steps, carried out in a clean folder: what is in it works, and nothing else is in it."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.image.contents import Image, uv, write
from tests.image.recipe import ROOT, environment

pytestmark = pytest.mark.long

OPEN = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla Public License|LGPL-3\.0-only",
)
"""Licences under which what is in the image may be passed on unchanged."""
ALONE = {"LC_ALL": "C.UTF-8", "COLUMNS": "80"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image as a folder."""
    built = Image(tmp_path_factory.mktemp("image") / "root")
    built.build()
    return built


def _run(image: Image, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(image.command), *arguments),
        env=ALONE | variables,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )


def test_what_is_in_it_knows_its_version_and_reads_its_policies(image: Image) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", _run(image, "--version").stdout)
    policies = image.root / environment()["REMEDIATOR_POLICY_DIR"].lstrip("/")
    assert json.loads(_run(image, "policy", "check", str(policies), "--json").stdout)["rules"]


def test_what_is_in_it_serves_the_page_and_the_api(image: Image, tmp_path: Path) -> None:
    variables = {"REMEDIATOR_STATE_DIR": str(tmp_path), "REMEDIATOR_CLUSTER": "simulated"}
    policies = {"REMEDIATOR_POLICY_DIR": str(image.root / "policies")}
    with subprocess.Popen(
        (str(image.command), "serve", "--port", "0"),
        env=ALONE | variables | policies,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as process:
        try:
            assert process.stderr is not None
            url = next(
                found[1] for line in process.stderr if (found := re.search(r'"url": "(http://[^"]+)"', line))
            )
            for path in ("/healthz", "/", "/static/page.css", "/docs", "/api/v1/incidents"):
                assert httpx.get(url + path, timeout=30).status_code == 200, path
        finally:
            process.kill()


def test_no_test_no_installer_no_key_and_nothing_of_the_checkout_is_in_it(image: Image) -> None:
    names = {str(path) for path, _ in image.files()}
    ours = {n for n in names if re.search(r"/site-packages/(app|remediations)/", n)}
    assert any(n.endswith("app/page/templates/base.html") for n in ours)
    assert not [
        n for n in names if re.search(r"/site-packages/(tests|pip|setuptools|pytest|mypy|ruff)[/-]", n)
    ]
    keys = r"(^|/)(\.env|\.git|id_rsa|uv\.lock|pyproject\.toml)(/|$)|\.(key|p12|pfx|kubeconfig)$"
    assert not [n for n in names if re.search(keys, n)]
    assert {n for n in names if n.endswith(".pem")} == {n for n in names if n.endswith("certifi/cacert.pem")}
    assert {n.partition("/")[0] for n in names} == {"opt", "policies"}


def test_no_file_in_it_is_writable_by_all_or_runs_as_another(image: Image) -> None:
    modes = {str(path): found.st_mode for path, found in image.files() if not stat.S_ISLNK(found.st_mode)}
    assert not [n for n, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)]


def test_every_package_in_it_has_a_licence_that_lets_it_be_passed_on(image: Image, tmp_path: Path) -> None:
    foreign = [p for p in image.packages() if p.name != "alert-remediator"]
    assert len(foreign) > 50
    assert [p for p in foreign if not OPEN.search(p.licence)] == []
    files, licences = write(image, tmp_path)
    assert "/opt/remediator/bin/remediator" in files.read_text(encoding="utf-8")
    assert len(licences.read_text(encoding="utf-8").splitlines()) == len(foreign) + 2


def test_the_sbom_names_every_package_in_it(image: Image, tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (options,) = re.findall(r"export (.*--format cyclonedx.*) -o sbom\.json", makefile)
    written = tmp_path / "sbom.json"
    subprocess.run([uv(), "export", *options.split(), "-o", str(written)], cwd=ROOT, check=True)
    known = {(c["name"], c["version"]) for c in json.loads(written.read_text(encoding="utf-8"))["components"]}
    named = {(_plain(name), version) for name, version in known}
    assert {(_plain(p.name), p.version) for p in image.packages() if p.name != "alert-remediator"} <= named


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
